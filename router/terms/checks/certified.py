"""Which endpoints of live contracts were never certified as they are now. What was certified stands in the ledger."""

from collections.abc import Iterator, Mapping
from typing import Final

from router.terms.endpoint import endpoint_version
from router.terms.problems import Problem
from router.terms.schema import Buyer, Terms
from router.terms.steps import Steps, at_once
from router.terms.template import below

#: So many are named; the rest is counted.
NAMED_MAX: Final = 20
_BUYERS: Final = 16


def judge_certified(terms: Terms, certified: Mapping[str, str | None]) -> list[Problem]:
    """A warning for each; `certified` maps `"buyer/endpoint"` to the version that passed last."""
    return at_once(judging_certified(terms, certified))


def judging_certified(terms: Terms, certified: Mapping[str, str | None]) -> Steps[list[Problem]]:
    """`judge_certified` in steps, a few buyers each."""
    found: list[Problem] = []
    for place, buyer in enumerate(terms.buyers.values()):
        found += _of_buyer(terms, buyer, certified)
        if not place % _BUYERS:
            yield
    if len(found) <= NAMED_MAX:
        return found
    more = f"{len(found) - NAMED_MAX} endpoints more are not certified as they are now"
    return [*found[:NAMED_MAX], Problem("buyers", "", more, "Certify them too", "warning")]


def _of_buyer(terms: Terms, buyer: Buyer, certified: Mapping[str, str | None]) -> Iterator[Problem]:
    live = [contract for contract in buyer.contracts if contract.status == "live" and buyer.status == "live"]
    for name in dict.fromkeys(contract.endpoint for contract in live):
        endpoint = buyer.endpoints[name]
        if certified.get(f"{buyer.id}/{name}") == endpoint_version(endpoint):
            continue
        message = "live contracts use this endpoint, and it is not certified as it is now"
        if terms.router.onboarding.require_certified:
            message += ": they get no leads (onboarding.require_certified)"
        mend = f"`lead-router certify {buyer.id} --endpoint {name}` posts test leads to its test_url"
        if endpoint.test_url is None:
            mend = "Ask the buyer for a sandbox and set its test_url; then certify it"
        yield Problem(terms.places.get(f"buyer:{buyer.id}", ""), below("endpoints", name), message, mend, "warning")
