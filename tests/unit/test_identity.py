"""Our certificate in a buyer's handshake: shown where terms say so, judged when they are loaded, refused for sure."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from router.buyers.render import render
from router.model.delivery import ClientIdentity, HttpRequest, HttpResponse, TransportFailure
from router.terms.schema import Terms
from router.transport import AiohttpTransport
from router.transport.credentials import unusable
from router.transport.identity import IdentityError, tls_context
from tests.endpoints import context, plan
from tests.factory import buyer, contract, terms
from tests.loopback import LOOPBACK, Loopback, Visit, always, ask, loopback

BOTH_LOOPS = True
FILES = Path(__file__).parents[1] / "cases/tls"
SERVER = FILES / "loopback.pem"
CERT, KEY = (FILES / "client.pem").read_text(), (FILES / "client.key").read_text()
OURS = ClientIdentity(CERT, KEY)
OTHERS = ClientIdentity(SERVER.read_text(), SERVER.with_suffix(".key").read_text())
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MTLS = {"type": "mtls", "cert": "secret:c", "key": "secret:k"}


def wanting_ours(**kw: Any) -> ssl.SSLContext:
    """A buyer's TLS that wants our certificate and no other."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(SERVER, SERVER.with_suffix(".key"))
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(FILES / "client.pem")
    for name, value in kw.items():
        setattr(made, name, value)
    return made


@asynccontextmanager
async def transport() -> AsyncIterator[AiohttpTransport]:
    """One that trusts the test's server."""
    made = AiohttpTransport(LOOPBACK, extra_ca=str(SERVER))
    try:
        yield made
    finally:
        await made.close()


def to(server: Loopback, identity: ClientIdentity | None) -> HttpRequest:
    """A request by somebody."""
    return structs.replace(ask(server.url(scheme="https"), connect_ms=2000, timeout_ms=5000), identity=identity)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_buyer_that_wants_our_certificate_sees_it(version: ssl.TLSVersion) -> None:
    """The exchange goes through, and the connection is kept for the next one."""
    async with transport() as sender, loopback(always(OK), tls=wanting_ours(maximum_version=version)) as server:
        for _ in range(2):
            ended = await sender.send("b", to(server, OURS))
            assert isinstance(ended, HttpResponse), ended
        assert server.visits == 1


async def test_who_we_are_is_part_of_a_connection() -> None:
    """A kept connection of one identity never carries a request of another, or of none."""
    shown: list[object] = []

    async def script(visit: Visit) -> None:
        certificate = visit.writer.get_extra_info("ssl_object").getpeercert()
        while True:
            await visit.request()
            shown.append(bool(certificate))
            visit.send(OK)

    async with transport() as sender, loopback(script, tls=wanting_ours(verify_mode=ssl.CERT_OPTIONAL)) as server:
        for identity in (OURS, None, OURS, None):
            assert isinstance(await sender.send("b", to(server, identity)), HttpResponse)
        assert (shown, server.visits) == ([True, False, True, False], 2)


@asynccontextmanager
async def shaking_hands(made: ssl.SSLContext) -> AsyncIterator[Loopback]:
    """A server as others write it: when the handshake fails it says why in an alert. (asyncio's says nothing.)"""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = made.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
            except ssl.SSLError:
                writer.write(outgoing.read())
                await writer.drain()
                await reader.read()
                writer.close()
                return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    served = Loopback()
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("identity", [None, OTHERS])
async def test_a_refused_certificate_is_a_certain_failure(
    identity: ClientIdentity | None, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 refuses only after our request was written; its TLS said no, so its application never saw it."""
    async with transport() as sender, shaking_hands(wanting_ours(maximum_version=version)) as server:
        ended = await sender.send("b", to(server, identity))
        assert isinstance(ended, TransportFailure), ended
        assert (ended.kind, ended.certain) == ("tls", True), ended


async def test_a_handshake_that_ends_without_a_word_is_a_doubt() -> None:
    """In TLS 1.3 our request is written by then, and nobody says that it was not read."""
    async with transport() as sender, loopback(always(OK), tls=wanting_ours()) as server:
        ended = await sender.send("b", to(server, None))
        assert isinstance(ended, TransportFailure), ended
        assert (ended.kind, ended.certain) == ("connection_lost", False)


def test_a_request_shows_what_terms_name() -> None:
    """Rendered from secrets by reference; nothing of it is a header or in a repr."""
    request = render(plan(auth=MTLS), context(), {"c": CERT, "k": KEY}, now_s=0)
    assert request.identity == OURS
    assert "PRIVATE" not in repr(request)
    assert "CERTIFICATE" not in repr(request)


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        (ClientIdentity(CERT, OTHERS.key), "does not belong"),
        (ClientIdentity("hunter2", KEY), "BEGIN CERTIFICATE"),
        (ClientIdentity(CERT, CERT), "BEGIN PRIVATE KEY"),
        (ClientIdentity(CERT, "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"), "cannot be read"),
    ],
)
def test_an_identity_that_is_none(identity: ClientIdentity, says: str) -> None:
    """Each says what is wrong and shows nothing."""
    with pytest.raises(IdentityError, match=says) as caught:
        tls_context(None, identity)
    assert "hunter2" not in str(caught.value)


def house(auth: dict[str, Any], status: str = "live") -> Terms:
    """Terms with one endpoint of that auth."""
    made = terms(buyer("roofer", contract("c", status=status), endpoint={"url": "https://x.example/", "auth": auth}))
    return structs.replace(made, places={"buyer:roofer": "buyers/roofer.toml"})


BEARER = {"type": "bearer", "token": "secret:t"}


@pytest.mark.parametrize(
    ("auth", "secrets", "says"),
    [
        (MTLS, {"c": CERT, "k": OTHERS.key}, "does not belong"),
        (MTLS, {"c": CERT, "k": KEY}, None),
        (MTLS, {"c": CERT}, None),  # a missing one is named elsewhere
        (BEARER, {"t": "hunter2\nX"}, "a header cannot"),
        (BEARER, {"t": "fine"}, None),
        ({"type": "hmac", "secrets": ["secret:t"]}, {"t": "whsec_hunter2!"}, "no signing key"),
        ({"type": "none"}, {}, None),
    ],
)
def test_unusable_secrets_are_found_when_terms_are_loaded(
    auth: dict[str, Any], secrets: dict[str, str], says: str | None
) -> None:
    """An error where leads may be sent, a warning elsewhere; the place is named and the value is not."""
    for status, severity in (("live", "error"), ("draft", "warning")):
        problems = list(unusable(house(auth, status), secrets))
        if says is None:
            assert problems == []
            continue
        (problem,) = problems
        assert (problem.file, problem.key, problem.severity) == ("buyers/roofer.toml", "endpoints.crm.auth", severity)
        assert says in problem.message
        assert "hunter2" not in problem.line()
