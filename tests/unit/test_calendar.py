"""Windows and opening hours across clock changes."""

from zoneinfo import ZoneInfo

import pytest

from router.core.calendar import calendar_window, open_time, opening
from router.model.times import NS_HOUR, NS_MINUTE, format_instant, parse_instant
from router.terms.hours import parse_hours

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("America/New_York", "2026-11-01T12:00:00Z", 25),
        ("America/New_York", "2026-03-08T12:00:00Z", 23),
        ("America/Sao_Paulo", "2017-10-15T12:00:00Z", 23),  # no midnight that day
        ("Australia/Lord_Howe", "2026-04-04T20:00:00Z", 24.5),
        ("Asia/Kolkata", "2026-04-04T20:00:00Z", 24),
    ],
)
def test_a_local_day_is_as_long_as_the_zone_says(zone: str, at: str, hours: float) -> None:
    """Days have 23, 24, 24.5 or 25 hours, and one without a midnight still turns over once."""
    window = calendar_window("day", parse_instant(at), ZoneInfo(zone))
    assert window.end_ns - window.start_ns == hours * NS_HOUR


@pytest.mark.parametrize("per", ["minute", "hour", "day", "week", "month"])
@pytest.mark.parametrize(
    "zone", ["America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC"]
)
def test_windows_tile_time(per: str, zone: str) -> None:
    """Every window begins where the one before ends, holds its own instants, and no two share a key."""
    place = ZoneInfo(zone)
    at = parse_instant("2011-12-29T00:10:00Z") if zone == "Pacific/Apia" else parse_instant("2017-10-14T20:10:00Z")
    keys = []
    for _ in range(60):
        window = calendar_window(per, at, place)  # type: ignore[arg-type]
        assert window.start_ns <= at < window.end_ns
        assert calendar_window(per, window.start_ns, place) == window  # type: ignore[arg-type]
        assert calendar_window(per, window.end_ns - 1, place) == window  # type: ignore[arg-type]
        keys.append(window.key)
        at = window.end_ns
    assert len(set(keys)) == len(keys)


def test_the_repeated_hour_of_autumn_is_an_hour_of_its_own() -> None:
    """01:30 before and after the clocks go back are counted apart."""
    first = calendar_window("hour", parse_instant("2026-11-01T05:30:00Z"), NEW_YORK)
    second = calendar_window("hour", parse_instant("2026-11-01T06:30:00Z"), NEW_YORK)
    assert first.end_ns == second.start_ns
    assert first.key != second.key


def test_weeks_start_on_monday() -> None:
    """Sunday noon and Monday noon lie in different weeks."""
    sunday = calendar_window("week", parse_instant("2026-11-22T17:00:00Z"), NEW_YORK)
    assert format_instant(sunday.end_ns) == "2026-11-23T05:00:00.000Z"


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-24T12:59:00Z", False),  # Tuesday 07:59
        ("2026-11-24T13:00:00Z", True),
        ("2026-11-24T22:59:00Z", True),
        ("2026-11-24T23:00:00Z", False),  # 18:00: half open
        ("2026-11-29T04:00:00Z", True),  # Saturday 23:00, crosses midnight
        ("2026-11-29T06:59:00Z", True),  # Sunday 01:59
        ("2026-11-29T07:00:00Z", False),
        ("2026-12-25T15:00:00Z", False),  # a closed date
    ],
)
def test_opening_hours_are_judged_on_wall_time(at: str, is_open: bool) -> None:
    """Spans are half open, may cross midnight, and closed dates win."""
    hours = parse_hours(("Mon-Fri 08:00-18:00", "Sat 22:00-02:00"), ("2026-12-25",))
    assert opening(hours, parse_instant(at), NEW_YORK).open is is_open


def test_a_wall_time_that_comes_twice_is_open_twice() -> None:
    """On the night the clocks go back, 01:00-01:30 is open in both hours."""
    hours = parse_hours(("Sun 01:00-01:30",))
    times = ("2026-11-01T05:10:00Z", "2026-11-01T05:40:00Z", "2026-11-01T06:10:00Z", "2026-11-01T06:40:00Z")
    assert [opening(hours, parse_instant(at), NEW_YORK).open for at in times] == [True, False, True, False]


def test_opening_says_until_when_it_holds() -> None:
    """Asked at any minute of a week, the answer holds until exactly the instant it names."""
    hours = parse_hours(("Mon-Fri 08:00-12:00", "Mon-Fri 12:00-18:00", "Sat 22:00-02:00"))
    at = parse_instant("2026-10-29T00:00:00Z")
    for _ in range(40):
        now = opening(hours, at, NEW_YORK)
        assert opening(hours, now.until_ns - NS_MINUTE, NEW_YORK).open is now.open
        at = now.until_ns
    assert open_time(hours, parse_instant("2026-11-24T16:00:00Z"), NEW_YORK) == (3 * NS_HOUR, 10 * NS_HOUR)


@pytest.mark.parametrize(
    "text", ["Mon-Fri", "Xyz 08:00-09:00", "Mon 8-9", "Mon 25:00-26:00", "Mon 08:00-08:00", "Mon Tue 08:00-09:00", ""]
)
def test_bad_hours_say_what_is_wanted(text: str) -> None:
    """Hours that mean nothing are an error in words, never silently closed."""
    with pytest.raises(ValueError, match="is "):
        parse_hours((text,))
