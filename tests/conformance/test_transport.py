"""One suite over the transport of simulations and the real one: what callers rely on holds for both."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.terms.schema import Network
from router.transport import AiohttpTransport, ScriptedTransport, Transport
from router.transport.client import BODY_MAX
from tests.loopback import LOOPBACK, Visit, ask, loopback

BOTH_LOOPS = True


class World:
    """A transport and where its buyer is. The path says what the buyer does: /ok, /big, /hang, /nobody."""

    def __init__(self, transport: Transport, url: str) -> None:
        self.transport = transport
        self._url = url
        self.asked = asyncio.Event()

    def ask(self, path: str) -> HttpRequest:
        """A request for that path."""
        url = "http://127.0.0.1:1/" if path == "/nobody" else self._url + path
        return ask(url, timeout_ms=100 if path == "/hang" else 5000)


@pytest.fixture(params=["real", "scripted"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Both worlds, with the same buyer in them."""
    big = b"x" * (BODY_MAX + 1)

    async def script(visit: Visit) -> None:
        while True:
            got = await visit.request()
            made.asked.set()
            if b"/hang" in got:
                await asyncio.Event().wait()
            body = big if b"/big" in got else b"ok"
            visit.send(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def handler(lane: str, sent: HttpRequest) -> HttpResponse | TransportFailure:
        made.asked.set()
        if sent.url.endswith("/hang"):
            await asyncio.Event().wait()
        if sent.url == "http://127.0.0.1:1/":
            return TransportFailure(kind="connect", detail="Connection refused")
        return HttpResponse(status=201, headers=(), body=big if sent.url.endswith("/big") else b"ok")

    async with loopback(script) as server:
        transport = AiohttpTransport(LOOPBACK) if request.param == "real" else ScriptedTransport(handler)
        made = World(transport, server.url(""))
        yield made
        await transport.close()


async def test_an_answer(world: World) -> None:
    """Status and body come through, again and again."""
    for _ in range(2):
        answer = await world.transport.send("b", world.ask("/ok"))
        assert isinstance(answer, HttpResponse)
        assert (answer.status, answer.body, answer.truncated) == (201, b"ok", False)


async def test_a_big_answer(world: World) -> None:
    """One byte too many is cut off and said."""
    answer = await world.transport.send("b", world.ask("/big"))
    assert isinstance(answer, HttpResponse)
    assert (len(answer.body), answer.truncated) == (BODY_MAX, True)


async def test_no_answer(world: World) -> None:
    """The time-out holds, leaves the lead in doubt, and says how long it took."""
    failure = await world.transport.send("b", world.ask("/hang"))
    assert isinstance(failure, TransportFailure)
    assert (failure.kind, failure.certain) == ("read_timeout", False)
    assert 90_000_000 < failure.took_ns < 5_000_000_000


async def test_nobody_there(world: World) -> None:
    """What was never sent is certain."""
    failure = await world.transport.send("b", world.ask("/nobody"))
    assert isinstance(failure, TransportFailure)
    assert (failure.kind, failure.certain) == ("connect", True)


async def test_cancelled(world: World) -> None:
    """Cancelling passes."""
    task = asyncio.create_task(world.transport.send("b", world.ask("/hang")))
    await world.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_new_terms(world: World) -> None:
    """`update` returns at once and what follows is still answered, one way or the other."""
    world.transport.update(Network())
    assert isinstance(await world.transport.send("b", world.ask("/ok")), HttpResponse | TransportFailure)
