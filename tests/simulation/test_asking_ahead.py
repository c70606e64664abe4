"""The daemon asks every contract what stands against it while no lead comes; decisions tell only whom they refuse."""

import asyncio

from router.core.live import Live
from router.daemon.upkeep import ask_ahead
from router.model.facts import Decided
from tests import factory
from tests.simulation.router_world import ACCEPTED, RouterWorld

CLOSED = {"open": ["Mon 02:00-03:00"]}
BOOK = factory.book(
    *(
        factory.buyer(f"b{n}", factory.contract(f"c{n}", coverage={"postal_codes": [f"7870{n}"]}, schedule=CLOSED))
        for n in range(1, 5)
    )
)


def unasked(live: Live) -> int:
    """How many contracts a lead would have to ask."""
    return sum(few.bit_count() for _, few in live.unasked())


def test_no_lead_asks_first() -> None:
    """A moment after a start, and after a sale that touched one, nobody is left to ask."""
    world = RouterWorld(BOOK, lambda *_: (0.01, ACCEPTED))

    async def story(w: RouterWorld) -> None:
        assert unasked(w.engine.live) == 4
        task = asyncio.ensure_future(ask_ahead(w.engine, w.clock))
        await asyncio.sleep(1)
        assert unasked(w.engine.live) == 0
        w.engine.live.touch_contract("c1")
        assert unasked(w.engine.live) == 1
        await asyncio.sleep(1)
        assert unasked(w.engine.live) == 0
        task.cancel()

    world.play(story)


def test_a_decision_tells_only_whom_it_refuses() -> None:
    """All four are closed and known to be; each is put in words by the first lead that it is refused."""
    world = RouterWorld(BOOK, lambda *_: (0.01, ACCEPTED))

    async def story(w: RouterWorld) -> None:
        for standings, few in w.engine.live.unasked():
            standings.blocking(few, w.engine.state, w.engine.moment())
        told = []
        for number, code in enumerate(("78701", "78702", "78701")):
            await w.sell(factory.lead(f"l{number}", postal_code=code, phone=f"+1512555010{number}"))
            entries = [entry.fact for _, entry in await w.ledger.entries_of(f"l{number}")]
            told.append([sorted(fact.said) for fact in entries if isinstance(fact, Decided)])
        assert told == [[["c1"]], [["c2"]], [[]]]

    world.play(story)
