"""Bytes -> a dictionary, strictly: what two parsers could read differently is refused.

`msgspec` does the reading: it refuses invalid UTF-8, lone surrogates, NaN and numbers out of range, but lets the
last of two equal keys win, and says nothing of control characters or depth. Those are found here without reading the
body a second time.

How a lost key shows: two quotation marks stand in the bytes for each key and each text, besides those that are
escaped. The decoded keys and texts, counted, account for all of them exactly when no key was given twice.
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
#: How a control character can stand in JSON: as an escape, or as DEL or one of U+0080 to U+009F in UTF-8.
_MAYBE_CONTROL: Final = re.compile(rb"\\(?:[bfnrt]|u00[01789])|\x7f|\xc2[\x80-\x9f]")

_decode: Final = msgspec.json.Decoder().decode


def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises BodyError: 400 not JSON or deeper than 32, 422 duplicate keys or control characters."""
    try:
        parsed = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BodyError(400, "not_json", f"The body is not JSON{_position(error)}.") from None
    escapes = b"\\" in body
    if _marks(body, escapes=escapes) != 2 * _keys_and_texts(parsed, 1):
        _refuse_duplicate_keys(body)
    if type(parsed) is not dict:
        raise BodyError(422, "not_an_object", "The body is JSON, but not an object.")
    if (escapes or not body.isascii() or b"\x7f" in body) and _MAYBE_CONTROL.search(body):
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


def _too_deep() -> BodyError:
    return BodyError(400, "too_deep", f"JSON is nested deeper than {DEPTH_MAX} levels.")


def _marks(body: bytes, *, escapes: bool) -> int:
    """How many quotation marks open or close a key or a text."""
    if not escapes:
        return body.count(b'"')
    unescaped = body.replace(b"\\\\", b"")
    return unescaped.count(b'"') - unescaped.count(b'\\"')


def _keys_and_texts(value: Any, depth: int) -> int:
    """How many keys and texts a value holds. Raises BodyError when it is nested too deep."""
    if type(value) is not dict and type(value) is not list:
        return int(type(value) is str)
    if depth > DEPTH_MAX:
        raise _too_deep()
    count = len(value) if type(value) is dict else 0
    for part in value.values() if type(value) is dict else value:
        if type(part) is str:
            count += 1
        elif type(part) is dict or type(part) is list:
            count += _keys_and_texts(part, depth + 1)
    return count


class _Members(list[tuple[str, Any]]):
    """The members of one object, in order, repeated ones too."""


def _refuse_duplicate_keys(body: bytes) -> None:
    # The numbers do not matter here, and Python's own limits on them must not.
    whole = json.loads(body.decode(), object_pairs_hook=_Members, parse_int=len, parse_float=len)
    raise _duplicates(dict.fromkeys(_repeated(whole, "", 1)))


def _repeated(value: Any, path: str, depth: int) -> Iterator[str]:
    if depth > DEPTH_MAX and isinstance(value, list):
        raise _too_deep()
    if isinstance(value, _Members):
        seen: set[str] = set()
        for key, inner in value:
            place = f"{path}.{key}" if path else key
            if key in seen:
                yield place
            seen.add(key)
            yield from _repeated(inner, place, depth + 1)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _repeated(inner, f"{path}[{at}]", depth + 1)


def _duplicates(paths: Iterable[str]) -> BodyError:
    errors = [FieldError(shown_name(path), "duplicate_key", "is given more than once") for path in paths]
    return BodyError(422, "duplicate_key", "A key is given more than once.", errors)


def _refuse_control_characters(parsed: dict[str, Any]) -> None:
    paths: list[str] = []
    _find_control_characters(parsed, "", paths)
    if paths:
        message = "holds a control character, which text may not"
        errors = [FieldError(shown_name(path), "control_character", message) for path in dict.fromkeys(paths)]
        raise BodyError(422, "control_character", "Text holds control characters.", errors)


def _find_control_characters(value: Any, path: str, found: list[str]) -> None:
    if type(value) is str:
        if (_CONTROL_IN_TEXT if path in MULTILINE else _CONTROL).search(value):
            found.append(path)
    elif type(value) is dict:
        for key, inner in value.items():
            place = f"{path}.{key}" if path else key
            if _CONTROL.search(key):
                found.append(place)
            _find_control_characters(inner, place, found)
    elif type(value) is list:
        for at, inner in enumerate(value):
            _find_control_characters(inner, f"{path}[{at}]", found)
