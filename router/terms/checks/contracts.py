"""Contracts: references, values, and what can never work, held against lead type, sources and buyer."""

from typing import Final

from router.model.times import NS_DAY, format_duration
from router.terms.checks.caps import judge_caps, judge_rate
from router.terms.checks.endpoints import named_fields
from router.terms.checks.fields import (
    judge_criterion,
    judge_key_sets,
    judge_names,
    judge_rule,
)
from router.terms.checks.guards import judge_guards
from router.terms.checks.never import why_never
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
from router.terms.schema import Buyer, Contract, Endpoint, LeadType, Sla, Terms
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
            for key, reason, mend in why_never(contract, buyer, lead_type, list(terms.sources.values())):
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
    _judge_bids(page, contract, buyer)
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


def _judge_bids(page: Page, contract: Contract, buyer: Buyer) -> None:
    endpoint = buyer.endpoints.get(contract.endpoint)
    if contract.min_bid is not None and endpoint is not None and endpoint.ping is None:
        mend = f"Give the endpoint a [endpoints.{contract.endpoint}.ping], or take it out: the price is fixed"
        page.error("min_bid", f"endpoint {shown(contract.endpoint)} asks for no bid", mend)


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
        hold_max = None if lead_type.queue is None else lead_type.queue.hold_max
        if hold_max is None:
            mend = f'Give {lead_type.id} a [queue] with hold_max = "4h" or so, or write "skip"'
            page.warn(key, f"leads of type {lead_type.id} may wait without end: it has no [queue]", mend)
        _warn_of_waiting(page, key, contract.sla, hold_max)


def _warn_of_waiting(page: Page, key: str, sla: Sla | None, hold_max: int | None) -> None:
    """`max_lead_age` counts on while a lead waits; `deliver_within` counts from its release."""
    if sla is not None and sla.max_lead_age is not None and (hold_max is None or sla.max_lead_age < hold_max):
        waits = "without end" if hold_max is None else format_duration(hold_max)
        least = format_duration(sla.max_lead_age)
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
    _judge_time_left(page, contract, endpoint, lead_type)
    sent = named_fields(endpoint)
    for index, name in enumerate(accepted.required):
        if name not in sent and (name in lead_type.fields or lead_type.unknown_fields == "keep"):
            mend = f'Put "{{{{{name}}}}}" into endpoints.{contract.endpoint}.body, or do not require it'
            message = f"the buyer requires {shown(name)}, and its endpoint never sends it"
            page.error(f"fields.required[{index}]", message, mend)
    if not accepted.required and not accepted.optional:
        mend = 'Write required = ["phone", "email"] or so: only accepted fields are sent'
        page.warn("fields", "no field is accepted, so the buyer gets none", mend)


def _judge_time_left(page: Page, contract: Contract, endpoint: Endpoint, lead_type: LeadType) -> None:
    """What the buyer's own timeout leaves of the time there is."""
    timeout, within = endpoint.timeout, contract.sla.deliver_within if contract.sla is not None else None
    takes = format_duration(timeout)
    if within is not None and timeout > within:
        message = f"an answer may take the endpoint's {takes}, and after {format_duration(within)} it is late"
        page.warn("sla.deliver_within", message, "Shorten the endpoint's timeout, or allow for it")
    if timeout > lead_type.deadline:
        whole = format_duration(lead_type.deadline)
        message = (
            f"the endpoint may take {takes} of the {whole} that {lead_type.id} has: none is left for the next buyer"
        )
        page.warn("endpoint", message, "Shorten the endpoint's timeout, or lengthen the deadline of the lead type")
