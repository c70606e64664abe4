"""Virtual time: an event loop whose clock jumps to the next timer when nothing else is to do, and a clock reading it.

Days pass in milliseconds, and a run depends on nothing but its inputs. A loop with neither work nor timers has hung:
that is an error, never a wait.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from router.clock import Uuid7Series
from tests import factory

T = TypeVar("T")
_THREAD_S = 10


class _JumpingSelector(selectors.SelectSelector):
    """Where the loop would sleep, the clock jumps instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Let the time asked for pass at once."""
        ready = super().select(0)
        if not ready:
            if timeout is not None:
                self.now_s += max(timeout, 0)
            elif not (ready := super().select(_THREAD_S)):  # compiling terms happens on a thread
                raise RuntimeError("the simulation hangs: nothing is ready and no timer is set")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, seconds since its start."""

    def __init__(self) -> None:
        self.jumps = _JumpingSelector()
        super().__init__(self.jumps)

    def time(self) -> float:
        """Virtual seconds."""
        return self.jumps.now_s


class VirtualClock:
    """The loop's time as a wall clock from noon on (which `step` may set), and ids that count."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._shift_ns = factory.NOON
        self._ids = Uuid7Series()
        self._made = 0

    def step(self, by_ns: int) -> None:
        """Somebody sets the wall clock."""
        self._shift_ns += by_ns

    def wall_ns(self) -> int:
        """The wall clock."""
        return self._shift_ns + round(self._loop.time() * 1e9)

    def mono_ns(self) -> int:
        """The steady clock."""
        return round(self._loop.time() * 1e9)

    def new_id(self) -> str:
        """A UUIDv7 that depends on how many were made before it."""
        self._made += 1
        return self._ids.next(self.wall_ns() // 1_000_000, self._made.to_bytes(10))


def run(story: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run a story on a virtual loop to its end and close the loop."""
    try:
        return loop.run_until_complete(story)
    finally:
        loop.close()
