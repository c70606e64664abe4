"""Bytes -> a dictionary, strictly: what two parsers could read differently is refused.

`msgspec` does the reading: it refuses invalid UTF-8, lone surrogates, NaN and numbers out of range, but lets the
last of two equal keys win, and says nothing of control characters or depth. Those are looked for here, cheaply
first: the plain body is cleared by counting bytes, and only one that cannot be cleared so is looked at closely.

Why counting finds every duplicate: each member of an object has one colon behind its key. Where no white space stands
before a colon, `":` stands in the bytes at least once a member (more often when text holds it too). Equal keys make
the decoded members fewer than those written, so as many decoded members as `":` means that no key was lost.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from router.core.intake.refusal import BodyError, FieldError, shown_name

DEPTH_MAX: Final = 32
FORM_FIELDS_MAX: Final = 1000

#: Line breaks and tabs are part of a disclosure; anywhere else they are control characters like the others.
MULTILINE: Final = frozenset({"consent.text", "consent_text"})

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACED_COLONS: Final = (b" :", b"\n:", b"\t:", b"\r:")
#: How a control character can stand in JSON: as an escape, or as DEL or one of U+0080 to U+009F in UTF-8.
_MAYBE_CONTROL: Final = re.compile(rb"\\(?:[bfnrt]|u00[01789])|\x7f|\xc2[\x80-\x9f]")
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")

_decode: Final = msgspec.json.Decoder().decode


def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises BodyError: 400 not JSON or deeper than 32, 422 duplicate keys or control characters."""
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX and _too_deep(body):
        raise BodyError(400, "too_deep", f"JSON is nested deeper than {DEPTH_MAX} levels.")
    try:
        parsed = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(400, "not_json", f"The body is not JSON{_position(error)}.") from None
    if type(parsed) is not dict:
        raise BodyError(422, "not_an_object", "The body is JSON, but not an object.")
    if _may_repeat_keys(body, parsed):
        _refuse_duplicate_keys(body)
    if _MAYBE_CONTROL.search(body):
        _refuse_control_characters(parsed)
    return parsed


def parse_form(body: bytes) -> dict[str, str]:
    """A form-encoded body. Raises BodyError: 400 not decodable, 422 a name given twice or control characters."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX)
    except UnicodeDecodeError:
        raise BodyError(400, "not_form", "The body is not UTF-8.") from None
    except ValueError:
        raise BodyError(400, "not_form", f"The form has more than {FORM_FIELDS_MAX} fields.") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        times = Counter(name for name, _ in pairs)
        raise _duplicates([name for name, count in times.items() if count > 1])
    _refuse_control_characters(form)
    return form


def _position(error: Exception) -> str:
    """Where msgspec says the fault is; its words hold a byte position, never data."""
    found = re.search(r"\(byte (\d+)\)", str(error))
    return f": it stops making sense at byte {found[1]}" if found else ""


def _too_deep(body: bytes) -> bool:
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MAX:
            return True
    return False


def _may_repeat_keys(body: bytes, parsed: dict[str, Any]) -> bool:
    """False only when it is certain that no object holds a key twice."""
    if any(spaced in body for spaced in _SPACED_COLONS):
        return True
    return body.count(b'":') != _members(parsed)


def _members(value: Any) -> int:
    """How many members the objects in a value have together."""
    if type(value) is dict:
        count, inner = len(value), value.values()
    else:
        count, inner = 0, value
    for part in inner:
        if type(part) is dict or type(part) is list:
            count += _members(part)
    return count


class _Members(list[tuple[str, Any]]):
    """The members of one object, in order, repeated ones too."""


def _refuse_duplicate_keys(body: bytes) -> None:
    # The numbers do not matter here, and Python's own limits on them must not.
    whole = json.loads(body.decode(), object_pairs_hook=_Members, parse_int=len, parse_float=len)
    repeated = dict.fromkeys(_repeated(whole, ""))
    if repeated:
        raise _duplicates(repeated)


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Members):
        seen: set[str] = set()
        for key, inner in value:
            place = f"{path}.{key}" if path else key
            if key in seen:
                yield place
            seen.add(key)
            yield from _repeated(inner, place)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _repeated(inner, f"{path}[{at}]")


def _duplicates(paths: Iterable[str]) -> BodyError:
    errors = [FieldError(shown_name(path), "duplicate_key", "is given more than once") for path in paths]
    return BodyError(422, "duplicate_key", "A key is given more than once.", errors)


def _refuse_control_characters(parsed: dict[str, Any]) -> None:
    paths = dict.fromkeys(_with_control_characters(parsed, ""))
    if paths:
        errors = [
            FieldError(shown_name(path), "control_character", "holds a control character, which text may not")
            for path in paths
        ]
        raise BodyError(422, "control_character", "Text holds control characters.", errors)


def _with_control_characters(value: Any, path: str) -> Iterator[str]:
    if type(value) is str:
        if (_CONTROL_IN_TEXT if path in MULTILINE else _CONTROL).search(value):
            yield path
    elif type(value) is dict:
        for key, inner in value.items():
            place = f"{path}.{key}" if path else key
            if _CONTROL.search(key):
                yield place
            yield from _with_control_characters(inner, place)
    elif type(value) is list:
        for at, inner in enumerate(value):
            yield from _with_control_characters(inner, f"{path}[{at}]")
