"""Names to addresses, with a budget for each lane.

The system's resolver blocks a thread for as long as it likes, and the event loop's own pool has few: four names whose
servers do not answer would stop deliveries to everybody. So a lane has at most one look-up under way, in a thread that
nobody waits for longer than the attempt allows, and only a lane's own later look-ups stand behind it. Lanes that ask
for the same name at the same time share the thread.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from router.model.times import NS_S
from router.transport.guard import CURRENT_DIAL, Policy, allowed

#: Blocking: a name to the texts of its addresses. Raises OSError when there are none.
LookUp = Callable[[str], list[str]]

#: Look-ups under way in the whole process: each is a thread that may hang until the system gives up.
THREADS_MAX: Final = 256
POSITIVE_TTL_NS: Final = 30 * NS_S
#: Long enough that a burst of leads asks once, short enough that a mended name works at the next attempt.
NEGATIVE_TTL_NS: Final = 1 * NS_S
NAMES_MAX: Final = 64
#: Of one name. The connector tries n of them up to n * n / 2 times when none answers.
ADDRESSES_MAX: Final = 8


def system_look_up(name: str) -> list[str]:
    """The system's answer, in the order RFC 6724 prefers. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(place[0]) for _, _, _, _, place in found))


class LookUps:
    """The look-ups of all lanes, each in a daemon thread, at most `threads_max` at a time.

    A name has one thread however many lanes ask for it: buyers behind one address of an aggregator hang together, and
    would otherwise take the threads that the others' names need.
    """

    def __init__(self, look_up: LookUp = system_look_up, *, threads_max: int = THREADS_MAX) -> None:
        self._look_up = look_up
        self._threads_max = threads_max
        self._waiting: dict[str, list[asyncio.Future[list[str]]]] = {}  # by name; a thread each

    def start(self, name: str) -> "asyncio.Future[list[str]]":
        """Look a name up; the future ends with its addresses or an OSError, however long that takes."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()
        future.add_done_callback(_seen)
        if (waiting := self._waiting.get(name)) is not None:
            waiting.append(future)
        elif len(self._waiting) >= self._threads_max:
            future.set_exception(OSError(f"{self._threads_max} name look-ups are under way; is DNS down?"))
        else:
            self._waiting[name] = [future]
            try:
                threading.Thread(target=self._run, args=(loop, name), daemon=True, name="look-up").start()
            except RuntimeError:
                self._done(name, OSError("the system gives no thread for a name look-up"))
        return future

    def _run(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        """In the thread."""
        found: list[str] | OSError
        try:
            found = self._look_up(name)
        except OSError as error:
            found = error
        except UnicodeError:
            found = OSError("the name cannot be written in DNS")
        except Exception as error:  # whatever it is, those who wait are told, and the name may be asked again
            found = OSError(f"the name cannot be looked up: {type(error).__name__}")
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._done, name, found)

    def _done(self, name: str, found: list[str] | OSError) -> None:
        for future in self._waiting.pop(name):
            if future.cancelled():
                continue
            if isinstance(found, OSError):
                future.set_exception(found)
            elif not found:
                future.set_exception(OSError("the name has no address"))
            else:
                future.set_result(found)


def _seen(future: "asyncio.Future[list[str]]") -> None:
    """Nobody may be waiting any more when a look-up fails."""
    if not future.cancelled():
        future.exception()


class Known(Struct, frozen=True):
    """What a look-up found: addresses, or why there are none; good until `until_ns` on the steady clock."""

    addresses: list[str]
    error: str | None
    until_ns: int


class LaneResolver(AbstractResolver):
    """Resolves for one lane: remembers what it found, and has one look-up under way at a time."""

    def __init__(self, look_ups: LookUps, policy: Policy, mono_ns: Callable[[], int]) -> None:
        self._look_ups = look_ups
        self._policy = policy
        self._mono_ns = mono_ns
        self._known: dict[str, Known] = {}
        self._under_way: tuple[str, asyncio.Future[list[str]]] | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be reached. Raises OSError: not found, or none of them allowed."""
        CURRENT_DIAL.get().started = "dns"
        known = self._remembered(host) or await self._find(host)
        if known.error is not None:
            raise OSError(known.error)
        return [_result(host, address, port) for address in allowed(self._policy, known.addresses)]

    async def close(self) -> None:
        """Nothing is held: a thread that hangs ends when the system gives up."""

    def _remembered(self, host: str) -> Known | None:
        known = self._known.get(host)
        return known if known is not None and self._mono_ns() < known.until_ns else None

    async def _find(self, host: str) -> Known:
        """Look the name up, after the look-up that is under way, if there is one for another name."""
        while True:
            if self._under_way is None:
                self._under_way = host, self._start(host)
            name, future = self._under_way
            await asyncio.wait([future])
            if name == host:
                return self._known[host]
            if (known := self._remembered(host)) is not None:
                return known

    def _start(self, host: str) -> "asyncio.Future[list[str]]":
        future = self._look_ups.start(host)
        future.add_done_callback(lambda done: self._learn(host, done))
        return future

    def _learn(self, host: str, done: "asyncio.Future[list[str]]") -> None:
        self._under_way = None
        if len(self._known) >= NAMES_MAX:
            self._known.clear()
        error = done.exception()
        if error is None:
            self._known[host] = Known(done.result()[:ADDRESSES_MAX], None, self._mono_ns() + POSITIVE_TTL_NS)
        else:
            text = error.args[1] if isinstance(error, socket.gaierror) and len(error.args) > 1 else str(error)
            self._known[host] = Known([], str(text), self._mono_ns() + NEGATIVE_TTL_NS)


def _result(host: str, address: str, port: int) -> ResolveResult:
    version = ipaddress.ip_address(address.partition("%")[0]).version
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET if version == 4 else socket.AF_INET6,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
