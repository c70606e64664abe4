"""Easing in: after a pause a contract gets a growing share of its leads instead of all that waited, at once.

Whoever pauses or resumes says over how long (`ramp`). In each tenth of that time the share is a tenth larger, and which
leads make up the share is told by count, as a throttle's: of the leads for which the contract is otherwise eligible the
n-th passes when floor(n*x) > floor((n-1)*x).
"""

from typing import Final

from msgspec import Struct

_MILLION: Final = 1_000_000
STEPS: Final = 10


class Easing(Struct):
    """A contract comes back from a pause, from an instant of the wall clock on. `turns`: leads it was counted for."""

    by: str
    from_ns: int
    over_ns: int
    turns: int = 0

    @property
    def until_ns(self) -> int:
        """From when on it gets everything again."""
        return self.from_ns + self.over_ns

    def step(self, at_ns: int) -> int | None:
        """Which tenth of the time it is in, from 0; None before it begins and when it is over."""
        if not self.from_ns <= at_ns < self.until_ns:
            return None
        return (at_ns - self.from_ns) * STEPS // self.over_ns


def share_ppm(step: int) -> int:
    """The share of leads that passes in a step, parts per million."""
    return (step + 1) * _MILLION // STEPS


def lets_pass(share: int, turns: int) -> bool:
    """Whether a share (parts per million) lets the next lead pass after so many were counted."""
    return (turns + 1) * share // _MILLION > turns * share // _MILLION
