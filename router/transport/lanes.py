"""What one buyer has to itself, so that a slow, dead or hostile one costs the others nothing."""

import asyncio
import math
import re
import select
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from msgspec import Struct
from yarl import URL

from router.model.addresses import literal
from router.model.delivery import ClientIdentity
from router.model.times import NS_S
from router.transport.guard import Dial, GuardedSockets, Policy
from router.transport.handler import AnswerHandler
from router.transport.resolver import LaneResolver, LookUps

#: Shorter than the shortest usual idle time-out of servers (5 s: Node, Apache), because a connection that a server
#: closes while we write is a delivery in doubt.
IDLE_S: Final = 4.0
ORIGINS_MAX: Final = 64
BOUNDS_MAX: Final = 16
_PLAIN_TARGET = re.compile(r"[!-~]+")


class Origin(Struct, frozen=True):
    """Scheme, host and port of a URL. `request` is what the connector wants to be asked with: never sent itself."""

    secure: bool
    host: str  # the Host header
    request: aiohttp.ClientRequest


class Line:
    """What does not change about a connection: its peer, and how to ask the kernel about it."""

    __slots__ = ("_poll", "peer")

    def __init__(self, connection: Connection) -> None:
        transport = connection.transport
        assert transport is not None
        self.peer = _text(transport.get_extra_info("peername"))
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits to be read: neither the connection's end nor an answer nobody asked for."""
        return not self._poll.poll(0)


def _text(peer: tuple[str, int] | None) -> str:
    """`203.0.113.9:443`, `[2001:db8::9]:443`."""
    if not peer:
        return ""
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"


class Lane:
    """The connections, look-ups and origins of one buyer."""

    def __init__(
        self,
        policy: Policy,
        look_ups: LookUps,
        tls: Callable[[ClientIdentity | None], ssl.SSLContext],
        mono_ns: Callable[[], int],
        *,
        connections_max: int,
        idle_s: float = IDLE_S,
    ) -> None:
        """Inside a running loop."""
        self.connections_max = connections_max
        self.busy = 0
        self.retired = False
        self._origins: dict[tuple[str, ClientIdentity | None], Origin] = {}
        self._bounds: dict[int, aiohttp.ClientTimeout] = {}  # by nanoseconds; a buyer has one or two
        self._lines: WeakKeyDictionary[ResponseHandler, Line] = WeakKeyDictionary()
        self._tls = tls
        self.connector = aiohttp.TCPConnector(
            ssl=tls(None),
            resolver=LaneResolver(look_ups, policy, mono_ns),
            use_dns_cache=False,  # the resolver remembers, and notes the stage of each dial
            socket_factory=GuardedSockets(policy),
            limit=connections_max,
            keepalive_timeout=idle_s,
        )
        self.connector._factory = partial(AnswerHandler, asyncio.get_running_loop())  # type: ignore[assignment]

    def locate(self, url: str, identity: ClientIdentity | None = None) -> tuple[Origin, str]:
        """Where a URL points: its origin, and path with query. Raises ValueError that says what is wrong with it.

        An origin is reached by connections of its own for each identity we show there.
        """
        scheme, _, rest = url.partition("://")
        authority, slash, target = rest.partition("/")
        if slash and _PLAIN_TARGET.fullmatch(rest) and "#" not in rest and "?" not in authority:
            return self._origin(f"{scheme}://{authority}", identity), "/" + target
        parsed = URL(url)
        return self._origin(f"{scheme}://{urlsplit(url).netloc}", identity), parsed.raw_path_qs or "/"

    def _origin(self, text: str, identity: ClientIdentity | None) -> Origin:
        origin = self._origins.get((text, identity))
        if origin is None:
            if len(self._origins) >= ORIGINS_MAX:
                self._origins.clear()
            shown = None if identity is None else self._tls(identity)
            origin = self._origins[text, identity] = _origin(text, shown)
        return origin

    async def connection(self, origin: Origin, dial: Dial, bound_ns: int) -> tuple[Connection, str]:
        """A connection on which nothing was ever received that nobody asked for, and its peer's address.

        A kept one is given only if it is still open as far as the kernel knows: once something is written to a
        connection that the other side has closed, nobody can say whether it was read. Raises what aiohttp raises, and
        TimeoutError when waiting and dialling take longer than `bound_ns`.
        """
        bound = self._bounds.get(bound_ns)
        if bound is None:
            if len(self._bounds) >= BOUNDS_MAX:
                self._bounds.clear()
            bound = self._bounds[bound_ns] = aiohttp.ClientTimeout(connect=bound_ns / NS_S, ceil_threshold=math.inf)
        while True:
            connection = await self.connector.connect(origin.request, [], bound)
            protocol = connection.protocol
            assert protocol is not None
            line = self._lines.get(protocol)
            if line is None:
                line = self._lines[protocol] = Line(connection)
                return connection, line.peer
            if line.is_quiet and not protocol.should_close:
                return connection, line.peer
            connection.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.connector.close()


def _origin(text: str, shown: ssl.SSLContext | None) -> Origin:
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ValueError("the URL has no host, or is neither http nor https")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("the URL holds a user or password; that belongs in `auth`")
    host, spelled = url.host_port_subcomponent, literal(url.raw_host)
    assert host is not None
    dialled = url if spelled is None else url.with_host(str(spelled))
    return Origin(url.scheme == "https", host, aiohttp.ClientRequest("POST", dialled, ssl=shown or True))
