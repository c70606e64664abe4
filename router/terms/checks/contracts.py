"""Contracts: references, values, and what can never work, held against lead type, sources and buyer."""

from collections.abc import Iterable, Iterator
from typing import Final

from router.model.money import format_money
from router.model.times import NS_DAY, format_duration
from router.terms.checks.caps import judge_caps, judge_rate
from router.terms.checks.endpoints import named_fields
from router.terms.checks.fields import (
    NUMBERS,
    judge_criterion,
    judge_key_sets,
    judge_names,
    judge_rule,
)
from router.terms.checks.guards import judge_guards
from router.terms.checks.page import Page
from router.terms.checks.values import (
    judge_at_least,
    judge_date,
    judge_distinct,
    judge_id,
    judge_positive,
    judge_range,
    judge_reference,
    judge_share,
    shown,
)
from router.terms.enforced import MEND, NOT_YET, unenforced
from router.terms.hours import parse_hours
from router.terms.schema import Buyer, Contract, LeadType, Sla, Source, Terms
from router.terms.template import below

#: The one tier of a lead type that names none.
MAIN_TIER: Final = "main"
_EVERY: Final = "*"


def judge_contract(page: Page, contract: Contract, buyer: Buyer, terms: Terms) -> None:
    """One contract but for its coverage."""
    judge_id(page, "id", contract.id)
    for key in unenforced(contract):
        page.error(key, NOT_YET, MEND)
    judge_reference(page, "endpoint", contract.endpoint, buyer.endpoints, "endpoint of this buyer named")
    _judge_sources(page, contract, terms)
    _judge_numbers(page, contract)
    judge_caps(page, contract.caps)
    judge_rate(page, contract.rate)
    _judge_day(page, contract)
    _judge_schedule(page, contract)
    _judge_sla(page, contract.sla)
    judge_guards(page, contract, buyer.endpoints.get(contract.endpoint))
    _judge_consent(page, contract)
    if judge_reference(page, "lead_type", contract.lead_type, terms.lead_types, "lead type"):
        lead_type = terms.lead_types[contract.lead_type]
        _judge_against(page, contract, buyer, lead_type)
        if contract.status == "live" and buyer.status == "live":
            for key, reason, mend in _why_never(contract, buyer, lead_type, list(terms.sources.values())):
                page.warn(key, f"this contract can never win a lead: {reason}", mend)


def _judge_sources(page: Page, contract: Contract, terms: Terms) -> None:
    for key in ("sources", "exclude_sources"):
        names = getattr(contract, key)
        judge_distinct(page, key, names)
        for index, name in enumerate(names):
            if name != _EVERY or key == "exclude_sources":
                judge_reference(page, f"{key}[{index}]", name, terms.sources, "source")
    if not contract.sources:
        page.error("sources", "no source is named, so no lead could come", 'Write ["*"] for all of them')


def _judge_numbers(page: Page, contract: Contract) -> None:
    judge_at_least(page, "weight", contract.weight, 0)
    judge_share(page, "share", contract.share)
    if contract.dedup is not None:
        judge_positive(page, "dedup.window", contract.dedup.window, "nothing would be a duplicate")
    if contract.exclusive_price is not None and contract.exclusive_price < contract.price:
        mend = "Usually a lead sold to one buyer alone costs more; swap the two if they are mixed up"
        page.warn("exclusive_price", "it is less than price", mend)


def _judge_day(page: Page, contract: Contract) -> None:
    """Go-live, ramp and pacing: what grows or spreads over days."""
    if contract.go_live is not None:
        judge_date(page, "go_live", contract.go_live)
    day_limits = [
        cap.limit for cap in contract.caps if cap.per == "day" and cap.window == "calendar" and cap.limit is not None
    ]
    ramp = contract.ramp
    if contract.pacing == "even" and not day_limits and ramp is None:
        mend = 'Add a cap { per = "day", limit = 50 }, or take pacing out'
        page.warn("pacing", "pacing spreads the day cap, and there is none on leads, so it does nothing", mend)
    if ramp is None:
        return
    judge_at_least(page, "ramp.start", ramp.start, 0)
    judge_at_least(page, "ramp.step", ramp.step, 0)
    judge_range(page, "ramp.start", ramp.start, "until", ramp.until)
    judge_share(page, "ramp.hold_below_acceptance", ramp.hold_below_acceptance)
    if ramp.every <= 0 or ramp.every % NS_DAY:
        page.error("ramp.every", f'"{format_duration(ramp.every)}" is not whole days', 'Write "1d", "7d" or so')
    if contract.go_live is None:
        message = "is missing, and the ramp counts its days from it, so it never grows"
        page.warn("go_live", message, 'Write go_live = "2026-11-24" or so')
    highest = ramp.until if ramp.until is not None else None if ramp.step > 0 else ramp.start
    for limit in day_limits:
        if limit < ramp.start or (highest is not None and limit < highest):
            message = f"the day cap of {limit} is smaller than the ramp goes, so the ramp never gets there"
            page.warn("ramp", message, "Raise the cap, or let the ramp end at it")


def _judge_schedule(page: Page, contract: Contract) -> None:
    schedule = contract.schedule
    if schedule is None:
        return
    if not schedule.open:
        mend = 'Write open = ["Mon-Fri 08:00-18:00"], or take the schedule out for always'
        page.error("schedule.open", "no hours are named, so it never opens", mend)
    for index, entry in enumerate(schedule.open):
        try:
            parse_hours((entry,))
        except ValueError as error:
            page.error(f"schedule.open[{index}]", str(error), 'Write it as "Mon-Fri 08:00-18:00"')
    for index, text in enumerate(schedule.closed_dates):
        judge_date(page, f"schedule.closed_dates[{index}]", text)


def _judge_sla(page: Page, sla: Sla | None) -> None:
    if sla is not None:
        judge_positive(page, "sla.max_lead_age", sla.max_lead_age, "every lead would be too old")
        judge_positive(page, "sla.deliver_within", sla.deliver_within, "every delivery would be too late")


def _judge_consent(page: Page, contract: Contract) -> None:
    consent = contract.consent
    if consent is None:
        return
    judge_positive(page, "consent.max_age", consent.max_age, "every consent would be too old")
    if consent.names_seller is not None and not consent.names_seller.strip():
        page.error("consent.names_seller", "no seller is named", "Write the name consumers see, or take it out")


# -- held against the lead type ------------------------------------------------------------------


def _judge_against(page: Page, contract: Contract, buyer: Buyer, lead_type: LeadType) -> None:
    _judge_tier(page, contract, lead_type)
    _judge_queue(page, contract, lead_type)
    for index, node in enumerate(contract.criteria):
        judge_criterion(page, f"criteria[{index}]", node, lead_type)
    if contract.dedup is not None:
        judge_key_sets(page, "dedup.keys", contract.dedup.keys, lead_type)
    _judge_fields(page, contract, buyer, lead_type)
    named = contract.coverage is not None and not contract.coverage.everywhere
    if named and "postal_code" not in lead_type.fields and lead_type.unknown_fields != "keep":
        mend = f"Give {lead_type.id} a field postal_code of that type, or write everywhere = true"
        page.error("coverage", "leads of this type have no postal_code that coverage could be judged by", mend)


def _judge_tier(page: Page, contract: Contract, lead_type: LeadType) -> None:
    names = [tier.name for tier in lead_type.tiers] or [MAIN_TIER]
    known = contract.tier is None or judge_reference(
        page, "tier", contract.tier, names, f"tier of {lead_type.id} named"
    )
    tier = next((tier for tier in lead_type.tiers if tier.name == (contract.tier or names[0])), None)
    if not known or tier is None:
        return
    methods = {tier.method, tier.secondary}
    if "percentage" in methods and contract.share is None:
        page.error("share", f'is missing, and tier "{tier.name}" shares leads out by it', "Write share = 0.25 or so")
    if "distance" in methods and not (contract.coverage and contract.coverage.radius):
        message = f'is missing, and tier "{tier.name}" ranks by the distance from its centre'
        page.error("coverage.radius", message, 'Write radius = [{ center = "73301", miles = 25 }] or so')


def _judge_queue(page: Page, contract: Contract, lead_type: LeadType) -> None:
    queues = [("at_cap", contract.at_cap)]
    if contract.schedule is not None:
        queues.append(("schedule.when_closed", contract.schedule.when_closed))
    for key, what in queues:
        if what != "queue":
            continue
        if lead_type.queue is None:
            mend = f'Give {lead_type.id} a [queue] with hold_max = "4h" or so, or write "skip"'
            page.warn(key, f"leads of type {lead_type.id} may wait without end: it has no [queue]", mend)
        else:
            _warn_of_waiting(page, key, contract.sla, lead_type.queue.hold_max)


def _warn_of_waiting(page: Page, key: str, sla: Sla | None, hold_max: int) -> None:
    """`max_lead_age` counts on while a lead waits; `deliver_within` counts from its release."""
    if sla is not None and sla.max_lead_age is not None and sla.max_lead_age < hold_max:
        waits, least = format_duration(hold_max), format_duration(sla.max_lead_age)
        message = f"leads may wait {waits}, and sla.max_lead_age refuses them after {least}"
        page.warn(key, message, 'Write "skip", or allow for the wait')


def _judge_fields(page: Page, contract: Contract, buyer: Buyer, lead_type: LeadType) -> None:
    accepted = contract.fields
    for key in ("required", "optional"):
        names = getattr(accepted, key)
        judge_names(page, f"fields.{key}", names, lead_type)
        judge_distinct(page, f"fields.{key}", names)
    for index, name in enumerate(accepted.optional):
        if name in accepted.required:
            page.error(f"fields.optional[{index}]", f"{shown(name)} is required as well", "Take one of the two out")
    for name, rule in accepted.rules.items():
        judge_rule(page.at(below("fields.rules", name)), name, rule, lead_type)
    endpoint = buyer.endpoints.get(contract.endpoint)
    if endpoint is None:
        return
    sent = named_fields(endpoint)
    for index, name in enumerate(accepted.required):
        if name not in sent and (name in lead_type.fields or lead_type.unknown_fields == "keep"):
            mend = f'Put "{{{{{name}}}}}" into endpoints.{contract.endpoint}.body, or do not require it'
            message = f"the buyer requires {shown(name)}, and its endpoint never sends it"
            page.error(f"fields.required[{index}]", message, mend)
    if not accepted.required and not accepted.optional:
        mend = 'Write required = ["phone", "email"] or so: only accepted fields are sent'
        page.warn("fields", "no field is accepted, so the buyer gets none", mend)


# -- never ---------------------------------------------------------------------------------------


def _why_never(
    contract: Contract, buyer: Buyer, lead_type: LeadType, sources: list[Source]
) -> Iterator[tuple[str, str, str]]:
    """Why a live contract cannot win: (key, reason, mend)."""
    lowest, price = _prices(contract, lead_type)
    if lead_type.sell.floor is not None and price < lead_type.sell.floor:
        floor = format_money(lead_type.sell.floor)
        yield "price", f"{lead_type.id} is never sold below {floor}", "Raise the price, or lower sell.floor"
    yield from _why_no_source(contract, lead_type, sources, price)
    for index, cap in enumerate(contract.caps):
        if cap.limit == 0:
            yield f"caps[{index}].limit", "this cap is closed", 'If that is meant, status = "paused" says it better'
        elif cap.spend is not None and cap.spend < lowest:
            yield f"caps[{index}].spend", "one lead costs more than this", "Raise it"
    if contract.rate is not None and contract.rate.leads == 0:
        yield "rate.leads", "no lead is let through", 'If that is meant, status = "paused" says it better'
    if contract.ramp is not None and contract.ramp.start == 0 and contract.ramp.step == 0:
        yield "ramp", "it starts at no lead and never grows", "Write start = 10 or so"
    if buyer.max_in_flight == 0:
        yield "", "its buyer's max_in_flight is 0", "Write 1 or more"
    yield from _why_no_value(contract, lead_type)


def _prices(contract: Contract, lead_type: LeadType) -> tuple[int, int]:
    """The lowest and the highest price a lead of this type can be sold for under the contract."""
    alone = contract.price if contract.exclusive_price is None else contract.exclusive_price
    prices = {"exclusive": (alone,), "shared": (contract.price,), "best": (alone, contract.price)}[lead_type.sell.mode]
    return min(prices), max(prices)


def _why_no_source(
    contract: Contract, lead_type: LeadType, sources: Iterable[Source], price: int
) -> Iterator[tuple[str, str, str]]:
    senders = [source for source in sources if lead_type.id in source.lead_types]
    allowed = [
        source
        for source in senders
        if (_EVERY in contract.sources or source.id in contract.sources) and source.id not in contract.exclude_sources
    ]
    if senders and not allowed:
        message = f"none of its sources sends {lead_type.id}"
        yield "sources", message, f"Those that do are {', '.join(source.id for source in senders[:10])}"
    margin = lead_type.sell.margin_floor
    if margin is None or not allowed or lead_type.sell.mode != "exclusive":
        return
    cheapest = min(source.payout[lead_type.id].amount if lead_type.id in source.payout else 0 for source in allowed)
    if price < cheapest + margin:
        needed = format_money(cheapest + margin)
        yield "price", f"payout and sell.margin_floor of {lead_type.id} ask for {needed}", "Raise the price"


def _why_no_value(contract: Contract, lead_type: LeadType) -> Iterator[tuple[str, str, str]]:
    """Top-level criteria and required fields that no valid lead can meet."""
    for index, node in enumerate(contract.criteria):
        terms = lead_type.fields.get(node.field_ or "")
        if terms is None or terms.type not in NUMBERS:
            continue
        name = node.field_
        if isinstance(node.min, int | float) and terms.max is not None and node.min > terms.max:
            yield f"criteria[{index}].min", f"{name} is at most {terms.max} in {lead_type.id}", "Correct one of them"
        if isinstance(node.max, int | float) and terms.min is not None and node.max < terms.min:
            yield f"criteria[{index}].max", f"{name} is at least {terms.min} in {lead_type.id}", "Correct one of them"
