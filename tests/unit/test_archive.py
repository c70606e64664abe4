"""Terms on their way into the ledger: leads have their turns in between."""

import asyncio
from collections import Counter

from router.clock import SystemClock
from router.engine.archive import keep
from router.ledger.memory import MemoryLedger
from tests import factory


class Slow(MemoryLedger):
    """Notes in which turn of the loop each piece was begun."""

    turn = 0
    begun: Counter[int]

    async def put_terms(self, version: str, body: bytes) -> None:
        """As a ledger that compresses it there and then."""
        self.begun[self.turn] += 1
        await super().put_terms(version, body)


async def test_no_turn_of_the_loop_compresses_more_than_a_piece() -> None:
    """Forty buyers, each a piece of its own: together they would hold leads up for longer than any one does."""
    ledger = Slow()
    await ledger.open()
    ledger.begun = Counter()

    async def count() -> None:
        while True:
            await asyncio.sleep(0)
            ledger.turn += 1

    counting = asyncio.create_task(count())
    book = factory.book(*(factory.buyer(f"b{n}", factory.contract(f"c{n}")) for n in range(40)))
    await keep(book, None, ledger, SystemClock())
    counting.cancel()
    assert ledger.begun.total() > 40
    assert max(ledger.begun.values()) == 1
