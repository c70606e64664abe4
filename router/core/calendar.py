"""Windows and opening hours in a contract's own time zone, as half-open stretches of instants.

Everything that turns over by itself is described by `Window(key, start_ns, end_ns)`: while `start_ns <= now < end_ns`
the answer stays what it is. Days are 23 or 25 hours long when the zone says so. A local day begins at the first
instant of its date: where midnight does not exist that is the instant of the jump, where it exists twice the first.
Hours are stretches of one UTC offset, so the repeated hour of autumn is an hour of its own.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_S
from router.terms.hours import Hours, merged
from router.terms.schema import Per

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER: Final = 1 << 62

#: A rolling window looks back this far; `total` has no window.
ROLLING_NS: Final[dict[Per, int]] = {
    "minute": NS_MINUTE,
    "hour": NS_HOUR,
    "day": NS_DAY,
    "week": 7 * NS_DAY,
    "month": 30 * NS_DAY,
}


class Window(NamedTuple):
    """A named stretch of instants, half open: `start_ns <= t < end_ns`."""

    key: str
    start_ns: int
    end_ns: int


ALWAYS: Final = Window("total", 0, FOREVER)


def local(at_ns: int, zone: tzinfo) -> datetime:
    """The wall time of an instant, whole seconds."""
    return (_EPOCH + timedelta(seconds=at_ns // NS_S)).astimezone(zone)


def instant(wall: datetime) -> int:
    """The instant of an aware wall time; one that does not exist is the instant of the jump over it."""
    return ((wall.astimezone(UTC) - _EPOCH) // timedelta(seconds=1)) * NS_S


def day_start(day: date, zone: tzinfo) -> int:
    """The first instant of a local date."""
    return instant(datetime(day.year, day.month, day.day, tzinfo=zone))


def local_day(at_ns: int, zone: tzinfo) -> date:
    """The local date whose day an instant belongs to."""
    day = local(at_ns, zone).date()
    following = day + timedelta(days=1)
    return following if at_ns >= day_start(following, zone) else day


@lru_cache(maxsize=4096)
def _day(day: date, zone: tzinfo) -> Window:
    return Window(day.isoformat(), day_start(day, zone), day_start(day + timedelta(days=1), zone))


def _week(day: date, zone: tzinfo) -> Window:
    monday = day - timedelta(days=day.weekday())
    year, week, _ = day.isocalendar()
    return Window(f"{year}-W{week:02d}", day_start(monday, zone), day_start(monday + timedelta(days=7), zone))


def _month(day: date, zone: tzinfo) -> Window:
    first = day.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Window(f"{first:%Y-%m}", day_start(first, zone), day_start(following, zone))


def _offset_ns(at_ns: int, zone: tzinfo) -> int:
    offset = local(at_ns, zone).utcoffset()
    assert offset is not None
    return (offset // timedelta(seconds=1)) * NS_S


def _turn(low_ns: int, high_ns: int, zone: tzinfo) -> int:
    """The first instant in (low, high] whose UTC offset is that of high; low has another one."""
    target = _offset_ns(high_ns, zone)
    low, high = low_ns // NS_S, high_ns // NS_S
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ns(middle * NS_S, zone) == target:
            high = middle
        else:
            low = middle
    return high * NS_S


def _clock_hour(at_ns: int, zone: tzinfo, size_ns: int, form: str) -> Window:
    offset = _offset_ns(at_ns, zone)
    start = at_ns - (at_ns + offset) % size_ns
    end = start + size_ns
    if _offset_ns(start, zone) != offset:
        start = _turn(start, at_ns, zone)
    if _offset_ns(end - 1, zone) != offset:
        end = _turn(at_ns, end - 1, zone)
    return Window(local(start, zone).strftime(form), start, end)


def calendar_window(per: Per, at_ns: int, zone: tzinfo) -> Window:
    """The calendar window an instant belongs to. Weeks start on Monday."""
    if per == "total":
        return ALWAYS
    if per == "minute":
        return _clock_hour(at_ns, zone, NS_MINUTE, "%Y-%m-%dT%H:%M%z")
    if per == "hour":
        return _clock_hour(at_ns, zone, NS_HOUR, "%Y-%m-%dT%H%z")
    day = local_day(at_ns, zone)
    if per == "day":
        return _day(day, zone)
    return _week(day, zone) if per == "week" else _month(day, zone)


# -- opening hours -------------------------------------------------------------------------------


def _stretches(start_ns: int, end_ns: int, zone: tzinfo) -> list[tuple[int, int]]:
    """A span of instants cut where the UTC offset changes (at most once a day anywhere)."""
    if _offset_ns(start_ns, zone) == _offset_ns(end_ns - 1, zone):
        return [(start_ns, end_ns)]
    turn = _turn(start_ns, end_ns - 1, zone)
    return [(start_ns, turn), (turn, end_ns)]


@lru_cache(maxsize=8192)
def open_spans(hours: Hours, day: date, zone: tzinfo) -> tuple[tuple[int, int], ...]:
    """The stretches of instants whose wall time is open on a local date, in order.

    Wall time decides: a time that comes twice is open twice, one that a clock change skips never comes.
    """
    if day in hours.closed:
        return ()
    window = _day(day, zone)
    midnight = (day - _EPOCH.date()).days * NS_DAY
    found: list[tuple[int, int]] = []
    for low, high in _stretches(window.start_ns, window.end_ns, zone):
        shift = midnight - _offset_ns(low, zone)
        for opens, closes in hours.spans[day.weekday()]:
            start, end = max(low, shift + opens * NS_MINUTE), min(high, shift + closes * NS_MINUTE)
            if start < end:
                found.append((start, end))
    return merged(found)


class Opening(NamedTuple):
    """Open or closed, and until when that holds (FOREVER when it never changes)."""

    open: bool
    until_ns: int


_SEARCH_DAYS: Final = 400


def opening(hours: Hours | None, at_ns: int, zone: tzinfo) -> Opening:
    """Whether opening hours are open at an instant. No hours: always open."""
    if hours is None:
        return Opening(True, FOREVER)
    day = local_day(at_ns, zone)
    for ahead in range(_SEARCH_DAYS):
        for start, end in open_spans(hours, day + timedelta(days=ahead), zone):
            if at_ns < start:
                return Opening(False, start)
            if at_ns < end:
                return Opening(True, end)
    return Opening(False, day_start(day + timedelta(days=_SEARCH_DAYS), zone))


def open_time(hours: Hours | None, at_ns: int, zone: tzinfo) -> tuple[int, int]:
    """(open time elapsed today, open time today), nanoseconds, of the local day of an instant."""
    spans = todays_spans(hours, at_ns, zone)
    elapsed = sum(min(max(at_ns - start, 0), end - start) for start, end in spans)
    return elapsed, sum(end - start for start, end in spans)


def todays_spans(hours: Hours | None, at_ns: int, zone: tzinfo) -> tuple[tuple[int, int], ...]:
    """The open stretches of the local day of an instant; without hours the whole day."""
    day = local_day(at_ns, zone)
    if hours is None:
        window = _day(day, zone)
        return ((window.start_ns, window.end_ns),)
    return open_spans(hours, day, zone)


def when_elapsed(spans: tuple[tuple[int, int], ...], elapsed_ns: int) -> int:
    """The instant at which so much of the given open time has passed; the end of the last span when never."""
    for start, end in spans:
        if elapsed_ns < end - start:
            return start + elapsed_ns
        elapsed_ns -= end - start
    return spans[-1][1] if spans else FOREVER


# -- memory -------------------------------------------------------------------------------------

_ALWAYS_OPEN: Final = Opening(True, FOREVER)


class Frame(NamedTuple):
    """The calendar windows of several caps at once, and until when none of them turns over: `since_ns <= t < until_ns`.

    `day` is the key of the local day; a rolling window, which is another at every instant, is None.
    """

    since_ns: int
    until_ns: int
    day: str
    windows: tuple[Window | None, ...]


class Calendar:
    """A memory of the current windows: asking again inside one costs a look-up. Holds no routing state."""

    def __init__(self) -> None:
        self._now: dict[Per, dict[tzinfo, Window]] = {per: {} for per in ("minute", "hour", "day", "week", "month")}
        self._frames: dict[tuple[tzinfo, tuple[Per | None, ...]], Frame] = {}
        self._hours: dict[tuple[Hours, tzinfo], tuple[int, Opening]] = {}

    def frame(self, pers: tuple[Per | None, ...], at_ns: int, zone: tzinfo) -> Frame:
        """The windows of caps (None: a rolling one) at an instant, in their order."""
        found = self._frames.get((zone, pers))
        if found is None or not found.since_ns <= at_ns < found.until_ns:
            day = self.window("day", at_ns, zone)
            windows = tuple(None if per is None else self.window(per, at_ns, zone) for per in pers)
            all_ = [day, *(one for one in windows if one is not None)]
            found = Frame(max(one.start_ns for one in all_), min(one.end_ns for one in all_), day.key, windows)
            self._frames[zone, pers] = found
        return found

    def window(self, per: Per, at_ns: int, zone: tzinfo) -> Window:
        """As `calendar_window`."""
        if per == "total":
            return ALWAYS
        known = self._now[per]
        found = known.get(zone)
        if found is None or not found.start_ns <= at_ns < found.end_ns:
            found = known[zone] = calendar_window(per, at_ns, zone)
        return found

    def opening(self, hours: Hours | None, at_ns: int, zone: tzinfo) -> Opening:
        """As `opening`."""
        if hours is None:
            return _ALWAYS_OPEN
        since, found = self._hours.get((hours, zone), (FOREVER, _ALWAYS_OPEN))
        if not since <= at_ns < found.until_ns:
            found = opening(hours, at_ns, zone)
            self._hours[hours, zone] = (at_ns, found)
        return found
