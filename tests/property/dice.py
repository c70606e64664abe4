"""Many small choices out of few numbers: a draw of its own for each costs Hypothesis more than all that it decides."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

#: Up to so many bits every number is drawn as often as any other.
_MOST: Final = 1 << 24
_NUMBERS: Final = st.integers(0, _MOST - 1)


class Dice:
    """Choices made by Hypothesis' own `draw`. The first option of each is the simplest: failures shrink towards it."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self._draw: Final = draw
        self._number, self._room = 0, 1

    def of(self, *options: T) -> T:
        """One of these; one that stands there twice is chosen twice as often."""
        if self._room < len(options):
            self._number, self._room = self._draw(_NUMBERS), _MOST
        self._room //= len(options)
        self._number, place = divmod(self._number, len(options))
        return options[place]

    def one_in(self, count: int) -> bool:
        """True once in so many times."""
        return self.of(*range(count)) == count - 1

    def some(self, most: int, *options: T, least: int = 0) -> list[T]:
        """Between `least` and `most` of these, any of them more than once."""
        return [self.of(*options) for _ in range(self.of(*range(least, most + 1)))]
