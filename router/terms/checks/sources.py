"""`sources/*.toml`: who sends us leads."""

from router.model.money import format_money
from router.terms.checks.caps import judge_caps, judge_rate
from router.terms.checks.never import takes_from
from router.terms.checks.page import Page
from router.terms.checks.values import (
    judge_distinct,
    judge_id,
    judge_positive,
    judge_reference,
    judge_token_hashes,
    shown,
)
from router.terms.decode import suggestion
from router.terms.enforced import MEND, NOT_YET, unenforced
from router.terms.flat_names import BESIDE_FIELDS, FLAT_NAMES
from router.terms.schema import LeadType, Source, Terms
from router.terms.template import below


def judge_source(page: Page, source: Source, terms: Terms) -> None:
    """One source, held against the lead types it may send."""
    judge_id(page, "id", source.id)
    judge_token_hashes(page, "token_sha256", source.token_sha256)
    if not source.token_sha256:
        page.warn("token_sha256", "without a token nobody can post as this source", "`lead-router token new` makes one")
    for key in unenforced(source):
        page.error(key, NOT_YET, MEND)
    _judge_lead_types(page, source, terms)
    judge_caps(page, source.caps)
    judge_rate(page, source.rate)
    if source.reply == "final":
        judge_positive(page, "wait", source.wait, "nobody waits for the sale")
    _judge_map(page, source, terms)


def _judge_lead_types(page: Page, source: Source, terms: Terms) -> None:
    if not source.lead_types:
        mend = f"Name some of {', '.join(sorted(terms.lead_types)) or 'your lead types'}"
        page.error("lead_types", "no lead type is named, so the source could post nothing", mend)
    judge_distinct(page, "lead_types", source.lead_types)
    for index, name in enumerate(source.lead_types):
        judge_reference(page, f"lead_types[{index}]", name, terms.lead_types, "lead type")
    for name, payout in source.payout.items():
        if judge_reference(page, below("payout", name), name, source.lead_types, "lead type of this source named"):
            _judge_payout(page, below("payout", name), int(payout.amount), source, terms.lead_types.get(name), terms)


def _judge_payout(page: Page, key: str, amount: int, source: Source, lead_type: LeadType | None, terms: Terms) -> None:
    """Warn of a payout that no live contract's price covers: every lead of the source would stay unsold."""
    if lead_type is None or lead_type.sell.mode != "exclusive" or lead_type.sell.margin_floor is None:
        return
    needed = amount + int(lead_type.sell.margin_floor)
    takers = (
        contract
        for buyer in terms.buyers.values()
        for contract in buyer.contracts
        if buyer.status == contract.status == "live" and contract.lead_type == lead_type.id
    )
    found = False
    for contract in takers:
        if not takes_from(contract, source):
            continue
        price = contract.price if contract.exclusive_price is None else contract.exclusive_price
        if price >= needed:
            return
        found = True
    if found:
        message = f"no live contract pays the {format_money(needed)} that this and sell.margin_floor ask for"
        page.warn(key, message, "Lower it, or find a buyer who pays more: until then its leads stay unsold")


def _judge_map(page: Page, source: Source, terms: Terms) -> None:
    kinds = [terms.lead_types[name] for name in source.lead_types if name in terms.lead_types]
    if not kinds or any(kind.unknown_fields == "keep" for kind in kinds):
        return
    known = {name for kind in kinds for name in kind.fields}
    for incoming, name in source.map.items():
        if name not in known and name not in FLAT_NAMES and name not in BESIDE_FIELDS:
            meant = suggestion(name, known)
            mend = f'Did you mean "{meant}"?' if meant else f"Its fields are {', '.join(sorted(known))}"
            message = f"no lead type of this source has a field {shown(name)}"
            page.error(below("map", incoming), message, mend)
