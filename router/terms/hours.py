"""Opening hours as operators write them, compiled to minutes of wall time.

What those minutes mean as instants in a time zone is `core.calendar`'s business.
"""

from datetime import date
from functools import lru_cache
from typing import Final

from msgspec import Struct

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MINUTES_DAY: Final = 24 * 60


class Hours(Struct, frozen=True, eq=False):
    """Opening hours compiled: minutes of wall time per weekday (Monday first), and dates on which nothing opens.

    Spans lie within one day and do not overlap: `22:00-02:00` is two. `closed` holds local dates. Compared by identity,
    because what is worked out from hours is remembered by them: `parse_hours` gives the same object for the same text.
    """

    spans: tuple[tuple[tuple[int, int], ...], ...]
    closed: frozenset[date]


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if not (
        colon
        and text.isascii()
        and hour.isdecimal()
        and minute.isdecimal()
        and len(minute) == 2
        and len(hour) in (1, 2)
    ):
        raise ValueError(f'"{text}" is not a time of day such as 08:00')
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > _MINUTES_DAY:
        raise ValueError(f'"{text}" is not a time of day between 00:00 and 24:00')
    return value


def _weekdays(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low = _DAYS.index(first.strip().title())
            high = _DAYS.index(last.strip().title()) if dash else low
        except ValueError:
            raise ValueError(f'"{part.strip()}" is not a weekday or a range such as Mon-Fri') from None
        found += [(low + step) % 7 for step in range((high - low) % 7 + 1)]
    return found


@lru_cache(maxsize=65536)
def parse_hours(entries: tuple[str, ...], closed_dates: tuple[str, ...] = ()) -> Hours:
    """`["Mon-Fri 08:00-18:00", "Sat 09:00-13:00"]` -> Hours. Raises ValueError that says what is wanted.

    Days may be ranges and lists (`Mon,Wed-Fri`, `Sat-Mon`); no days means every day. A span that ends before it
    starts crosses midnight and belongs to the day it starts on; `00:00-24:00` is the whole day.
    """
    minutes: list[set[tuple[int, int]]] = [set() for _ in _DAYS]
    for entry in entries:
        words = entry.split()
        if len(words) not in (1, 2):
            raise ValueError(f'"{entry}" is not opening hours such as "Mon-Fri 08:00-18:00"')
        days = _weekdays(words[0]) if len(words) == 2 else list(range(7))
        opens, dash, closes = words[-1].partition("-")
        if not dash:
            raise ValueError(f'"{words[-1]}" is not a span such as 08:00-18:00')
        start, end = _minute(opens), _minute(closes)
        if start == end:
            raise ValueError(f'"{words[-1]}" is empty; the whole day is 00:00-24:00')
        for day in days:
            if start < end:
                minutes[day].add((start, end))
            else:
                minutes[day].add((start, _MINUTES_DAY))
                if end:
                    minutes[(day + 1) % 7].add((0, end))
    return Hours(tuple(merged(sorted(spans)) for spans in minutes), frozenset(map(date.fromisoformat, closed_dates)))


def merged(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sorted half-open spans with those that touch or overlap joined."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
