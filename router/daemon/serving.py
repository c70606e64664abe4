"""One listener's server over its sockets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from router.daemon.sockets import Bound
from router.terms.schema import Server

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Serving:
    """Answers on sockets with a handler, until told to leave, finish or break off."""

    def __init__(self, handle: Handle, terms: Server) -> None:
        """Inside a running loop; nothing is opened yet."""
        self._server = web.Server(handle)
        self._listening: list[tuple[Bound, asyncio.Server]] = []

    async def start(self, bound: Sequence[Bound]) -> None:
        """Answer on these sockets too."""
        loop = asyncio.get_running_loop()
        for one in bound:
            if one.address.startswith("unix:"):
                server = await loop.create_unix_server(self._server, sock=one.socket)
            else:
                server = await loop.create_server(self._server, sock=one.socket)
            self._listening.append((one, server))

    def leave_passed(self) -> None:
        """Accept no more on sockets that systemd keeps open: clients wait there for the next start."""
        for one, server in self._listening:
            if one.passed:
                server.close()

    async def finish(self, within_s: float) -> None:
        """Accept no more; let requests under way be answered; close every connection."""
        for _, server in self._listening:
            server.close()
        await self._server.shutdown(within_s)

    def abort(self) -> None:
        """Close everything at once, unanswered."""
        for _, server in self._listening:
            server.close()
        for connection in list(self._server.connections):
            connection.force_close()
