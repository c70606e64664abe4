"""NDJSON in, NDJSON out: a line is taken as soon as it is complete, answers go out in the order of the lines.

Many lines are worked on at a time, so that the ledger commits them together. Reading never waits for the reader of the
answers: a client that sends everything before it reads anything would otherwise wait for us while we wait for it. What
is held meanwhile is bounded by the number of lines.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import orjson
from aiohttp import StreamReader, web

from router.web.listener import problem_of
from router.web.problems import Problem

LINES_MAX: Final = 10_000
#: Lines worked on at a time.
WINDOW: Final = 512
_NDJSON: Final = "application/x-ndjson"

#: Takes one line (its number from 1, its bytes) and returns HTTP status and JSON object; raises like a handler.
TakeLine = Callable[[int, bytes], Awaitable[tuple[int, bytes]]]


async def answer_batch(request: web.BaseRequest, take: TakeLine, *, line_bytes_max: int) -> web.StreamResponse:
    """Take every line of the request and answer each. Raises Problem (411) when the body has no end."""
    if request.content_length is None and "Transfer-Encoding" not in request.headers:
        raise Problem("length_required", "Send Content-Length, or the body in chunks.")
    response = web.StreamResponse(headers={"Content-Type": _NDJSON, "Cache-Control": "no-store"})
    await response.prepare(request)
    answers = Answers(response)
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(answers.write_all())
        await _take_all(request.content, take, answers, group, line_bytes_max)
        answers.complete()
        await writer
    return response


async def _take_all(
    content: StreamReader, take: TakeLine, answers: "Answers", group: asyncio.TaskGroup, line_bytes_max: int
) -> None:
    free = asyncio.Semaphore(WINDOW)

    async def answer(number: int, line: bytes | Problem) -> bytes:
        try:
            return await _answer_line(take, number, line)
        finally:
            free.release()

    taken = 0
    too_long = Problem("too_large", f"A line has at most {line_bytes_max} bytes here.")
    async for number, line in lines(content, line_bytes_max):
        await free.acquire()
        taken += 1
        if taken > LINES_MAX:
            last = Problem("too_large", f"A batch has at most {LINES_MAX} lines; nothing from this one on was read.")
            answers.expect(group.create_task(answer(number, last)))
            return
        answers.expect(group.create_task(answer(number, too_long if line is None else line)))


async def _answer_line(take: TakeLine, number: int, line: bytes | Problem) -> bytes:
    if isinstance(line, Problem):
        return _refused(number, line)
    try:
        status, body = await take(number, line)
    except Exception as error:
        return _refused(number, problem_of(error))
    return b'{"line":%d,"status_code":%d,%b\n' % (number, status, body[1:])


def _refused(number: int, problem: Problem) -> bytes:
    return orjson.dumps({"line": number, "status_code": problem.status, **problem.plain()}) + b"\n"


class Answers:
    """The answers in the order of their lines, written as soon as the first ones are there.

    When the client has gone away the leads still go on: what was durable is not undone.
    """

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._expected: deque[asyncio.Task[bytes]] = deque()
        self._more = asyncio.Event()
        self._complete = False
        self._gone = False

    def expect(self, answer: asyncio.Task[bytes]) -> None:
        """`answer` comes next."""
        self._expected.append(answer)
        self._more.set()

    def complete(self) -> None:
        """Nothing comes any more."""
        self._complete = True
        self._more.set()

    async def write_all(self) -> None:
        """Write every answer; returns after the last one."""
        while not self._complete or self._expected:
            if not self._expected:
                self._more.clear()
                await self._more.wait()
                continue
            ready = [await self._expected.popleft()]
            while self._expected and self._expected[0].done():
                ready.append(self._expected.popleft().result())
            await self._write(b"".join(ready))
        if not self._gone:
            await self._response.write_eof()

    async def _write(self, data: bytes) -> None:
        if self._gone:
            return
        try:
            await self._response.write(data)
        except ConnectionError:
            self._gone = True


async def lines(content: StreamReader, line_bytes_max: int) -> AsyncIterator[tuple[int, bytes | None]]:
    """Number (from 1) and bytes of each line that is not blank; None for one that is too long, whose rest is skipped.

    Ends early, without the last piece, when the body breaks off.
    """
    number, kept, skipping = 0, bytearray(), False
    while chunk := await _next(content):
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            number += 1
            line, kept = kept + piece, bytearray()
            if skipping or len(line) > line_bytes_max:
                skipping = False
                yield number, None
            elif line.strip():
                yield number, bytes(line)
        if not skipping:
            kept += rest
        if len(kept) > line_bytes_max:
            skipping, kept = True, bytearray()
    if chunk is not None and (skipping or kept.strip()):
        yield number + 1, None if skipping else bytes(kept)


async def _next(content: StreamReader) -> bytes | None:
    """The next piece of the body, empty at its end; None when it broke off."""
    try:
        return await content.readany()
    except (ConnectionError, web.RequestPayloadError):
        return None
