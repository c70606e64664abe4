"""aiohttp's response protocol, with two things it leaves open closed: floods, and readers that are never woken.

Reading is bounded before it is parsed. A buyer may send a thousand interim answers in one segment, a body in chunks of
one byte, or a chunk extension without end; each would keep the process busy parsing what nobody will read. So large
segments are parsed in slices, and an answer is given up when its bytes or its interim heads are more than any answer
needs.
"""

import asyncio
from typing import Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from router.model.delivery import BODY_MAX

_HEAD_LINE_MAX: Final = 8190
_HEADERS_MAX: Final = 128
#: Bytes of one answer on the wire, with heads and the framing of chunks.
WIRE_MAX: Final = 2 * BODY_MAX
#: 100 Continue, 103 Early Hints and the like before the answer.
INTERIM_MAX: Final = 16
_SLICE: Final = 16 * 1024


class EndlessError(HttpProcessingError):
    """More came than an answer needs."""


class AnswerHandler(ResponseHandler):
    """One connection; `begin` before each request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._wire_left = WIRE_MAX

    def begin(self, *, has_body: bool) -> None:
        """Expect an answer. A body is read until the end of the stream where nothing else ends it."""
        self._wire_left = WIRE_MAX
        self.set_response_params(
            skip_payload=not has_body,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=BODY_MAX,
            max_line_size=_HEAD_LINE_MAX,
            max_field_size=_HEAD_LINE_MAX,
            max_headers=_HEADERS_MAX,
        )

    def data_received(self, data: bytes) -> None:
        """Parse it, as far as an answer can go; after a time-out nothing more is listened to."""
        if self._exception is not None:
            return
        left = self._wire_left
        self._wire_left -= len(data)
        if len(data) <= min(_SLICE, left):
            super().data_received(data)
            return
        for at in range(0, min(len(data), left), _SLICE):
            super().data_received(data[at : min(at + _SLICE, left)])
            if self.exception() is not None or (self._payload is not None and self._payload.total_bytes > BODY_MAX):
                return  # broken, or cut: the reader closes the connection
            if len(self._buffer) > INTERIM_MAX:
                break
        else:
            if len(data) <= left:
                return
        self.set_exception(EndlessError())
        if self.transport is not None:
            self.transport.close()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Wake who reads. aiohttp wakes the head's reader alone; a body's would wait out its time."""
        payload = self._payload
        super().set_exception(exc, exc if exc_cause is None else exc_cause)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(exc)
