"""The Book: terms compiled whole, immutable, swapped in one assignment. Routing reads nothing else of the terms.

Durations and prices are plain integers here, references are resolved, coverage is expanded to codes and prefixes.
"""

from collections.abc import Iterator
from datetime import date, tzinfo
from typing import Final, Literal

from msgspec import Struct

from router.terms.catalog import Catalog
from router.terms.coverage import Coverage
from router.terms.endpoint import EndpointPlan
from router.terms.hours import Hours
from router.terms.schema import Buyer, Contract, LeadType, Method, Per, RouterTerms, Scope, Source, Terms

#: No guard looks at more outcomes of a contract than this, none of latency at more than that: it must rank them.
OUTCOMES_MAX: Final = 10_000
LATENCIES_MAX: Final = 2_000


class CapPlan(Struct, frozen=True, gc=False):
    """One cap: at most `limit` leads, or `spend` minor units, per window. `owner` is `contract:ID` or `buyer:ID`."""

    owner: str
    id: str
    per: Per
    rolling: bool
    limit: int | None
    spend: int | None


class RatePlan(Struct, frozen=True, gc=False):
    """A token bucket as intervals: one token comes back every `interval_ns`, at most `burst` are kept."""

    interval_ns: int
    burst: int


class RampPlan(Struct, frozen=True, gc=False):
    """The growing day cap; `every_days` whole local days a step."""

    start: int
    step: int
    every_days: int
    until: int | None
    hold_below: float | None


class DedupPlan(Struct, frozen=True, gc=False):
    """A contract's dedup. `keys` is an OR of ANDs of field names."""

    keys: tuple[tuple[str, ...], ...]
    window_ns: int
    scope: Scope
    counts: str


class GuardPlan(Struct, frozen=True, kw_only=True, gc=False):
    """One guard. It looks back `over_ns`, or at the `last` so many outcomes; `trip` and `recover` are shares.

    Those of `latency_p95` are milliseconds. `key` tells a contract's guards apart for as long as they mean the same.
    """

    key: str
    metric: str
    over_ns: int | None = None
    last: int | None = None
    min_sample: int
    trip: float
    recover: float
    action: Literal["warn", "throttle", "pause"]
    throttle_ppm: int = 0  # the share that passes while throttled, parts per million
    cool_down_ns: int
    probes: int


class TierPlan(Struct, frozen=True, gc=False):
    """A tier: its place in order and its methods."""

    index: int
    name: str
    method: Method
    secondary: Method | None


class ContractPlan(Struct, frozen=True, kw_only=True, gc=False):
    """Everything a decision needs of one contract."""

    id: str
    buyer_id: str
    owner: str  # "contract:ID", whose use is counted
    buyer_owner: str  # "buyer:ID"
    lead_type: str
    terms: Contract
    buyer: Buyer
    zone: tzinfo
    coverage: Coverage
    areas: tuple[str, ...]  # in which postal areas (`Coverage.areas`)
    endpoint: EndpointPlan
    tier: TierPlan
    price: int
    exclusive_price: int
    go_live: date | None
    hours: Hours | None
    caps: tuple[CapPlan, ...]  # the contract's own, then its buyer's
    day_limit: int | None  # the smallest calendar day cap on leads, which pacing spreads
    rate: RatePlan | None
    ramp: RampPlan | None
    dedup: DedupPlan | None
    guards: tuple[GuardPlan, ...] = ()
    centers: tuple[tuple[float, float], ...] = ()  # latitude, longitude of each radius, degrees
    least_bid: int | None = None  # its endpoint is asked for a bid, which is its price; the least that could be
    must_be_certified: bool = False  # `onboarding.require_certified`: no leads before its endpoint is

    @property
    def endpoint_key(self) -> str:
        """Under which the state keeps its endpoint's certificate: `"buyer/endpoint"`."""
        return f"{self.buyer_id}/{self.endpoint.name}"


class BuyerPart(Struct, frozen=True, kw_only=True, gc=False):
    """One buyer, compiled: what the next Book takes over when the buyer does not change.

    `place` is the file it stands in, `address` where its piece is kept in the ledger, `entries` where the long lists
    of codes are that it names.
    """

    buyer: Buyer
    place: str
    plans: tuple[ContractPlan, ...]
    address: str
    entries: tuple[str, ...]

    @property
    def kinds(self) -> Iterator[str]:
        """The lead types of its contracts."""
        return (plan.lead_type for plan in self.plans)


class Remembered(Struct, frozen=True):
    """The key sets that dedup compares under these terms; for how long that must be remembered (nanoseconds)."""

    keys: tuple[tuple[str, ...], ...]
    keep_ns: int
    scopes: tuple[Scope, ...]  # whose deliveries somebody counts
    declined: bool  # somebody counts deliveries that were declined, too


class Book(Struct, frozen=True, kw_only=True):
    """All terms, compiled. `version` is the content hash of everything that decides."""

    version: str
    terms: Terms
    parts: dict[str, BuyerPart]  # by buyer id
    catalog: Catalog
    contracts: dict[str, ContractPlan]
    by_type: dict[str, tuple[ContractPlan, ...]]
    rosters: dict[str, str]  # "lead_type/tier" -> digest of the contracts in it
    remembered: Remembered
    source_by_token: dict[str, str]  # lower-case hex SHA-256 -> source id
    buyer_by_token: dict[str, str]

    def __repr__(self) -> str:
        """By its version: all terms in one line say nothing to anybody."""
        return f"Book({self.version})"

    @property
    def router(self) -> RouterTerms:
        """`router.toml`."""
        return self.terms.router

    @property
    def lead_types(self) -> dict[str, LeadType]:
        """Lead types by id."""
        return self.terms.lead_types

    @property
    def sources(self) -> dict[str, Source]:
        """Sources by id."""
        return self.terms.sources

    @property
    def buyers(self) -> dict[str, Buyer]:
        """Buyers by id."""
        return self.terms.buyers
