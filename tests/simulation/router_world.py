"""A whole router in virtual time: the real engine and dispatch over a memory ledger and buyers that follow a script."""

import asyncio
from collections.abc import Callable
from typing import Any

from router.engine import Engine, LeadView
from router.ledger.memory import MemoryLedger
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.model.facts import Certified, Idempotency
from router.model.lead import Lead
from router.terms.book import Book
from tests.simulation.clockwork import VirtualClock, VirtualLoop

Answer = HttpResponse | TransportFailure
Script = Callable[[str, HttpRequest, int], tuple[float, Answer]]


def answer(status: int = 200, body: bytes = b'{"status":"accepted"}', **headers: str) -> HttpResponse:
    """A complete answer."""
    given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status=status, headers=tuple(given.items()), body=body)


ACCEPTED = answer()
REJECTED = answer(body=b'{"status":"rejected","reason":"no"}')
DUPLICATE = answer(body=b'{"status":"duplicate"}')
ODD = answer(body=b"who are you?")
BUSY = answer(503, b"")
HANG = TransportFailure(kind="read_timeout", detail="no answer in time")
DOWN = TransportFailure(kind="connect", detail="connection refused")


class Buyers:
    """Plays all buyers: `script(buyer, request, how many it had before)` gives seconds to wait and the answer."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[tuple[str, str, bytes]] = []
        self.busy: dict[str, int] = {}
        self.busiest: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    async def send(self, lane: str, request: HttpRequest, **_: Any) -> Answer:
        """As a transport does."""
        delivery_id = dict(request.headers).get("Idempotency-Key", "")
        self.requests.append((lane, delivery_id, request.body))
        number = self._seen.get(lane, 0)
        self._seen[lane] = number + 1
        self.busy[lane] = self.busy.get(lane, 0) + 1
        self.busiest[lane] = max(self.busiest.get(lane, 0), self.busy[lane])
        try:
            seconds, given = self._script(lane, request, number)
            await asyncio.sleep(seconds)
        finally:
            self.busy[lane] -= 1
        return given

    def update(self, network: Any) -> None:
        """Terms changed."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def asked(self) -> list[str]:
        """Which buyers were asked, in order."""
        return [lane for lane, _, _ in self.requests]


class OneLife:
    """The ledger as one process holds it: when the process is dead, nothing it still says arrives."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @property
    def on_change(self) -> Any:
        """Who is told when the ledger can be written again, or cannot."""
        return self._ledger.on_change

    @on_change.setter
    def on_change(self, told: Any) -> None:
        self._ledger.on_change = told

    def append(self, entries: Any, *, keep: bool = False) -> "asyncio.Future[int]":
        """As the ledger's, while alive."""
        if self.dead:
            return asyncio.get_running_loop().create_future()
        return self._ledger.append(entries, keep=keep)


class RouterWorld:
    """One router and its buyers."""

    def __init__(self, book: Book, script: Script) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.buyers = Buyers(script)
        self.ledger = MemoryLedger()
        self.book = book
        self.secrets: dict[str, str] = {}
        self.engine: Engine

    def play(self, story: Callable[["RouterWorld"], Any]) -> Any:
        """Start the router and let a story happen to it."""

        async def whole() -> Any:
            await self.start()
            try:
                return await story(self)
            finally:
                await self.engine.drain(0)
                if self.engine.failure.done():
                    self.engine.failure.result()
                self.engine.failure.cancel()

        try:
            return self.loop.run_until_complete(whole())
        finally:
            self.loop.close()

    async def start(self) -> None:
        """A fresh process over the same ledger."""
        self._life = OneLife(self.ledger)
        self.engine = Engine(
            book=self.book,
            ledger=self._life,  # type: ignore[arg-type]
            transport=self.buyers,  # type: ignore[arg-type]
            clock=self.clock,
            secrets=self.secrets,
        )
        await self.engine.start()

    async def restart(self) -> None:
        """The process dies where it stands, and a new one starts over the same ledger."""
        self._life.dead = True
        await self.engine.drain(0)
        self.engine.failure.cancel()
        await self.ledger.close()
        await self.start()

    async def certify_all(self) -> None:
        """Every endpoint is certified as it is, so that this is no alert."""
        plans = {plan.endpoint_key: plan for plan in self.book.contracts.values()}.values()
        await self.engine.write(
            [
                Certified(
                    buyer_id=plan.buyer_id,
                    endpoint=plan.endpoint.name,
                    version=plan.endpoint.version,
                    passed=True,
                    by="test",
                )
                for plan in plans
            ]
        )

    async def take(self, lead: Lead, key: str | None = None) -> LeadView:
        """A lead is posted and durable."""
        idempotency = Idempotency(key=key, body_sha256=b"") if key is not None else None
        return await self.engine.submit(lead, idempotency=idempotency)

    async def sell(self, lead: Lead, wait_s: float = 60) -> LeadView:
        """A lead is posted, and the source waits for its end."""
        await self.take(lead)
        return await self.engine.settled(lead.lead_id, wait_s)
