"""Long work on the loop without leads waiting for it: a little of it, then whatever else is ready, then a little more.

A slice ends with the first step after its time is over, so no step may be long itself (`terms.steps`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from router.clock import Clock
from router.model.times import NS_MS
from router.terms.revive import Asking
from router.terms.steps import Steps

T = TypeVar("T")

#: How long work goes on before everybody else has a turn.
SLICE_NS: Final = 2 * NS_MS


class Slices:
    """The turns that one piece of long work takes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_ns = clock.mono_ns() + SLICE_NS

    async def rest(self) -> None:
        """Let everybody else have a turn, if this one is over."""
        if self._clock.mono_ns() >= self._until_ns:
            await asyncio.sleep(0)
            self._until_ns = self._clock.mono_ns() + SLICE_NS

    async def run(self, steps: Steps[T]) -> T:
        """All the steps; what they make."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            await self.rest()

    async def let_go(self, items: list[Any]) -> None:
        """Empty a list of what nobody else holds: letting go of a million objects at once is long work too."""
        while items:
            items.pop()
            await self.rest()

    async def each(self, items: Iterable[T]) -> AsyncIterator[T]:
        """The items, with rests in between."""
        for item in items:
            yield item
            await self.rest()

    async def ask(self, steps: Asking[T], fetch: Callable[[Sequence[str]], Awaitable[Sequence[bytes]]]) -> T:
        """All the steps, each sent what `fetch` finds for it; what they make."""
        wanted = next(steps)
        while True:
            found = await fetch(wanted) if wanted else ()
            try:
                wanted = steps.send(found)
            except StopIteration as end:
                result: T = end.value
                return result
            await self.rest()
