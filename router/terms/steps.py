"""Long work in small steps: a generator that yields after each piece of it, and returns what it made.

Whoever drives one decides what happens in between: a command runs it through, the daemon lets leads go first after
every couple of milliseconds (`engine.slices`). A step is a fraction of a millisecond: one contract, one index page.
"""

from collections.abc import Callable, Generator, Iterable
from heapq import merge
from typing import Any, Final, TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
_RUN: Final = 512
#: So much of what costs a microsecond or two makes a step.
LOOKS: Final = 256


def at_once(steps: Steps[T]) -> T:
    """Run all steps without a break."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def each(items: Iterable[T], take: Callable[[T], object]) -> Steps[None]:
    """Hand over one item after another, many to a step: for what costs a microsecond or two each."""
    for place, item in enumerate(items):
        take(item)
        if not place % LOOKS:
            yield


def emptying(held: dict[Any, Any]) -> Steps[None]:
    """Let go of what a dict holds: all of a large one at once would be a long step."""
    while held:
        for _ in range(min(LOOKS, len(held))):
            held.popitem()
        yield


def in_order(items: Iterable[T], key: Callable[[T], Any]) -> Steps[list[T]]:
    """`sorted(items, key=key)`, which for a hundred thousand of them is no small step."""
    runs: list[list[T]] = []
    waiting = list(items)
    for start in range(0, len(waiting), _RUN):
        runs.append(sorted(waiting[start : start + _RUN], key=key))
        yield
    if len(runs) < 2:
        return runs[0] if runs else []
    ordered: list[T] = []
    for place, item in enumerate(merge(*runs, key=key)):
        ordered.append(item)
        if not place % _RUN:
            yield
    return ordered
