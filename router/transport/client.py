"""The exchange with a buyer: our own request bytes, aiohttp's connector and response parser.

aiohttp's ClientSession is not used: it sends PUT, GET and DELETE a second time when a kept connection drops, costs
several times as much, and does not say what was written when it fails (docs/decisions/0004-aiohttp.md). What is used
of aiohttp is what ClientSession itself stands on; a conformance suite holds the two to the same answers.
"""

import asyncio
import errno
import os
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import EofStream, StreamReader
from msgspec import structs

from router.clock import Clock, SystemClock
from router.model.delivery import BODY_MAX, FailureKind, HttpRequest, HttpResponse, TransportFailure
from router.model.times import NS_S
from router.terms.schema import Network
from router.transport.guard import CURRENT_DIAL, Dial, Policy
from router.transport.handler import INTERIM_MAX, AnswerHandler, EndlessError
from router.transport.identity import refused_us, tls_context
from router.transport.lanes import IDLE_S, Lane, Origin
from router.transport.resolver import LookUp, LookUps, system_look_up
from router.transport.wire import encode

#: A buyer's `max_in_flight` when its terms say nothing.
CONNECTIONS_MAX: Final = 64


class Attempt:
    """What is known about one attempt while it runs."""

    __slots__ = ("connection", "dial", "peer", "secure", "written")

    def __init__(self) -> None:
        self.dial = Dial()
        self.secure = False
        self.written = False  # from right before the first byte is handed over
        self.connection: Connection | None = None
        self.peer = ""


class AiohttpTransport:
    """`Transport` over the network."""

    def __init__(
        self,
        network: Network,
        *,
        clock: Clock | None = None,
        connections_max: Callable[[str], int] = lambda lane: CONNECTIONS_MAX,
        look_up: LookUp = system_look_up,
        extra_ca: str | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        """`connections_max` gives a lane's connections at most (its buyer's `max_in_flight`); `update` asks again."""
        self._policy = Policy.of(network)
        self._mono_ns = (clock or SystemClock()).mono_ns
        self._connections_max = connections_max
        self._look_ups = LookUps(look_up)
        self._tls = partial(tls_context, extra_ca)
        self._idle_s = idle_s
        self._lanes: dict[str, Lane] = {}
        self._leaving: set[asyncio.Task[None]] = set()  # lanes of former terms, closing

    async def send(self, lane: str, request: HttpRequest) -> HttpResponse | TransportFailure:
        """One attempt, written at most once; see `Transport.send`."""
        began_ns = self._mono_ns()
        attempt = Attempt()
        home = self._lane(lane)
        home.busy += 1
        try:
            ended = await self._exchange(home, request, attempt)
        finally:
            home.busy -= 1
            if home.retired and not home.busy:
                self._leave(home)
        return structs.replace(ended, took_ns=self._mono_ns() - began_ns)

    def update(self, network: Network) -> None:
        """New terms: lanes whose rules changed start anew; attempts under way end as they began."""
        policy = Policy.of(network)
        changed = policy != self._policy
        self._policy = policy
        for name, lane in list(self._lanes.items()):
            if changed or lane.connections_max != self._connections_max(name):
                del self._lanes[name]
                lane.retired = True
                if not lane.busy:
                    self._leave(lane)

    async def close(self) -> None:
        """Close every connection."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.close()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(
                self._policy,
                self._look_ups,
                self._tls,
                self._mono_ns,
                connections_max=self._connections_max(name),
                idle_s=self._idle_s,
            )
        return lane

    def _leave(self, lane: Lane) -> None:
        task = asyncio.get_running_loop().create_task(lane.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _exchange(self, lane: Lane, request: HttpRequest, attempt: Attempt) -> HttpResponse | TransportFailure:
        """Connect, write, read. Whatever goes wrong becomes a failure; the connection never outlives a doubt."""
        try:
            origin, target = lane.locate(request.url, request.identity)
            data = encode(request, origin.host, target)
        except ValueError as error:
            return TransportFailure(kind="no_connection", detail=f"nothing was sent: {_words(error)}")
        if not (origin.secure or self._policy.allow_http):
            return TransportFailure(
                kind="blocked_address", detail="plain http is not allowed: use https, or set allow_http in [network]"
            )
        attempt.secure = origin.secure
        try:
            return await _in_time(lane, origin, request, data, attempt)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if attempt.written or task is None or task.cancelling():
                raise
            return TransportFailure(kind="no_connection", detail="the router closed its connections")
        except Exception as error:  # everything that is not foreseen is an honest failure too
            return _failure(error, attempt)
        finally:
            if attempt.connection is not None:
                attempt.connection.close()


async def _in_time(lane: Lane, origin: Origin, request: HttpRequest, data: bytes, attempt: Attempt) -> HttpResponse:
    """The exchange inside its two bounds. Raises TimeoutError and whatever aiohttp and the system raise.

    The bounds are a time-out of the connector's, which costs nothing when a connection is there, and one timer.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + request.timeout_ns / NS_S
    CURRENT_DIAL.set(attempt.dial)
    bound_ns = min(request.timeout_ns, request.connect_timeout_ns)
    connection, attempt.peer = await lane.connection(origin, attempt.dial, bound_ns)
    attempt.connection = connection
    protocol, transport = connection.protocol, connection.transport
    assert isinstance(protocol, AnswerHandler)
    assert transport is not None
    protocol.begin(has_body=request.method != "HEAD")
    timer = loop.call_at(end, _give_up, protocol)
    try:
        attempt.written = True
        transport.write(data)
        return await _answer(protocol, transport, attempt)
    finally:
        timer.cancel()


def _give_up(protocol: AnswerHandler) -> None:
    """The time is over: wake whoever reads the head or the body."""
    protocol.set_exception(TimeoutError())


async def _answer(protocol: AnswerHandler, transport: asyncio.Transport, attempt: Attempt) -> HttpResponse:
    """Read the answer; the connection is kept for the next attempt only after a whole one."""
    message, payload = await _final_message(protocol)
    body, whole = await _body(payload)
    if whole and not transport.get_write_buffer_size():
        assert attempt.connection is not None
        attempt.connection.release()
        attempt.connection = None
    return HttpResponse(
        status=message.code,
        headers=tuple(
            [(name.decode("latin-1"), text.decode("utf-8", "replace")) for name, text in message.raw_headers]
        ),
        body=body,
        truncated=not whole,
        peer=attempt.peer,
    )


async def _final_message(protocol: AnswerHandler) -> tuple[RawResponseMessage, StreamReader]:
    """The head of the answer, informational ones (100 Continue, 103 Early Hints) left behind."""
    for _ in range(INTERIM_MAX):
        message, payload = await protocol.read()
        if not 100 <= message.code <= 199 or message.code == 101:
            return message, payload
    raise EndlessError


async def _body(payload: StreamReader) -> tuple[bytes, bool]:
    """The body, at most BODY_MAX bytes of it, and whether that is all."""
    chunk = await payload.readany()
    if payload.at_eof() and len(chunk) <= BODY_MAX:
        return chunk, True
    parts, size = [chunk], len(chunk)
    while chunk and size <= BODY_MAX:
        chunk = await payload.readany()
        parts.append(chunk)
        size += len(chunk)
    return b"".join(parts)[:BODY_MAX], size <= BODY_MAX


def _failure(error: Exception, attempt: Attempt) -> TransportFailure:
    """What an exception says about the lead: can the buyer have it?"""
    if not attempt.written:
        kind, detail = _before_writing(error, attempt)
        return TransportFailure(kind=kind, detail=detail)
    connection = attempt.connection
    protocol = connection.protocol if connection is not None else None
    told = protocol.exception() if protocol is not None else None
    if refused_us(error):
        return TransportFailure(kind="tls", detail="the buyer refused our certificate", peer=attempt.peer)
    kind, detail = _after_writing(told if isinstance(told, HttpProcessingError) else error)
    return TransportFailure(kind=kind, detail=detail, peer=attempt.peer)


_STAGE_KIND: Final[dict[str, tuple[FailureKind, str]]] = {
    "waiting": ("no_connection", "no connection of this buyer became free in time"),
    "dns": ("dns", "the name was not resolved in time"),
    "connect": ("connect", "no connection in time"),
    "tls": ("tls", "the TLS handshake did not end in time"),
}


def _before_writing(error: Exception, attempt: Attempt) -> tuple[FailureKind, str]:
    dial = attempt.dial
    if dial.refused is not None and not dial.dialled:
        return "blocked_address", f"{dial.refused} is not reached unless [network] allow_private names it"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns", _words(error.os_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls", _tls_words(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        lost = isinstance(error.os_error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError)
        if attempt.secure and lost:
            return "tls", "the connection was lost during the TLS handshake"
        return "connect", _words(error.os_error)
    if isinstance(error, TimeoutError):
        stage = dial.stage
        return _STAGE_KIND[stage if attempt.secure or stage != "tls" else "connect"]
    return "no_connection", f"nothing was sent: {type(error).__name__}"


def _after_writing(error: Exception) -> tuple[FailureKind, str]:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "connection_lost", "the connection was closed before an answer"
    if isinstance(error, TimeoutError):
        return "read_timeout", "no whole answer in time"
    if isinstance(error, EndlessError):
        return "bad_answer", "the answer does not end"
    if isinstance(error, HttpProcessingError):
        return "bad_answer", f"the answer is not HTTP: {type(error).__name__}"
    if isinstance(error, aiohttp.ClientError | OSError | EofStream):
        return "connection_lost", f"the connection was lost: {_os_words(error)}"
    return "crash", f"unforeseen: {type(error).__name__}"


def _words(error: BaseException) -> str:
    """An error's own words: those of the system, or what we wrote ourselves. Never any part of a request or answer."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _os_words(error: BaseException) -> str:
    if isinstance(error.__cause__, ssl.SSLError):
        return "TLS was broken off"
    number = getattr(error, "errno", None)
    return os.strerror(number) if number is not None and number in errno.errorcode else "in the middle of the answer"


def _tls_words(error: aiohttp.ClientSSLError) -> str:
    inner: BaseException = getattr(error, "certificate_error", None) or error.os_error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {inner.verify_message}"
    return f"TLS failed: {getattr(inner, 'reason', None) or type(inner).__name__}"
