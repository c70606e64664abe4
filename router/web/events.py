"""Server-sent events: what happens in the router, to whoever keeps the connection open.

A comment every fifteen seconds keeps proxies from closing a quiet stream and finds out that a listener has gone.
"""

import asyncio
from typing import Final

import orjson
from aiohttp import web

from router.engine.feed import Event, Feed, Listener, as_json, name_of
from router.web.problems import Problem

QUIET_S: Final = 15.0
READ_WITHIN_S: Final = 30.0
_RETRY_S: Final = 5.0
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or nginx holds events back until it has a page full
}


async def stream(request: web.BaseRequest, feed: Feed) -> web.StreamResponse:
    """Answer with events until the listener leaves, is too slow, or the router stops. Raises Problem (503)."""
    response = web.StreamResponse(headers=_HEADERS)
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    listener = feed.listen(request.headers.get("Last-Event-ID"))
    if listener is None:
        raise Problem("overloaded", "As many listen to events as may.", retry_after_s=_RETRY_S)
    try:
        await response.prepare(request)
        await response.write(b": events from here on\n\n")
        await _tell(response, listener, feed)
        await response.write_eof()
    finally:
        feed.leave(listener)
    return response


async def _tell(response: web.StreamResponse, listener: Listener, feed: Feed) -> None:
    while True:
        events = await listener.wait(QUIET_S)
        over = listener.over
        text = b"".join(_written(event, feed) for event in events) or (b"" if over else b": nothing new\n\n")
        if over:
            text += f": {over}\n\n".encode()
        await _write(response, text)
        if over:
            return


async def _write(response: web.StreamResponse, text: bytes) -> None:
    """Raises ConnectionError when the listener does not read at all: nobody waits for it."""
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            await response.write(text)
    except TimeoutError:
        raise ConnectionResetError("the listener does not read") from None


def _written(event: Event, feed: Feed) -> bytes:
    data = orjson.dumps(as_json(event))
    return f"id: {feed.id_of(event)}\nevent: {name_of(event)}\ndata: ".encode() + data + b"\n\n"
