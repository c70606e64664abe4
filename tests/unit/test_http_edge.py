"""The edge of a listener, as raw bytes on a socket: what breaks HTTP's rules, dawdles, or asks for too much."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from router.web.problems import PROBLEM_JSON, Problem
from router.web.protocol import HEAD_MAX, EdgeServer, make_server

BOTH_LOOPS = True
DEADLINE_S = 0.15
BODY_MAX = 1000
HOST = b"Host: router\r\n"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Edge:
    """A served handler: where it listens, the server object, and the bodies it has read."""

    def __init__(self) -> None:
        self.port = 0
        self.server: EdgeServer
        self.taken: list[bytes] = []
        self.go_on = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """/no refuses unseen, /wait never ends, /stream answers while it reads, /slow reads late."""
        if request.path == "/no":
            return Problem("unauthorized").answer()
        if request.path == "/wait":
            await asyncio.Event().wait()
        if request.path == "/slow":
            await self.go_on.wait()
            return web.Response(body=b"took %d" % len(await request.content.read()))
        if request.path == "/broken":
            raise ValueError("secret 512-555-0147")
        if request.path == "/stream":
            return await self._stream(request)
        length = request.content_length
        if length is not None and length > BODY_MAX:
            return Problem("too_large").answer()
        body = bytearray()
        try:
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > BODY_MAX:
                    return Problem("too_large").answer()
        except web.RequestPayloadError:
            return Problem("bad_framing").answer()
        self.taken.append(bytes(body))
        return web.Response(body=b"took %d" % len(body))

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(web.RequestPayloadError):
            while chunk := await request.content.readany():
                await answer.write(b"%d," % len(chunk))
        return answer


@asynccontextmanager
async def edge(
    *, connections_max: int = 10, deadline_s: float = DEADLINE_S, idle_s: float = 5.0
) -> AsyncIterator[Edge]:
    """Serve on the loopback until the end of the block."""
    made = Edge()
    made.server = make_server(made.handle, connections_max=connections_max, deadline_s=deadline_s, idle_s=idle_s)
    listening = await asyncio.get_running_loop().create_server(made.server, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        made.server.pre_shutdown()
        await made.server.shutdown(0.01)
        await listening.wait_closed()


class Client:
    """A socket that reads answers and nothing more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers (lower case), body."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (at.partition(": ") for at in lines)}
        assert line.startswith("HTTP/1.")
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(line.split()[1]), headers, body

    async def ended(self) -> bytes:
        """Whatever still comes until the server closes the connection."""
        return await asyncio.wait_for(self.reader.read(), 5)


@asynccontextmanager
async def connected(at: Edge, data: bytes = b"") -> AsyncIterator[Client]:
    """A connection on which `data` was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(data)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def post(body: bytes = b"", *lines: bytes, path: bytes = b"/", length: int | None = None) -> bytes:
    """A POST with a Content-Length."""
    head = [b"POST " + path + b" HTTP/1.1", b"Host: router", *lines]
    head.append(b"Content-Length: %d" % (len(body) if length is None else length))
    return b"\r\n".join([*head, b"", body])


async def refusal(client: Client, status: int, code: str) -> str:
    """The next answer is this problem, it is the last, and the connection ends. Returns its text."""
    got, headers, body = await client.answer()
    said = json.loads(body)
    assert (got, said["code"], said["status"]) == (status, code, status)
    assert headers["content-type"] == PROBLEM_JSON
    assert headers["connection"] == "close"
    assert await client.ended() == b""
    return body.decode()


class TestServing:
    """What is in order is served, and the connection kept."""

    async def test_requests_one_after_the_other_and_pipelined(self) -> None:
        """Three requests on one connection, the last two sent at once; stray line ends between them do not matter."""
        async with edge() as at, connected(at, post(b"a")) as client:
            assert (await client.answer())[2] == b"took 1"
            client.writer.write(b"\r\n")
            await asyncio.sleep(DEADLINE_S * 1.5)
            client.writer.write(post(b"bb") + post(b"ccc"))
            assert [(await client.answer())[2] for _ in range(2)] == [b"took 2", b"took 3"]
            assert at.taken == [b"a", b"bb", b"ccc"]

    @pytest.mark.parametrize("step", [1, 7, 40])
    async def test_bytes_in_any_pieces(self, step: int) -> None:
        """A request that comes in small pieces, all in time."""
        data = (
            post(b"hello") + b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        async with edge(deadline_s=5) as at, connected(at) as client:
            for start in range(0, len(data), step):
                client.writer.write(data[start : start + step])
                await asyncio.sleep(0)
            assert [(await client.answer())[2] for _ in range(2)] == [b"took 5", b"took 3"]

    async def test_http_10(self) -> None:
        """HTTP/1.0 is served and the connection closed."""
        async with edge() as at, connected(at, b"GET / HTTP/1.0\r\n\r\n") as client:
            assert (await client.answer())[0] == 200
            assert await client.ended() == b""

    async def test_nobody_is_told_what_we_run_on(self) -> None:
        """The Server header names the product, not its libraries and their versions."""
        async with edge() as at, connected(at, post()) as client:
            assert (await client.answer())[1]["server"] == "lead-router"

    async def test_a_unix_socket(self, tmp_path: object) -> None:
        """The same server object listens on a unix socket too."""
        async with edge() as at:
            listening = await asyncio.get_running_loop().create_unix_server(at.server, f"{tmp_path}/s")
            reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
            writer.write(post(b"abc"))
            assert (await Client(reader, writer).answer())[2] == b"took 3"
            writer.close()
            await writer.wait_closed()
            listening.close()

    async def test_an_upgrade_is_ignored(self) -> None:
        """A wish for another protocol is not granted, and neither is the request lost."""
        async with edge() as at, connected(at, post(b"abc", b"Connection: Upgrade", b"Upgrade: h2c")) as client:
            assert (await client.answer())[2] == b"took 3"


class TestDawdling:
    """A head or body has a deadline from its first byte."""

    @pytest.mark.parametrize("start", [b"P", b"POST / HT", b"POST / HTTP/1.1\r\nHost: router\r\nX-A"])
    async def test_a_slow_head(self, start: bytes) -> None:
        """A head that stops in the middle: 408 and closed, about when the deadline is over."""
        async with edge() as at, connected(at, start) as client:
            began = time.monotonic()
            await refusal(client, 408, "timeout")
            assert DEADLINE_S * 0.8 <= time.monotonic() - began < DEADLINE_S * 5

    async def test_a_head_that_drips(self) -> None:
        """Each further byte does not buy more time."""
        async with edge() as at, connected(at, b"POST / HTTP/1.1\r\n") as client:

            async def drip() -> None:
                while not client.writer.is_closing():
                    client.writer.write(b"X: y\r\n")
                    await asyncio.sleep(DEADLINE_S / 10)

            dripping = asyncio.create_task(drip())
            await refusal(client, 408, "timeout")
            dripping.cancel()

    async def test_a_slow_head_after_another_request(self) -> None:
        """On a kept connection the clock starts with the next head's first byte, not before."""
        async with edge() as at, connected(at, post(b"a")) as client:
            assert (await client.answer())[0] == 200
            await asyncio.sleep(DEADLINE_S * 1.5)
            client.writer.write(b"POST / HTTP")
            await refusal(client, 408, "timeout")

    @pytest.mark.parametrize(
        "data",
        [
            post(b"half", length=8),
            post(b"", length=8),
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        ],
    )
    async def test_a_slow_body(self, data: bytes) -> None:
        """A body that stops: 408 and closed; the handler has taken nothing."""
        async with edge() as at, connected(at, data) as client:
            await refusal(client, 408, "timeout")
            assert at.taken == []

    async def test_a_slow_body_of_an_answer_that_has_begun(self) -> None:
        """There is no room for a 408 in an answer that has begun: it ends, and the connection with it."""
        async with edge() as at, connected(at, post(b"half", length=8, path=b"/stream")) as client:
            whole = await client.ended()
            assert whole.startswith(b"HTTP/1.1 200")
            assert b"408" not in whole

    async def test_our_own_slowness_does_not_count(self) -> None:
        """While we do not read, the client's clock stands."""
        size = 2_000_000
        async with edge() as at, connected(at, post(b"x" * size, path=b"/slow")) as client:
            await asyncio.sleep(DEADLINE_S * 3)
            at.go_on.set()
            assert (await client.answer())[2] == b"took %d" % size

    async def test_a_slow_handler_is_not_a_slow_client(self) -> None:
        """The deadline is for what arrives; how long an answer takes is not its business."""
        async with edge() as at, connected(at, post(b"abc", path=b"/wait")) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), DEADLINE_S * 3)

    async def test_an_idle_connection_is_closed(self) -> None:
        """Without a first byte, before or between requests, a connection is closed unanswered."""
        async with edge(idle_s=0.1) as at, connected(at) as fresh, connected(at, post()) as used:
            assert await fresh.ended() == b""
            assert (await used.answer())[0] == 200
            assert await used.ended() == b""

    async def test_an_idle_connection_is_closed_after_a_head_in_pieces_too(self) -> None:
        """A head that came in pieces stops the idle clock and, once answered, starts it again."""
        async with edge(idle_s=0.1, deadline_s=5) as at, connected(at, b"GET / HT") as client:
            await asyncio.sleep(0.15)
            client.writer.write(b"TP/1.1\r\n" + HOST + b"\r\n")
            assert (await client.answer())[0] == 200
            assert await client.ended() == b""


class TestFraming:
    """What RFC 9112 lets a server refuse is refused, the connection closed, and nothing of it repeated."""

    @pytest.mark.parametrize(
        "data",
        [
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5_0\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\nhello",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"hunter2 no colon\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X-Hunter2 : 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\r\n hunter2\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X: hunter2\x00\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rhunter2\r\n\r\n",
            b"GET /hunter2 HTTP/1.1\n" + HOST + b"\n",
            b"G\x01T /hunter2 HTTP/1.1\r\n" + HOST + b"\r\n",
            b"hunter2\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hunter2",
            b"GET http://[hunter2/ HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"hunter2" * 1300 + b"\r\n\r\n",
            b"GET /" + b"hunter2" * 1300 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: hunter2\r\n" % n for n in range(200)) + b"\r\n",
        ],
    )
    async def test_refused(self, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
        """400 as a problem, once, closed; neither the answer nor the log holds a byte of what was sent."""
        caplog.set_level(logging.DEBUG)
        async with edge() as at, connected(at, data) as client:
            said = await refusal(client, 400, "bad_framing")
            assert "hunter2" not in said.lower()
            assert "hunter2" not in caplog.text.lower()
            assert at.taken == []

    async def test_a_body_that_turns_bad_later(self) -> None:
        """A chunk that is none, after a good one: one answer, 400, closed."""
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        async with edge(deadline_s=5) as at, connected(at, head + b"3\r\nabc\r\n") as client:
            await asyncio.sleep(0.02)
            client.writer.write(b"zz\r\nhello\r\n0\r\n\r\n")
            await refusal(client, 400, "bad_framing")
            assert at.taken == []

    async def test_rubbish_after_a_request(self) -> None:
        """The request is served; the rubbish behind it is answered and ends the connection."""
        async with edge() as at, connected(at, post(b"abc")) as client:
            assert (await client.answer())[2] == b"took 3"
            client.writer.write(b"rubbish\r\n\r\n")
            await refusal(client, 400, "bad_framing")

    async def test_a_head_without_end(self) -> None:
        """A head that keeps growing is given up long before it costs memory."""
        async with edge(deadline_s=5) as at, connected(at, b"GET / HTTP/1.1\r\n") as client:
            for n in range(4):
                client.writer.write((b"X-%d: " % n + b"y" * 990 + b"\r\n") * (HEAD_MAX // 4 // 1000 + 1))
                await asyncio.sleep(0.01)
            got, _, body = await client.answer()
            assert (got, str(HEAD_MAX) in body.decode()) == (400, True)

    @pytest.mark.parametrize(
        "line",
        [
            b"GET / HTTP/2.0", b"GET / HTTP/1.2", b"GET / HTTP/3", b"GET / HTTP/0.9", b"GET /", b"PRI * HTTP/2.0",
            b"GET / HTTP/3.7", b"POST / HTTP/2.0",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("pieces", [1, 2])
    async def test_other_versions(self, line: bytes, pieces: int) -> None:
        """Versions other than 1.0 and 1.1 are 505, also when the line comes alone first."""
        async with edge() as at, connected(at) as client:
            if pieces == 1:
                client.writer.write(line + b"\r\n" + HOST + b"\r\n")
            else:
                client.writer.write(line + b"\r\n")
                await asyncio.sleep(0.01)
                client.writer.write(HOST + b"\r\n")
            got, headers, body = await client.answer()
            assert (got, json.loads(body)["code"], headers["connection"]) == (505, "http_version", "close")


class TestExpect:
    """`100 Continue` is said when a body is wanted, and not before."""

    async def test_the_body_is_wanted(self) -> None:
        """The handler asks for the body: 100, then the body is taken."""
        async with edge() as at, connected(at, post(b"", b"Expect: 100-continue", length=3)) as client:
            assert (await client.answer())[0] == 100
            client.writer.write(b"abc")
            assert (await client.answer())[2] == b"took 3"

    async def test_the_request_is_refused_unseen(self) -> None:
        """A wrong token is 401 at once, without 100: the body need not be sent."""
        async with edge() as at, connected(at, post(b"", b"Expect: 100-continue", length=3, path=b"/no")) as client:
            await refusal(client, 401, "unauthorized")

    async def test_too_long(self) -> None:
        """So is a length over the limit."""
        async with edge() as at, connected(at, post(b"", b"Expect: 100-Continue", length=BODY_MAX + 1)) as client:
            await refusal(client, 413, "too_large")

    async def test_an_answer_that_starts_before_the_body(self) -> None:
        """Where answering begins first, 100 still comes before it, not inside."""
        async with edge() as at, connected(at, post(b"", b"Expect: 100-continue", length=3, path=b"/stream")) as client:
            assert (await client.answer())[0] == 100
            client.writer.write(b"abc")
            assert (await client.answer())[0] == 200

    @pytest.mark.parametrize("data", [post(b"abc", b"Expect: 100-continue"), post(b"abc", b"Expect: tea")])
    async def test_nothing_to_wait_for(self, data: bytes) -> None:
        """A body that is on its way already, or an expectation we do not know, is no reason to say anything."""
        async with edge() as at, connected(at, data) as client:
            assert (await client.answer())[2] == b"took 3"


class TestTooMuch:
    """Bounds on what one client may take."""

    async def test_a_length_over_the_limit(self) -> None:
        """413 before any of the body is read, and the connection ends."""
        async with edge() as at, connected(at, post(b"", length=10**9)) as client:
            await refusal(client, 413, "too_large")

    async def test_chunks_over_the_limit(self) -> None:
        """413 as soon as the chunks exceed it; the end of the body is not waited for."""
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        async with edge() as at, connected(at, head + b"800\r\n" + b"x" * 0x800 + b"\r\n") as client:
            await refusal(client, 413, "too_large")

    async def test_too_many_connections(self) -> None:
        """One more than allowed hears 503 at once; when one goes, the next is served."""
        async with edge(connections_max=2) as at:
            async with connected(at, post()) as first, connected(at, post()) as second:
                assert (await first.answer())[0] == (await second.answer())[0] == 200
                async with connected(at, post()) as third:
                    got, headers, body = await third.answer()
                    assert (got, json.loads(body)["code"]) == (503, "overloaded")
                    assert (headers["retry-after"], headers["connection"]) == ("1", "close")
                    assert at.server.connections_open == 2
                    assert at.server.refused_lingering == 1
                    while at.server.refused_lingering:  # it does not wait for its client to close
                        await asyncio.sleep(0)
            while at.server.connections_open:
                await asyncio.sleep(0)
            async with connected(at, post()) as fourth:
                assert (await fourth.answer())[0] == 200


class TestEnding:
    """How connections end."""

    async def test_a_handler_that_breaks(self, caplog: pytest.LogCaptureFixture) -> None:
        """500 as a problem; the log names the kind of error and repeats nothing of it."""
        async with edge() as at, connected(at, b"GET /broken HTTP/1.1\r\n" + HOST + b"\r\n") as client:
            await refusal(client, 500, "internal")
        assert "512-555" not in caplog.text
        assert caplog.records[-1].__dict__["error"] == "ValueError"

    async def test_a_client_that_goes_away(self) -> None:
        """A client that closes in the middle of its body leaves nothing behind."""
        async with edge(deadline_s=5) as at:
            async with connected(at, post(b"half", length=8)):
                while not at.server.connections_open:
                    await asyncio.sleep(0)
            while at.server.connections_open:
                await asyncio.sleep(0)
            assert at.taken == []

    async def test_aborting(self) -> None:
        """All connections closed unanswered, those at work included."""
        async with edge() as at, connected(at, post(path=b"/wait")) as client:
            while not at.server.requests_count:
                await asyncio.sleep(0)
            at.server.abort()
            with suppress(ConnectionError):
                assert await client.ended() == b""
