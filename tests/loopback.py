"""Raw servers on the loopback, for buyers that no HTTP library would play: each test writes the bytes itself."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from router.model.delivery import HttpRequest
from router.model.times import NS_MS, NS_S
from router.terms.schema import Network

LOOPBACK = Network(allow_private=("127.0.0.0/8", "::1/128"), allow_http=True)


class Visit:
    """One connection at a raw server; `number` counts from 0."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next whole request, head and body; raises IncompleteReadError at the end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head + await self.reader.readexactly(int(line.partition(b":")[2]))
        return head

    def send(self, data: bytes) -> None:
        """Write without waiting."""
        self.writer.write(data)

    def reset(self) -> None:
        """Close with RST."""
        self.writer.transport.abort()


class Loopback:
    """A running raw server: its port and every request it read."""

    def __init__(self) -> None:
        self.port = 0
        self.visits = 0
        self.requests: list[bytes] = []

    def url(self, path: str = "/leads", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        """A URL at this server."""
        return f"{scheme}://{host}:{self.port}{path}"


Script = Callable[[Visit], Awaitable[None]]


@asynccontextmanager
async def loopback(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """Serve every connection with `script`; a connection is closed when its script returns."""
    served = Loopback()
    running: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        guest = Visit(served.visits, reader, writer)
        served.visits += 1
        taken = guest.request

        async def noted() -> bytes:
            served.requests.append(data := await taken())
            return data

        guest.request = noted  # type: ignore[method-assign]
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await script(guest)
        finally:
            running.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    server = await asyncio.start_server(visit, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


def always(answer: bytes) -> Script:
    """A server that answers every request on a connection alike."""

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            visit.send(answer)

    return script


def ask(
    url: str,
    *,
    method: str = "POST",
    body: bytes = b'{"zip":"78701"}',
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),),
    timeout_ms: int = 2000,
    connect_ms: int = 1000,
) -> HttpRequest:
    """A request to a test's server."""
    return HttpRequest(
        method=method,
        url=url,
        headers=headers,
        body=body,
        timeout_ns=timeout_ms * NS_MS,
        connect_timeout_ns=connect_ms * NS_MS,
    )


assert NS_S == 1000 * NS_MS
