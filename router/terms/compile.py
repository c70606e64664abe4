"""Checked terms -> the Book. Everything that can be worked out before a lead comes is worked out here.

The version is a SHA-256 over the canonical text of all terms, the coverage they expand to, and the version of the
rules themselves: two routers with one version decide alike. That text is what the ledger keeps, so that any past
decision can be judged again by the Book it was made under (`revive`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_MS, NS_S, parse_duration
from router.terms.book import Book, CapPlan, ContractPlan, DedupPlan, GuardPlan, RampPlan, RatePlan, TierPlan
from router.terms.checks.caps import cap_id
from router.terms.checks.guards import guard_key
from router.terms.coverage import Coverage, expand
from router.terms.endpoint import EndpointPlan, compile_endpoint
from router.terms.geography import us
from router.terms.hours import parse_hours
from router.terms.schema import Buyer, Cap, Contract, CoverageTerms, Guard, LeadType, Rate, Terms

#: Raised with every change to what a rule means; part of every terms version.
RULES_VERSION: Final = 2

_RATE_NS: Final = {"second": NS_S, "minute": NS_MINUTE, "hour": NS_HOUR, "day": NS_DAY}
_MAIN_TIER: Final = "main"


class TermsError(Exception):
    """Terms that were not checked: something in them cannot be compiled."""


class _Stored(msgspec.Struct, frozen=True):
    rules: int
    terms: Terms
    coverage: dict[str, Coverage]


def compile_book(terms: Terms) -> Book:
    """Terms that `check` found no error in -> Book. Raises TermsError naming the contract otherwise."""
    coverage = {
        contract.id: _coverage(contract, terms) for buyer in terms.buyers.values() for contract in buyer.contracts
    }
    return _compile(_Stored(RULES_VERSION, terms, coverage))


def stored_form(book: Book) -> bytes:
    """The canonical bytes the version is the hash of: what the ledger keeps."""
    stored = _Stored(RULES_VERSION, book.terms, {plan.id: plan.coverage for plan in book.contracts.values()})
    return _canonical(stored)


def revive(stored: bytes) -> Book:
    """The Book of `stored_form`'s bytes. Raises msgspec.ValidationError when they are not that."""
    return _compile(msgspec.json.decode(stored, type=_Stored, dec_hook=_revive_scalar))


def _canonical(stored: _Stored) -> bytes:
    """One text for equal terms, whatever order their files were read in. The order of a body's keys is part of it."""
    return b"".join(_pieces(stored))


def _version(stored: _Stored) -> str:
    """The hash of that text, a piece at a time: the whole of 100,000 contracts is never held at once."""
    whole = hashlib.sha256()
    for piece in _pieces(stored):
        whole.update(piece)
    return whole.hexdigest()


def _pieces(stored: _Stored) -> Iterator[bytes]:
    terms = stored.terms
    tables: dict[str, Mapping[str, Any]] = {
        "buyers": terms.buyers,
        "lead_types": terms.lead_types,
        "lists": terms.lists,
        "places": terms.places,
        "sources": terms.sources,
    }
    yield b'{"rules":' + _text(stored.rules) + b',"coverage":{'
    yield from _entries(stored.coverage)
    yield b'},"terms":{"router":' + _text(_by_key(_plain(terms.router)))
    for name, table in tables.items():
        yield b"," + _text(name) + b":{"
        yield from _entries(table)
        yield b"}"
    yield b"}}"


def _entries(table: Mapping[str, Any]) -> Iterator[bytes]:
    for place, key in enumerate(sorted(table)):
        one = table[key]
        plain = one if isinstance(one, str | Coverage) else _by_key(_plain(one))
        yield (b"," if place else b"") + _text(key) + b":" + _text(plain)


def _plain(table: Any) -> Any:
    return msgspec.to_builtins(table, enc_hook=_plain_scalar)


def _text(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _by_key(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: tree[key] if key == "body" else _by_key(tree[key]) for key in sorted(tree)}
    return [_by_key(one) for one in tree] if isinstance(tree, list | tuple) else tree


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, int):  # Money and Duration are integers with a name
        return int(value)
    raise NotImplementedError(f"a {type(value).__name__} in terms")


def _revive_scalar(kind: type, value: Any) -> Any:
    return value if kind is object else kind(value)


def _compile(stored: _Stored) -> Book:
    terms = stored.terms
    tiers = {lead_type.id: _tiers(lead_type, terms) for lead_type in terms.lead_types.values()}
    plans: dict[str, ContractPlan] = {}
    for buyer in terms.buyers.values():
        endpoints = _endpoints(buyer, terms)
        for contract in buyer.contracts:
            plans[contract.id] = _plan(
                contract, buyer, terms, stored.coverage[contract.id], endpoints, tiers[contract.lead_type]
            )
    return Book(
        version=_version(stored),
        terms=terms,
        contracts=plans,
        by_type={kind: tuple(plan for plan in plans.values() if plan.lead_type == kind) for kind in terms.lead_types},
        tiers=tiers,
        source_by_token=_tokens((source.id, source.token_sha256) for source in terms.sources.values()),
        buyer_by_token=_tokens((buyer.id, buyer.token_sha256) for buyer in terms.buyers.values()),
    )


def _tokens(owners: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    return {token: owner for owner, tokens in owners for token in tokens}


def _coverage(contract: Contract, terms: Terms) -> Coverage:
    found, problems = expand(
        contract.coverage or CoverageTerms(), lists=terms.lists, country=terms.router.defaults.country
    )
    errors = [message for _, message, _, severity in problems if severity == "error"]
    if errors:
        raise TermsError(f"contract {contract.id}: coverage: {errors[0]}")
    return found


def _endpoints(buyer: Buyer, terms: Terms) -> dict[str, EndpointPlan]:
    plans: dict[str, EndpointPlan] = {}
    for name, endpoint in buyer.endpoints.items():
        kinds = {contract.lead_type for contract in buyer.contracts if contract.endpoint == name}
        plan, problems = compile_endpoint(name, endpoint, lead_types=[terms.lead_types[kind] for kind in sorted(kinds)])
        if plan is None:
            raise TermsError(f"buyer {buyer.id}: endpoint {name}: {problems[0]}")
        plans[name] = plan
    return plans


def _tiers(lead_type: LeadType, terms: Terms) -> tuple[TierPlan, ...]:
    members: dict[str, list[str]] = {tier.name: [] for tier in lead_type.tiers} or {_MAIN_TIER: []}
    first = next(iter(members))
    for buyer in terms.buyers.values():
        for contract in buyer.contracts:
            if contract.lead_type == lead_type.id:
                members[contract.tier or first].append(contract.id)
    if not lead_type.tiers:
        return (TierPlan(0, _MAIN_TIER, "price", None, _roster(members[_MAIN_TIER])),)
    return tuple(
        TierPlan(index, tier.name, tier.method, tier.secondary, _roster(members[tier.name]))
        for index, tier in enumerate(lead_type.tiers)
    )


def _roster(ids: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def _caps(owner: str, caps: tuple[Cap, ...]) -> list[CapPlan]:
    return [
        CapPlan(
            owner=owner,
            id=cap_id(cap),
            per=cap.per,
            rolling=cap.window == "rolling" and cap.per != "total",
            limit=cap.limit,
            spend=None if cap.spend is None else int(cap.spend),
        )
        for cap in caps
    ]


def rate_plan(rate: Rate | None) -> RatePlan | None:
    """A token bucket as whole nanoseconds, rounded so that it never gives more than it says."""
    if rate is None:
        return None
    if rate.leads == 0:
        return RatePlan(0, 0)
    return RatePlan(-(-_RATE_NS[rate.per] // rate.leads), rate.leads if rate.burst is None else rate.burst)


def _plan(
    contract: Contract,
    buyer: Buyer,
    terms: Terms,
    coverage: Coverage,
    endpoints: Mapping[str, EndpointPlan],
    tiers: tuple[TierPlan, ...],
) -> ContractPlan:
    zone = ZoneInfo(buyer.time_zone or terms.router.defaults.time_zone)
    own = _caps(f"contract:{contract.id}", contract.caps)
    schedule, ramp, dedup = contract.schedule, contract.ramp, contract.dedup
    return ContractPlan(
        id=contract.id,
        buyer_id=buyer.id,
        owner=f"contract:{contract.id}",
        buyer_owner=f"buyer:{buyer.id}",
        lead_type=contract.lead_type,
        terms=contract,
        buyer=buyer,
        zone=zone,
        coverage=coverage,
        endpoint=endpoints[contract.endpoint],
        tier=next((tier for tier in tiers if tier.name == contract.tier), tiers[0]),
        price=int(contract.price),
        exclusive_price=int(contract.price if contract.exclusive_price is None else contract.exclusive_price),
        go_live=date.fromisoformat(contract.go_live) if contract.go_live else None,
        hours=parse_hours(schedule.open, schedule.closed_dates) if schedule else None,
        caps=(*own, *_caps(f"buyer:{buyer.id}", buyer.caps)),
        day_limit=min(
            (cap.limit for cap in own if cap.per == "day" and not cap.rolling and cap.limit is not None), default=None
        ),
        rate=rate_plan(contract.rate),
        ramp=RampPlan(ramp.start, ramp.step, max(1, int(ramp.every) // NS_DAY), ramp.until, ramp.hold_below_acceptance)
        if ramp
        else None,
        dedup=DedupPlan(dedup.keys, int(dedup.window), dedup.scope, dedup.counts) if dedup else None,
        guards=tuple(_guard(guard) for guard in contract.sla.guards) if contract.sla is not None else (),
        centers=_centers(contract.coverage),
    )


def _guard(guard: Guard) -> GuardPlan:
    over = guard.over
    return GuardPlan(
        key=guard_key(guard),
        metric=guard.metric,
        over_ns=int(parse_duration(over)) if isinstance(over, str) else None,
        last=over if isinstance(over, int) else None,
        min_sample=guard.min_sample,
        trip=_threshold(guard.trip),
        recover=_threshold(guard.trip if guard.recover is None else guard.recover),
        action=guard.action,
        throttle_ppm=round((guard.throttle_to or 0) * 1_000_000),
        cool_down_ns=int(guard.cool_down),
        probes=guard.probes,
    )


def _threshold(value: float | str) -> float:
    """A share as it is, a duration as milliseconds."""
    return int(parse_duration(value)) / NS_MS if isinstance(value, str) else float(value)


def _centers(coverage: CoverageTerms | None) -> tuple[tuple[float, float], ...]:
    places = (us().place(radius.center) for radius in coverage.radius) if coverage else ()
    return tuple((place.latitude, place.longitude) for place in places if place is not None)
