"""The edge of a listener: what aiohttp's low-level server does, made to keep the promises we give about HTTP.

Routes stand on `web.Server`, not on `web.Application`: it is cheaper, and every answer, to a path nobody serves too, is
ours. What aiohttp leaves open is closed here, for every handler alike (docs/decisions/0004-aiohttp.md):

* a head or body has a deadline from its first byte; what is our own slowness (reading paused) does not count;
* an idle connection is closed after a minute, not after an hour;
* `100 Continue` goes out when a handler asks for the body, never before it has looked at the head;
* versions other than 1.0 and 1.1 are refused, `HTTP/2.0` among them, which the parser takes for one it knows;
* what cannot be parsed is answered as a problem that repeats nothing of it, and logged without a byte of it;
* one connection too many hears 503 at once instead of waiting unheard.

It leans on `RequestHandler`'s private parts in few places, each guarded by a test with raw bytes; hence the narrow
range of aiohttp versions in pyproject.toml.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from router.web.problems import PROBLEM_JSON, Problem

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: A head or a body that is not complete this long after its first byte is given up.
DEADLINE_S: Final = 10.0
#: Longer than the idle time-outs of usual clients and proxies, so that it is they who close.
IDLE_S: Final = 75.0
#: A connection that is given up is kept this long for its client to read why.
LINGER_S: Final = 1.0
REFUSED_LINGERING_MAX: Final = 256
_LINE_MAX: Final = 8190
_HEADERS_MAX: Final = 100
#: A head that is still incomplete at this size is given up; the parser alone would let it grow to 800 KiB.
HEAD_MAX: Final = 32 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_SERVED: Final = frozenset({HttpVersion10, HttpVersion11})
_REQUEST_LINE = re.compile(rb"[\r\n]*[^\s]+ [^\r\n]* HTTP/(\d+(?:\.\d+)?)\r?\n")

_log: Final = logging.getLogger("router.web")


_ANY_MEND: Final = "A header line is malformed, or more than one says where the body ends."
#: What the parser found wrong, by the name of its exception; it never says what it read.
_MENDS: Final = {
    "LineTooLong": f"A line of the head is longer than {_LINE_MAX} bytes, or there are over {_HEADERS_MAX} headers.",
    "BadHttpMethod": "The method is none; is this HTTP, and not TLS?",
    "BadStatusLine": "The request line is not METHOD TARGET HTTP/1.1.",
    "InvalidURLError": "The request target is no path and no URL.",
    "InvalidHeader": "A header line is malformed.",
    "ContentLengthError": "Content-Length is not one whole number.",
    "TransferEncodingError": "The chunks of the body are malformed.",
}


class TooSlowError(web.RequestPayloadError):
    """A body was not complete in time; whoever reads it sees it break off."""


class EdgeRequest(web.BaseRequest):
    """A request whose sender is told to go on (`Expect: 100-continue`) only when its body is wanted."""

    ATTRS = web.BaseRequest.ATTRS | frozenset({"_told"})
    _told = False

    @property
    def content(self) -> StreamReader:
        """The body; asking for it sends `100 Continue` to a client that waits for it."""
        self._go_on()
        return self._payload

    async def read(self) -> bytes:
        """The whole body. Raises what reading `content` raises."""
        self._go_on()
        return await super().read()

    @property
    def arriving(self) -> StreamReader:
        """The body, for looking at how far it is: asks for nothing."""
        return self._payload

    def _go_on(self) -> None:
        """Say `100 Continue` if it is waited for, the body is not on its way yet, and no answer has begun."""
        if self._told or "Expect" not in self.headers or self._payload.is_eof() or self._payload.total_bytes:
            return
        waits = self.headers["Expect"].strip().lower() == "100-continue" and self.version == HttpVersion11
        if waits and not self.writer.output_size and self.transport is not None:
            self._told = True
            self.transport.write(_CONTINUE)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """A good answer that starts before the body was read wants the body; and nobody need know what we run on."""
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            self._go_on()
        response.headers["Server"] = "lead-router"


class EdgeProtocol(RequestHandler):
    """One connection. Keeps time on what is arriving; says what is wrong without repeating it."""

    __slots__ = ("_arriving", "_deadline", "_deadline_s", "_head", "_head_bytes", "_linger_s", "_refused")

    def __init__(self, server: "EdgeServer", *, deadline_s: float, idle_s: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=idle_s,
            access_log=cast(logging.Logger, None),
            logger=_log,
            max_line_size=_LINE_MAX,
            max_field_size=_LINE_MAX,
            max_headers=_HEADERS_MAX,
            lingering_time=min(LINGER_S, deadline_s),
            auto_decompress=False,
        )
        self._deadline_s = deadline_s
        self._linger_s = min(LINGER_S, deadline_s)
        self._deadline: asyncio.TimerHandle | None = None
        self._arriving: StreamReader | None = None  # the body that is not complete yet
        self._head = b""  # the head that is not complete yet, as far as it came and its first line may reach
        self._head_bytes = 0
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection, unless there are too many."""
        server = cast(EdgeServer, self._manager)
        if server.is_full:
            self._refuse(cast(asyncio.Transport, transport), server)
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; so is what was arriving on it."""
        self._stop_clock()
        if self._refused:
            cast(EdgeServer, self._manager).refused_lingering -= 1
        else:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then look whether a head or body is left incomplete: only then a clock runs."""
        if self._refused or self._force_close:
            return
        heads = self._request_count
        if self._arriving is None and data:
            self._head_bytes += len(data)
            self._head = (self._head + data)[:_LINE_MAX] if self._head else data
        super().data_received(data)
        if self._request_count != heads and self._messages:
            self._head_ended()
        if self._arriving is not None:
            if self._arriving.is_eof() or self._arriving.exception() is not None:
                self._arriving = None
                self._stop_clock()
            elif self._deadline is None:
                self._start_clock()
        elif self._head:
            self._head_continues()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """We made the client wait; its time begins anew."""
        super().resume_reading(resume_parser)
        if self._deadline is not None:
            self._start_clock()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what cannot be parsed (400, 505) or to a handler that broke (500). The connection ends."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("unforeseen", extra={"error": type(exc).__name__})
            return _last(Problem("internal"))
        request._version = HttpVersion11  # aiohttp would answer what it could not read as if it were 1.0
        version = _REQUEST_LINE.match(self._head)
        if version is not None and version[1] not in (b"1.0", b"1.1"):
            return _last(_http_version())
        return _last(Problem("bad_framing", _MENDS.get(type(exc).__name__, _ANY_MEND)))

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Something ended a connection; its message may hold what somebody sent, so only its kind is said."""
        _log.debug("connection_ended", extra={"error": type(kw.get("exc_info")).__name__})

    def _head_ended(self) -> None:
        """A message stands in the queue: a request, or what is wrong with the bytes that came."""
        message, body = self._messages[-1]
        broken = not isinstance(message, RawRequestMessage)
        if broken and self._arriving is not None and not self._arriving.is_eof():
            self._arriving.set_exception(web.RequestPayloadError())  # the request before it tells, and is the last
            return
        if not broken:
            self._head, self._head_bytes = b"", 0
        self._arriving = body
        self._stop_clock()

    def _head_continues(self) -> None:
        """Bytes of a head have come, but not all of it. Line ends between requests are no head yet."""
        if not self._head.strip(b"\r\n"):
            self._head, self._head_bytes = b"", 0
            return
        if self._head_bytes > HEAD_MAX and self._waiter is not None:
            self._hang_up(Problem("bad_framing", f"The head is longer than {HEAD_MAX} bytes."))
            return
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
            self._keepalive_handle = None
        if self._deadline is None:
            self._start_clock()

    def _start_clock(self) -> None:
        self._stop_clock()
        self._deadline = self._loop.call_later(self._deadline_s, self._too_late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        """The time of what is arriving is over, if it was the client's to use."""
        self._deadline = None
        if self.transport is None or self._force_close:
            return
        if self._reading_paused or self._buffer_paused:
            self._start_clock()
        elif self._arriving is not None:
            self._arriving.set_exception(TooSlowError())
            self._arriving = None
        elif self._waiter is None:
            self._start_clock()  # an earlier request is being answered; nothing may be said before that
        else:
            self._hang_up(_too_slow())

    def _hang_up(self, problem: Problem) -> None:
        """Say why, where there is no request to answer, and close."""
        assert self.transport is not None
        self._stop_clock()
        self._force_close = True
        if self._waiter is not None:
            self._waiter.cancel()
        self._say_last(self.transport, problem)

    def _say_last(self, transport: asyncio.Transport, problem: Problem) -> None:
        """Answer and hang up, but let the client read it: closing on unread bytes would destroy it on the way."""
        transport.write(_raw(problem))
        if transport.can_write_eof():
            transport.write_eof()
        self._loop.call_later(self._linger_s, transport.abort)

    def _refuse(self, transport: asyncio.Transport, server: "EdgeServer") -> None:
        """Say 503 and hang up; at once when many are being told already."""
        self._refused = True
        server.refused_lingering += 1
        if server.refused_lingering > REFUSED_LINGERING_MAX:
            transport.abort()
            return
        self._say_last(transport, _too_many())


class EdgeServer(web.Server):
    """The protocol factory of a listener, for `loop.create_server` and `create_unix_server`, any number of sockets."""

    def __init__(self, handler: Handler, *, connections_max: int, deadline_s: float, idle_s: float) -> None:
        super().__init__(self._serve, request_factory=self._edge_request)
        self._handler = handler
        self._connections_max = connections_max
        self._deadline_s = deadline_s
        self._idle_s = idle_s
        self.refused_lingering = 0

    def __call__(self) -> EdgeProtocol:
        """The protocol of a new connection."""
        return EdgeProtocol(self, deadline_s=self._deadline_s, idle_s=self._idle_s)

    @property
    def is_full(self) -> bool:
        """Whether one more connection would be too many."""
        return len(self._connections) >= self._connections_max

    @property
    def connections_open(self) -> int:
        """Connections being served."""
        return len(self._connections)

    def abort(self) -> None:
        """Close every connection unanswered."""
        for transport in list(self._connections.values()):
            transport.abort()

    def _edge_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> EdgeRequest:
        return EdgeRequest(message, payload, protocol, writer, task, self._loop)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """What the handler says, unless the request cannot be served or broke off."""
        if request._version not in _SERVED:  # not `version`: that is remembered, and an answer is in it
            request._version = HttpVersion11
            return _last(_http_version())
        wrong = _framing(request)
        if wrong is not None:
            return _last(Problem("bad_framing", wrong))
        response = await self._handler(request)
        body = cast(EdgeRequest, request).arriving
        if not body.is_eof() or body.exception() is not None:
            if isinstance(body.exception(), TooSlowError) and not response.prepared:
                response = _too_slow().answer()
            response.force_close()
        return response


def make_server(
    handler: Handler, *, connections_max: int, deadline_s: float = DEADLINE_S, idle_s: float = IDLE_S
) -> EdgeServer:
    """A server for `loop.create_server(server, sock=...)`, inside the running loop.

    At most `connections_max` connections over all its sockets. `deadline_s` is for a head or body to be complete after
    its first byte, `idle_s` for a connection on which nothing comes. The handler bounds what it reads of a body.
    To stop: `pre_shutdown()` closes what is idle, `await shutdown(seconds)` the rest; `abort()` closes all unanswered.
    """
    return EdgeServer(handler, connections_max=connections_max, deadline_s=deadline_s, idle_s=idle_s)


def _framing(request: web.BaseRequest) -> str | None:
    """What RFC 9112 lets a server refuse although the parser takes it."""
    headers = request.headers
    if request.version == HttpVersion11 and len(headers.getall("Host", ())) != 1:
        return "Send exactly one Host header."
    if "Transfer-Encoding" in headers:
        if request.version != HttpVersion11:
            return "HTTP/1.0 has no Transfer-Encoding."
        if [coding.strip().lower() for coding in headers.getall("Transfer-Encoding")] != ["chunked"]:
            return "The only Transfer-Encoding here is chunked, once."
    return None


def _too_slow() -> Problem:
    return Problem("timeout", "A head or body must be complete soon after its first byte.")


def _too_many() -> Problem:
    return Problem("overloaded", "Too many connections are open; keep yours and reuse it.", retry_after_s=1)


def _http_version() -> Problem:
    return Problem("http_version", "Send HTTP/1.1.")


def _last(problem: Problem) -> web.Response:
    """A problem after which the connection is closed."""
    answer = problem.answer()
    answer.force_close()
    return answer


def _raw(problem: Problem) -> bytes:
    """A problem as the bytes of a whole answer, for where no request exists to answer."""
    body = problem.body()
    retry = f"Retry-After: {problem.retry_after_s}\r\n" if problem.retry_after_s is not None else ""
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\nContent-Type: {PROBLEM_JSON}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
