"""Bids for real: the farm's bidding tempers behind the real transport, and what each comes to."""

import asyncio
from typing import Any

from router.clock import SystemClock
from router.demo.farm import Farm
from router.engine import Engine
from router.ledger.memory import MemoryLedger
from router.model.facts import Bidden, Reserved
from router.transport import AiohttpTransport
from tests import factory

#: What a buyer's ping meets at the farm, and what is noted of it. Time enough for a machine that does much else.
TEMPERS = {
    "bid": (3_000, "30.00"),
    "odd-bid": (None, "no amount"),
    "no-bid": (None, "no amount"),
    "late-bid": (None, "no answer within 1s"),
    "hang": (None, "no answer within 1s"),
    "reset-after": (None, "connection_lost"),
    "unavailable": (None, "status 503"),
    "redirect": (None, "status 302"),
    "flood": (None, "truncated"),
}


def buyer(url: str, temper: str) -> dict[str, Any]:
    """A buyer whose ping meets a temper, and who accepts every post."""
    query = "?price=30.00" if temper == "bid" else ""
    ping: dict[str, Any] = {"url": f"{url}/buyer/{temper}/ping-{temper}{query}", "timeout": "1s"}
    ping |= {"bid": "bid", "reference": "ping_id", "body": {"zip": "{{postal_code}}"}}
    endpoint = {"url": f"{url}/buyer/accept/post-{temper}", "ping": ping, "in_doubt_resolves": None}
    return factory.buyer(temper, factory.contract(f"c-{temper}"), endpoint=endpoint)


async def test_bids_at_the_farm() -> None:
    """The lead goes to the best bid in time, whoever hangs, floods or breaks off; a late bid is noted when it comes."""
    async with Farm() as farm:
        book = factory.book(*(buyer(farm.url, temper) for temper in TEMPERS))
        transport, ledger = AiohttpTransport(book.router.network), MemoryLedger()
        engine = Engine(book=book, ledger=ledger, transport=transport, clock=SystemClock(), secrets={})
        noted = asyncio.Event()
        engine.asker.on_bid = lambda _, late: noted.set() if late else None
        await engine.start()
        await engine.submit(factory.lead(at_ns=engine.now_ns()))
        view = await engine.settled("lead-1", 30)
        async with asyncio.timeout(30):
            await noted.wait()
        await engine.drain(0)
        await transport.close()
        engine.failure.cancel()
    assert view.status == "sold"
    [reserved] = [one.fact for one in ledger._entries if isinstance(one.fact, Reserved)]
    assert (reserved.contract_id, reserved.price, reserved.reference) == ("c-bid", 3_000, "ping-0")
    asked, late = [one.fact for one in ledger._entries if isinstance(one.fact, Bidden)]
    assert {bid.contract_id.removeprefix("c-"): (bid.price, bid.actual) for bid in asked.bids} == TEMPERS
    assert [bid.contract_id for bid in late.bids] == ["c-late-bid"]
    assert all(not one.delivery_id for one in farm.received if one.name.startswith("ping-"))
