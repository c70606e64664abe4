"""Stateful ranking keeps its promises at every prefix while eligibility is constant."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from router.core.state import State
from router.model.facts import Ended, Settled
from tests import factory
from tests.property.worlds import World


def winners(method: str, count: int, **terms: list[Any]) -> list[str]:
    """Who wins so many leads in turn among contracts of those terms, everything accepted, over a restart midway."""
    size = len(next(iter(terms.values())))
    buyers = [
        factory.buyer(f"b{n}", factory.contract(f"c{n}", **{name: values[n] for name, values in terms.items()}))
        for n in range(size)
    ]
    world = World(factory.book(*buyers, lead_type={"tiers": [{"name": "main", "method": method}]}))
    won = []
    for number in range(count):
        lead = factory.lead(f"lead-{number}", at_ns=world.now_ns)
        choice = world.sell(lead)
        won.append(choice.board.plans[choice.winners[0]].id)
        world.note(Settled(delivery_id=world.flying.pop(), outcome="accepted"))
        world.note(Ended(lead_id=lead.lead_id, status="sold"))
        world.now_ns += 1_000_000
        if number == count // 2:
            world.state = State.load(world.state.dump())
    return won


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_weighted_stays_within_two_leads_of_its_weights(weights: list[int]) -> None:
    """At every prefix each contract has its weight's part of the leads, give or take two."""
    won = winners("weighted", 60, weight=weights)
    for size in range(1, len(won) + 1):
        for n, weight in enumerate(weights):
            ideal = size * weight / sum(weights)
            assert abs(won[:size].count(f"c{n}") - ideal) < 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_percentage_stays_within_one_lead_of_its_shares(parts: list[int]) -> None:
    """At every prefix each contract has its share of the leads, give or take one."""
    shares = [part / sum(parts) for part in parts]
    won = winners("percentage", 60, share=shares)
    for size in range(1, len(won) + 1):
        for n, share in enumerate(shares):
            assert abs(won[:size].count(f"c{n}") - size * share) <= 1 + 1e-4


def test_round_robin_is_longest_since_last_sale() -> None:
    """Never sold counts as longest ago; then strictly in turn."""
    assert winners("round_robin", 7, priority=[1, 1, 1]) == ["c0", "c1", "c2", "c0", "c1", "c2", "c0"]


def test_distance_is_from_the_radius_centre() -> None:
    """The contract whose centre lies nearest to the lead's postal code comes first."""
    near = {"radius": [{"center": "78702", "miles": 60}]}
    far = {"radius": [{"center": "78626", "miles": 60}]}
    assert winners("distance", 3, coverage=[far, near]) == ["c1"] * 3
