"""CPU a request: aiohttp's ClientSession against our lean client, its Application against our edge server.

    python -m bench.http_choice [--rounds N] [--requests N]

Each side runs in a process of its own, the measured one on core 0, its peer on core 1; what counts is the measured
process's CPU time. Variants take turns, so that a noisy minute hits all of them; ratios are medians over the rounds.
"""

import argparse
import asyncio
import multiprocessing
import os
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import aiohttp
import uvloop
from aiohttp import web

from router.model.delivery import HttpRequest, HttpResponse
from router.model.times import NS_S
from router.terms.schema import Network
from router.transport import AiohttpTransport
from router.web.protocol import make_server

BODY = (b'{"lead_type":"solar","fields":{"first_name":"Ana","postal_code":"78701"},"pad":"' + b"x" * 600)[:598] + b'"}'
ANSWER = b'{"lead_id":"0193a1b2-0000-7000-8000-000000000000","status":"sold","copies":1,"payout":"12.00"}'
RAW_ANSWER = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(ANSWER),
    ANSWER,
)
HEADERS = (
    ("Content-Type", "application/json"),
    ("Authorization", "Bearer 0123456789abcdef"),
    ("Idempotency-Key", "0193a1b2-0000-7000-8000-000000000000"),
    ("Accept-Encoding", "identity"),
)
IN_FLIGHT = 16
CERTIFICATE = Path(__file__).parents[1] / "tests/cases/tls/loopback.pem"

Send = Callable[[], Awaitable[int]]


class Sink(asyncio.Protocol):
    """The cheapest buyer: answers every request whose end it sees, in however many pieces it comes."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer when head and body are there; there is one request at a time."""
        self._held += data
        if self._held.endswith(BODY):
            self._held = b""
            assert self._transport is not None
            self._transport.write(RAW_ANSWER)


class Pump(asyncio.Protocol):
    """The cheapest source: sends the next request when the answer to the last one is there."""

    def __init__(self, request: bytes, left: list[int], done: "asyncio.Future[None]") -> None:
        self._request = request
        self._left = left
        self._done = done
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """An answer; they come in one piece."""
        assert data.startswith(b"HTTP/1.1 201"), data
        assert self._transport is not None
        self._left[0] -= 1
        if self._left[0] > 0:
            self._transport.write(self._request)
        elif not self._done.done():
            self._done.set_result(None)


def pin(core: int) -> None:
    """Keep to one core where there are several."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def sink_process(ports: Connection) -> None:
    """Serve plain and TLS until killed; tells both ports."""
    pin(1)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
        plain = await loop.create_server(Sink, "127.0.0.1", 0)
        secure = await loop.create_server(Sink, "127.0.0.1", 0, ssl=tls)
        ports.send([server.sockets[0].getsockname()[1] for server in (plain, secure)])
        await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        uvloop.run(serve())


async def cpu_us(send: Send, requests: int) -> float:
    """CPU microseconds of this process for each request, `IN_FLIGHT` at a time."""

    async def worker(count: int) -> None:
        for _ in range(count):
            assert await send() == 201

    await asyncio.gather(*[worker(10) for _ in range(IN_FLIGHT)])
    began = time.process_time()
    await asyncio.gather(*[worker(requests // IN_FLIGHT) for _ in range(IN_FLIGHT)])
    return (time.process_time() - began) / (requests // IN_FLIGHT * IN_FLIGHT) * 1e6


async def measure_sending(ports: list[int], rounds: int, requests: int) -> dict[str, list[float]]:
    """CPU microseconds a request of each client over plain HTTP and TLS, a value a round."""
    found: dict[str, list[float]] = {}
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    lean = AiohttpTransport(
        Network(allow_private=("127.0.0.0/8",), allow_http=True), idle_s=60, extra_ca=str(CERTIFICATE)
    )
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trust, limit=64), timeout=aiohttp.ClientTimeout(total=5)
    ) as session:
        for _ in range(rounds):
            for kind, port in zip(("http", "https"), ports, strict=True):
                url = f"{kind}://127.0.0.1:{port}/leads"
                request = HttpRequest(
                    method="POST",
                    url=url,
                    headers=HEADERS,
                    body=BODY,
                    timeout_ns=5 * NS_S,
                    connect_timeout_ns=2 * NS_S,
                )

                async def by_session(url: str = url) -> int:
                    async with session.post(url, data=BODY, headers=HEADERS, allow_redirects=False) as answer:
                        await answer.read()
                        return answer.status

                async def by_lean(request: HttpRequest = request) -> int:
                    answer = await lean.send("b", request)
                    assert isinstance(answer, HttpResponse), answer
                    return answer.status

                for name, send in (("ClientSession", by_session), ("lean client", by_lean)):
                    found.setdefault(f"{name}, {kind}", []).append(await cpu_us(send, requests))
    await lean.close()
    return found


async def _take(request: web.BaseRequest) -> web.StreamResponse:
    """The least a handler does."""
    body = await request.content.read()
    assert len(body) == len(BODY)
    return web.Response(status=201, body=ANSWER, headers={"Content-Type": "application/json"})


async def factory_of(kind: str) -> Callable[[], asyncio.Protocol]:
    """A protocol factory of that kind."""
    if kind == "edge server":
        return make_server(_take, connections_max=100)
    if kind == "web.Server":
        return web.Server(_take, access_log=None)
    app = web.Application()
    app.router.add_post("/v1/leads", _take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    return runner.server


def serving_process(kind: str, pipe: Connection) -> None:
    """Serve; answers each message with this process's CPU seconds."""
    pin(0)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(await factory_of(kind), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        asked = asyncio.Event()
        loop.add_reader(pipe.fileno(), asked.set)
        while True:
            await asked.wait()
            asked.clear()
            pipe.recv()
            pipe.send(time.process_time())

    with suppress(KeyboardInterrupt, EOFError):
        uvloop.run(serve())


async def pump(port: int, requests: int) -> None:
    """`requests` leads over `IN_FLIGHT` kept connections."""
    loop = asyncio.get_running_loop()
    head = "POST /v1/leads HTTP/1.1\r\nHost: 127.0.0.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    done: asyncio.Future[None] = loop.create_future()
    left = [requests]
    pumps = [
        await loop.create_connection(lambda: Pump(request, left, done), "127.0.0.1", port) for _ in range(IN_FLIGHT)
    ]
    await done
    for transport, _ in pumps:
        transport.close()


def measure_serving(rounds: int, requests: int) -> dict[str, list[float]]:
    """CPU microseconds a request of each server, a value a round."""
    context = multiprocessing.get_context("spawn")
    kinds = ("edge server", "web.Server", "web.Application")
    running = {}
    for kind in kinds:
        here, there = context.Pipe()
        process = context.Process(target=serving_process, args=(kind, there), daemon=True)
        process.start()
        running[kind] = process, here, here.recv()
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    pin(1)
    for number in range(rounds + 1):
        for kind, (_, pipe, port) in running.items():
            pipe.send("cpu")
            before = pipe.recv()
            uvloop.run(pump(port, requests))
            pipe.send("cpu")
            if number:  # the first round warms up
                found[kind].append((pipe.recv() - before) / requests * 1e6)
            else:
                pipe.recv()
    for process, _, _ in running.values():
        process.terminate()
        process.join()
    return found


def show(title: str, found: dict[str, list[float]], baseline: Callable[[str], str]) -> None:
    """A line a variant: median microseconds, and the median over the rounds of its ratio to the baseline."""
    print(title)
    for name, values in found.items():
        base = found[baseline(name)]
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        print(f"  {name:24} {statistics.median(values):7.1f} us   {ratio:5.2f} x")


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=4000)
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    sink = context.Process(target=sink_process, args=(there,), daemon=True)
    sink.start()
    ports = here.recv()
    pin(0)
    sending = uvloop.run(measure_sending(ports, asked.rounds, asked.requests))
    sink.terminate()
    sink.join()
    show("sending, CPU a request", sending, lambda name: f"lean client, {name.rpartition(' ')[2]}")
    show("serving, CPU a request", measure_serving(asked.rounds, asked.requests), lambda name: "edge server")


if __name__ == "__main__":
    main()
