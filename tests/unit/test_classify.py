"""What an answer means when no rule of the endpoint holds, and what a rule may and may not say."""

import gzip
import tracemalloc
import zlib
from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import quote

import pytest

from router.buyers.auth import Message, SecretUnusableError, prove, without_secrets
from router.buyers.classify import classify
from router.buyers.coding import decoded
from router.buyers.ping import for_templates, read_bid
from router.model.delivery import BODY_MAX, CERTAIN_FAILURES, FailureKind, TransportFailure, Verdict
from router.model.times import NS_DAY, NS_S
from router.terms.schema import Auth
from tests.endpoints import SOLD, answer, plan

ENDPOINT = plan()


def of(status: int, body: str = "", **headers: str) -> Verdict:
    """The verdict on an answer that no rule of the endpoint knows."""
    return classify(ENDPOINT, answer(body, status, **headers), after_doubt=False)


@pytest.mark.parametrize(
    ("statuses", "outcome", "reason", "healthy"),
    [
        ((200, 201, 204, 299), "in_doubt", "unclassified", False),
        ((302, 303), "in_doubt", "redirect", False),
        ((301, 307, 308), "failed", "redirect", False),
        ((401, 403), "failed", "auth", True),
        ((404, 405), "failed", "gone", False),
        ((410,), "failed", "gone", True),
        ((400, 402, 406, 409, 422, 418, 499), "failed", "contract", False),
        ((500, 501, 502, 504, 599), "in_doubt", "server_error", False),
        ((100, 199, 300, 304, 305, 306, 399, 600, 999, 0), "in_doubt", "unexpected_status", False),
    ],
)
def test_the_table(statuses: tuple[int, ...], outcome: str, reason: str, healthy: bool) -> None:
    """Each row of SPEC section 4; none of them ever says accepted, and none but retry.on may be tried again."""
    for status in statuses:
        verdict = of(status)
        assert (verdict.outcome, verdict.reason, verdict.healthy) == (outcome, reason, healthy), status
        assert not verdict.retryable
        assert verdict.pause == (status == 410)
        assert verdict.auth_failed == (status in (401, 403))
        assert verdict.rule.startswith("table:")


def test_no_status_is_a_sale_by_itself() -> None:
    """Whatever the status, an answer that no rule knows is never accepted, rejected or duplicate."""
    assert {of(status).outcome for status in range(1000)} == {"failed", "in_doubt"}


def test_statuses_of_retry_on() -> None:
    """They are certain failures that may be tried again; the table behind them is not asked."""
    for status, healthy in ((429, True), (503, False)):
        verdict = of(status)
        assert (verdict.outcome, verdict.retryable, verdict.healthy) == ("failed", True, healthy)
    listed = plan(retry={"on": [401, 500]})
    assert classify(listed, answer(status=500), after_doubt=False).outcome == "failed"
    assert classify(listed, answer(status=429), after_doubt=False).reason == "contract"
    assert not classify(listed, answer(status=401), after_doubt=False).auth_failed


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_failures_of_transport(kind: Any) -> None:
    """Before any byte was written it is certain, afterwards in doubt. Our own crash and refused credentials spare the
    breaker; the latter are not tried again and count as a 401 does.
    """
    verdict = classify(ENDPOINT, TransportFailure(kind=kind, detail="x"), after_doubt=False)
    certain = kind in CERTAIN_FAILURES
    assert verdict.outcome == ("failed" if certain else "in_doubt")
    assert verdict.retryable == (certain and kind != "auth")
    assert verdict.healthy == (kind in ("crash", "auth"))
    assert verdict.auth_failed == (kind == "auth")
    assert verdict.rule == f"transport:{kind}"


def test_a_truncated_body_is_in_doubt() -> None:
    """Part of an answer is no answer: not even a rule that would hold for the part is tried, nor the status.

    But one that `retry.on` lists says by itself that the lead was not taken, however long the page behind it is.
    """
    for status in (200, 404, 500):
        given = answer('{"status":"accepted"}', status, truncated=True)
        assert classify(ENDPOINT, given, after_doubt=False).outcome == "in_doubt"
    busy = classify(ENDPOINT, answer('{"status":"accepted"}', 503, truncated=True), after_doubt=False)
    assert (busy.outcome, busy.rule, busy.retryable) == ("failed", "table:retry.on", True)


def test_rules_come_before_the_table() -> None:
    """A rule decides whatever the status, and the breaker hears that the endpoint answered."""
    for status in (200, 302, 404, 410, 429, 500, 503):
        verdict = classify(ENDPOINT, answer('{"status":"accepted"}', status), after_doubt=False)
        assert (verdict.outcome, verdict.rule, verdict.healthy, verdict.pause) == (
            "accepted",
            "responses[0]",
            True,
            False,
        )


@pytest.mark.parametrize(
    ("outcome", "status", "retryable", "healthy"),
    [
        ("failed", 200, False, True),
        ("failed", 503, True, False),
        ("in_doubt", 503, False, False),
        ("rejected", 503, False, True),
    ],
)
def test_what_rules_may_say(outcome: str, status: int, retryable: bool, healthy: bool) -> None:
    """`failed` by a rule may be tried again only where retry.on lists the status too."""
    endpoint = plan(responses=[SOLD, {"when": {"keyword": "busy"}, "outcome": outcome}])
    verdict = classify(endpoint, answer("busy", status), after_doubt=False)
    assert (verdict.outcome, verdict.retryable, verdict.healthy) == (outcome, retryable, healthy)


def test_a_duplicate_after_doubt_is_a_sale() -> None:
    """The buyer has it from our own first attempt."""
    endpoint = plan(responses=[SOLD, {"when": {"keyword": "dup"}, "outcome": "duplicate", "price": "price"}])
    given = answer('{"x":"dup","price":"9.99"}')
    assert classify(endpoint, given, after_doubt=False).outcome == "duplicate"
    after = classify(endpoint, given, after_doubt=True)
    assert (after.outcome, after.price) == ("accepted", 999)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": " 0 "}, 0),
        ({"retry_after": "99999999999999999999"}, 86_400),
        ({"retry_after": "Tue, 24 Nov 2026 12:00:30 GMT", "date": "Tue, 24 Nov 2026 12:00:00 GMT"}, 30),
        ({"retry_after": "Tue, 24 Nov 2026 11:00:00 GMT", "date": "Tue, 24 Nov 2026 12:00:00 GMT"}, 0),
        ({"retry_after": "Tue, 24 Nov 2099 11:00:00 GMT", "date": "Tue, 24 Nov 2026 12:00:00 GMT"}, 86_400),
        ({"retry_after": "Tue, 24 Nov 2026 12:00:30 GMT"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "١"}, None),
        ({"retry_after": "Tue, 99 Nov 99999999 12:00:30 GMT", "date": "x"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], wait_s: int | None) -> None:
    """Seconds, or a date against the answer's own date, between nothing and a day; the rest is ignored."""
    wait_ns = of(503, **headers).retry_after_ns
    assert wait_ns == (None if wait_s is None else wait_s * NS_S)
    assert wait_ns is None or wait_ns <= NS_DAY


def test_retry_after_date_of_an_answer_without_date() -> None:
    """It is measured against our own clock; the answer's own date goes first."""
    now_s = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp())
    said = {"retry_after": "Tue, 24 Nov 2026 12:00:30 GMT"}
    alone = classify(ENDPOINT, answer("", 503, **said), after_doubt=False, now_s=now_s)
    assert alone.retry_after_ns == 30 * NS_S
    both = answer("", 503, **said, date="Tue, 24 Nov 2026 12:00:20 GMT")
    assert classify(ENDPOINT, both, after_doubt=False, now_s=now_s).retry_after_ns == 10 * NS_S


def test_hmac_is_standard_webhooks() -> None:
    """The published test vector of the specification."""
    secrets = {"k": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    proof = prove(Auth(type="hmac", secrets=("secret:k",)), secrets, message)
    assert dict(proof.headers)["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("value", [None, "", "a\nb", "ü", " x"])
def test_secrets_that_cannot_be_sent(value: str | None) -> None:
    """They are found before a lead is, named and never shown."""
    endpoint = plan(auth={"type": "bearer", "token": "secret:crm"})
    secrets = {} if value is None else {"crm": value}
    with pytest.raises(SecretUnusableError) as caught:
        prove(endpoint.auth, secrets, Message("d", 1, b""))
    assert "crm" in str(caught.value)
    assert not value or value not in f"{caught.value} {caught.value.mend}"
    assert endpoint.secrets == ("crm",)
    assert prove(endpoint.auth, {"crm": "fine"}, Message("d", 1, b"")).headers


def test_a_signing_key_must_be_base64() -> None:
    """`whsec_` is optional, base64 is not."""
    endpoint = plan(auth={"type": "hmac", "secrets": ["secret:a"]})
    for wrong in ("whsec_not base64!", "whsec_"):
        with pytest.raises(SecretUnusableError, match="no signing key"):
            prove(endpoint.auth, {"a": wrong}, Message("d", 1, b""))
    assert prove(endpoint.auth, {"a": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, Message("d", 1, b"")).headers


@pytest.mark.parametrize(
    ("given", "bid", "reference", "actual"),
    [
        (answer('{"price":"12.345","id":7}'), 1234, "7", "12.34"),
        (answer('{"price":null}'), None, None, "no amount"),
        (answer("no bid"), None, None, "no amount"),
        (answer('{"price":"12"}', 500), None, None, "status 500"),
        (answer('{"price":"12"}', truncated=True), None, None, "truncated"),
        (TransportFailure(kind="read_timeout", detail=""), None, None, "read_timeout"),
    ],
)
def test_bids(given: Any, bid: int | None, reference: str | None, actual: str) -> None:
    """Only a complete 2xx answer with an amount is a bid; else it says what came instead."""
    endpoint = plan(ping={"url": "https://x.example/", "bid": "price", "reference": "id"})
    assert endpoint.ping is not None
    found = read_bid(endpoint.ping, given)
    assert (found.bid, found.reference, found.actual) == (bid, reference, actual)
    if bid is not None:
        assert for_templates(bid, reference) == {"bid": "12.34", "reference": "7"}


@pytest.mark.parametrize(
    ("auth", "proof"),
    [
        ({"type": "bearer", "token": "secret:k"}, "Bearer [secret]"),
        ({"type": "basic", "username": "ann", "password": "secret:k"}, "Basic [secret]"),
        ({"type": "header", "name": "X-Key", "value": "secret:k"}, "[secret]"),
        ({"type": "query", "name": "key", "value": "secret:k"}, "https://a.example/?key=[secret]"),
    ],
)
def test_a_secret_that_a_buyer_repeats_is_not_kept(auth: dict[str, Any], proof: str) -> None:
    """An answer that quotes the request shows no secret in reason, reference or redirect; the rest of it stays."""
    kind, secrets = Auth(**auth), {"k": "p&ss wörd" if auth["type"] in ("basic", "query") else "p&ss word"}
    given = prove(kind, secrets, Message("id", 0, b""))
    quoted = given.headers[0][1] if given.headers else f"https://a.example/?key={quote(given.query[0][1], safe='')}"
    for text in (quoted, secrets["k"]):
        said = Verdict(outcome="rejected", rule="responses[0]", reason=f"no: {text}!", reference=text)
        kept = without_secrets(said, kind, secrets)
        assert kept.reason == f"no: {proof if text == quoted else '[secret]'}!"
        assert kept.reference == (proof if text == quoted else "[secret]")
    said = Verdict(outcome="accepted", rule="responses[0]", redirect_url="https://a.example/?k=p%26ss+word")
    assert without_secrets(said, kind, {"k": "p&ss word"}).redirect_url is None
    said = Verdict(outcome="rejected", rule="responses[0]", reason="no", redirect_url="https://a.example/")
    assert without_secrets(said, kind, secrets) == said


ACCEPTED = b'{"status":"accepted"}'


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the same bytes in every process


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", _gzip(ACCEPTED)),
        ("X-Gzip", _gzip(ACCEPTED)),
        ("deflate", zlib.compress(ACCEPTED)),
        ("deflate", _raw_deflate(ACCEPTED)),
        ("identity", ACCEPTED),
        ("gzip", ACCEPTED),  # a lie
        ("br", ACCEPTED),
        ("", ACCEPTED),
    ],
)
def test_a_packed_answer_is_read(coding: str, body: bytes) -> None:
    """We ask for none, but a buyer that packs all the same has said something; so has one that only claims to."""
    assert classify(ENDPOINT, answer(body, content_encoding=coding), after_doubt=False).outcome == "accepted"


@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        ("gzip", _gzip(ACCEPTED)[:-3], "truncated"),
        ("gzip", _gzip(ACCEPTED + b" " * 50_000_000), "truncated"),
        ("deflate", zlib.compress(ACCEPTED + b" " * BODY_MAX), "truncated"),
        ("gzip, gzip", _gzip(_gzip(ACCEPTED)), "unclassified"),
        ("br", _gzip(ACCEPTED), "unclassified"),
        ("gzip", b"\x1f\x8b" + bytes(100), "unclassified"),
    ],
)
def test_what_cannot_be_unpacked_whole_is_in_doubt(coding: str, body: bytes, reason: str) -> None:
    """Broken off, a bomb, packed twice, or by means we do not know: no rule is tried on a part of it."""
    assert len(body) <= BODY_MAX
    verdict = classify(ENDPOINT, answer(body, content_encoding=coding), after_doubt=False)
    assert (verdict.outcome, verdict.reason) == ("in_doubt", reason)


def test_a_bomb_is_unpacked_no_further_than_is_read() -> None:
    """Its memory is bounded by what is read of any answer."""
    bomb = _gzip(b" " * 50_000_000)
    tracemalloc.start()
    try:
        assert decoded(answer(bomb, content_encoding="gzip")).truncated
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
