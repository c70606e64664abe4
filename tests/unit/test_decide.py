"""Decisions in single steps: which code a refusal has, and until when an answer is remembered."""

from typing import Any

import pytest

from router.core.decide import Choice
from router.model.facts import Paused
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE
from tests import factory
from tests.property.worlds import World

PHONE_ONCE = {"keys": [["phone"]], "window": "30d"}
ONE_AN_HOUR = [{"id": "hourly", "per": "hour", "limit": 1}]


def world(**terms: Any) -> World:
    """One buyer with one contract `c` of these terms."""
    return World(factory.book(factory.buyer("b", factory.contract("c", **terms))))


def ask(one: World, lead_id: str = "other", **fields: Any) -> Choice:
    """What would be decided now."""
    return one.ask(factory.lead(lead_id, at_ns=one.now_ns, **fields))[0]


@pytest.mark.parametrize(
    ("terms", "age_ns", "pause", "code"),
    [
        ({"dedup": PHONE_ONCE, "caps": ONE_AN_HOUR}, 0, False, "duplicate"),
        ({"dedup": PHONE_ONCE, "rate": {"leads": 1, "per": "minute"}}, 0, False, "duplicate"),
        ({"dedup": PHONE_ONCE, "caps": ONE_AN_HOUR, "sla": {"max_lead_age": "10m"}}, NS_HOUR, False, "lead_too_old"),
        ({"dedup": PHONE_ONCE, "sla": {"max_lead_age": "10m"}}, NS_HOUR, True, "paused"),
        ({"dedup": PHONE_ONCE, "caps": ONE_AN_HOUR}, 0, True, "paused"),
    ],
)
def test_a_refusal_has_the_code_of_the_first_rule_that_fails(
    terms: dict[str, Any], age_ns: int, pause: bool, code: str
) -> None:
    """Whatever the fast path asks first, what it records is the first failure in the order of SPEC section 3."""
    one = world(**terms)
    one.sell(factory.lead())
    if pause:
        one.note(Paused(subject="contract", id="c", reason="test", by="operator:test"))
    choice = one.ask(factory.lead("other", age_ns=age_ns))[0]
    assert choice.blocked == {code: 1}
    assert not choice.eligible


def test_a_remembered_refusal_gives_way_to_an_earlier_rule() -> None:
    """A contract that is full until midnight is out of schedule once it has closed."""
    one = world(caps=[{"id": "daily", "per": "day", "limit": 1}], schedule={"open": ["08:00-13:00"]})
    one.sell(factory.lead())
    one.edit(one.book)  # what was remembered before it was full is forgotten
    assert list(ask(one).blocked) == ["cap_reached"]
    one.now_ns += 2 * NS_HOUR
    assert list(ask(one).blocked) == ["out_of_schedule"]


def test_a_clock_that_stepped_back_comes_to_a_full_window_again() -> None:
    """An hour before the one in which the cap was used up there is room; when that hour comes, there is none."""
    one = world(caps=ONE_AN_HOUR)
    one.sell(factory.lead())
    one.now_ns -= NS_HOUR
    assert ask(one).winners
    one.now_ns += NS_HOUR + NS_MINUTE
    assert list(ask(one).blocked) == ["cap_reached"]


def test_a_paced_day_begins_with_nothing_granted() -> None:
    """At midnight to the nanosecond no open time has elapsed yet."""
    one = world(caps=[{"id": "daily", "per": "day", "limit": 5}], pacing="even")
    assert ask(one).winners
    one.now_ns += NS_DAY - 12 * NS_HOUR
    assert list(ask(one).blocked) == ["paced"]
    one.now_ns += 1
    assert ask(one).winners


def test_contracts_that_the_method_leaves_equal_share_by_the_secondary() -> None:
    """Three of one price, ranked by price and then by weight, get their weights' parts; the cheaper one nothing."""
    buyers = [
        factory.buyer(f"b{weight}", factory.contract(f"c{weight}", weight=weight, price=price))
        for weight, price in [(1, "10.00"), (2, "10.00"), (3, "10.00"), (9, "5.00")]
    ]
    tiers = [{"name": "main", "method": "price", "secondary": "weighted"}]
    one = World(factory.book(*buyers, lead_type={"tiers": tiers}))
    won = [choice.board.ids[choice.winners[0]] for choice in (one.sell(factory.lead(f"lead-{n}")) for n in range(12))]
    assert {name: won.count(name) for name in won} == {"c3": 6, "c2": 4, "c1": 2}


def test_a_sale_from_before_the_set_of_contracts_changed_is_not_taken_back_from_after_it() -> None:
    """Percentages count anew with another set of contracts; what is declined later is none of theirs."""
    tiers = {"tiers": [{"name": "main", "method": "percentage"}]}
    buyers = [factory.buyer(f"b{n}", factory.contract(f"c{n}", share=0.5)) for n in range(3)]
    one = World(factory.book(*buyers[:2], lead_type=tiers))
    one.sell(factory.lead("lead-1"))
    one.edit(factory.book(*buyers, lead_type=tiers))
    one.sell(factory.lead("lead-2"))
    one.settle("d1", "rejected")  # the next in rank has it now
    assert one.state.rotations["solar/main"].sold == {"c0": 1, "c1": 1}


def test_copies_by_weight_are_one_a_lead_at_most() -> None:
    """Who would be due more than one of two copies gets one of each lead; the others share what is left."""
    buyers = [
        factory.buyer(f"b{n}", factory.contract(f"c{n}", weight=weight), max_in_flight=90)
        for n, weight in enumerate((90, 6, 3))
    ]
    tiers = [{"name": "main", "method": "weighted"}]
    one = World(
        factory.book(*buyers, lead_type={"tiers": tiers, "sell": {"mode": "shared", "max_copies": 2, "parallel": 2}})
    )
    won = []
    for number in range(90):
        choice = one.sell(factory.lead(f"lead-{number}"))
        won += [choice.board.ids[rank] for rank in choice.winners]
    assert {name: won.count(name) for name in won} == {"c0": 90, "c1": 60, "c2": 30}


def test_who_weighs_nothing_has_what_nobody_else_can_take() -> None:
    """Beside a contract with a weight it gets no lead; among themselves such contracts go by id, and nothing breaks."""
    buyers = [factory.buyer(f"b{n}", factory.contract(f"c{n}", weight=weight)) for n, weight in enumerate((0, 0, 1))]
    one = World(factory.book(*buyers, lead_type={"tiers": [{"name": "main", "method": "weighted"}]}))
    won = [one.sell(factory.lead(f"lead-{number}")) for number in range(5)]
    assert {choice.board.ids[choice.winners[0]] for choice in won} == {"c2"}
    one.note(Paused(subject="contract", id="c2", reason="test", by="operator:test"))
    last = one.sell(factory.lead("lead-6"))
    assert last.board.ids[last.winners[0]] == "c0"


@pytest.mark.parametrize("method", ["round_robin", "weighted", "percentage"])
def test_a_tier_that_takes_turns_stands_behind_one_that_does_not(method: str) -> None:
    """The first in rank is known at once, and the ranking still holds everybody: who declines is not the end."""
    behind = [factory.buyer(name, factory.contract(f"c-{name}", tier="rest", share=0.5)) for name in "ab"]
    first = factory.buyer("first", factory.contract("c-first", tier="main"))
    tiers = [{"name": "main", "method": "price"}, {"name": "rest", "method": method}]
    one = World(factory.book(first, *behind, lead_type={"tiers": tiers}))
    choice = one.sell(factory.lead())
    assert [choice.board.ids[rank] for rank in choice.winners] == ["c-first"]
    assert one.rankings["lead-1"] == ("c-first", "c-a", "c-b")
    one.settle("d1", "rejected")
    assert one.state.held["d2"].contract_id == "c-a"
