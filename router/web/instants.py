"""Instants and durations that operators write into bodies."""

from typing import Final

from router.core.intake.refusal import FieldError
from router.model.times import NS_DAY, parse_duration, parse_instant
from router.web.problems import Problem

RAMP_MAX_NS: Final = 30 * NS_DAY


def future_ns(text: str, name: str, now_ns: int) -> int:
    """RFC 3339 -> nanoseconds since 1970 UTC, after now. Raises Problem."""
    try:
        at_ns = parse_instant(text)
    except ValueError as error:
        raise Problem("invalid", errors=[FieldError(name, "invalid", str(error))]) from None
    if at_ns <= now_ns:
        raise Problem("invalid", errors=[FieldError(name, "past", "has passed: name an instant to come")])
    return at_ns


def ramp_ns(text: str | None) -> int:
    """`"30m"` -> nanoseconds; 0 when not given. Raises Problem."""
    if text is None:
        return 0
    try:
        over_ns = int(parse_duration(text))
    except ValueError as error:
        raise Problem("invalid", errors=[FieldError("ramp", "invalid", str(error))]) from None
    if not 0 <= over_ns <= RAMP_MAX_NS:
        raise Problem("invalid", errors=[FieldError("ramp", "invalid", "is longer than 30 days")])
    return over_ns
