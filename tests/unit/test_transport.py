"""What a buyer's server can do to us, each as raw bytes, and what we may believe about the lead afterwards."""

import asyncio
import gc
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.model.delivery import HttpResponse, TransportFailure
from router.terms.schema import Network
from router.transport import AiohttpTransport
from router.transport.client import BODY_MAX
from tests.loopback import LOOPBACK, Visit, always, ask, loopback

BOTH_LOOPS = True
CERTIFICATE = Path(__file__).parents[1] / "cases/tls/loopback.pem"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def transport(**kw: object) -> AsyncIterator[AiohttpTransport]:
    """A transport that may reach the loopback, closed at the end."""
    made = AiohttpTransport(LOOPBACK, **kw)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


def server_tls() -> ssl.SSLContext:
    """A buyer's TLS with a certificate that nobody's system trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    return context


def answered(ended: HttpResponse | TransportFailure) -> HttpResponse:
    """The answer; fails the test when there is none."""
    assert isinstance(ended, HttpResponse), ended
    return ended


def failed(ended: HttpResponse | TransportFailure) -> TransportFailure:
    """The failure; fails the test when there was an answer."""
    assert isinstance(ended, TransportFailure), ended
    return ended


class TestWhatIsSent:
    """The request is written once, as it was rendered."""

    async def test_the_bytes(self) -> None:
        """Method, path with query, Host, the caller's headers in order, the length and the body; nothing added."""
        async with transport() as sender, loopback(always(OK)) as server:
            url = server.url("/in/leads?src=a%20b#part")
            headers = (("X-B", "2"), ("X-A", "Zoë"))
            answer = answered(await sender.send("b", ask(url, method="PUT", body=b"{}", headers=headers)))
            assert (answer.status, answer.body, answer.headers) == (200, b"ok", (("Content-Length", "2"),))
            assert answer.peer == f"127.0.0.1:{server.port}"
            assert answer.took_ns > 0
            assert server.requests == [
                f"PUT /in/leads?src=a%20b HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                "X-B: 2\r\nX-A: Zoë\r\nContent-Length: 2\r\n\r\n{}".encode()
            ]

    async def test_a_get_without_body_has_no_length(self) -> None:
        """A GET with the lead in its query says nothing about a body."""
        async with transport() as sender, loopback(always(OK)) as server:
            answered(await sender.send("b", ask(server.url("?zip=78701"), method="GET", body=b"", headers=())))
            assert server.requests == [f"GET /?zip=78701 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()]

    async def test_what_is_not_ascii_in_a_url_is_escaped(self) -> None:
        """A path with a space or an umlaut becomes a request line that is one."""
        async with transport() as sender, loopback(always(OK)) as server:
            answered(await sender.send("b", ask(server.url("/käufer a"), body=b"")))
            assert server.requests[0].startswith(b"POST /k%C3%A4ufer%20a HTTP/1.1\r\n")

    @pytest.mark.parametrize(
        "header", [("X-A", "1\r\nX-Evil: 2"), ("X A", "1"), ("Content-Length", "3"), ("Transfer-Encoding", "chunked")]
    )
    async def test_a_header_that_would_change_the_framing_is_not_sent(self, header: tuple[str, str]) -> None:
        """Line breaks in values and headers that are ours to set end the attempt before anything is written."""
        async with transport() as sender, loopback(always(OK)) as server:
            failure = failed(await sender.send("b", ask(server.url(), headers=(header,))))
            assert (failure.kind, failure.certain, server.visits) == ("no_connection", True, 0)
            assert "Evil" not in failure.detail

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x", "http://", "http://[::1/x", "http://a:99999/"])
    async def test_a_url_that_is_none(self, url: str) -> None:
        """What cannot be an address of a buyer is a certain failure, not an exception."""
        async with transport() as sender:
            assert failed(await sender.send("b", ask(url))).certain

    async def test_credentials_in_a_url_are_refused(self) -> None:
        """They would end up in logs; the failure says where they belong and does not repeat them."""
        async with transport() as sender, loopback(always(OK)) as server:
            url = server.url().replace("//", "//user:hunter2@")
            failure = failed(await sender.send("b", ask(url)))
            assert failure.certain
            assert "`auth`" in failure.detail
            assert "hunter2" not in failure.detail


class TestKeptConnections:
    """Connections are kept, but nothing is ever sent into one that may be dead, and nothing sent twice."""

    async def test_a_connection_serves_many_attempts(self) -> None:
        """Three requests, one connection."""
        async with transport() as sender, loopback(always(OK)) as server:
            for _ in range(3):
                answered(await sender.send("b", ask(server.url())))
            assert (server.visits, len(server.requests)) == (1, 3)

    @pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
    async def test_dropped_while_idle(self, method: str) -> None:
        """A connection the buyer closed in the meantime is noticed before writing; a new one takes the request."""
        closed = asyncio.Event()

        async def script(visit: Visit) -> None:
            await visit.request()
            visit.send(OK)
            if visit.number == 0:
                await visit.writer.drain()
                visit.writer.close()
                closed.set()
            else:
                await visit.reader.read()

        async with transport() as sender, loopback(script) as server:
            answered(await sender.send("b", ask(server.url(), method=method)))
            await closed.wait()  # the end is in the kernel, the sender's loop has not looked yet
            assert answered(await sender.send("b", ask(server.url(), method=method))).status == 200
            assert (server.visits, len(server.requests)) == (2, 2)

    @pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
    async def test_dropped_right_after_our_write(self, method: str) -> None:
        """On a kept connection that drops under the request: in doubt, and the server saw the request once."""

        async def script(visit: Visit) -> None:
            await visit.request()
            visit.send(OK)
            await visit.request()

        async with transport() as sender, loopback(script) as server:
            answered(await sender.send("b", ask(server.url(), method=method)))
            failure = failed(await sender.send("b", ask(server.url(), method=method)))
            assert (failure.kind, failure.certain) == ("connection_lost", False)
            assert (server.visits, len(server.requests)) == (1, 2)

    @pytest.mark.parametrize("turns", [0, 5])
    async def test_an_answer_nobody_asked_for_is_not_taken_for_the_next_one(self, turns: int) -> None:
        """A second answer that waits on a kept connection would otherwise decide about somebody else's lead."""
        second = asyncio.Event()  # time to send the second one

        async def script(visit: Visit) -> None:
            await visit.request()
            visit.send(OK)
            if visit.number == 0:
                await second.wait()
                visit.send(b"HTTP/1.1 418 Stale\r\nContent-Length: 0\r\n\r\n")
                await visit.writer.drain()
            await visit.reader.read()

        async with transport() as sender, loopback(script) as server:
            answered(await sender.send("b", ask(server.url())))
            second.set()
            await asyncio.sleep(0)  # written
            for _ in range(turns):  # whether our side has read it or not must not matter
                await asyncio.sleep(0)
            assert answered(await sender.send("b", ask(server.url()))).status == 200
            assert server.visits == 2

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ],
    )
    async def test_not_kept(self, answer: bytes) -> None:
        """HTTP/1.0, `Connection: close` and bytes beyond the answer end a connection."""
        async with transport() as sender, loopback(always(answer)) as server:
            for _ in range(2):
                assert answered(await sender.send("b", ask(server.url()))).body == b"ok"
            assert server.visits == 2

    async def test_an_answer_before_the_body_was_taken_ends_the_connection(self) -> None:
        """A server that answers early is believed, and what it has not read is not mixed into the next request."""

        async def script(visit: Visit) -> None:
            await visit.reader.readuntil(b"\r\n\r\n")
            visit.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            await visit.reader.read()

        async with transport() as sender, loopback(script) as server:
            for _ in range(2):
                body = b"x" * 8_000_000
                assert answered(await sender.send("b", ask(server.url(), body=body))).status == 413
            assert server.visits == 2

    async def test_new_terms_close_connections_that_are_not_allowed_any_more(self) -> None:
        """After `update` a kept connection to an address that may no longer be reached is not used."""
        async with transport() as sender, loopback(always(OK)) as server:
            answered(await sender.send("b", ask(server.url())))
            sender.update(Network(allow_http=True))
            assert failed(await sender.send("b", ask(server.url()))).kind == "blocked_address"
            sender.update(LOOPBACK)
            answered(await sender.send("b", ask(server.url())))
            sender.update(LOOPBACK)
            answered(await sender.send("b", ask(server.url())))
            assert server.visits == 2


class TestBeforeTheFirstByte:
    """Failures that prove that the buyer does not have the lead."""

    async def test_nobody_listens(self) -> None:
        """A refused connection."""
        async with loopback(always(OK)) as gone:
            pass
        async with transport() as sender:
            failure = failed(await sender.send("b", ask(gone.url())))
            assert (failure.kind, failure.certain, failure.detail) == ("connect", True, "Connection refused")

    async def test_no_free_connection(self) -> None:
        """When all connections of the lane are taken, waiting ends with the connect time-out."""
        release = asyncio.Event()

        async def script(visit: Visit) -> None:
            await visit.request()
            await release.wait()
            visit.send(OK)

        async with transport(connections_max=lambda lane: 1) as sender, loopback(script) as server:
            first = asyncio.create_task(sender.send("b", ask(server.url())))
            while not server.requests:
                await asyncio.sleep(0)
            failure = failed(await sender.send("b", ask(server.url(), connect_ms=30)))
            assert (failure.kind, failure.certain, server.visits) == ("no_connection", True, 1)
            other = asyncio.create_task(sender.send("c", ask(server.url())))
            release.set()
            assert answered(await first).status == answered(await other).status == 200

    async def test_plain_http_is_refused_unless_allowed(self) -> None:
        """`allow_http = false` stops before anything is looked up."""
        sender = AiohttpTransport(Network(allow_private=("127.0.0.0/8",)))
        async with loopback(always(OK)) as server:
            failure = failed(await sender.send("b", ask(server.url())))
            assert (failure.kind, server.visits) == ("blocked_address", 0)
            assert "allow_http" in failure.detail
        await sender.close()


class TestTls:
    """Certificates are verified, and a failing handshake is a certain failure."""

    async def test_self_signed_is_refused(self) -> None:
        """A certificate nobody vouches for: no byte of the lead leaves."""
        async with transport() as sender, loopback(always(OK), tls=server_tls()) as server:
            failure = failed(await sender.send("b", ask(server.url(scheme="https"))))
            assert (failure.kind, failure.certain, server.requests) == ("tls", True, [])
            assert "not trusted" in failure.detail

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    async def test_a_trusted_certificate(self, host: str) -> None:
        """With its CA the same server is fine, by name and by address, and the connection is kept."""
        look_up: Callable[[str], list[str]] = lambda name: ["127.0.0.1"]  # noqa: E731
        async with (
            transport(extra_ca=str(CERTIFICATE), look_up=look_up) as sender,
            loopback(always(OK), tls=server_tls()) as server,
        ):
            for _ in range(2):
                answered(await sender.send("b", ask(server.url(scheme="https", host=host))))
            assert server.visits == 1

    async def test_a_certificate_for_another_name(self) -> None:
        """A good certificate of somebody else is refused."""
        look_up: Callable[[str], list[str]] = lambda name: ["127.0.0.1"]  # noqa: E731
        async with (
            transport(extra_ca=str(CERTIFICATE), look_up=look_up) as sender,
            loopback(always(OK), tls=server_tls()) as server,
        ):
            failure = failed(await sender.send("b", ask(server.url(scheme="https", host="buyer.example"))))
            assert (failure.kind, failure.certain) == ("tls", True)

    async def test_no_tls_there(self) -> None:
        """https to a server that speaks plain HTTP."""
        async with transport() as sender, loopback(always(OK)) as server:

            async def plain(visit: Visit) -> None:
                await visit.reader.read(1)
                visit.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            async with loopback(plain) as speaks_plain:
                failure = failed(await sender.send("b", ask(speaks_plain.url(scheme="https"))))
            assert (failure.kind, failure.certain, server.visits) == ("tls", True, 0)

    async def test_a_handshake_that_hangs(self) -> None:
        """The connect time-out covers TLS, and the failure says that it was TLS."""

        async def silent(visit: Visit) -> None:
            await asyncio.Event().wait()

        async with transport() as sender, loopback(silent) as server:
            failure = failed(await sender.send("b", ask(server.url(scheme="https"), connect_ms=50)))
            assert (failure.kind, failure.certain) == ("tls", True)

    async def test_a_handshake_that_is_reset(self) -> None:
        """The connection is lost while shaking hands: still nothing of the lead was written."""

        async def reset(visit: Visit) -> None:
            await visit.reader.read(1)
            visit.reset()

        async with transport() as sender, loopback(reset) as server:
            failure = failed(await sender.send("b", ask(server.url(scheme="https"))))
            assert (failure.kind, failure.certain) == ("tls", True)


async def _hang(visit: Visit) -> None:
    await visit.request()
    await asyncio.Event().wait()


async def _drip(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        visit.send(b"x")
        await asyncio.sleep(0.01)


async def _drip_head(visit: Visit) -> None:
    await visit.request()
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50:
        visit.send(bytes([byte]))
        await asyncio.sleep(0.01)


async def _endless_hints(visit: Visit) -> None:
    await visit.request()
    while True:
        visit.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.01)


async def _reset_after_reading(visit: Visit) -> None:
    await visit.request()
    visit.reset()


async def _reset_before_reading(visit: Visit) -> None:
    visit.reset()


async def _half_body(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


async def _half_chunks(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")


async def _reset_in_body(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await visit.writer.drain()
    await asyncio.sleep(0.02)
    visit.reset()


async def _half_head(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Le")


async def _bad_chunks(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")


async def _bad_chunks_later(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    await asyncio.sleep(0.02)
    visit.send(b"zz\r\nhello\r\n0\r\n\r\n")
    await visit.reader.read()


async def _garbage(visit: Visit) -> None:
    await visit.request()
    visit.send(b"I am not HTTP, and 512-555-0147 is a number\r\n\r\n")
    await visit.reader.read()


async def _long_head(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n")
    await visit.reader.read()


async def _many_headers(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n")
    await visit.reader.read()


async def _flood_of_hints(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200_000)
    await visit.reader.read()


async def _chunks_of_one_byte(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500_000)
    await visit.reader.read()


async def _endless_chunk_extension(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 5_000_000)
    await visit.reader.read()


async def _two_lengths(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
    await visit.reader.read()


async def _negative_length(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok")
    await visit.reader.read()


async def _chunk_of_no_size(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx")
    await visit.reader.read()


async def _longer_than_it_says(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more")
    await visit.reader.read()


async def _body_where_there_is_none(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 204 No Content\r\n\r\nok")
    await visit.reader.read()


async def _http_2(visit: Visit) -> None:
    await visit.request()
    visit.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    await visit.reader.read()


class TestAfterTheFirstByte:
    """Failures after which nobody knows whether the buyer has the lead."""

    @pytest.mark.parametrize(
        ("script", "kind"),
        [
            (_hang, "read_timeout"),
            (_drip, "read_timeout"),
            (_drip_head, "read_timeout"),
            (_endless_hints, "read_timeout"),
            (_reset_after_reading, "connection_lost"),
            (_reset_before_reading, "connection_lost"),
            (_half_body, "connection_lost"),
            (_half_chunks, "connection_lost"),
            (_reset_in_body, "connection_lost"),
            (_half_head, "connection_lost"),
            (_bad_chunks, "bad_answer"),
            (_bad_chunks_later, "bad_answer"),
            (_garbage, "bad_answer"),
            (_long_head, "bad_answer"),
            (_many_headers, "bad_answer"),
            (_flood_of_hints, "bad_answer"),
            (_chunks_of_one_byte, "bad_answer"),
            (_endless_chunk_extension, "bad_answer"),
            (_two_lengths, "bad_answer"),
            (_negative_length, "bad_answer"),
            (_chunk_of_no_size, "bad_answer"),
            (_http_2, "bad_answer"),
            (_longer_than_it_says, "bad_answer"),
            (_body_where_there_is_none, "bad_answer"),
        ],
    )
    async def test_in_doubt(self, script: Callable[[Visit], object], kind: str) -> None:
        """Each is in doubt, is written once, repeats nothing of what was answered, and leaves no connection behind."""
        async with transport() as sender, loopback(script) as server:  # type: ignore[arg-type]
            timeout_ms = 150 if kind == "read_timeout" else 10_000
            failure = failed(await sender.send("b", ask(server.url(), timeout_ms=timeout_ms)))
            assert (failure.kind, failure.certain) == (kind, False), failure
            assert len(server.requests) <= 1
            assert server.visits == 1
            assert "512" not in failure.detail
            assert failure.took_ns < 5_000_000_000  # what is lost is not waited for
            if kind == "read_timeout":
                assert failure.peer == f"127.0.0.1:{server.port}"

    async def test_the_timeout_bounds_connecting_and_answering_together(self) -> None:
        """A connect that takes most of the time leaves only the rest for the answer."""
        look_up_ended = threading.Event()

        def slow(name: str) -> list[str]:
            look_up_ended.wait(0.1)
            return ["127.0.0.1"]

        async with transport(look_up=slow) as sender, loopback(_hang) as server:
            failure = failed(await sender.send("b", ask(server.url(host="buyer.example"), timeout_ms=200)))
            assert failure.kind == "read_timeout"
            assert 190_000_000 < failure.took_ns < 290_000_000

    async def test_a_head_with_the_last_breath_does_not_stop_the_clock(self) -> None:
        """A loop that was busy sees the head and the end of the time at once; the body is not waited for after that."""

        async def script(visit: Visit) -> None:
            await visit.request()
            visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            time.sleep(0.2)  # the loop is busy elsewhere
            await visit.reader.read()

        async with transport() as sender, loopback(script) as server, asyncio.timeout(10):
            failure = failed(await sender.send("b", ask(server.url(), timeout_ms=100)))
            assert (failure.kind, failure.certain) == ("read_timeout", False), failure

    async def test_cancelled(self) -> None:
        """Only cancelling passes through, and it closes the connection."""
        ended = asyncio.Event()

        async def script(visit: Visit) -> None:
            await visit.request()
            await visit.reader.read()
            ended.set()

        async with transport() as sender, loopback(script) as server:
            task = asyncio.create_task(sender.send("b", ask(server.url())))
            while not server.requests:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(ended.wait(), 1)

    async def test_closing_the_transport(self) -> None:
        """Attempts under way end as what they are: in doubt when written, certain when still waiting."""
        async with loopback(_hang) as server:
            sender = AiohttpTransport(LOOPBACK, connections_max=lambda lane: 1)
            written = asyncio.create_task(sender.send("b", ask(server.url())))
            while not server.requests:
                await asyncio.sleep(0)
            waiting = asyncio.create_task(sender.send("b", ask(server.url())))
            await asyncio.sleep(0)
            await sender.close()
            assert failed(await written).kind == "connection_lost"
            assert failed(await waiting).kind == "no_connection"


class TestAnswers:
    """What a complete answer looks like to the caller."""

    @pytest.mark.parametrize("extra", [-1, 0, 1, 5_000_000])
    async def test_the_body_is_cut(self, extra: int) -> None:
        """At most 64 KiB are kept; one byte more is `truncated`, and the connection is closed."""
        body = b"x" * (BODY_MAX + extra)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        async with transport() as sender, loopback(always(answer)) as server:
            for _ in range(2):
                got = answered(await sender.send("b", ask(server.url())))
                assert (len(got.body), got.truncated) == (min(len(body), BODY_MAX), extra > 0)
            assert server.visits == (2 if extra > 0 else 1)

    async def test_an_endless_body(self) -> None:
        """An answer without end is cut, not waited for."""

        async def script(visit: Visit) -> None:
            await visit.request()
            visit.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                visit.send(b"x" * 10_000)
                await visit.writer.drain()

        async with transport() as sender, loopback(script) as server:
            got = answered(await sender.send("b", ask(server.url())))
            assert (len(got.body), got.truncated) == (BODY_MAX, True)

    async def test_a_compressed_body_stays_as_it_is(self) -> None:
        """`Content-Encoding` is the classifier's to read; a lie in it, or a bomb, does nothing here."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip"
        async with transport() as sender, loopback(always(answer)) as server:
            assert answered(await sender.send("b", ask(server.url()))).body == b"not gzip"

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirects_are_answers(self, status: int) -> None:
        """A redirect is not followed: the lead goes nowhere its terms do not name."""
        async with loopback(always(OK)) as elsewhere:
            answer = b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, elsewhere.url().encode())
            async with transport() as sender, loopback(always(answer)) as server:
                got = answered(await sender.send("b", ask(server.url())))
                assert (got.status, dict(got.headers)["Location"]) == (status, elsewhere.url())
                assert elsewhere.visits == 0

    async def test_informational_answers_are_left_behind(self) -> None:
        """100 and 103 before the answer are not the answer."""
        answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
        async with transport() as sender, loopback(always(answer)) as server:
            for _ in range(2):
                assert answered(await sender.send("b", ask(server.url()))).status == 200
            assert server.visits == 1

    @pytest.mark.parametrize(
        ("raw", "status", "body", "kept"),
        [
            (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
            (b"HTTP/1.1 200 OK\r\n\r\n", 200, b"", False),  # until the end of the stream
            (b"HTTP/1.0 200 OK\r\n\r\nok", 200, b"ok", False),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", 200, b"ok", True),
            (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0", 101, b"", False),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", True),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", 200, b"ok", True),
            (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 999, b"", True),
        ],
    )
    async def test_odd_but_whole(self, raw: bytes, status: int, body: bytes, kept: bool) -> None:
        """Answers that end where HTTP says they end; what comes after that is nobody's, and ends the connection."""

        async def script(visit: Visit) -> None:
            while True:
                await visit.request()
                visit.send(raw)
                if not kept and b"Content-Length" not in raw:
                    return

        async with transport() as sender, loopback(script) as server:
            for _ in range(2):
                got = answered(await sender.send("b", ask(server.url())))
                assert (got.status, got.body, got.truncated) == (status, body, False)
            assert server.visits == (1 if kept else 2)

    async def test_both_ways_to_say_where_an_answer_ends(self) -> None:
        """Two readers would see two ends: whatever is believed, nothing behind it is taken for another answer."""
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        async with transport() as sender, loopback(always(raw)) as server:
            for _ in range(2):
                ended = await sender.send("b", ask(server.url()))
                assert isinstance(ended, TransportFailure) or ended.body == b"ok"
            assert server.visits == 2

    async def test_an_early_answer_survives_the_reset_behind_it(self) -> None:
        """A server that answers before it has read the request and then hangs up has answered."""

        async def script(visit: Visit) -> None:
            await visit.reader.readuntil(b"\r\n\r\n")
            visit.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await visit.writer.drain()
            visit.writer.close()

        async with transport() as sender, loopback(script) as server:
            assert answered(await sender.send("b", ask(server.url(), body=b"x" * 2000))).status == 403

    async def test_headers_that_are_no_text(self) -> None:
        """Bytes that are no UTF-8 become replacement characters: they can be stored and shown."""
        answer = b"HTTP/1.1 200 OK\r\nX-A: caf\xc3\xa9\r\nX-B: caf\xe9\r\nContent-Length: 0\r\n\r\n"
        async with transport() as sender, loopback(always(answer)) as server:
            headers = dict(answered(await sender.send("b", ask(server.url()))).headers)
            assert (headers["X-A"], headers["X-B"]) == ("café", "caf\N{REPLACEMENT CHARACTER}")


async def test_nothing_is_left_behind() -> None:
    """After closing, no connection, task or socket of the transport is left (warnings are errors here)."""
    async with transport() as sender, loopback(always(OK)) as server:
        for lane in ("a", "b"):
            answered(await sender.send(lane, ask(server.url())))
        sender.update(Network())
    gc.collect()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
