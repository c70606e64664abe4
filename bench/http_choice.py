"""CPU a request received: aiohttp's `web.Server` and `Application` against our edge server.

    python -m bench.http_choice [--rounds N] [--requests N]

What sending costs is for `bench.deliver`. Each side runs in a process of its own, the measured one on core 0, its peer
on core 1; what counts is the measured process's CPU time. Variants take turns, so that a noisy minute hits all of them;
ratios are medians over the rounds.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import cast

import uvloop
from aiohttp import web

from bench.sink import pin
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
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=4000)
    asked = parser.parse_args()
    show("serving, CPU a request", measure_serving(asked.rounds, asked.requests), lambda name: "edge server")


if __name__ == "__main__":
    main()
