"""Snapshots while the router is busy."""

import asyncio
from collections import deque
from typing import Any

from router.core.state import State
from tests import factory
from tests.simulation.router_world import ACCEPTED, RouterWorld


def slow_disk(world: RouterWorld, seconds: float) -> None:
    """From now on facts become durable, or do not, so long after they were noted, in their order."""
    line: deque[tuple[Any, bool, asyncio.Future[int]]] = deque()

    def write() -> None:
        entries, keep, future = line.popleft()
        done = world.ledger.append(entries, keep=keep)
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)

    def append(entries: Any, *, keep: bool = False) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = world.loop.create_future()
        line.append((entries, keep, future))
        world.loop.call_later(seconds, write)
        return future

    world.engine.ledger.append = append  # type: ignore[method-assign]


def test_a_snapshot_needs_no_quiet_moment() -> None:
    """Something is always on its way to the disk, and a snapshot is written, of just the facts before it."""
    book = factory.book(factory.buyer("b", factory.contract("c", caps=[{"id": "daily", "per": "day", "limit": 500}])))
    world = RouterWorld(book, lambda *_: (0.3, ACCEPTED))

    async def story(w: RouterWorld) -> None:
        slow_disk(w, 0.1)
        sales = []
        for number in range(60):
            if number == 30:
                saving = asyncio.ensure_future(w.engine.save_snapshot())
            sales.append(asyncio.ensure_future(w.sell(factory.lead(f"l{number}", phone=f"+15125550{number:03d}"))))
            await asyncio.sleep(0.05)
        assert saving.done()
        assert saving.result()
        await asyncio.gather(*sales)
        opened = await w.ledger.open()
        assert opened.snapshot is not None
        state = State.load(opened.snapshot)
        assert 0 < opened.snapshot_seq < w.ledger.head_seq
        async for entries in w.ledger.facts_after(opened.snapshot_seq):
            for _, entry in entries:
                state.apply(entry)
        assert state.dump() == w.engine.state.dump()

    world.play(story)


def test_no_snapshot_is_made_of_what_could_not_be_written() -> None:
    """The disk is full while facts are on their way: the state that holds them is not the state of the ledger."""
    world = RouterWorld(factory.book(factory.buyer("b", factory.contract("c"))), lambda *_: (0.3, ACCEPTED))

    async def story(w: RouterWorld) -> None:
        await w.sell(factory.lead("first"))
        slow_disk(w, 0.1)
        taking = asyncio.ensure_future(w.take(factory.lead("second", phone="+15125550148")))
        await asyncio.sleep(0)
        w.ledger.fill_disk()
        assert not await w.engine.save_snapshot()
        await asyncio.wait([taking])
        assert taking.exception() is not None
        w.ledger.make_room()

    world.play(story)
