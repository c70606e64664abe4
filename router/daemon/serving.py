"""One listener's server over its sockets."""

import asyncio
from collections.abc import Sequence

from router.daemon.sockets import UNIX, Bound
from router.web.protocol import Handler, make_server


class Serving:
    """Answers on sockets with a handler, until told to leave, finish or break off."""

    def __init__(self, handle: Handler, *, connections_max: int) -> None:
        """Inside a running loop; nothing is opened yet."""
        self._server = make_server(handle, connections_max=connections_max)
        self._listening: list[tuple[Bound, asyncio.Server]] = []

    async def start(self, bound: Sequence[Bound]) -> None:
        """Answer on these sockets too."""
        loop = asyncio.get_running_loop()
        for one in bound:
            if one.address.startswith(UNIX):
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
        self._stop_listening()
        self._server.pre_shutdown()
        await self._server.shutdown(within_s)

    def abort(self) -> None:
        """Close everything at once, unanswered."""
        self._stop_listening()
        self._server.abort()

    def _stop_listening(self) -> None:
        for _, server in self._listening:
            server.close()
