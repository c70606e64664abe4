"""Acts on the wire: how the farm's buyers answer, break off, drip and flood, each within hard bounds.

Whatever a buyer does, one answer is over after ANSWER_MAX_S and ANSWER_MAX_BYTES: then the connection is dropped. The
farm must not do to the machine it runs on what it plays to do to a router.
"""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from aiohttp import web

from router.demo.tempers import HANG_S, Act

ANSWER_MAX_BYTES: Final = 8 * 1024 * 1024
ANSWER_MAX_S: Final = 60.0
DRIP_S: Final = 0.1
_CHUNK: Final = b" " * 16 * 1024
_HEADER: Final = b"X-Pad: " + b"x" * 1000 + b"\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_RAW_PAUSE_S: Final = 0.005
_HALF_MISSING_BYTES: Final = 100
_WHOLE: Final = ("answer", "drip", "drip_head", "twice")


class Stage:
    """One request and the time there is for its answer. `over` ends every wait when the farm stops.

    `told`: a whole answer was written.
    """

    def __init__(self, request: web.Request, over: asyncio.Event) -> None:
        self.request = request
        self.told = False
        self._over = over

    async def perform(self, act: Act) -> web.StreamResponse:
        """Do what the act says; returns when all of it was written, or the connection dropped."""
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                response = await self._perform(act)
        except TimeoutError:
            return self._dropped()
        self.told = act.manner in _WHOLE
        return response

    async def _perform(self, act: Act) -> web.StreamResponse:
        if act.pause_s:
            await self._wait(act.pause_s)
        match act.manner:
            case "answer" | "half":
                return await self._answer(act)
            case "hang":
                await self._wait(HANG_S)
                return self._dropped()
            case "reset_before" | "reset_after":
                return self._dropped()
            case "drip" | "endless":
                return await self._stream(act)
            case "raw":
                return await self._raw(_once(act.body), linger=False)
            case "twice":
                return await self._raw(_once(2 * _whole(act)))
            case "drip_head":
                return await self._raw(self._drops(_whole(act)))
            case "endless_head":
                return await self._raw(self._again(_whole(act).partition(b"\r\n")[0] + b"\r\n", _HEADER))
            case "continues":
                return await self._raw(self._again(b"", _CONTINUE))

    async def _answer(self, act: Act) -> web.StreamResponse:
        response = _response(act)
        response.content_length = len(act.body) + (_HALF_MISSING_BYTES if act.manner == "half" else 0)
        await response.prepare(self.request)
        await response.write(act.body)
        if act.manner == "half":
            return self._dropped(response)
        await response.write_eof()
        return response

    async def _stream(self, act: Act) -> web.StreamResponse:
        """A body piece by piece: byte by byte, or on and on."""
        response = _response(act)
        if act.manner == "drip":
            response.content_length = len(act.body)
            await response.prepare(self.request)
            async for drop in self._drops(act.body):
                await response.write(drop)
            await response.write_eof()
            return response
        response.enable_chunked_encoding()
        await response.prepare(self.request)
        await response.write(act.body)
        for _ in range(ANSWER_MAX_BYTES // len(_CHUNK)):
            await response.write(_CHUNK)
        return self._dropped(response)

    async def _raw(self, pieces: AsyncIterator[bytes], *, linger: bool = True) -> web.StreamResponse:
        """Bytes of our own instead of an answer of aiohttp's; the connection is dropped behind them."""
        transport = self.request.transport
        async for piece in pieces:
            if transport is None or transport.is_closing():
                break
            transport.write(piece)
        if linger:  # what was written is to be read before the end is seen
            await self._wait(DRIP_S)
        return self._dropped(web.Response())

    async def _drops(self, data: bytes) -> AsyncIterator[bytes]:
        for at in range(len(data)):
            yield data[at : at + 1]
            await self._wait(DRIP_S)

    async def _again(self, first: bytes, piece: bytes) -> AsyncIterator[bytes]:
        """The same piece on and on, as fast as it is read."""
        yield first
        many = piece * (len(_CHUNK) // len(piece))
        left = ANSWER_MAX_BYTES
        while left > 0 and not self._over.is_set():
            if self._is_read():
                yield many
                left -= len(many)
            await self._wait(_RAW_PAUSE_S)

    def _is_read(self) -> bool:
        transport = self.request.transport
        return transport is None or transport.get_write_buffer_size() < len(_CHUNK)

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the farm stops first."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return

    def _dropped(self, response: web.StreamResponse | None = None) -> web.StreamResponse:
        """Close the connection under the asker: at once, or after what was written has left."""
        if self.request.transport is not None:
            if response is None:
                self.request.transport.abort()
            else:
                self.request.transport.close()
        return response or web.Response()


def _response(act: Act) -> web.StreamResponse:
    return web.StreamResponse(status=act.status, headers=[*act.headers, ("Content-Type", act.content_type)])


def _whole(act: Act) -> bytes:
    """An answer as bytes."""
    headers = [*act.headers, ("Content-Type", act.content_type), ("Content-Length", str(len(act.body)))]
    lines = [
        f"HTTP/1.1 {act.status} {HTTPStatus(act.status).phrase}",
        *(f"{name}: {text}" for name, text in headers),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + act.body


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
