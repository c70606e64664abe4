"""The template language: what is taken, what is refused with a key path and a mend, and what absent values become."""

from typing import Any

import orjson
import pytest

from router.buyers.render import header_text, render, render_ping
from router.terms.filters import as_text, e164, national, title
from router.terms.template import split
from tests.endpoints import compiled, context, error_keys, header, plan, warning_keys

PING: dict[str, Any] = {"url": "https://crm.example.com/ping", "body": {"zip": "{{postal_code}}"}, "bid": "price"}


def body(text: Any, here: Any = None, **tree: Any) -> Any:
    """What the buyer gets for the key `x` of a JSON body."""
    request = render(plan(**({"body": {"x": text}} | tree)), here or context(), {}, now_s=1)
    return orjson.loads(request.body).get("x", "left out")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("{{roof_age}}", 12),
        ("{{ roof_age }}", 12),
        ("{{monthly_bill}}", 120.5),
        ("{{homeowner}}", True),
        ("{{homeowner}} ", "true "),
        ("{{notes}}", "left out"),
        ("{{notes|upper}}", "left out"),
        ("{{notes|default:}}", ""),
        ("{{notes|default: x }}|", " x|"),
        ("a{{notes}}b", "ab"),
        ("{{price}}", "42.50"),
        ("{{{{price}}", "{{price}}"),
        ("{a}}", "{a}}"),
        ("{{ping.reference}}", "left out"),
        ("{{homeowner|bool:Y:N}}", "Y"),
        ("{{roof_age|bool:Y:N}}", "left out"),
        ("{{state | lower | upper}}", "TX"),
        ("{{roof_age|default:0}}", 12),
        ("{{birth_date|date:%-m/%-d/%y}}", "2/29/84"),
        ("{{received_at}}", "2026-11-23T17:00:00.250Z"),
        (3, 3),
        (False, False),
        (None, None),
        ([1, "{{notes}}", "{{state}}"], [1, "TX"]),
        ({"a": "{{notes}}"}, {}),
    ],
)
def test_a_leaf(text: Any, given: Any) -> None:
    """A leaf that is one placeholder keeps its type and is left out when absent; others are text or as they are."""
    assert body(text, ping={"bid": "price", "reference": "id", "url": PING["url"]}) == given


def test_a_field_the_contract_does_not_accept_is_absent() -> None:
    """Only accepted fields are sent, also inside text; what is not a field is sent all the same."""
    here = context(accepted=frozenset({"postal_code"}))
    assert body("{{email}}", here) == "left out"
    assert body("<{{email}}{{postal_code}}{{source_id}}>", here) == "<78701web>"


def test_no_consent_is_absent() -> None:
    """Without consent its paths are absent; a list of no sellers is too."""
    assert body("{{consent.url}}", context(consent=None)) == "left out"
    assert body("{{consent.given_at}}", context(consent=None)) == "left out"
    assert body("{{consent.sellers}}", context(consent={"sellers": []})) == "left out"


@pytest.mark.parametrize(
    "text",
    [
        "{{fist_name}}",
        "{{}}",
        "{{first_name",
        "{{consent.__class__}}",
        "{{consent}}",
        "{{lead.fields}}",
        "{{first_name.upper}}",
        "{{ping.reference}}",
        "{{ping.x}}",
        "{{phone|nation}}",
        "{{phone|}}",
        "{{phone|digits:3}}",
        "{{phone|truncate}}",
        "{{phone|truncate:}}",
        "{{phone|truncate:0}}",
        "{{phone|truncate:-1}}",
        "{{phone|truncate:x}}",
        "{{phone|truncate:99999999999}}",
        "{{birth_date|date}}",
        "{{birth_date|date:%Q}}",
        "{{birth_date|date:%s}}",
        "{{birth_date|date:%}}",
        "{{birth_date|date:today}}",
        "{{first_name|date:%Y}}",
        "{{birth_date|upper|date:%Y}}",
        "{{roof_age|national}}",
        "{{state|map:nowhere}}",
        "{{homeowner|bool:Y}}",
        "secret:key",
    ],
)
def test_what_cannot_work_is_refused(text: str) -> None:
    """A typing error is found at load, named with its key and a mend."""
    problems = [problem for problem in compiled(body={"a": {"b c": [text]}})[1] if problem.severity == "error"]
    assert [problem.key for problem in problems] == ['body.a."b c"[0]']
    assert problems[0].message
    assert problems[0].mend


def test_all_problems_are_reported_at_once() -> None:
    """An operator sees every wrong leaf and header in one go."""
    keys = error_keys(body={"a": "{{x}}", "b": {"c": "{{y}}"}, "{{k}}": 1}, headers={"H": "{{z}}"})
    assert keys == ["headers.H", "body.a", "body.b.c", 'body."{{k}}"']


def test_a_close_word_is_suggested() -> None:
    """The mend names the field that was probably meant."""
    (problem,) = compiled(body={"a": "{{fist_name}}"})[1]
    assert 'Did you mean "first_name"?' in problem.mend


def test_fields_named_are_known() -> None:
    """`sends` holds the lead fields the body and the headers name, however they are filtered, and nothing else."""
    found = plan(body={"a": "{{phone|national}}", "b": ["x {{email}}"], "c": "{{lead_id}}"}, headers={"H": "{{state}}"})
    assert found.sends == {"phone", "email", "state"}


def test_unknown_fields_pass_where_they_are_kept() -> None:
    """A lead type that keeps unknown fields has nothing to hold a name against; a name with a dot is no field."""
    keep = {"unknown_fields": "keep"}
    assert not compiled(lead_type=keep, body={"a": "{{anything}}"})[1]
    assert [problem.key for problem in compiled(lead_type=keep, body={"a": "{{any.thing}}"})[1]] == ["body.a"]


def test_a_map_without_an_entry_for_a_choice_is_warned_of() -> None:
    """An enum value that a table does not translate would silently not be sent."""
    maps = {"u": {"oncor": "1"}}
    assert warning_keys(maps=maps, body={"a": "{{utility|map:u}}"}) == ["body.a"]
    assert not warning_keys(maps=maps, body={"a": "{{utility|map:u|default:0}}"})
    assert not warning_keys(maps={"u": {"oncor": "1", "reliant": "2"}}, body={"a": "{{utility|map:u}}"})


def test_our_own_names_win_over_fields() -> None:
    """A lead field called `price` cannot shadow the delivery's price, and the operator is told."""
    found, problems = compiled(lead_type={"fields": {"price": {"type": "integer"}}}, body={"p": "{{price}}"})
    assert found is not None
    assert [problem.severity for problem in problems] == ["warning"]


@pytest.mark.parametrize(
    "text", ["{{phone}}", "{{email|sha256}}", "{{consent.url}}", "{{birth_date|date:%Y}}", "a {{notes}}"]
)
def test_a_ping_names_nothing_personal(text: str) -> None:
    """Personal fields and consent in a ping are errors, hashed ones too; so they are in headers, which go with it."""
    assert error_keys(ping=PING | {"body": {"x": text}}) == ["ping.body.x"]
    assert error_keys(ping=PING, headers={"X": text}) == ["headers.X"]
    assert not error_keys(headers={"X": text})


def test_a_ping_may_name_the_rest() -> None:
    """Codes, numbers and choices are what a bid is made on; what a field says of itself wins over its type."""
    assert not error_keys(ping=PING | {"body": {"z": "{{postal_code}}", "r": "{{roof_age}}", "l": "{{lead_id}}"}})
    assert not error_keys(
        lead_type={"fields": {"kind": {"type": "string", "personal": False}, "postal_code": {"type": "postal_code"}}},
        ping=PING | {"body": {"k": "{{kind}}"}},
    )
    assert error_keys(lead_type={"fields": {"postal_code": {"type": "postal_code", "personal": True}}}, ping=PING) == [
        "ping.body.zip"
    ]


def test_a_ping_request() -> None:
    """A ping has its own URL and body, our headers and auth, and no Idempotency-Key; it leaves within its time-out, and
    an answer is listened for as long as to a post."""
    endpoint = plan(ping=PING, headers={"X-Partner": "acme"}, auth={"type": "bearer", "token": "secret:t"})
    request = render_ping(endpoint, context(delivery_id=""), {"t": "tok"}, now_s=1)
    assert request is not None
    assert (request.url, request.body) == (PING["url"], b'{"zip":"78701"}')
    assert (request.connect_timeout_ns, request.timeout_ns) == (800_000_000, endpoint.timeout_ns)
    assert header(request, "Idempotency-Key") is None
    assert (header(request, "X-Partner"), header(request, "Authorization")) == ("acme", "Bearer tok")
    assert render_ping(plan(), context(), {}, now_s=1) is None


def test_a_ping_answer_reaches_the_post() -> None:
    """`ping.reference` is known where the ping says where to find it, and gives what the answer gave."""
    ping = PING | {"reference": "id"}
    assert (
        body("{{ping.reference}} {{ping.bid}}", context(ping={"reference": "P1", "bid": "9.50"}), ping=ping)
        == "P1 9.50"
    )
    assert error_keys(ping=PING, body={"x": "{{ping.reference}}"}) == ["body.x"]
    assert error_keys(ping=ping | {"body": {"x": "{{ping.reference}}"}}) == ["ping.body.x"]


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("ana maría", "Ana María"),
        ("ANA O'NEIL-SMITH", "Ana O'Neil-Smith"),
        ("McDonald", "McDonald"),
        ("d'angelo", "D'Angelo"),
        ("ana's", "Ana's"),
        ("o", "O"),
        ("2nd", "2Nd"),
        ("", ""),
    ],
)
def test_title(text: str, given: str) -> None:
    """Names as people write them: mixed case is meant, apostrophes and hyphens begin a part."""
    assert title(text) == given


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("+15125550147", "5125550147", "+15125550147"),
        ("(512) 555-0147", "5125550147", "+15125550147"),
        ("+442079460000", "02079460000", "+442079460000"),
        ("+14165550123", "4165550123", "+14165550123"),
        ("555", "555", None),
    ],
)
def test_phones(text: str, inside: str, outside: str | None) -> None:
    """`national` gives the digits one dials in the country, `e164` the international form, of text too."""
    assert (national(text), e164(text)) == (inside, outside)


def test_numbers_as_text() -> None:
    """Whole floats lose their `.0`, nothing is written with an exponent that a buyer would not read."""
    assert [as_text(value) for value in (3.0, 3.25, 10, True, -0.5)] == ["3", "3.25", "10", "true", "-0.5"]


def test_splitting_keeps_every_character() -> None:
    """Texts around and between placeholders stand where they stood."""
    assert split("a{{b|c:d:e}}{f}{{{{g") == ("a", (("b", (("c", "d:e"),))), "{f}{{g")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("plain", "plain"),
        ("a\r\nSet-Cookie: x=1\x00b", "a Set-Cookie: x=1 b"),
        (" é ", "%C3%A9"),
        ("a\u2028b", "a b"),
        ("\x85", ""),
        ("\ud800", "%3F"),
    ],
)
def test_a_header_is_one_line_of_ascii(text: str, given: str) -> None:
    """No value of a lead can end a header or begin another one."""
    assert header_text(text) == given


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"url": "https://user:pw@crm.example.com/"}, "url"),
        ({"url": "ftp://crm.example.com/"}, "url"),
        ({"url": "crm.example.com/x"}, "url"),
        ({"url": "https:///x"}, "url"),
        ({"url": "https://crm.example.com:99999/"}, "url"),
        ({"url": "https://crm.example.com/ x"}, "url"),
        ({"url": "https://crm.example.com/#x"}, "url"),
        ({"url": "https://crm.example.com/{{email}}"}, "url"),
        ({"url": "https://bücher.example/"}, "url"),
        ({"test_url": "nowhere"}, "test_url"),
        ({"ping": PING | {"url": "nowhere"}}, "ping.url"),
        ({"ping": PING | {"bid": "a..b"}}, "ping.bid"),
        ({"headers": {"Bad Name": "x"}}, 'headers."Bad Name"'),
        ({"headers": {"X": "a\nb"}}, "headers.X"),
        ({"headers": {"Content-Length": "1"}}, "headers.Content-Length"),
        ({"headers": {"idempotency-key": "1"}}, "headers.idempotency-key"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers.x-a"),
        ({"headers": {"X": "secret:k"}}, "headers.X"),
        ({"headers": {"authorization": "x"}, "auth": {"type": "bearer", "token": "secret:t"}}, "headers.authorization"),
        ({"auth": {"type": "bearer", "token": "abc"}}, "auth.token"),
        ({"auth": {"type": "bearer"}}, "auth.token"),
        ({"auth": {"type": "none", "token": "secret:t"}}, "auth.token"),
        ({"auth": {"type": "hmac", "secrets": ["secret:a", "whsec_x"]}}, "auth.secrets"),
        ({"auth": {"type": "header", "name": "Host", "value": "secret:a"}}, "auth.name"),
        ({"auth": {"type": "query", "name": "a b", "value": "secret:a"}}, "auth.name"),
        ({"auth": {"type": "basic", "username": "a:b", "password": "secret:a"}}, "auth.username"),
        ({"retry": {"attempts": 0}}, "retry.attempts"),
        ({"retry": {"on": [200]}}, "retry.on"),
        ({"method": "GET", "format": "xml"}, "method"),
        ({"format": "xml", "body": {"a b": "1"}}, 'body."a b"'),
        ({"format": "xml", "body": {"1a": "1"}}, "body.1a"),
        ({"format": "xml", "body": {"a": {"": "1"}}}, 'body.a.""'),
        ({"format": "xml", "body": {"a": {"n:b": "1"}}}, 'body.a."n:b"'),
        ({"format": "xml", "body": {"a": {"@b c": "1"}}}, 'body.a."@b c"'),
        ({"format": "xml", "body": {"a": {"@b": {"c": "1"}}}}, 'body.a."@b"'),
        ({"format": "xml", "body": {"@a": "1", "b": "2"}}, 'body."@a"'),
        ({"format": "xml", "body": {"a": ["1", "2"]}}, "body"),
        ({"format": "soap", "body": {"r": {"a": [["1"]]}}}, "body.r.a[0]"),
    ],
)
def test_an_endpoint_that_cannot_work(tree: dict[str, Any], key: str) -> None:
    """Each is one error with its key path."""
    assert error_keys(**tree) == [key]


def test_the_version_is_that_of_the_content() -> None:
    """The same content has the same version; anything the buyer would notice changes it, the order of keys too."""
    first = plan(body={"a": "1", "b": "2"}).version
    assert plan(body={"a": "1", "b": "2"}).version == first
    assert plan(body={"b": "2", "a": "1"}).version != first
    assert plan(body={"a": "1", "b": "2"}, timeout="6s").version != first
    assert len(first) == 64
