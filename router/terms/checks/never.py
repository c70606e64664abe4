"""Why a live contract can never win a lead, however many come: worth a warning, since nobody would notice it.

Only what is certain is said: tests that contradict each other or the schema, money that does not suffice, limits that
are closed, sources that send nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeGuard

from router.model.money import format_money
from router.terms.checks.fields import NUMBERS
from router.terms.schema import Buyer, Cap, Contract, Criterion, FieldRule, FieldTerms, LeadType, Scalar, Source

_EVERY: Final = "*"
_PAUSED: Final = 'If that is meant, status = "paused" says it better'

Why = tuple[str, str, str]  # key, reason, mend


def why_never(contract: Contract, buyer: Buyer, lead_type: LeadType, sources: Sequence[Source]) -> Iterator[Why]:
    """Every reason, with its key in the contract."""
    lowest, price = _prices(contract, buyer, lead_type)
    if lead_type.sell.floor is not None and price < lead_type.sell.floor:
        floor = format_money(lead_type.sell.floor)
        yield "price", f"{lead_type.id} is never sold below {floor}", "Raise the price, or lower sell.floor"
    yield from _no_source(contract, lead_type, sources, price)
    yield from _no_room("caps", contract.caps, lowest)
    for _, reason, mend in _no_room("caps", buyer.caps, lowest):
        yield "", f"its buyer's caps leave no room: {reason}", mend
    if contract.rate is not None and contract.rate.leads == 0:
        yield "rate.leads", "no lead is let through", _PAUSED
    if contract.ramp is not None and contract.ramp.start == 0 and contract.ramp.step == 0:
        yield "ramp", "it starts at no lead and never grows", "Write start = 10 or so"
    if buyer.max_in_flight == 0:
        yield "", "its buyer's max_in_flight is 0", "Write 1 or more"
    yield from _no_value(contract, lead_type)


def _prices(contract: Contract, buyer: Buyer, lead_type: LeadType) -> tuple[int, float]:
    """The lowest and the highest price a lead of this type can be sold for under the contract."""
    endpoint = buyer.endpoints.get(contract.endpoint)
    if endpoint is not None and endpoint.ping is not None:
        return contract.min_bid or 0, math.inf
    alone = contract.price if contract.exclusive_price is None else contract.exclusive_price
    prices = {"exclusive": (alone,), "shared": (contract.price,), "best": (alone, contract.price)}[lead_type.sell.mode]
    return min(prices), max(prices)


def _no_room(key: str, caps: Sequence[Cap], lowest: int) -> Iterator[Why]:
    for index, cap in enumerate(caps):
        if cap.limit == 0:
            yield f"{key}[{index}].limit", "this cap is closed", _PAUSED
        elif cap.spend is not None and cap.spend < lowest:
            yield f"{key}[{index}].spend", "one lead costs more than this", "Raise it"


def takes_from(contract: Contract, source: Source) -> bool:
    """Whether the contract takes leads of this source, and the source sends that type."""
    named = _EVERY in contract.sources or source.id in contract.sources
    return named and source.id not in contract.exclude_sources and contract.lead_type in source.lead_types


def _no_source(contract: Contract, lead_type: LeadType, sources: Iterable[Source], price: float) -> Iterator[Why]:
    senders = [source for source in sources if lead_type.id in source.lead_types]
    allowed = [source for source in senders if takes_from(contract, source)]
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


# -- values --------------------------------------------------------------------------------------


class _Test(NamedTuple):
    """One test that every lead must pass: where it stands, and what it is put to."""

    key: str
    node: Criterion | FieldRule


def _no_value(contract: Contract, lead_type: LeadType) -> Iterator[Why]:
    """Fields whose tests no value passes: those of criteria, of rules for fields that must be there, of the schema."""
    tests: dict[str, list[_Test]] = {}
    for name, test in _tests(contract):
        tests.setdefault(name, []).append(test)
    for name, together in tests.items():
        terms = lead_type.fields.get(name)
        if terms is not None:
            yield from _contradiction(name, together, terms, lead_type)


def _tests(contract: Contract) -> Iterator[tuple[str, _Test]]:
    """(field, test) of everything that must hold; a rule counts where its field has to be there."""
    asked = set(contract.fields.required)
    for index, node in enumerate(contract.criteria):
        for key, leaf in _leaves(f"criteria[{index}]", node):
            if leaf.field_ is not None and leaf.missing == "fail":
                asked.add(leaf.field_)
                yield leaf.field_, _Test(key, leaf)
    for name, rule in contract.fields.rules.items():
        if name in asked:
            yield name, _Test(f"fields.rules.{name}", rule)


def _leaves(key: str, node: Criterion) -> Iterator[tuple[str, Criterion]]:
    """Leaves that must all hold."""
    if node.field_ is not None:
        yield key, node
    for index, part in enumerate(node.all_ or ()):
        yield from _leaves(f"{key}.all[{index}]", part)


def _contradiction(name: str, tests: Sequence[_Test], terms: FieldTerms, lead_type: LeadType) -> Iterator[Why]:
    """What nothing passes: a test against the schema, else the first two tests against each other."""
    beyond = list(_beyond(name, tests, terms, lead_type)) if terms.type in NUMBERS else []
    if beyond:
        yield from beyond
        return
    low, high = _bound(tests, "min", highest=True), _bound(tests, "max", highest=False)
    if low is not None and high is not None and low[1] > high[1]:
        message = f"{name} would have to be at least {low[1]} and at most {high[1]} ({low[0]}, {high[0]})"
        yield high[0], message, "Correct one of them"
        return
    yield from _no_choice(name, tests, terms, low, high)


def _beyond(name: str, tests: Sequence[_Test], terms: FieldTerms, lead_type: LeadType) -> Iterator[Why]:
    for key, node in tests:
        if _is_number(node.min) and terms.max is not None and node.min > terms.max:
            yield f"{key}.min", f"{name} is at most {terms.max:g} in {lead_type.id}", "Correct one of them"
        if _is_number(node.max) and terms.min is not None and node.max < terms.min:
            yield f"{key}.max", f"{name} is at least {terms.min:g} in {lead_type.id}", "Correct one of them"


Bound = tuple[str, float | int]


def _bound(tests: Sequence[_Test], name: str, *, highest: bool) -> Bound | None:
    found = [(key, value) for key, node in tests if _is_number(value := getattr(node, name))]
    return sorted(found, key=lambda one: one[1], reverse=highest)[0] if found else None


def _no_choice(
    name: str, tests: Sequence[_Test], terms: FieldTerms, low: Bound | None, high: Bound | None
) -> Iterator[Why]:
    """Choices that leave none together: `equals`, `one_of`, `not_one_of`, the bounds, the values of an enum."""
    left: set[tuple[type, Scalar]] | None = None
    if terms.type == "enum":
        left = {(str, one) for one in terms.one_of or ()}
    elif terms.type == "boolean":
        left = {(bool, True), (bool, False)}
    for key, node in tests:
        chosen = _chosen(node)
        if chosen is not None:
            left = chosen if left is None else left & chosen
        if left is not None:
            left = {one for one in left if one[1] not in (node.not_one_of or ()) and _within(one[1], low, high)}
            if not left:
                yield key, f"no value of {name} is left by all that is asked of it", "Correct one of them"
                return


def _chosen(node: Criterion | FieldRule) -> set[tuple[type, Scalar]] | None:
    """Values by their type, so that `true` is not `1`; numbers are one type."""
    values: list[Scalar] | None = None if node.one_of is None else list(node.one_of)
    if isinstance(node, Criterion) and node.equals is not None:
        values = [node.equals] if values is None else [one for one in values if one == node.equals]
    return None if values is None else {(float if _is_number(one) else type(one), one) for one in values}


def _within(value: Scalar, low: Bound | None, high: Bound | None) -> bool:
    if not _is_number(value):
        return True
    return (low is None or low[1] <= value) and (high is None or value <= high[1])


def _is_number(value: object) -> TypeGuard[float | int]:
    return isinstance(value, int | float) and not isinstance(value, bool)
