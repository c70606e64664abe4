"""A transport without a network, for simulations and tests: a handler plays all buyers.

It keeps the promises of the real one that matter to its callers: both time bounds hold, on the loop's own clock, which
may be virtual; bodies are cut at the same size; it never raises.
"""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import structs

from router.model.delivery import BODY_MAX, HttpRequest, HttpResponse, TransportFailure
from router.model.times import NS_S
from router.terms.schema import Network

#: Plays the buyers: lane and request to an answer; may sleep. What it raises is a fault of the script and passes.
Handler = Callable[[str, HttpRequest], Awaitable[HttpResponse | TransportFailure]]


class ScriptedTransport:
    """`Transport` whose other side is a function. `sent` holds every request in order, with its lane."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._closed = False
        self.network = Network()
        self.sent: list[tuple[str, HttpRequest]] = []

    async def send(self, lane: str, request: HttpRequest) -> HttpResponse | TransportFailure:
        """One attempt, answered by the handler inside the request's time-out."""
        if self._closed:
            return TransportFailure(kind="no_connection", detail="the router closed its connections")
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.sent.append((lane, request))
        ended: HttpResponse | TransportFailure
        try:
            async with asyncio.timeout(request.timeout_ns / NS_S):
                ended = await self._handler(lane, request)
        except TimeoutError:
            ended = TransportFailure(kind="read_timeout", detail="no whole answer in time")
        if isinstance(ended, HttpResponse) and len(ended.body) > BODY_MAX:
            ended = structs.replace(ended, body=ended.body[:BODY_MAX], truncated=True)
        return structs.replace(ended, took_ns=round((loop.time() - began) * NS_S))

    def update(self, network: Network) -> None:
        """Keep the new terms where a test can see them."""
        self.network = network

    async def close(self) -> None:
        """Every later attempt fails for certain."""
        self._closed = True
