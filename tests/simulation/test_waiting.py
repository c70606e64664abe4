"""Leads that wait: for a moment, or in the queue, until somebody may have them or their time is over."""

import asyncio
from typing import Any

import pytest

from router.model.facts import Reserved
from router.model.times import NS_S
from tests import factory
from tests.simulation.router_world import ACCEPTED, REJECTED, RouterWorld
from tests.simulation.test_selling import by_buyer, facts

OPENS_AT_ONE = {"open": ["Mon-Fri 13:00-18:00"], "when_closed": "queue"}  # it is noon
HELD = {"queue": {"hold_max": "4h"}}


async def held(world: RouterWorld, count: int) -> list[str]:
    """So many leads of as many people arrive a second apart; all of them have to wait."""
    ids = []
    for number in range(count):
        lead = factory.lead(f"lead-{number}", at_ns=world.clock.wall_ns(), phone=f"+1512555{1000 + number}")
        view = await world.take(lead)
        assert view.status in ("queued", "routing")
        ids.append(lead.lead_id)
        await asyncio.sleep(1)
    return ids


def order(world: RouterWorld) -> list[str]:
    """The leads in the order in which they were reserved for somebody."""
    return [fact.lead_id for fact in facts(world, Reserved)]


@pytest.mark.parametrize(
    "moment",
    [
        {"rate": {"leads": 2, "per": "minute", "burst": 1}},
        {"pacing": "even", "caps": [{"per": "day", "limit": 300}]},
    ],
)
def test_a_released_lead_waits_for_its_moment_in_the_queue(moment: dict[str, Any]) -> None:
    """When the doors open to a rate or to pacing, who waited hours is not sent away after the first has its turn."""
    book = factory.book(factory.buyer("first", factory.contract("a", schedule=OPENS_AT_ONE, **moment)), lead_type=HELD)
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        ids = await held(w, 4)
        return [(await w.engine.settled(lead_id, 3 * 3600)).status for lead_id in ids]

    assert world.play(story) == ["sold"] * 4
    assert order(world) == [f"lead-{number}" for number in range(4)]


def test_a_queued_lead_behind_the_limit_of_deliveries_stays_queued() -> None:
    """Released while as many deliveries are under way as the process bears, it goes out when one of them lands."""
    book = factory.book(
        factory.buyer("first", factory.contract("a", schedule=OPENS_AT_ONE)),
        lead_type=HELD,
        router={"limits": {"in_flight_max": 1}},
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        ids = await held(w, 3)
        return [(await w.engine.settled(lead_id, 3 * 3600)).status for lead_id in ids]

    assert world.play(story) == ["sold"] * 3
    assert order(world) == [f"lead-{number}" for number in range(3)]


def test_a_lead_past_its_age_is_never_sold() -> None:
    """`max_age` ends a lead between two buyers, while it waits for a moment, and at its release alike."""
    closed = {"caps": [{"per": "hour", "limit": 1}], "at_cap": "queue"}
    book = factory.book(
        factory.buyer("first", factory.contract("a", price="20.00", **closed)),
        factory.buyer("second", factory.contract("b", price="10.00")),
        lead_type={"max_age": "10s", "deadline": "60s"},
    )

    def slow(lane: str, _request: Any, _number: int) -> tuple[float, Any]:
        return (4.0, REJECTED) if lane == "first" else (0.1, ACCEPTED)

    world = RouterWorld(book, slow)

    async def story(w: RouterWorld) -> tuple[str, str | None]:
        lead = factory.lead("lead-1", at_ns=w.clock.wall_ns(), age_ns=8 * NS_S)
        view = await w.sell(lead)
        return view.status, view.reason

    assert world.play(story) == ("expired", None)
    assert world.buyers.asked() == ["first"]


def test_a_moment_is_waited_for_in_either_way_of_selling() -> None:
    """At `best` the exclusive price is more than the wallet holds; as a copy the lead only has to wait a little."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract(
                "a", price="10.00", exclusive_price="90.00", rate={"leads": 6, "per": "minute", "burst": 1}
            ),
            wallet={"mode": "postpay", "credit_limit": "50.00"},
        ),
        lead_type={"sell": {"mode": "best", "max_copies": 2}},
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        first = await w.sell(factory.lead("lead-1", at_ns=w.clock.wall_ns()))
        second = await w.sell(factory.lead("lead-2", at_ns=w.clock.wall_ns()))
        return [first.status, second.status]

    assert world.play(story) == ["sold", "sold"]


def test_a_lead_nobody_will_ever_take_does_not_wait() -> None:
    """A contract that already had this person is no reason to wait for its rate, nor to hold up those behind."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract(
                "a",
                rate={"leads": 6, "per": "minute", "burst": 1},
                dedup={"keys": [["phone"]], "window": "30d"},
            ),
        ),
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[Any]:
        await w.sell(factory.lead("lead-1", at_ns=w.clock.wall_ns()))
        began = w.clock.wall_ns()
        view = await w.sell(factory.lead("lead-2", at_ns=began))
        return [view.status, view.reason, w.clock.wall_ns() - began]

    assert world.play(story) == ["unsold", "no_eligible_contract", 0]
