"""The request for an access token and what its answer may say: pure, so no server is needed."""

import base64
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest

from router.buyers.auth import SecretUnusableError
from router.buyers.oauth2 import LIFE_UNSAID_NS, Grant, Refusal, bearing, credentials, read_token, token_request
from router.model.delivery import TransportFailure
from router.model.times import NS_DAY, NS_S
from tests.endpoints import answer, error_keys, header, plan
from tests.loopback import ask

AUTH = {
    "type": "oauth2",
    "token_url": "https://id.example.com/token",
    "client_id": "acme:1",
    "client_secret": "secret:s",
    "scope": "leads.write other",
}
SECRETS = {"s": "p&ss wörd"}


def test_the_request_is_that_of_the_standard() -> None:
    """Client credentials in a Basic header, each part form-encoded first; scope only where terms name one."""
    endpoint = plan(auth=AUTH, timeout="3s")
    request = token_request(credentials(endpoint, SECRETS), endpoint, in_body=False)
    assert (request.method, request.url, request.timeout_ns) == ("POST", AUTH["token_url"], 3 * NS_S)
    assert parse_qs(request.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["leads.write other"]}
    proof = (header(request, "Authorization") or "").removeprefix("Basic ")
    assert base64.b64decode(proof) == b"acme%3A1:p%26ss+w%C3%B6rd"
    plain = plan(auth={key: value for key, value in AUTH.items() if key != "scope"})
    assert b"scope" not in token_request(credentials(plain, SECRETS), plain, in_body=False).body


def test_some_servers_want_the_credentials_in_the_body() -> None:
    """Then they stand there and nowhere else: a server must refuse a client that shows them twice."""
    endpoint = plan(auth=AUTH)
    request = token_request(credentials(endpoint, SECRETS), endpoint, in_body=True)
    fields = parse_qs(request.body.decode())
    assert (fields["client_id"], fields["client_secret"]) == (["acme:1"], ["p&ss wörd"])
    assert header(request, "Authorization") is None


def test_a_client_id_may_be_a_secret_and_a_missing_one_is_named() -> None:
    """Both are references like any other."""
    endpoint = plan(auth=AUTH | {"client_id": "secret:id"})
    assert endpoint.secrets == ("id", "s")
    assert credentials(endpoint, SECRETS | {"id": "acme"}).client_id == "acme"
    with pytest.raises(SecretUnusableError, match='"id"'):
        credentials(endpoint, SECRETS)


@pytest.mark.parametrize(
    ("said", "use_s"),
    [
        ({"expires_in": 3600}, 3570),
        ({"expires_in": "3600"}, 3570),
        ({"expires_in": 60.0, "token_type": "BEARER"}, 48),
        ({"expires_in": 0}, 0),
        ({"expires_in": -5}, 0),
        ({"expires_in": 1e300}, 30 * NS_DAY // NS_S - 30),
        ({"expires_in": "soon"}, LIFE_UNSAID_NS // NS_S - 30),
        ({}, LIFE_UNSAID_NS // NS_S - 30),
    ],
)
def test_a_token_is_used_until_shortly_before_its_end(said: dict[str, Any], use_s: int) -> None:
    """Half a minute before, or at four fifths of a short life; a life nobody states is five minutes."""
    assert read_token(answer(orjson.dumps({"access_token": "t0ken", **said}))) == Grant("t0ken", use_s * NS_S)


@pytest.mark.parametrize(
    ("given", "kind", "misplaced"),
    [
        (TransportFailure(kind="read_timeout", detail="no whole answer in time"), "token", False),
        (TransportFailure(kind="connection_lost", detail="gone"), "token", False),
        (answer('{"error":"invalid_client"}', 401), "auth", True),
        (answer('{"error":"invalid_client"}', 400), "auth", True),
        (answer("", 401), "auth", True),
        (answer('{"error":"invalid_scope"}', 400), "auth", False),
        (answer('{"error":"access_denied"}', 403), "auth", False),
        (answer('{"error":"invalid_request"}', 400), "token", True),
        (answer('{"error":"hunter2 was wrong"}', 400), "token", True),
        (answer("oops", 500), "token", False),
        (answer('{"access_token":"t"}', 302), "token", False),
        (answer('{"access_token":"t"}', truncated=True), "token", False),
        (answer("{}"), "token", False),
        (answer("[]"), "token", False),
        (answer("nothing"), "token", False),
        (answer('{"access_token":7}'), "token", False),
        (answer('{"access_token":""}'), "token", False),
        (answer('{"access_token":"hunter2\\r\\nX-Evil: 1"}'), "token", False),
        (answer(orjson.dumps({"access_token": "x" * 7000})), "token", False),
        (answer('{"access_token":"hunter2","token_type":"mac"}'), "token", False),
        (answer('{"access_token":"hunter2","token_type":null}'), "token", False),
    ],
)
def test_what_is_no_token(given: Any, kind: str, misplaced: bool) -> None:
    """It certainly left the buyer without the lead, and says in words of ours why; the server's are not repeated."""
    refusal = read_token(given)
    assert isinstance(refusal, Refusal)
    assert (refusal.failure.kind, refusal.failure.certain, refusal.misplaced) == (kind, True, misplaced)
    assert "hunter2" not in refusal.failure.detail
    assert "\n" not in refusal.failure.detail


def test_a_request_bears_its_token() -> None:
    """Everything else stays as it was rendered."""
    request = bearing(ask("https://x.example/"), "t0ken")
    assert header(request, "Authorization") == "Bearer t0ken"
    assert (request.body, request.headers[0]) == (ask("https://x.example/").body, ("Content-Type", "application/json"))


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        (AUTH | {"token_url": "ftp://x/"}, "auth.token_url"),
        (AUTH | {"token_url": None}, "auth.token_url"),
        (AUTH | {"client_secret": "hunter2"}, "auth.client_secret"),
        (AUTH | {"client_id": "a\nb"}, "auth.client_id"),
        (AUTH | {"scope": ""}, "auth.scope"),
        (AUTH | {"scope": 'a "b"'}, "auth.scope"),
        (AUTH | {"token": "secret:s"}, "auth.token"),
        ({"type": "mtls", "cert": "-----BEGIN", "key": "secret:k"}, "auth.cert"),
        ({"type": "mtls", "cert": "secret:c"}, "auth.key"),
    ],
)
def test_auth_that_cannot_work(auth: dict[str, Any], key: str) -> None:
    """Each is an error at its key when terms are loaded."""
    assert key in error_keys(auth={name: value for name, value in auth.items() if value is not None})


def test_a_certificate_is_shown_in_tls_alone() -> None:
    """mtls over plain http would prove nothing."""
    assert error_keys(url="http://x.example/", auth={"type": "mtls", "cert": "secret:c", "key": "secret:k"}) == [
        "auth.type"
    ]


def test_secrets_are_not_in_a_repr() -> None:
    """Whatever is printed of these values, a secret is not."""
    endpoint = plan(auth=AUTH)
    who = credentials(endpoint, {"s": "hunter2"})
    assert "hunter2" not in f"{who!r} {Grant('hunter2', 1)!r} {endpoint!r}"
