"""Judges decoded terms together: what cannot work is an error, what is probably wrong a warning.

The daemon takes no terms with an error in them, so whatever routing relies on is made sure of here, once, and not on
every lead. Each file's judges live in `terms.checks`; this module walks over everything and adds what only shows
when all is seen at once.
"""

from collections.abc import Iterable

from router.model.addresses import Network, networks
from router.terms.checks.caps import judge_caps
from router.terms.checks.contracts import judge_contract
from router.terms.checks.endpoints import judge_endpoint, judge_left_out
from router.terms.checks.lead_types import judge_lead_type
from router.terms.checks.page import Page
from router.terms.checks.router_file import judge_router
from router.terms.checks.sources import judge_source
from router.terms.checks.territory import judge_coverage, judge_gaps, judge_overlaps
from router.terms.checks.values import (
    judge_at_least,
    judge_id,
    judge_token_hashes,
    judge_zone,
)
from router.terms.coverage import Coverage, any_in_use
from router.terms.enforced import MEND, NOT_YET, unenforced
from router.terms.problems import Problem
from router.terms.schema import Buyer, Contract, LeadType, Terms
from router.terms.secrets import live_endpoints
from router.terms.template import below

_ROUTER: str = "router.toml"
_SHARE_SLACK = 1e-9


def check(terms: Terms) -> list[Problem]:
    """Every finding about these terms, files in the order operator, lead types, sources, buyers.

    Secrets are not looked for here (`Secrets.missing` does), and no file is read.
    """
    page = Page(_ROUTER)
    judge_router(page, terms.router)
    problems = page.problems
    coverages: dict[str, list[Coverage]] = {kind: [] for kind in terms.lead_types}
    from_buyers: list[Problem] = []
    for buyer in terms.buyers.values():
        found, covered = _judge_buyer(buyer, terms)
        from_buyers += found
        for contract, coverage in covered:
            coverages.setdefault(contract.lead_type, []).append(coverage)
    for lead_type in terms.lead_types.values():
        page = Page(_place(terms, "lead_type", lead_type.id))
        judge_lead_type(page, lead_type)
        judge_gaps(page, coverages[lead_type.id])
        _judge_trade(page, lead_type, terms, covered=bool(coverages[lead_type.id]))
        problems += page.problems
    for source in terms.sources.values():
        page = Page(_place(terms, "source", source.id))
        judge_source(page, source, terms)
        problems += page.problems
    return problems + from_buyers + _across(terms)


def check_buyer(terms: Terms, buyer_id: str) -> list[Problem]:
    """The findings that putting this one buyer in place can bring: its own, and those across all terms."""
    return _judge_buyer(terms.buyers[buyer_id], terms)[0] + _across(terms)


def _place(terms: Terms, word: str, own_id: str) -> str:
    return terms.places.get(f"{word}:{own_id}", f"{word}s/{own_id}.toml")


def _allowed(terms: Terms) -> tuple[Network, ...]:
    try:
        return networks(terms.router.network.allow_private)
    except ValueError:
        return ()  # judge_router says which range is wrong


# -- one buyer -----------------------------------------------------------------------------------


def _judge_buyer(buyer: Buyer, terms: Terms) -> tuple[list[Problem], list[tuple[Contract, Coverage]]]:
    """A buyer's findings, and what its live contracts cover."""
    page = Page(_place(terms, "buyer", buyer.id))
    judge_id(page, "id", buyer.id)
    if not buyer.name.strip():
        page.error("name", "is empty, and invoices need it", "Write the buyer's legal name")
    for key in unenforced(buyer):
        page.error(key, NOT_YET, MEND)
    if buyer.time_zone is not None:
        judge_zone(page, "time_zone", buyer.time_zone)
    judge_token_hashes(page, "token_sha256", buyer.token_sha256)
    judge_caps(page, buyer.caps)
    judge_at_least(page, "max_in_flight", buyer.max_in_flight, 0)
    _judge_endpoints(page, buyer, terms)
    live: list[tuple[int, Contract, Coverage]] = []
    for index, contract in enumerate(buyer.contracts):
        place = page.at(f"contracts[{index}]")
        judge_contract(place, contract, buyer, terms)
        coverage = judge_coverage(place, contract, terms)
        if coverage is not None and contract.status == "live" and buyer.status == "live":
            live.append((index, contract, coverage))
            if not any_in_use(coverage):
                mend = "Correct its codes, or ask the buyer for its list"
                place.warn("coverage", "this contract can never win a lead: it covers no postal code in use", mend)
    if len(live) > 1:
        judge_overlaps(page, live)
    return page.problems, [(contract, coverage) for _, contract, coverage in live]


def _judge_endpoints(page: Page, buyer: Buyer, terms: Terms) -> None:
    allow = _allowed(terms)
    for name, endpoint in buyer.endpoints.items():
        using = [contract for contract in buyer.contracts if contract.endpoint == name]
        kinds = {contract.lead_type for contract in using}
        lead_types = [terms.lead_types[kind] for kind in sorted(kinds) if kind in terms.lead_types]
        place = page.at(below("endpoints", name))
        judge_endpoint(place, name, endpoint, lead_types=lead_types, allow=allow, http=terms.router.network.allow_http)
        judge_left_out(place, endpoint, using, lead_types)
        if not using:
            place.warn("", "no contract of this buyer uses it", "Name it in a contract, or take it out")
        if terms.router.onboarding.require_certified and endpoint.test_url is None and name in live_endpoints(buyer):
            mend = "Ask the buyer for a sandbox and set its test_url"
            message = "it cannot be certified without a test_url, and onboarding.require_certified wants that"
            place.warn("", f"{message}: its contracts get no leads", mend)


def _judge_trade(page: Page, lead_type: LeadType, terms: Terms, *, covered: bool) -> None:
    """Warn of a lead type that nobody sends or nobody buys."""
    if not any(lead_type.id in source.lead_types for source in terms.sources.values()):
        page.warn("", "no source sends leads of this type", "Add it to the lead_types of a source, or take it out")
    if not covered:
        page.warn(
            "", "no live contract buys leads of this type, so every one stays unsold", "Find a buyer, or take it out"
        )


# -- across files --------------------------------------------------------------------------------


def _across(terms: Terms) -> list[Problem]:
    return [*_shared_tokens(terms), *_shares(terms)]


def _shared_tokens(terms: Terms) -> list[Problem]:
    """One token for two owners would make one act as the other."""
    problems: list[Problem] = []
    first: dict[str, str] = {}
    for file, key, token, owner in _tokens(terms):
        other = first.setdefault(token, owner)
        if other != owner:
            message = f"{other} has this token too, and one could act as the other"
            problems.append(Problem(file, key, message, "`lead-router token new` makes another one"))
    return problems


def _tokens(terms: Terms) -> Iterable[tuple[str, str, str, str]]:
    for name, operator in terms.router.operators.items():
        yield _ROUTER, below("operators", name) + ".token_sha256", operator.token_sha256, f"operator {name}"
    for word, owners in (("source", terms.sources.values()), ("buyer", terms.buyers.values())):
        for owner in owners:
            for index, token in enumerate(owner.token_sha256):
                yield _place(terms, word, owner.id), f"token_sha256[{index}]", token, f"{word} {owner.id}"


def _shares(terms: Terms) -> list[Problem]:
    """Shares of a tier that hands leads out by percentage add up to one at most."""
    problems: list[Problem] = []
    for lead_type in terms.lead_types.values():
        for index, tier in enumerate(lead_type.tiers):
            if "percentage" not in (tier.method, tier.secondary):
                continue
            members = [
                contract
                for buyer in terms.buyers.values()
                for contract in buyer.contracts
                if contract.lead_type == lead_type.id
                and (contract.tier or lead_type.tiers[0].name) == tier.name
                and "closed" not in (contract.status, buyer.status)
            ]
            total = sum(contract.share or 0 for contract in members)
            if total > 1 + _SHARE_SLACK:
                names = ", ".join(contract.id for contract in members[:10])
                message = f'the shares of tier "{tier.name}" add up to {total:g}, more than there is ({names})'
                file = _place(terms, "lead_type", lead_type.id)
                problems.append(Problem(file, f"tiers[{index}]", message, "Lower them to 1 together"))
    return problems
