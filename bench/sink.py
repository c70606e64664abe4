"""The cheapest buyer there can be, in a process of its own, so that what it costs is nobody's delivery."""

import asyncio
import multiprocessing
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, cast

import uvloop

CERTIFICATE: Final = Path(__file__).parents[1] / "tests/cases/tls/loopback.pem"
#: What it answers to everything.
TAKEN: Final = b'{"status":"accepted","id":"crm-0193a1b2","price":"42.50"}'
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(TAKEN),
    TAKEN,
)
_DRIP_S: Final = 0.1
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Sink(asyncio.Protocol):
    """Answers every request whose end it sees, in however many pieces it comes; one request at a time."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer when head and body are there."""
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None or not found
        if found and length is not None and len(body) >= int(length[1]):
            self._held = b""
            self.answer()

    def answer(self) -> None:
        """Take the lead."""
        assert self._transport is not None
        self._transport.write(_ANSWER)


class Drip(Sink):
    """Answers as the sink does, a byte each 100 ms: alive, and never done in time."""

    def answer(self) -> None:
        """Begin."""
        self._drip(0)

    def _drip(self, at: int) -> None:
        assert self._transport is not None
        if at < len(_ANSWER) and not self._transport.is_closing():
            self._transport.write(_ANSWER[at : at + 1])
            asyncio.get_running_loop().call_later(_DRIP_S, self._drip, at + 1)


def pin(core: int) -> None:
    """Keep to one core where there are several."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def sink() -> Iterator[dict[str, int]]:
    """A running sink, on the other core: its ports `http`, `https` and `drip`. Who asks keeps to the first core."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    pin(0)
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def _serve(ports: Connection) -> None:
    pin(1)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
        servers = {
            "http": await loop.create_server(Sink, "127.0.0.1", 0),
            "https": await loop.create_server(Sink, "127.0.0.1", 0, ssl=tls),
            "drip": await loop.create_server(Drip, "127.0.0.1", 0),
        }
        ports.send({name: server.sockets[0].getsockname()[1] for name, server in servers.items()})
        await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        uvloop.run(serve())
