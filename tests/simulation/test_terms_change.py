"""Other terms come into force while leads are sold: nobody is judged by terms whose past is not known yet."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from router.core.live import Live
from router.model.facts import Entry, Reserved
from router.terms.book import Book
from tests import factory
from tests.simulation.router_world import ACCEPTED, RouterWorld
from tests.simulation.test_doubts import facts, script

LEADS = 200


def book(**terms: Any) -> Book:
    """One buyer; another one's dedup makes the state remember something from the beginning."""
    return factory.book(
        factory.buyer("first", factory.contract("c", **terms)),
        factory.buyer("second", factory.contract("d", status="paused", dedup={"keys": [["email"]], "window": "1d"})),
        lead_type={"dedup": None},
    )


def test_a_new_dedup_knows_the_past_from_its_first_decision() -> None:
    """The same phone comes all the while that a dedup by phone comes into force: under the new terms it is not sold."""
    old, new = book(), book(dedup={"keys": [["phone"]], "window": "1d", "scope": "buyer"})
    w = RouterWorld(old, script(first=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        read = w.ledger.facts_after

        async def slowly(seq: int) -> AsyncIterator[list[tuple[int, Entry]]]:
            async for entries in read(seq):
                await asyncio.sleep(0.01)
                yield entries

        w.ledger.facts_after = slowly  # type: ignore[method-assign]
        await w.sell(factory.lead("first", email=None))
        changing = asyncio.create_task(w.engine.adopt(new, Live(new), {}, by="operator:ann"))
        for number in range(LEADS):
            await w.take(factory.lead(f"l{number}", at_ns=w.clock.wall_ns(), email=None))
            await asyncio.sleep(0.001)
        await changing
        assert (await w.sell(factory.lead("last", at_ns=w.clock.wall_ns(), email=None))).status == "unsold"

    w.play(story)
    versions = [fact.terms_version for fact in facts(w, Reserved)]
    assert 1 <= len(versions) < LEADS
    assert set(versions) == {old.version}
