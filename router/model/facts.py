"""Facts: the durable records of what happened. Routing state is a fold of them, live, at restart and in a backtest.

A fact never holds personal data. The one thing that does, the lead, travels beside its `Received` fact in an
`Entry`; the ledger keeps it in a side table and puts only a salted digest in the chain, so that a person can be
forgotten and the history still verifies.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from router.model.codes import LeadStatus, Outcome
from router.model.decision import Bid, Claim
from router.model.lead import Contact, Lead


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", gc=False):
    """Base of all facts; the tag is the class name. They form no cycles: not tracking them halves a long fold."""


class Received(Fact, frozen=True, kw_only=True, tag=True):
    """A lead was taken. `duplicate_of` names the earlier lead when intake dedup matched.

    `steady_ns` is read off a clock that never steps: deadlines, holds and dedup windows are judged by it.
    """

    lead_id: str
    source_id: str
    lead_type: str
    test: bool = False
    duplicate_of: str | None = None
    steady_ns: int = 0


#: Contracts in rank order: a bit mask (big-endian bytes) over the rank order of the lead type in the fact's postal area
#: under its terms version, best rank = highest bit; or their ids, where state or the lead said the order.
Contracts = tuple[str, ...] | bytes


#: A standing refusal: (code, expected, actual).
Words = tuple[str, str, str]


class Turn(Struct, frozen=True, kw_only=True):
    """A tier with a stateful method took a turn: who took part with which weight, and who was picked."""

    tier: str
    method: Literal["weighted", "percentage"]
    members: tuple[str, ...]
    weights: tuple[int, ...]  # weighted: its weight; percentage: its share in parts per million
    picked: tuple[str, ...]
    roster: str  # digest of the tier's set of contracts; another one starts the count anew


class Asked(Fact, frozen=True, kw_only=True, tag=True):
    """Buyers are asked for bids, all contracts together, before the lead is decided. Nothing is promised to anybody.

    `throttled` are the contracts whose throttle counted this lead here; those that it did not let pass are not asked,
    and stand in `held_back` with (expected, actual).
    """

    lead_id: str
    terms_version: str
    contracts: tuple[str, ...]
    throttled: tuple[str, ...] = ()
    held_back: dict[str, tuple[str, str]] = {}


class Bidden(Fact, frozen=True, kw_only=True, tag=True):
    """What the asked said. `late`: it came when the wait was over, so it cannot win."""

    lead_id: str
    bids: tuple[Bid, ...]
    late: bool = False


class Decided(Fact, frozen=True, kw_only=True, tag=True):
    """A decision. What terms, lead and time say is worked out again when read; here stands what depended on state.

    `blocked` maps a refusal code to the contracts it refused then. In words it was said once: `said` maps a contract to
    the (code, expected, actual) by which a standing rule refuses it from here on, until it says otherwise (on the same
    `board`, in this decision or a later one); `details` to the (expected, actual) of a refusal of this lead alone, and
    `alike` a code to those of a refusal that is the same for all contracts it refused.
    `ranking` holds the eligible contracts, best first. Without an `area` masks are over all contracts of the lead type.
    """

    lead_id: str
    terms_version: str
    blocked: dict[str, Contracts] = {}
    said: dict[str, Words] = {}
    details: dict[str, tuple[str, str]] = {}
    alike: Mapping[str, tuple[str, str]] = {}
    ranking: Contracts = ()
    mode: Literal["exclusive", "shared"] = "exclusive"
    area: str = ""
    turns: tuple[Turn, ...] = ()
    throttled: tuple[str, ...] = ()  # otherwise eligible contracts whose throttle counted this lead, whether it passed
    by: str | None = None  # who asked for it again: "operator:alice", "queue", "resume"
    steady_ns: int = 0  # of a release from the queue, as `Received` has it

    @property
    def board(self) -> str:
        """Whose memory of standing rules `said` goes on: that of a mode in a postal area (`"exclusive/US7"`)."""
        return f"{self.mode}/{self.area}" if self.area else self.mode


class Reserved(Fact, frozen=True, kw_only=True, tag=True):
    """The durable intent to send: capacity is taken and the lead may now go to this contract.

    `price` is minor units. Windows are those of the contract's zone at this instant, `day` its local date.
    `steady_ns` is read off a clock that never steps; rates are judged by it.
    """

    delivery_id: str
    lead_id: str
    contract_id: str
    buyer_id: str
    lead_type: str
    terms_version: str
    rank: int
    price: int
    day: str
    steady_ns: int
    rate_interval_ns: int = 0  # what this reservation costs the contract's rate; 0: no rate
    claims: tuple[Claim, ...] = ()
    guarded: bool = False  # the contract has guards: what comes of this is kept for them
    test: bool = False
    reference: str | None = None  # the buyer's own, of its bid


class PassedOver(Fact, frozen=True, kw_only=True, tag=True):
    """On the way down a ranking these contracts were not eligible any more: (code, expected, actual) by contract id.

    The first refusal of the best ranked ones is told.
    """

    lead_id: str
    refusals: dict[str, tuple[str, str, str]]


class Repeating(Fact, frozen=True, kw_only=True, tag=True):
    """The durable intent to send the same bytes once more: attempt `n` may leave from here on."""

    delivery_id: str
    n: int


class Attempted(Fact, frozen=True, kw_only=True, tag=True):
    """One request to the endpoint and what came of it. `sent_at_ns` wall clock, `took_ms` of the whole exchange.

    `steady_ns` is when it ended, off a clock that never steps: guards look back by it.
    """

    delivery_id: str
    n: int
    sent_at_ns: int
    took_ms: float
    request_sha256: str
    outcome: Outcome
    rule: str
    sent: bool = True  # the first byte left; without it a rate token is given back
    auth_failed: bool = False
    late: bool = False  # the answer came after `deliver_within`
    unhealthy: bool = False  # the breaker counts it against the endpoint
    steady_ns: int = 0
    status: int | None = None
    reason: str | None = None
    detail: str | None = None
    peer: str | None = None


class Settled(Fact, frozen=True, kw_only=True, tag=True):
    """A delivery reached an outcome (again, when a doubt is resolved). `price` is what is billed, minor units.

    `answer_price` is what the buyer's answer named, where that was more than was reserved.
    """

    delivery_id: str
    outcome: Outcome
    reason: str | None = None
    price: int | None = None
    answer_price: int | None = None
    reference: str | None = None
    redirect_url: str | None = None
    late: bool = False
    by: str | None = None  # who resolved a doubt: "operator:alice", "buyer:brightroof", "terms", "restart"
    steady_ns: int = 0  # when a doubt was resolved, as `Attempted` has it


class Contradicted(Fact, frozen=True, kw_only=True, tag=True):
    """Somebody says of a doubt that was resolved that it was the other thing. What was resolved stands."""

    delivery_id: str
    outcome: Literal["accepted", "rejected"]
    by: str


class Ended(Fact, frozen=True, kw_only=True, tag=True):
    """A lead reached a status that ends its routing, for now (a reroute or a resolved doubt may go on)."""

    lead_id: str
    status: LeadStatus
    reason: str | None = None
    copies: int = 0
    payout: int = 0
    redirect_url: str | None = None


class Queued(Fact, frozen=True, kw_only=True, tag=True):
    """A lead waits for a contract that said `queue`."""

    lead_id: str


class Reopened(Fact, frozen=True, kw_only=True, tag=True):
    """Routing of an ended lead goes on: rerouted, or a doubt was resolved as rejected.

    `offered` maps each buyer that already had its turn to the contract, so that nobody is asked twice.
    """

    lead_id: str
    by: str
    offered: dict[str, str] = {}
    copies: int = 0
    revenue: int = 0
    steady_ns: int = 0  # as `Received` has it


class Paused(Fact, frozen=True, kw_only=True, tag=True):
    """Somebody (or a built-in rule) paused a contract, buyer or source. `until_ns` wall clock, none: until resumed.

    When it ends by itself, its contracts (`contracts` are those of a buyer) come back over `ramp_ns`.
    """

    subject: Literal["contract", "buyer", "source"]
    id: str
    reason: str
    by: str
    until_ns: int | None = None
    ramp_ns: int = 0
    contracts: tuple[str, ...] = ()


class Resumed(Fact, frozen=True, kw_only=True, tag=True):
    """The pause was taken back. The contracts (`contracts` are those of a buyer) come back over `ramp_ns`."""

    subject: Literal["contract", "buyer", "source"]
    id: str
    by: str
    ramp_ns: int = 0
    contracts: tuple[str, ...] = ()


class Overridden(Fact, frozen=True, kw_only=True, tag=True):
    """Somebody set other limits for a while, instead of all that was set before. `until_ns` wall clock.

    `caps` maps a cap's id to its limit of leads, `spends` to one of minor units. With `guards_off` guards turn nobody
    away.
    """

    subject: Literal["contract", "buyer"]
    id: str
    reason: str
    by: str
    until_ns: int
    caps: dict[str, int] = {}
    spends: dict[str, int] = {}
    guards_off: bool = False


class Restored(Fact, frozen=True, kw_only=True, tag=True):
    """The terms hold again as they stand: what was set for a while was taken back."""

    subject: Literal["contract", "buyer"]
    id: str
    by: str


class GuardTripped(Fact, frozen=True, kw_only=True, tag=True):
    """A guard found its metric beyond `trip`; or (`again`) its probes did not reach `recover`.

    `guard` tells the contract's guards apart. `causes` names deliveries that count against it, the latest ones where
    there are many. It holds until `until_ns` (wall clock, `steady_until_ns` on the steady one), then probes pass.
    """

    contract_id: str
    guard: str
    metric: str
    action: Literal["warn", "throttle", "pause"]
    value: float
    sample: int
    until_ns: int
    steady_until_ns: int
    causes: tuple[str, ...] = ()
    again: bool = False
    detail: str | None = None  # of the last attempt, where it says what to look at


class GuardProbing(Fact, frozen=True, kw_only=True, tag=True):
    """A tripped guard's cool-down is over: so many leads pass now, and nobody else until they are answered."""

    contract_id: str
    guard: str
    metric: str
    probes: int


class GuardRecovered(Fact, frozen=True, kw_only=True, tag=True):
    """A guard is closed and counts anew. `causes` names the probes that reached `recover`.

    `by` says why otherwise: "terms" when the guard is not in the terms any more.
    """

    contract_id: str
    guard: str
    metric: str
    value: float | None = None
    sample: int = 0
    causes: tuple[str, ...] = ()
    by: str = "probes"


class Deposited(Fact, frozen=True, kw_only=True, tag=True):
    """Money came into a buyer's wallet. `amount` is minor units; `reference` tells one payment from another."""

    buyer_id: str
    amount: int
    reference: str
    by: str


class Suppressed(Fact, frozen=True, kw_only=True, tag=True):
    """A person is never to be sent to anybody. `marks` tells by what: digests of a `phone` and of an `email`.

    What must hold for ever is told without keeping the person: the values themselves stand nowhere.
    """

    marks: dict[Contact, bytes]
    by: str


class Certified(Fact, frozen=True, kw_only=True, tag=True):
    """Test leads were posted to an endpoint. `version` is that of its content, `failed` names what went wrong.

    `postal_code` is the test lead's, where somebody chose it: sandboxes answer by it.
    """

    buyer_id: str
    endpoint: str
    version: str
    passed: bool
    by: str
    failed: tuple[str, ...] = ()
    postal_code: str | None = None


class TermsLoaded(Fact, frozen=True, kw_only=True, tag=True):
    """These terms are in force from here on."""

    terms_version: str
    by: str


AnyFact = (
    Received
    | Asked
    | Bidden
    | Decided
    | Reserved
    | PassedOver
    | Repeating
    | Attempted
    | Settled
    | Contradicted
    | Ended
    | Queued
    | Reopened
    | Paused
    | Resumed
    | Overridden
    | Restored
    | GuardTripped
    | GuardProbing
    | GuardRecovered
    | Deposited
    | Suppressed
    | Certified
    | TermsLoaded
)


GuardFact = GuardTripped | GuardProbing | GuardRecovered


class Idempotency(Struct, frozen=True, kw_only=True):
    """An Idempotency-Key and the SHA-256 of the body it came with."""

    key: str
    body_sha256: bytes


class Entry(Struct, frozen=True, kw_only=True, gc=False):
    """A fact on its way into or out of the ledger. `at_ns`: wall clock when it happened, nanoseconds since 1970 UTC.

    `lead` stands beside a `Received` and a `Reopened` (none once the person was forgotten), `idempotency` beside a
    `Received` when a key was given.
    """

    at_ns: int
    fact: AnyFact
    lead: Lead | None = None
    idempotency: Idempotency | None = None
