"""Ids are UUIDv7 and rise strictly, whatever the wall clock does."""

import uuid

import pytest

from router.clock import SystemClock, Uuid7Series, new_token


def test_ids_are_uuid_version_7_and_rise() -> None:
    """Ten thousand ids in a row: right version and variant, time of now, sorted as text, all different."""
    clock = SystemClock()
    before_ms = clock.wall_ns() // 1_000_000
    ids = [clock.new_id() for _ in range(10_000)]
    first = uuid.UUID(ids[0])
    assert first.version == 7
    assert first.variant == uuid.RFC_4122
    assert before_ms <= first.int >> 80 <= clock.wall_ns() // 1_000_000
    assert ids == sorted(set(ids))


def test_a_clock_that_steps_back_does_not_turn_the_order() -> None:
    """After the clock steps back ids go on rising from the last one."""
    series = Uuid7Series()
    later = series.next(1_700_000_000_000, b"\x80" * 10)
    earlier = series.next(1_600_000_000_000, b"\x00" * 10)
    assert earlier > later


def test_a_full_random_part_moves_to_the_next_millisecond() -> None:
    """When the random part would overflow, the id borrows a millisecond instead of wrapping round."""
    series = Uuid7Series()
    full = series.next(5, b"\xff" * 10)
    after = series.next(5, b"\xff" * 10)
    assert after > full
    assert uuid.UUID(after).int >> 80 == 6


def test_the_steady_clock_never_steps_back() -> None:
    """Two readings are in order."""
    clock = SystemClock()
    assert clock.mono_ns() <= clock.mono_ns()


def test_a_token_never_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that would start with a dash is drawn again: `--token -x` is no value to a command line."""
    drawn = iter(["-first", "-second", "third"])
    monkeypatch.setattr("router.clock.secrets.token_urlsafe", lambda _: next(drawn))
    assert new_token() == "third"
