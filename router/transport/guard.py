"""Which addresses may be connected to: asked of names when they resolve and of every socket before it connects.

Checking a URL is not enough, because a name may resolve to anything and to something else the next time. aiohttp hands
every concrete address to `socket_factory`, IP literals included, so this is where the last word is spoken.

A dial leaves its traces in a `Dial`, through a context variable, since the connector tells neither its resolver nor its
sockets on whose behalf they are asked, and does not say at which stage it was when its time ran out.
"""

import socket
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final, Literal

from aiohappyeyeballs import AddrInfoType
from msgspec import Struct

from router.model import addresses
from router.terms.schema import Network

Stage = Literal["waiting", "dns", "connect", "tls"]


class Policy(Struct, frozen=True):
    """`[network]`, compiled: private ranges that are allowed all the same, and whether plain http is."""

    allow: tuple[addresses.Network, ...] = ()
    allow_http: bool = False

    @classmethod
    def of(cls, network: Network) -> "Policy":
        """Compile checked terms. Raises ValueError for a range that is none."""
        return cls(addresses.networks(network.allow_private), network.allow_http)

    def refused(self, address: str) -> str | None:
        """Why this address may not be reached: "a loopback address (127.0.0.1)"; None when it may."""
        what = addresses.refused(address, self.allow)
        return None if what is None else f"{what} ({address})"


class AddressRefusedError(OSError):
    """An address is not to be connected to. An OSError, so that the connector goes on to the next address."""


class Dial:
    """How far one attempt to get a connection came. `refused` names the last address that was refused."""

    __slots__ = ("dialled", "refused", "sockets", "started")

    def __init__(self) -> None:
        self.started: Literal["waiting", "dns", "connect"] = "waiting"
        self.refused: str | None = None
        self.dialled = False  # an address was allowed
        self.sockets: list[socket.socket] = []

    @property
    def stage(self) -> Stage:
        """What the dial is at; `tls` once a socket of it is connected."""
        return "tls" if self.started == "connect" and any(map(_connected, self.sockets)) else self.started


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


CURRENT_DIAL: Final[ContextVar[Dial]] = ContextVar("router_transport_dial")


class GuardedSockets:
    """Makes the sockets of one lane; the connector's `socket_factory`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def __call__(self, info: AddrInfoType) -> socket.socket:
        """A socket for this address. Raises AddressRefusedError when it is not to be reached."""
        dial = CURRENT_DIAL.get()
        dial.started = "connect"
        refused = self._policy.refused(str(info[4][0]))
        if refused is not None:
            dial.refused = refused
            raise AddressRefusedError(refused)
        dial.dialled = True
        sock = new_socket(info)
        dial.sockets.append(sock)
        return sock


def new_socket(info: AddrInfoType) -> socket.socket:
    """A socket of that family, not connected yet."""
    family, kind, proto, _, _ = info
    return socket.socket(family, kind, proto)


def allowed(policy: Policy, found: Sequence[str]) -> list[str]:
    """The addresses of a name that may be reached. Raises AddressRefusedError, and notes it, when none may."""
    kept = []
    for address in found:
        refused = policy.refused(address)
        if refused is None:
            kept.append(address)
        else:
            CURRENT_DIAL.get().refused = refused
    if not kept:
        raise AddressRefusedError(CURRENT_DIAL.get().refused)
    return kept
