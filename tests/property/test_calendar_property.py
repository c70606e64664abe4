"""Windows and opening hours over any zone and any instant, held to a clock read a minute at a time."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import hypothesis.strategies as st
from hypothesis import given

from router.core.calendar import calendar_window, local_day, open_time, opening, when_elapsed
from router.core.calendar import todays_spans as spans_of_today
from router.model.times import NS_HOUR, NS_MINUTE, NS_S
from router.terms.hours import parse_hours
from router.terms.schema import Schedule
from tests.examples import examples
from tests.property import reference

ZONES = sorted(available_timezones())
PERS = ["minute", "hour", "day", "week", "month"]
BEGIN_S, END_S = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2015, 2037))


@cache
def turns(name: str) -> tuple[int, ...]:
    """Every instant, in seconds, at which a zone's clocks change."""
    zone = ZoneInfo(name)

    def offset(at: int) -> timedelta | None:
        return datetime.fromtimestamp(at, zone).utcoffset()

    found = []
    for start in range(BEGIN_S, END_S, 10 * 86_400):
        low, high = start, start + 10 * 86_400
        if offset(low) != offset(high):
            target = offset(high)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if offset(middle) == target else (middle, high)
            found.append(high)
    return tuple(found)


@st.composite
def instants(draw: Any) -> tuple[ZoneInfo, int]:
    """A zone and an instant, mostly within a day of a clock change."""
    name = draw(st.sampled_from(ZONES))
    at_s = draw(st.integers(BEGIN_S, END_S))
    if turns(name) and draw(st.integers(0, 3)):
        away = st.one_of(st.integers(-90_000, 90_000), st.sampled_from([-3600, -1800, -1, 0, 1, 1800, 3600]))
        at_s = draw(st.sampled_from(turns(name))) + draw(away)
    return ZoneInfo(name), at_s * NS_S + draw(st.sampled_from([0, 0, 1, NS_S - 1]))


@examples(300)
@given(instants(), st.sampled_from(PERS))
def test_windows_tile_time_in_every_zone(where: tuple[ZoneInfo, int], per: Any) -> None:
    """A window holds its instants, begins where the one before ends, and no neighbour shares its key."""
    zone, at = where
    window = calendar_window(per, at, zone)
    assert window.start_ns <= at < window.end_ns
    assert window == calendar_window(per, window.start_ns, zone) == calendar_window(per, window.end_ns - 1, zone)
    before, after = calendar_window(per, window.start_ns - 1, zone), calendar_window(per, window.end_ns, zone)
    assert (before.end_ns, after.start_ns) == (window.start_ns, window.end_ns)
    assert len({before.key, window.key, after.key}) == 3


@examples(300)
@given(instants(), st.sampled_from(PERS), st.integers(-7200, 7200))
def test_two_instants_share_a_window_when_their_clocks_say_so(
    where: tuple[ZoneInfo, int], per: Any, away_s: int
) -> None:
    """The same local minute, hour, day, week or month, told by the wall clock alone."""
    zone, at = where
    other = at + away_s * NS_S
    together = reference.window_of(per, at, zone) == reference.window_of(per, other, zone)
    assert (calendar_window(per, at, zone) == calendar_window(per, other, zone)) == together
    assert local_day(at, zone) == reference.day_of(at, zone)


@st.composite
def schedules(draw: Any) -> Schedule:
    """Opening hours with spans over midnight, lists of days and closed dates around clock changes."""
    entries = []
    for _ in range(draw(st.integers(1, 3))):
        start, end = draw(st.lists(st.integers(0, 95), min_size=2, max_size=2, unique=True))
        low, high = sorted(draw(st.lists(st.integers(0, 6), min_size=2, max_size=2)))
        days = f"{reference.WEEKDAYS[low]}-{reference.WEEKDAYS[high]}"
        hours = "-".join(f"{quarter // 4:02d}:{quarter % 4 * 15:02d}" for quarter in (start, end))
        entries.append(draw(st.sampled_from([f"{days} {hours}", hours, "00:00-24:00"])))
    return Schedule(open=tuple(entries))


@examples(100)
@given(instants(), schedules(), st.booleans())
def test_opening_hours_are_what_the_clock_on_the_wall_says(
    where: tuple[ZoneInfo, int], schedule: Schedule, closed: bool
) -> None:
    """Open or closed, until exactly when, and how much of today's open time has gone by."""
    zone, at = where
    day = local_day(at, zone)
    if closed:
        schedule = Schedule(open=schedule.open, closed_dates=((day + timedelta(days=1)).isoformat(),))
    hours = parse_hours(schedule.open, schedule.closed_dates)
    told = opening(hours, at, zone)
    assert told.open == reference.is_open(schedule, at, zone)
    assert told.until_ns > at
    if told.until_ns - at < 36 * NS_HOUR:
        minute = at - at % NS_MINUTE + NS_MINUTE
        while minute < told.until_ns:
            assert reference.is_open(schedule, minute, zone) == told.open
            minute += NS_MINUTE
        changed = reference.is_open(schedule, told.until_ns, zone) != told.open
        assert changed or local_day(told.until_ns, zone) != day  # spans that touch at midnight are two
    minutes = reference.open_minutes(schedule, day, zone)
    elapsed, whole = open_time(hours, at, zone)
    assert whole == len(minutes) * NS_MINUTE
    assert elapsed == sum(min(max(at - start, 0), NS_MINUTE) for start in minutes)
    if 0 < elapsed < whole:
        assert open_time(hours, when_elapsed(spans_of_today(hours, at, zone), elapsed), zone)[0] == elapsed


def test_a_closed_date_is_closed_from_its_first_instant_to_its_last() -> None:
    """Hours over midnight open on the day they start and go on into the next, unless that date is closed."""
    zone, hours = ZoneInfo("UTC"), parse_hours(("22:00-02:00",), ("2026-12-25",))
    open_at = [
        opening(hours, (date(2026, 12, day) - date(1970, 1, 1)).days * 24 * NS_HOUR + hour * NS_HOUR, zone).open
        for day, hour in [(24, 23), (25, 1), (25, 23), (26, 1), (26, 3)]
    ]
    assert open_at == [True, False, False, True, False]
