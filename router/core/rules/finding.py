"""What a rule says when it refuses."""

from typing import NamedTuple

from router.core.calendar import FOREVER
from router.model.lead import Value
from router.terms.schema import FieldTerms

_PERSONAL_TYPES = frozenset({"string", "phone", "email", "date", "url", "ip"})


class Finding(NamedTuple):
    """A refusal: the public code, what was wanted, what was seen, and until when that surely stays so.

    The texts never hold personal data. `until_ns` is FOREVER where only an event, not time, can change the answer.
    """

    code: str
    expected: str
    actual: str
    until_ns: int = FOREVER


def is_personal(terms: FieldTerms | None) -> bool:
    """Whether a field's value may not be shown or sent in a ping."""
    if terms is None:
        return True
    return terms.type in _PERSONAL_TYPES if not isinstance(terms.personal, bool) else terms.personal


def shown(value: Value | None, terms: FieldTerms | None) -> str:
    """A field's value as a trace may show it: personal ones only as present."""
    if value is None:
        return "missing"
    if is_personal(terms):
        return "present (personal)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
