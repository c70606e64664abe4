"""The one module that reads the clock and makes ids, so that everything else gets time and chance as arguments.

Two clocks, because they fail differently: the wall clock says when something happened and may step; the steady one
only measures how long things take (durations, rates, time-outs). Simulations hand in a clock of their own.
"""

import os
import secrets
import time
from typing import Final, Protocol

_RANDOM_BITS: Final = 74
_RANDOM_MAX: Final = (1 << _RANDOM_BITS) - 1
_LOW_BITS: Final = 62
_LOW_MASK: Final = (1 << _LOW_BITS) - 1
_STEP_BITS: Final = 32
_CHANCE_BYTES: Final = 10
_IDS_AHEAD: Final = 128
_TOKEN_BYTES: Final = 32


def new_token() -> str:
    """A fresh secret token. Its first character is no dash: a shell's `--token -x…` would read as another option."""
    while True:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        if not token.startswith("-"):
            return token


class Clock(Protocol):
    """Where instants and ids come from."""

    def wall_ns(self) -> int:
        """Now, nanoseconds since 1970 UTC; may step when the machine's clock is set."""

    def mono_ns(self) -> int:
        """Nanoseconds on a clock that never steps; only differences mean anything, and only within one process."""

    def new_id(self) -> str:
        """A fresh UUIDv7, greater (as text) than every one made before it."""


class SystemClock:
    """The machine's clocks, and UUIDv7 from its random source."""

    def __init__(self) -> None:
        self._ids = Uuid7Series()
        self._chance = b""  # drawn ahead: a system call for each id would cost more than the id
        self._drawn = 0

    def wall_ns(self) -> int:
        """Now, nanoseconds since 1970 UTC."""
        return time.time_ns()

    def mono_ns(self) -> int:
        """Nanoseconds since some fixed moment; never steps."""
        return time.monotonic_ns()

    def new_id(self) -> str:
        """A fresh UUIDv7, greater (as text) than every one made before it."""
        if self._drawn == len(self._chance):
            self._chance, self._drawn = os.urandom(_CHANCE_BYTES * _IDS_AHEAD), 0
        self._drawn += _CHANCE_BYTES
        return self._ids.next(time.time_ns() // 1_000_000, self._chance[self._drawn - _CHANCE_BYTES : self._drawn])


class Uuid7Series:
    """UUIDv7 text in strictly rising order (RFC 9562, "monotonic random"), whatever the clock does.

    Within a millisecond, and while the clock stands behind an id already made, the random part grows by a random step.
    """

    def __init__(self) -> None:
        self._ms = -1
        self._random = 0

    def next(self, now_ms: int, chance: bytes) -> str:
        """The next id. `now_ms` is milliseconds since 1970 UTC, `chance` ten random bytes."""
        drawn = int.from_bytes(chance)
        if now_ms > self._ms:
            self._ms, self._random = now_ms, drawn & _RANDOM_MAX
        else:
            self._random += 1 + (drawn & ((1 << _STEP_BITS) - 1))
            if self._random > _RANDOM_MAX:
                self._ms, self._random = self._ms + 1, drawn & (_RANDOM_MAX >> 1)
        return _text(self._ms, self._random)


def _text(ms: int, random: int) -> str:
    """48 bits of milliseconds, version 7, 12 random bits, variant 10, 62 random bits."""
    whole = ms << 80 | 7 << 76 | (random >> _LOW_BITS) << 64 | 2 << _LOW_BITS | random & _LOW_MASK
    digits = f"{whole:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
