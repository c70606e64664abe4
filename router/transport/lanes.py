"""What one buyer has to itself, so that a slow, dead or hostile one costs the others nothing."""

import re
import select
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import Connection
from msgspec import Struct
from yarl import URL

from router.model.addresses import literal
from router.transport.guard import Dial, GuardedSockets, Policy
from router.transport.resolver import LaneResolver, LookUps

#: Shorter than the shortest usual idle time-out of servers (5 s: Node, Apache), because a connection that a server
#: closes while we write is a delivery in doubt.
IDLE_S: Final = 4.0
ORIGINS_MAX: Final = 64
_NO_TIMEOUT: Final = aiohttp.ClientTimeout()
_PLAIN_TARGET = re.compile(r"[!-~]+")


class Origin(Struct, frozen=True):
    """Scheme, host and port of a URL. `request` is what the connector wants to be asked with: never sent itself."""

    secure: bool
    host: str  # the Host header
    request: aiohttp.ClientRequest


class Lane:
    """The connections, look-ups and origins of one buyer."""

    def __init__(
        self,
        policy: Policy,
        look_ups: LookUps,
        tls: ssl.SSLContext,
        mono_ns: Callable[[], int],
        *,
        connections_max: int,
        idle_s: float = IDLE_S,
    ) -> None:
        """Inside a running loop."""
        self.connections_max = connections_max
        self.busy = 0
        self.retired = False
        self._origins: dict[str, Origin] = {}
        self._tls = tls
        self.connector = aiohttp.TCPConnector(
            ssl=tls,
            resolver=LaneResolver(look_ups, policy, mono_ns),
            use_dns_cache=False,  # the resolver remembers, and notes the stage of each dial
            socket_factory=GuardedSockets(policy),
            limit=connections_max,
            keepalive_timeout=idle_s,
        )

    def locate(self, url: str) -> tuple[Origin, str]:
        """Where a URL points: its origin, and path with query. Raises ValueError that says what is wrong with it."""
        scheme, _, rest = url.partition("://")
        authority, slash, target = rest.partition("/")
        if slash and _PLAIN_TARGET.fullmatch(rest) and "#" not in rest and "?" not in authority:
            return self._origin(f"{scheme}://{authority}"), "/" + target
        parsed = URL(url)
        return self._origin(f"{scheme}://{urlsplit(url).netloc}"), parsed.raw_path_qs or "/"

    def _origin(self, text: str) -> Origin:
        origin = self._origins.get(text)
        if origin is None:
            if len(self._origins) >= ORIGINS_MAX:
                self._origins.clear()
            origin = self._origins[text] = _origin(text)
        return origin

    async def connection(self, origin: Origin, dial: Dial) -> Connection:
        """A connection on which nothing was ever received that nobody asked for. Raises what aiohttp raises.

        A kept one is given only if it is still open as far as the kernel knows: once something is written to a
        connection that the other side has closed, nobody can say whether it was read.
        """
        while True:
            connection = await self.connector.connect(origin.request, [], _NO_TIMEOUT)
            if dial.started != "waiting" or _is_quiet(connection):
                return connection
            connection.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.connector.close()


def _origin(text: str) -> Origin:
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ValueError("the URL has no host, or is neither http nor https")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("the URL holds a user or password; that belongs in `auth`")
    host, spelled = url.host_port_subcomponent, literal(url.raw_host)
    assert host is not None
    dialled = url if spelled is None else url.with_host(str(spelled))
    return Origin(url.scheme == "https", host, aiohttp.ClientRequest("POST", dialled))


def _is_quiet(connection: Connection) -> bool:
    """Whether a kept connection is open and nothing waits to be read: not its end, nor an answer nobody asked for."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or protocol.should_close:
        return False
    sock = transport.get_extra_info("socket")
    if sock is None or (number := sock.fileno()) < 0:
        return False
    poll = select.poll()
    poll.register(number, select.POLLIN | select.POLLRDHUP)
    return not poll.poll(0)
