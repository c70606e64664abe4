"""A lead type's `[fields.X]` -> one function that reads the field: its type first, then its limits.

Which limits apply to which type is judged when terms are loaded; one that does not fit a type is not looked at here.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from router.core.intake import values
from router.core.intake.refusal import Wrong
from router.core.intake.values import Read
from router.core.rules.criteria import line_type, matches
from router.model.lead import Value
from router.terms.schema import FieldTerms, FieldType

_READS: Final[Mapping[FieldType, Read]] = {
    "string": values.read_text,
    "phone": values.read_phone_number,
    "email": values.read_email_address,
    "postal_code": values.read_postal_code,
    "state": values.read_state,
    "country": values.read_country,
    "integer": values.read_integer,
    "number": values.read_number,
    "boolean": values.read_boolean,
    "date": values.read_date,
    "datetime": values.read_datetime,
    "enum": values.read_text,
    "url": values.read_url,
    "ip": values.read_ip,
}

_Check = Callable[[Any], None]


def compile_field(terms: FieldTerms) -> Read:
    """`(what came in, the lead's country) -> Value or None`; it raises Wrong when the field is at fault."""
    read = _READS[terms.type]
    for check in _checks(terms):
        read = _checked(read, check)
    return read


def _checked(read: Read, check: _Check) -> Read:
    def read_and_check(raw: Any, country: str) -> Value | None:
        value = read(raw, country)
        if value is not None:
            check(value)
        return value

    return read_and_check


def _checks(terms: FieldTerms) -> tuple[_Check, ...]:
    checks: list[_Check] = []
    if terms.type in {"integer", "number"} and (terms.min is not None or terms.max is not None):
        checks.append(_within(terms.min, terms.max))
    if terms.min_length is not None or terms.max_length is not None:
        checks.append(_long(terms.min_length, terms.max_length))
    if terms.pattern is not None:
        checks.append(_matching(terms.pattern))
    if terms.one_of is not None:
        checks.append(_one_of(terms.one_of))
    if terms.type == "phone" and terms.line_types is not None:
        checks.append(_line_of(terms.line_types))
    return tuple(checks)


def _within(low: float | None, high: float | None) -> _Check:
    def check(value: float) -> None:
        if low is not None and value < low:
            raise Wrong("too_small", f"is less than {low}")
        if high is not None and value > high:
            raise Wrong("too_large", f"is more than {high}")

    return check


def _long(low: int | None, high: int | None) -> _Check:
    def check(value: Value) -> None:
        length = len(_text(value))
        if low is not None and length < low:
            raise Wrong("too_short", f"is shorter than {low} characters")
        if high is not None and length > high:
            raise Wrong("too_long", f"is longer than {high} characters")

    return check


def _matching(expression: str) -> _Check:
    def check(value: Value) -> None:
        if not matches(expression, _text(value)):
            raise Wrong("pattern", "does not have the form that is asked for")

    return check


def _one_of(allowed: tuple[str, ...]) -> _Check:
    known = frozenset(allowed)

    def check(value: Value) -> None:
        if _text(value) not in known:
            raise Wrong("not_allowed", f"is not one of {', '.join(allowed)}")

    return check


def _line_of(kinds: tuple[str, ...]) -> _Check:
    def check(value: Value) -> None:
        if line_type(_text(value)) not in kinds:
            raise Wrong("not_allowed", f"is a line of another type than {', '.join(kinds)}")

    return check


def _text(value: Value) -> str:
    """A value as texts are compared: `true`, `12`, as JSON would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
