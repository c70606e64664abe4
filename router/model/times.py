"""Instants are integer nanoseconds since 1970 UTC, durations integer nanoseconds; text only at the edges."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

NS_MS: Final = 1_000_000
NS_S: Final = 1_000_000_000
NS_MINUTE: Final = 60 * NS_S
NS_HOUR: Final = 3_600 * NS_S
NS_DAY: Final = 86_400 * NS_S

_UNITS: Final = {"ms": NS_MS, "s": NS_S, "m": NS_MINUTE, "h": NS_HOUR, "d": NS_DAY}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)
_LONG = re.compile(r"\d{10,}(ms|s|m|h|d)", re.ASCII)
_DAYS_MAX: Final = 36_500  # a hundred years, which an instant of ours plus it still bears
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT_MAX_YEAR: Final = 2200


class Duration(int):
    """Nanoseconds. A class of its own so that the terms decoder knows the text form is meant."""


def parse_duration(text: str) -> Duration:
    """`"500ms" "30s" "10m" "24h" "30d"` -> nanoseconds. Raises ValueError that says what is wanted."""
    match = _DURATION.fullmatch(text)
    if match is None and _LONG.fullmatch(text):
        raise ValueError(f"a duration is at most {_DAYS_MAX}d")
    if match is None:
        raise ValueError('a duration is a whole number and a unit: "500ms", "30s", "10m", "24h" or "30d"')
    ns = int(match[1]) * _UNITS[match[2]]
    if ns > _DAYS_MAX * NS_DAY:
        raise ValueError(f"a duration is at most {_DAYS_MAX}d")
    return Duration(ns)


def format_duration(ns: int) -> str:
    """The shortest exact text of a duration: `90_000_000_000` -> `"90s"`; rounds down to whole milliseconds."""
    for unit in ("d", "h", "m", "s"):
        if ns and ns % _UNITS[unit] == 0:
            return f"{ns // _UNITS[unit]}{unit}"
    return f"{ns // NS_MS}ms"


def format_age(ns: int) -> str:
    """How long something took or is ago, as people read it: `3_600_390_000_000` -> `"1h 390ms"`; whole milliseconds."""
    left, words = max(0, ns) // NS_MS * NS_MS, list[str]()
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _UNITS[unit])
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words) or "0ms"


def parse_instant(text: str) -> int:
    """RFC 3339 text with a zone -> nanoseconds since 1970 UTC. Raises ValueError that says what is wanted."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("a time is RFC 3339 with a zone, such as 2026-11-23T17:00:00Z")
    date, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"that time does not exist: {error}") from None
    if moment.year < 1970 or moment.year > _INSTANT_MAX_YEAR:
        raise ValueError("a time lies between the years 1970 and 2200")
    return seconds * NS_S + int((fraction or "0").ljust(9, "0"))


def format_instant(ns: int) -> str:
    """Nanoseconds since 1970 UTC -> RFC 3339 in UTC, to the millisecond: `2026-11-23T17:00:00.000Z`."""
    seconds, rest = divmod(ns, NS_S)
    return f"{_to_the_second(seconds)}.{rest // NS_MS:03d}Z"


@lru_cache(maxsize=256)
def _to_the_second(seconds: int) -> str:
    """What is told comes in runs of the same second."""
    return f"{(_EPOCH + timedelta(seconds=seconds)):%Y-%m-%dT%H:%M:%S}"
