"""Our lean client and aiohttp's ClientSession, on the same servers: the same answers, the same idea of what is broken.

The client stands on aiohttp's connector and response parser and drives them itself. Should a later aiohttp change how
the two want to be driven, this suite is where it shows.
"""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from router.model.delivery import HttpRequest, HttpResponse
from router.transport import AiohttpTransport
from tests.loopback import LOOPBACK, Visit, always, ask, loopback

BOTH_LOOPS = True
#: What a server may write, and whether the connection is kept after it.
ANSWERS: dict[str, bytes] = {
    "content_length": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "created": b"HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 2\r\n\r\n{}",
    "no_content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not_modified": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "chunk_extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    "http_10": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "http_10_keep_alive": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    "no_reason": b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "early_hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
    "error": b"HTTP/1.1 503 Unavailable\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy",
    "repeated_header": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    "gzip_untouched": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "folded_value": b"HTTP/1.1 200 OK\r\nX:   padded   \r\nContent-Length: 0\r\n\r\n",
    "non_ascii_value": b"HTTP/1.1 200 OK\r\nX: caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n",
    "bare_newlines": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "odd_status": b"HTTP/1.1 799 Whatever\r\nContent-Length: 0\r\n\r\n",
    "big": b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536,
}
#: What a server may write and then close the connection.
THEN_CLOSED: dict[str, bytes] = {
    "until_close": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "until_close_10": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "nothing": b"",
    "half_status_line": b"HTTP/1.1 20",
    "half_head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half_body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "half_chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
    "no_last_chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "only_continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "garbage": b"garbage\r\n\r\n",
    "bad_version": b"HTTP/x.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "bad_status": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "bad_length": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "two_lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length_and_chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad_chunk_size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "bad_header": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "nul_in_header": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "long_header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}

Seen = tuple[int, tuple[tuple[str, str], ...], bytes] | None


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """aiohttp's own client, set up so that it adds nothing and follows nothing."""
    async with aiohttp.ClientSession(
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        timeout=aiohttp.ClientTimeout(total=2),
    ) as made:
        yield made


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """Ours."""
    made = AiohttpTransport(LOOPBACK)
    yield made
    await made.close()


async def theirs(session: aiohttp.ClientSession, request: HttpRequest) -> Seen:
    """What ClientSession makes of it; None when it raises."""
    try:
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            data=request.body or None,
            headers=list(request.headers),
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            headers = tuple((name.decode(), value.decode()) for name, value in answer.raw_headers)
            return answer.status, headers, body
    except (aiohttp.ClientError, TimeoutError):
        return None


async def ours(transport: AiohttpTransport, request: HttpRequest) -> Seen:
    """What we make of it; None for a failure."""
    answer = await transport.send("b", request)
    return (answer.status, answer.headers, answer.body) if isinstance(answer, HttpResponse) else None


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_the_same_answers(
    name: str, pieces: int, session: aiohttp.ClientSession, transport: AiohttpTransport
) -> None:
    """Status, headers and body are the same, in one piece or several, and so is whether the connection is kept."""
    answer = ANSWERS[name]
    step = -(-len(answer) // pieces)

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            for start in range(0, len(answer), step):
                visit.send(answer[start : start + step])
                await visit.writer.drain()
                await asyncio.sleep(0.001 * (pieces - 1))

    visits = []
    seen = []
    for client in (lambda request: theirs(session, request), lambda request: ours(transport, request)):
        async with loopback(script) as server:
            seen.append([await client(ask(server.url())) for _ in range(2)])
            visits.append(server.visits)
    assert seen[0] == seen[1]
    assert seen[0][0] is not None
    assert visits[0] == visits[1]


@pytest.mark.parametrize("name", THEN_CLOSED)
async def test_the_same_idea_of_what_is_broken(
    name: str, session: aiohttp.ClientSession, transport: AiohttpTransport
) -> None:
    """What ends early or is no HTTP is a failure to both, or the same answer to both."""

    async def script(visit: Visit) -> None:
        await visit.request()
        visit.send(THEN_CLOSED[name])
        await visit.writer.drain()

    async with loopback(script) as server:
        assert await theirs(session, ask(server.url())) == await ours(transport, ask(server.url()))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET"])
@pytest.mark.parametrize("path", ["/leads", "/", "", "/a/b?zip=78701&x=%20", "?q=1"])
async def test_the_same_request(
    method: str, path: str, session: aiohttp.ClientSession, transport: AiohttpTransport
) -> None:
    """The server is sent the same request: line, headers (their order apart), body."""
    body = b"" if method == "GET" else b'{"a": 1}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    headers = (("Content-Type", "application/json"), ("Idempotency-Key", "d-1"))
    async with loopback(always(answer)) as server:
        request = ask(server.url(path), method=method, body=body, headers=headers)
        assert await theirs(session, request) == await ours(transport, request)
        (line_1, *headers_1), (line_2, *headers_2) = (
            sent.partition(b"\r\n\r\n")[0].split(b"\r\n") for sent in server.requests
        )
        assert line_1 == line_2
        assert sorted(headers_1) == sorted(headers_2)
        bodies = [sent.partition(b"\r\n\r\n")[2] for sent in server.requests]
        assert bodies == [body, body]


async def test_where_we_differ_on_purpose_a_request_is_written_once(
    session: aiohttp.ClientSession, transport: AiohttpTransport
) -> None:
    """On a kept connection that drops under the request ClientSession sends a PUT again; we do not."""

    async def script(visit: Visit) -> None:
        await visit.request()
        visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await visit.request()

    sent = []
    for client in (lambda request: theirs(session, request), lambda request: ours(transport, request)):
        async with loopback(script) as server:
            for _ in range(2):
                await client(ask(server.url(), method="PUT"))
            sent.append(len(server.requests))
    assert sent == [3, 2]
