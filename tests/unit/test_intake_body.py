"""Bodies: what is not JSON, what is nested too deep, and what two parsers could read differently."""

import pytest

from router.core.intake import BodyError, parse_form, parse_json


def refusal(body: bytes) -> tuple[int, str, list[tuple[str, str]]]:
    """Status, code, and (field, code) of each error of a refused JSON body."""
    with pytest.raises(BodyError) as caught:
        parse_json(body)
    return caught.value.status, caught.value.code, [(error.field, error.code) for error in caught.value.errors]


def test_a_plain_body() -> None:
    """Objects, lists, numbers and text come as they are."""
    assert parse_json(b' {"a": {"b": [1, 2.5, true, null, "x"]}, "c": "\xc3\xa9"} \n') == {
        "a": {"b": [1, 2.5, True, None, "x"]},
        "c": "é",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"{'a': 1}", b'{"a": 1,}', b'{"a": 1} x', b'{"a": 1}{}', b"\xef\xbb\xbf{}", b'{"a": NaN}',
        b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": -1e999}', b'{"a": 01}', b'{"a": "\x01"}', b'{"a": "\x00"}',
        b'{"a": "\xff"}', b'{"\xff": 1}', b'{"a": "\xed\xa0\x80"}', b'{"a": "\\ud800"}', b'{"a": "\\udc00\\ud800"}',
        b'{"a": "\\x41"}', b'{"a":1}\x00', b'{"a": ' + b"1" * 5000 + b"}", b"a=1&b=2", b'"\\',
    ],
)  # fmt: skip
def test_what_is_not_json_is_400(body: bytes) -> None:
    """Broken syntax, broken UTF-8, half surrogates, raw control characters and numbers no float can hold."""
    assert refusal(body) == (400, "not_json", [])


def test_a_refusal_repeats_nothing_of_the_body() -> None:
    """The detail may say where, never what."""
    with pytest.raises(BodyError) as caught:
        parse_json(b'{"phone": 5125550147x}')
    assert "512" not in caught.value.detail


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"true", b'[{"a": 1}]'])
def test_json_that_is_no_object_is_422(body: bytes) -> None:
    """It can be read, but it is no lead."""
    assert refusal(body) == (422, "not_an_object", [])


def test_thirty_two_levels_and_no_more() -> None:
    """The object itself is the first level; lists count as objects do, wherever they stand."""

    def lists(levels: int) -> bytes:
        return b'{"ignored": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    def objects(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    for nested in (lists, objects):
        assert parse_json(nested(32))
        assert refusal(nested(33))[:2] == (400, "too_deep")
        assert refusal(nested(900))[:2] == (400, "too_deep")
        assert refusal(nested(30_000))[:2] == (400, "too_deep")


def test_depth_counts_in_a_value_that_a_later_key_replaces() -> None:
    """The dropped value of a repeated key is judged too."""
    deep = b"[" * 40 + b"]" * 40
    assert refusal(b'{"a": ' + deep + b', "a": 1}')[:2] == (400, "too_deep")


def test_brackets_in_text_are_not_depth() -> None:
    """A hundred brackets in a text nest nothing, and neither do a thousand lists side by side."""
    assert parse_json(b'{"a": "' + b"[{" * 100 + b'"}')
    assert parse_json(b'{"a": [' + b",".join([b"[]"] * 1000) + b"]}")


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b'{"a": 1, "a": 1}', ["a"]),
        (b'{"a" : 1, "a"\n:2}', ["a"]),
        (b'{"fields": {"phone": "1", "email": "x", "phone": "2"}}', ["fields.phone"]),
        (b'{"a": [{"b": 1}, {"b": 1, "b": 2}]}', ["a[1].b"]),
        (b'{"a": 1, "\\u0061": 2}', ["a"]),
        (b'{"a": "\\":", "a": "::"}', ["a"]),
        (b'{"a\\\\": 1, "a\\\\": "\\""}', ["a\\"]),
        (b'{"a": {"a": 1}, "a": {"b": 1, "b": 2}}', ["a", "a.b"]),
        (b'{"a": {"x": 1, "x": 2}, "a": 3}', ["a.x", "a"]),
        (b'{"": 1, "": 2}', [""]),
    ],
)
def test_a_key_given_twice_is_named(body: bytes, paths: list[str]) -> None:
    """At any depth, however it is spelt or spaced; even inside a value that is dropped."""
    status, code, errors = refusal(body)
    assert (status, code) == (422, "duplicate_key")
    assert sorted(errors) == sorted((path, "duplicate_key") for path in paths)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": ":", "b": "\\":", "c": "\\\\"}',
        b'{"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}',
        b'{"a": "\\u0022", "b\\"": "\\\\\\""}',
        b'{"a\\\\": "a", "a": "\\\\\\\\"}',
        b'{"a": [["x", "y"], []], "b": [{}], "c": {}}',
    ],
)
def test_text_that_looks_like_keys_is_not(body: bytes) -> None:
    """Quotes, colons and backslashes in text do not make a key."""
    assert parse_json(body)


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b'{"fields": {"name": "a\\u0000b", "city": "a\\nb"}}', ["fields.name", "fields.city"]),
        (b'{"a": ["x", "\\t"]}', ["a[1]"]),
        (b'{"a\\u0001": 1}', ["a\N{REPLACEMENT CHARACTER}"]),
        (b'{"a": "\x7f"}', ["a"]),
        ('{"a": "\x85"}'.encode(), ["a"]),
        (b'{"a": "\\u009f"}', ["a"]),
        (b'{"consent": {"text": "a\\u0007", "url": "\\n"}}', ["consent.text", "consent.url"]),
    ],
)
def test_control_characters_are_422_and_named(body: bytes, paths: list[str]) -> None:
    """Escaped or not, C0, DEL and C1, in names too."""
    assert refusal(body) == (422, "control_character", [(path, "control_character") for path in paths])


def test_a_disclosure_may_have_lines() -> None:
    """Line breaks and tabs are part of consent text, nested or flat; other spaces and separators pass everywhere."""
    assert parse_json(b'{"consent": {"text": "a\\r\\n\\tb"}}')["consent"] == {"text": "a\r\n\tb"}
    assert parse_json(b'{"consent_text": "a\\nb", "x": "\\u2028\\u00a0\\\\n"}')["x"] == "\u2028\xa0\\n"


def test_a_form() -> None:
    """Names and values are decoded; blank values stay, to be missing later."""
    assert parse_form(b"first_name=Ana+B&phone=%2B15125550147&x=&caf%C3%A9=%E2%80%9C") == {
        "first_name": "Ana B", "phone": "+15125550147", "x": "", "café": "“",
    }  # fmt: skip
    assert parse_form(b"") == {}


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b"a=%ff", 400, []),
        (b"a=\xff", 400, []),
        (b"&".join([b"a=1"] * 1001), 400, []),
        (b"a=1&b=2&a=1", 422, ["a"]),
        (b"a=%00&consent_text=x%0D%0Ay&b=%0A", 422, ["a", "b"]),
    ],
)
def test_forms_that_are_refused(body: bytes, status: int, fields: list[str]) -> None:
    """Bytes that are no UTF-8, too many fields, a name twice, control characters but in a disclosure."""
    with pytest.raises(BodyError) as caught:
        parse_form(body)
    assert caught.value.status == status
    assert [error.field for error in caught.value.errors] == fields
