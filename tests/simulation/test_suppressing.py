"""Persons who are taken out while their leads are somewhere on their way."""

import asyncio
from typing import Any

from router.core.live import Live
from router.engine.controls import Controls
from router.engine.proof import Proof
from router.model.facts import Ended, PassedOver, Reserved, Settled
from tests import factory
from tests.simulation.router_world import ACCEPTED, BUSY, REJECTED, RouterWorld
from tests.simulation.test_selling import by_buyer, facts
from tests.simulation.test_waiting import HELD, OPENS_AT_ONE


async def suppress(w: RouterWorld, **contacts: Any) -> None:
    """An operator says so."""
    await Controls(w.engine, asyncio.Future).suppress(contacts, by="operator:alice")


def test_a_lead_that_waits_is_let_go() -> None:
    """One in the queue ends at once, and its trace says why; another person's goes out when the doors open."""
    book = factory.book(factory.buyer("b", factory.contract("c", schedule=OPENS_AT_ONE)), lead_type=HELD)
    world = RouterWorld(book, by_buyer(b=ACCEPTED))

    async def story(w: RouterWorld) -> list[tuple[str, str | None]]:
        await w.take(factory.lead("one", phone="+15125551000", email="a@example.com"))
        await w.take(factory.lead("two", phone="+15125551001", email="b@example.com"))
        await suppress(w, phone="+15125551000")
        first = await w.engine.settled("one", 1)
        await w.engine.settled("two", 7200)
        await w.take(factory.lead("again", at_ns=w.clock.wall_ns(), phone="+15125551000", email="c@example.com"))
        views = [first, await w.engine.settled("two", 1), await w.engine.settled("again", 1)]
        decisions = (await Proof(w.engine).trace("one") or {})["decisions"]
        assert [[one["code"] for one in decision["refusals"]] for decision in decisions] == [
            ["out_of_schedule"],
            ["out_of_schedule", "suppressed"],
        ]
        return [(view.status, view.reason) for view in views]

    assert world.play(story) == [("unsold", "no_eligible_contract"), ("sold", None), ("unsold", "no_eligible_contract")]


def test_a_lead_on_its_way_down_a_ranking_goes_to_nobody_else() -> None:
    """The delivery under way ends as the buyer says; the next in rank is passed over, and the trace says why."""
    book = factory.book(
        factory.buyer("b1", factory.contract("c1", price="20.00")), factory.buyer("b2", factory.contract("c2"))
    )
    world = RouterWorld(book, lambda buyer, _request, _before: (5, REJECTED) if buyer == "b1" else (0, ACCEPTED))

    async def story(w: RouterWorld) -> str:
        await w.take(factory.lead())
        await asyncio.sleep(1)
        await suppress(w, email="ana@example.com")
        return (await w.engine.settled("lead-1", 60)).status

    assert world.play(story) == "unsold"
    [passed] = facts(world, PassedOver)
    assert {name: words[0] for name, words in passed.refusals.items()} == {"c2": "suppressed"}
    assert [fact.contract_id for fact in facts(world, Reserved)] == ["c1"]


def test_a_retry_is_not_sent() -> None:
    """The buyer was out of reach, and the person is taken out before it is tried again: it never had the lead."""
    retry = {"retry": {"attempts": 3, "backoff": "5s"}}
    book = factory.book(factory.buyer("b", factory.contract("c"), endpoint=retry))
    world = RouterWorld(book, by_buyer(b=BUSY))

    async def story(w: RouterWorld) -> str:
        await w.take(factory.lead())
        await asyncio.sleep(1)
        await suppress(w, phone="+15125550147", email="ana@example.com")
        return (await w.engine.settled("lead-1", 60)).status

    assert world.play(story) == "unsold"
    assert [(fact.outcome, fact.reason) for fact in facts(world, Settled)] == [("failed", "suppressed")]
    assert [fact.reason for fact in facts(world, Ended)] == ["all_declined"]
    assert world.buyers.asked() == ["b"]


def test_a_retry_is_not_sent_when_its_lead_type_is_gone() -> None:
    """Nobody can tell any more which field was a phone; and a suppressed person does not stop who is not."""
    retry = {"retry": {"attempts": 3, "backoff": "5s"}}
    for number, reason, asked in (("+15125550147", "suppressed", 1), ("+15125550000", "unavailable", 3)):
        book = factory.book(factory.buyer("b", factory.contract("c"), endpoint=retry))
        other = factory.book(
            factory.buyer("b", factory.contract("w", lead_type="wind"), endpoint=retry), lead_type={"id": "wind"}
        )
        world = RouterWorld(book, by_buyer(b=BUSY))

        async def story(w: RouterWorld, number: str = number, other: Any = other) -> str:
            await w.take(factory.lead())
            await asyncio.sleep(1)
            await w.engine.adopt(other, Live(other), {}, by="operator:ann")
            await suppress(w, phone=number)
            return (await w.engine.settled("lead-1", 60)).status

        assert world.play(story) == "unsold"
        assert [(fact.outcome, fact.reason) for fact in facts(world, Settled)] == [("failed", reason)]
        assert len(world.buyers.asked()) == asked
