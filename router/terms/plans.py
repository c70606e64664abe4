"""One buyer's terms -> the plans of its contracts: references resolved, durations and prices plain integers."""

from collections.abc import Mapping
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_MS, NS_S, parse_duration
from router.terms.book import CapPlan, ContractPlan, DedupPlan, GuardPlan, RampPlan, RatePlan, TierPlan
from router.terms.checks.caps import cap_id
from router.terms.checks.guards import guard_key
from router.terms.coverage import Coverage
from router.terms.endpoint import EndpointPlan, compile_endpoint
from router.terms.geography import us
from router.terms.hours import parse_hours
from router.terms.schema import Buyer, Cap, Contract, CoverageTerms, Guard, Rate, Terms

_RATE_NS: Final = {"second": NS_S, "minute": NS_MINUTE, "hour": NS_HOUR, "day": NS_DAY}


class TermsError(Exception):
    """Terms that were not checked: something in them cannot be compiled."""


def endpoint_plans(buyer: Buyer, terms: Terms) -> dict[str, EndpointPlan]:
    """The plan of each endpoint of a buyer. Raises TermsError."""
    plans: dict[str, EndpointPlan] = {}
    for name, endpoint in buyer.endpoints.items():
        kinds = {contract.lead_type for contract in buyer.contracts if contract.endpoint == name}
        plan, problems = compile_endpoint(name, endpoint, lead_types=[terms.lead_types[kind] for kind in sorted(kinds)])
        if plan is None:
            raise TermsError(f"buyer {buyer.id}: endpoint {name}: {problems[0]}")
        plans[name] = plan
    return plans


def contract_plan(
    contract: Contract,
    buyer: Buyer,
    terms: Terms,
    coverage: Coverage,
    endpoints: Mapping[str, EndpointPlan],
    tiers: tuple[TierPlan, ...],
) -> ContractPlan:
    """A contract's plan; `tiers` are those of its lead type."""
    zone = ZoneInfo(buyer.time_zone or terms.router.defaults.time_zone)
    owner, buyer_owner = f"contract:{contract.id}", f"buyer:{buyer.id}"
    own = _caps(owner, contract.caps)
    schedule, ramp, dedup = contract.schedule, contract.ramp, contract.dedup
    return ContractPlan(
        id=contract.id,
        buyer_id=buyer.id,
        owner=owner,
        buyer_owner=buyer_owner,
        lead_type=contract.lead_type,
        terms=contract,
        buyer=buyer,
        zone=zone,
        coverage=coverage,
        areas=coverage.areas,
        endpoint=endpoints[contract.endpoint],
        tier=next((tier for tier in tiers if tier.name == contract.tier), tiers[0]),
        price=int(contract.price),
        exclusive_price=int(contract.price if contract.exclusive_price is None else contract.exclusive_price),
        go_live=date.fromisoformat(contract.go_live) if contract.go_live else None,
        hours=parse_hours(schedule.open, schedule.closed_dates) if schedule else None,
        caps=(*own, *_caps(buyer_owner, buyer.caps)),
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
        must_be_certified=terms.router.onboarding.require_certified,
        least_bid=None if endpoints[contract.endpoint].ping is None else max(1, contract.min_bid or 0),
    )


def rate_plan(rate: Rate | None) -> RatePlan | None:
    """A token bucket as whole nanoseconds, rounded so that it never gives more than it says."""
    if rate is None:
        return None
    if rate.leads == 0:
        return RatePlan(0, 0)
    return RatePlan(-(-_RATE_NS[rate.per] // rate.leads), rate.leads if rate.burst is None else rate.burst)


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
