"""Things to do at an instant of the wall clock, each under a name: the same name again moves it."""

import asyncio
from collections.abc import Callable
from typing import Final

from router.clock import Clock
from router.model.times import NS_S

#: A timer never sleeps longer; what is not due when it rings is set again by whoever it rings.
_SLEEP_MAX_S: Final = 86_400


class Alarms:
    """Named timers on the running loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def at(self, name: str, at_ns: int, act: Callable[[], None]) -> None:
        """Do something at an instant (or within a day, whichever comes first)."""
        self.drop(name)
        delay_s = min(max(0, at_ns - self._clock.wall_ns()) / NS_S, _SLEEP_MAX_S)

        def due() -> None:
            self._timers.pop(name, None)
            act()

        self._timers[name] = asyncio.get_running_loop().call_later(delay_s + 0.001, due)

    def drop(self, name: str) -> None:
        """It will not happen."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def drop_all(self) -> None:
        """Nothing of it will happen."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
