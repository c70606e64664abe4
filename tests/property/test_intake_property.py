"""Intake's short cuts are held to the long way round: the standard library's parser, and the libraries they spare."""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.core.intake import BodyError, LeadInvalid, build_lead, compile_schema, parse_form, parse_json
from router.core.intake.body import DEPTH_MAX, MULTILINE
from router.core.intake.mail import read_email, read_email_slowly
from router.core.intake.phone import _AREA_CODES, read_phone, read_phone_slowly
from router.core.intake.refusal import Wrong
from router.core.intake.values import read_instant, read_ip, read_url, read_url_slowly
from router.model.times import parse_instant
from router.terms.schema import FieldTerms, LeadType, Source
from tests.examples import examples

# -- bodies: against the standard library ---------------------------------------------------------------

texts = st.text(st.sampled_from('ab":\\{}[],\n\x00\x7f\x85é\u2028 '), max_size=6)
keys = st.sampled_from(["a", "b", 'a"', "a:", "\\", "a\\", "", "text", "consent", "consent_text"])
scalars = st.one_of(
    texts, st.integers(-5, 5), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)
)


def written(text: str, plain: bool) -> str:
    """A JSON string, with or without `\\u` for everything that may do without."""
    return json.dumps(text, ensure_ascii=not plain)


def members(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A JSON object whose keys may repeat and whose colons may stand apart."""
    colons = st.sampled_from([":", ": ", " :", "\n:\t"])
    member = st.builds(lambda key, plain, colon, value: written(key, plain) + colon + value,
                       keys, st.booleans(), colons, values)  # fmt: skip
    return st.lists(member, max_size=4).map(lambda found: "{" + ",".join(found) + "}")


leaves = st.builds(lambda value, plain: json.dumps(value, ensure_ascii=not plain), scalars, st.booleans())
documents = st.recursive(
    leaves,
    lambda inner: st.one_of(members(inner), st.lists(inner, max_size=3).map(lambda found: f"[{', '.join(found)}]")),
    max_leaves=12,
)


class Pairs(list[tuple[str, Any]]):
    """An object as the standard library saw it, repeated keys included."""


def reference(body: str) -> tuple[int, str, set[str]]:
    """What must become of a body: (200, "", {}) or status, code and the paths at fault."""
    duplicates: set[str] = set()
    controls: set[str] = set()
    deepest = 0

    def walk(value: Any, path: str, depth: int) -> None:
        nonlocal deepest
        if isinstance(value, list):
            deepest = max(deepest, depth)
        if isinstance(value, Pairs):
            seen: set[str] = set()
            for key, inner in value:
                place = f"{path}.{key}" if path else key
                if key in seen:
                    duplicates.add(place)
                seen.add(key)
                if re.search(r"[\x00-\x1f\x7f-\x9f]", key):
                    controls.add(place)
                walk(inner, place, depth + 1)
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                walk(inner, f"{path}[{at}]", depth + 1)
        elif isinstance(value, str):
            allowed = "\t\n\r" if path in MULTILINE else ""
            if any((letter < " " or "\x7f" <= letter <= "\x9f") and letter not in allowed for letter in value):
                controls.add(path)

    whole = json.loads(body, object_pairs_hook=Pairs)
    walk(whole, "", 1)
    if deepest > DEPTH_MAX:
        return 400, "too_deep", set()
    if duplicates:
        return 422, "duplicate_key", duplicates
    if not isinstance(whole, Pairs):
        return 422, "not_an_object", set()
    return (422, "control_character", controls) if controls else (200, "", set())


def shown(paths: set[str]) -> set[str]:
    """Paths as errors print them."""
    return {"".join(letter if letter.isprintable() else "\ufffd" for letter in path) for path in paths}


def parsed_or_refused(parse: Callable[[bytes], dict[str, Any]], body: bytes) -> dict[str, Any] | BodyError:
    """What a parser makes of a body."""
    try:
        return parse(body)
    except BodyError as refused:
        return refused


@examples(400)
@given(documents, st.integers(0, DEPTH_MAX + 3))
@example('{"a": "\\": ", "a" : "::"}', 0)
@example('{"a":1,"\\u0061":"\\u003a"}', 0)
@example('{"a":["x"],"a":"x"}', 0)
@example('{"a":1}', DEPTH_MAX)
@example('{"a":1}', DEPTH_MAX - 1)
def test_a_body_is_judged_as_the_standard_library_sees_it(document: str, wrapped: int) -> None:
    """Repeated keys, control characters and depth: the counts say exactly what a full walk says."""
    body = '{"w":' * wrapped + document + "}" * wrapped
    status, code, paths = reference(body)
    parsed = parsed_or_refused(parse_json, body.encode())
    if isinstance(parsed, BodyError):
        assert (parsed.status, parsed.code) == (status, code)
        assert {error.field for error in parsed.errors} == shown(paths)
    else:
        assert (status, parsed) == (200, json.loads(body))


@examples(300)
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_a_body_or_refused(body: bytes) -> None:
    """Nothing else ever comes out of the two parsers."""
    parsers: tuple[Callable[[bytes], dict[str, Any]], ...] = (parse_json, parse_form)
    for parse in parsers:
        parsed = parsed_or_refused(parse, body)
        assert isinstance(parsed, dict) or parsed.status in {400, 422}


# -- values: against the libraries ----------------------------------------------------------------------


def outcome(read: Callable[..., Any], *given: Any) -> Any:
    """The value, or that there is none: the short cut may never differ in that."""
    try:
        return read(*given)
    except Wrong:
        return Wrong


ten_digits = st.one_of(
    st.text("0123456789", min_size=10, max_size=10),
    st.tuples(st.sampled_from(sorted(_AREA_CODES)), st.integers(2_000_000, 9_999_999)).map(lambda p: f"{p[0]}{p[1]}"),
)
separators = st.sampled_from(["", "-", ".", " "])
written_phones = st.builds(
    lambda digits, lead, opening, closing, one, two: (
        f"{lead}{opening}{digits[:3]}{closing}{one}{digits[3:6]}{two}{digits[6:]}"
    ),
    ten_digits,
    st.sampled_from(["", "1", "+1", "1-", "+1 ", "+1.", "1 ", "+", "01", "0", "++1", "+1  "]),
    st.sampled_from(["", "(", "((", "["]),
    st.sampled_from(["", ")", ") ", "))", "/"]),
    separators,
    separators,
)
regions = st.sampled_from(["US", "CA", "PR", "JM", "GB", "DE", "MX", "XX"])


@examples(300)
@given(written_phones, regions)
def test_the_short_cut_for_phones_agrees_with_the_library(text: str, country: str) -> None:
    """Every spelling, every region: the same number or the same no."""
    assert outcome(read_phone, text, country) == outcome(read_phone_slowly, text, country)


@examples(300)
@given(st.text("0123456789+-. ()１２٣x#ABC;ext=", max_size=24) | st.text(max_size=16), regions)
def test_any_text_is_a_phone_or_refused(text: str, country: str) -> None:
    """Noise breaks neither way, and both say the same."""
    assert outcome(read_phone, text, country) == outcome(read_phone_slowly, text, country)


def test_every_area_code_of_the_short_cut_is_valid() -> None:
    """Exhaustive over area codes, at the ends and in the middle of what the short cut takes for each."""
    for area in sorted(_AREA_CODES):
        for rest in ("2000000", "5550147", "7654321", "9999999"):
            assert read_phone_slowly(area + rest, "US") == f"+1{area}{rest}"


@pytest.mark.nightly
def test_every_exchange_of_the_short_cut_is_valid() -> None:
    """Exhaustive over area codes and exchanges."""
    for area in sorted(_AREA_CODES):
        for exchange in range(200, 1000):
            assert read_phone_slowly(f"{area}{exchange}0000", "US") == f"+1{area}{exchange}0000"


locals_ = st.text("abzAZ09_+'-.!#ü\u212a", min_size=1, max_size=12) | st.integers(60, 70).map(lambda size: "a" * size)
labels = st.text("abzAZ09-ü", min_size=1, max_size=8) | st.sampled_from(["xn--bcher-kva", "xn--a", "ab--c", "a" * 63])
tails = st.sampled_from(["com", "COM", "test", "invalid", "local", "onion", "arpa", "c", "c0m", "123", "", "example"])
addresses = st.builds(
    lambda local, parts, tail, at: f"{local}{at}{'.'.join([*parts, tail])}",
    locals_, st.lists(labels, max_size=5), tails, st.sampled_from(["@", "@", "@", "@@", ""]),
)  # fmt: skip


@examples(300)
@given(addresses)
@example("a@" + ".".join(["a" * 60] * 4) + ".com")
@example("a@" + ".".join(["a" * 60] * 5) + ".com")
@example("\u212aelvin@example.com")
def test_the_short_cut_for_e_mail_agrees_with_the_library(text: str) -> None:
    """Local parts, labels, lengths, punycode and reserved names: the same address or the same no."""
    assert outcome(read_email, text) == outcome(read_email_slowly, text)


@examples(400)
@given(st.text(max_size=30) | st.text('a@.-\u3002\u200d\u0661<>"() ', max_size=20))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """Noise breaks neither way."""
    assert outcome(read_email, text) == outcome(read_email_slowly, text)


times = st.builds(
    lambda day, mark, hours, minutes, seconds, tail: f"{day}{mark}{hours:02d}:{minutes:02d}:{seconds:02d}{tail}",
    st.dates().map(str) | st.sampled_from(["2026-02-29", "2026-11-23", "1969-12-31", "2200-12-31", "2026-1-01"]),
    st.sampled_from(["T", "T", "t", " "]),
    st.integers(0, 25),
    st.integers(0, 61),
    st.integers(0, 61),
    st.sampled_from(["Z", "Z", "z", "+00:00", "-05:30", ".5Z", ""]),
)


@examples(300)
@given(times)
@example("2026-11-23T24:00:00Z")
@example("2026-11-23T23:59:60Z")
def test_the_short_cut_for_times_agrees(text: str) -> None:
    """The cached midnight plus hours, minutes and seconds is the instant that a whole reading gives."""
    try:
        wanted: Any = parse_instant(text)
    except ValueError:
        wanted = Wrong
    assert outcome(read_instant, text) == wanted


@examples(400)
@given(
    st.from_regex(r"https?://[a-z0-9.:@-]{0,12}(/[ -~]{0,12})?", fullmatch=True)
    | st.text("htps:/a.@[]\\ü", max_size=16)
)
def test_the_short_cut_for_addresses_agrees(text: str) -> None:
    """Plain web addresses are what the long way also takes."""
    assert outcome(read_url, text) == (outcome(read_url_slowly, text.strip()) if text.strip() else None)


@examples(400)
@given(st.lists(st.integers(0, 300).map(str) | st.sampled_from(["", "01", "00"]), min_size=3, max_size=5).map(".".join))
def test_the_short_cut_for_ip_addresses_agrees(text: str) -> None:
    """Four numbers that the standard library takes, in the form it prints."""
    try:
        wanted: Any = str(ipaddress.ip_address(text))
    except ValueError:
        wanted = Wrong
    assert outcome(read_ip, text) == wanted


# -- leads ----------------------------------------------------------------------------------------------

TYPES = ("string", "phone", "email", "postal_code", "state", "country", "integer", "number", "boolean", "date",
         "datetime", "url", "ip")  # fmt: skip
SCHEMA = compile_schema(
    LeadType(id="any", fields={name: FieldTerms(type=name) for name in TYPES}, unknown_fields="keep"), country="US"
)
SOURCE = Source(id="s", lead_types=("any",), map={"zip": "postal_code", "txt": "consent_text"})
NOW = parse_instant("2026-11-23T17:00:05Z")
plausible = st.sampled_from(
    ["(512) 555-0147", "ana@example.com", "78701-1234", "m5v 3l9", "texas", "CA", "12", "1e3", "yes", "2024-02-29",
     "2026-11-23T17:00:00Z", "https://a.example/", "203.0.113.9", "", " "]
)  # fmt: skip
anything = st.one_of(plausible, scalars, st.just([]), st.just({}), st.integers(), st.text(max_size=12))
names = st.sampled_from([*TYPES, "zip", "txt", "external_id", "submitted_at", "test", "consent_ip", "universal_leadid",
                         "consent", "lead_type", "other"])  # fmt: skip


@examples(300)
@given(st.dictionaries(names, anything, max_size=8), st.booleans())
def test_any_body_is_a_lead_or_refused_and_a_lead_stays_itself(given_body: dict[str, Any], nested: bool) -> None:
    """Nothing but LeadInvalid is raised, and what was normalised once is already normal."""
    body: dict[str, Any] = {"fields": given_body} if nested else given_body
    try:
        lead = build_lead(body, {"any": SCHEMA}, SOURCE, lead_id="L", received_at_ns=NOW)
    except LeadInvalid:
        return
    again = build_lead(
        {"fields": lead.fields}, {"any": SCHEMA}, SOURCE, lead_id="L", received_at_ns=NOW, default_country=lead.country
    )
    assert again.fields == lead.fields
