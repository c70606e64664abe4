"""Static rules: source, coverage, fields, consent, criteria, price. They depend on lead and terms alone."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Final, Literal

from router.core.calendar import local
from router.core.certificates import jornaya_ok, trustedform_ok
from router.core.rules.criteria import holds, rule_holds, say, seen
from router.core.rules.finding import Finding, shown
from router.model.lead import Consent, Lead
from router.model.money import format_money
from router.model.times import format_age, format_duration
from router.terms.book import Book, ContractPlan

#: How a lead is sold: to one buyer, or as copies to several.
Mode = Literal["exclusive", "shared"]
_Rule = Callable[[Book, ContractPlan, Lead], Iterator[Finding]]


def source_rule(_book: Book, plan: ContractPlan, lead: Lead) -> Iterator[Finding]:
    """`source_not_allowed`: the contract takes leads of some sources only."""
    if not source_allowed(plan, lead.source_id):
        wanted = ", ".join(plan.terms.sources) + "".join(f", not {one}" for one in plan.terms.exclude_sources)
        yield Finding("source_not_allowed", wanted, lead.source_id)


def source_allowed(plan: ContractPlan, source_id: str) -> bool:
    """Whether the contract takes leads of this source."""
    terms = plan.terms
    return source_id not in terms.exclude_sources and ("*" in terms.sources or source_id in terms.sources)


def coverage_rule(_book: Book, plan: ContractPlan, lead: Lead) -> Iterator[Finding]:
    """`out_of_coverage`: the lead's postal code is not covered, or is excluded."""
    if covers(plan, lead):
        return
    code = lead.postal_code
    if code is None:
        yield Finding("out_of_coverage", "a covered postal code", "no postal code")
    elif plan.coverage.country != lead.country:
        yield Finding("out_of_coverage", f"a postal code in {plan.coverage.country}", f"{code} in {lead.country}")
    else:
        excluded = plan.coverage.exclusion_for(code)
        wanted = f"not excluded by {excluded.label}" if excluded else "a covered postal code"
        yield Finding("out_of_coverage", wanted, code)


def covers(plan: ContractPlan, lead: Lead) -> bool:
    """Whether the lead lies in the contract's coverage; without a postal code only `everywhere` covers it."""
    coverage = plan.coverage
    if lead.country != coverage.country:
        return False
    code = lead.postal_code
    return coverage.everywhere if code is None else coverage.allows(code)


def fields_rule(book: Book, plan: ContractPlan, lead: Lead) -> Iterator[Finding]:
    """`field_missing` for a required field that is absent, `field_invalid` for a present one that fails its rule."""
    accepted, schema = plan.terms.fields, book.lead_types[lead.lead_type].fields
    for name in accepted.required:
        if name not in lead.fields:
            yield Finding("field_missing", name, "missing")
    for name, rule in accepted.rules.items():
        value = lead.fields.get(name)
        if value is not None and not rule_holds(rule, value, received_day(plan, lead)):
            yield Finding("field_invalid", say(rule, name), shown(value, schema.get(name)))


def received_day(plan: ContractPlan, lead: Lead) -> date:
    """The local date of receipt, which ages are counted to."""
    return local(lead.received_at_ns, plan.zone).date()


def consent_rule(_book: Book, plan: ContractPlan, lead: Lead) -> Iterator[Finding]:
    """Every consent rule that fails; no consent at all is `consent_missing` alone."""
    terms, consent = plan.terms.consent, lead.consent
    if terms is None:
        return
    if consent is None:
        if terms.required:
            yield Finding("consent_missing", "consent", "none")
        return
    if terms.text and not consent.text:
        yield Finding("consent_missing", "text", "no disclosure text")
    if terms.max_age is not None and not consent_fresh(consent, lead, terms.max_age):
        wanted = f"given at most {format_duration(terms.max_age)} before receipt"
        age = "no time given" if consent.given_at_ns is None else format_age(_consent_age(consent, lead))
        yield Finding("consent_expired", wanted, age)
    if terms.names_seller is not None and seller_key(terms.names_seller) not in map(seller_key, consent.sellers):
        actual = f"{len(consent.sellers)} other sellers named" if consent.sellers else "no seller named"
        yield Finding("consent_seller_not_named", terms.names_seller, actual)
    if terms.certificates and not set(terms.certificates) & set(certificates_of(consent)):
        yield Finding("certificate_missing", " or ".join(terms.certificates), _certificates_seen(consent))


def _consent_age(consent: Consent, lead: Lead) -> int:
    assert consent.given_at_ns is not None
    return max(0, lead.received_at_ns - consent.given_at_ns)


def consent_fresh(consent: Consent, lead: Lead, max_age_ns: int) -> bool:
    """Whether consent was given at most so long before receipt; one without a time is not."""
    return consent.given_at_ns is not None and _consent_age(consent, lead) <= max_age_ns


def seller_key(name: str) -> str:
    """Seller names compare without regard to case and spacing."""
    return " ".join(name.split()).casefold()


def certificates_of(consent: Consent) -> tuple[str, ...]:
    """The kinds of well-formed certificates that came with the consent."""
    found = []
    if consent.trustedform_cert_url is not None and trustedform_ok(consent.trustedform_cert_url):
        found.append("trustedform")
    if consent.jornaya_lead_id is not None and jornaya_ok(consent.jornaya_lead_id):
        found.append("jornaya")
    return tuple(found)


def _certificates_seen(consent: Consent) -> str:
    given = [
        name
        for name, value in (("trustedform", consent.trustedform_cert_url), ("jornaya", consent.jornaya_lead_id))
        if value
    ]
    well_formed = certificates_of(consent)
    return ", ".join(one if one in well_formed else f"{one} (malformed)" for one in given) or "none"


def criteria_rule(book: Book, plan: ContractPlan, lead: Lead) -> Iterator[Finding]:
    """`criteria_failed` once for every top-level criterion that is not true."""
    for node in plan.terms.criteria:
        if holds(node, lead.fields) is not True:
            actual = seen(node, lead.fields, book.lead_types[lead.lead_type].fields)
            yield Finding("criteria_failed", say(node), actual)


def price_rule(book: Book, plan: ContractPlan, lead: Lead, price: int, mode: Mode) -> Iterator[Finding]:
    """`below_floor` and, where what the source is paid is known per copy, `below_margin`."""
    sell = book.lead_types[lead.lead_type].sell
    if sell.floor is not None and price < sell.floor:
        yield Finding("below_floor", f"at least {format_money(sell.floor)}", format_money(price))
    least = margin_price(book, lead.lead_type, lead.source_id, mode)
    if least is not None and price < least:
        yield Finding("below_margin", f"at least {format_money(least)}", format_money(price))


def margin_price(book: Book, lead_type: str, source_id: str, mode: Mode) -> int | None:
    """The least price of one copy that keeps the margin, minor units; None where no margin is asked of a copy.

    A payout per accepted lead is spread over all copies of a shared lead, so there the sum is judged instead
    (`core.decide`).
    """
    sell = book.lead_types[lead_type].sell
    if sell.margin_floor is None:
        return None
    source = book.sources.get(source_id)
    payout = source.payout.get(lead_type) if source else None
    if payout is not None and payout.per == "accepted_lead" and mode == "shared":
        return None
    return (0 if payout is None else int(payout.amount)) + int(sell.margin_floor)


#: The static rules that need no price, in the order of SPEC section 3.
STATIC: Final[tuple[_Rule, ...]] = (source_rule, coverage_rule, fields_rule, consent_rule, criteria_rule)
