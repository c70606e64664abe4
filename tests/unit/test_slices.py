"""Turns on the loop: a little work, then whoever else is ready."""

import asyncio
from itertools import pairwise

from router.engine.slices import SLICE_NS, Slices
from router.terms.steps import Steps


class Watched:
    """A clock on which every step takes a quarter of a slice."""

    def __init__(self) -> None:
        self.now_ns = 0

    def mono_ns(self) -> int:
        """The steady clock."""
        return self.now_ns

    def wall_ns(self) -> int:
        """Nobody asks."""
        raise AssertionError

    def new_id(self) -> str:
        """Nobody asks."""
        raise AssertionError


async def test_others_have_their_turn_after_every_slice() -> None:
    """Forty steps of a quarter slice each: between any two turns of another task lie four of them, never more."""
    clock, done, seen = Watched(), [0], [0]

    def work() -> Steps[str]:
        for _ in range(40):
            clock.now_ns += SLICE_NS // 4
            done[0] += 1
            yield
        return "made"

    async def others() -> None:
        while done[0] < 40:
            seen.append(done[0])
            await asyncio.sleep(0)

    other = asyncio.ensure_future(others())
    assert await Slices(clock).run(work()) == "made"
    await other
    assert max(later - sooner for sooner, later in pairwise(seen)) == 4


async def test_asking_is_answered_in_order() -> None:
    """Work that asks for pieces is sent them; where it asks for none, it is a step like any other."""
    asked: list[str] = []

    def work():  # type: ignore[no-untyped-def]
        (first,) = yield ("a",)
        assert (yield ()) == ()
        second, third = yield ("b", "c")
        return first + second + third

    async def fetch(names):  # type: ignore[no-untyped-def]
        asked.extend(names)
        return [name.encode() for name in names]

    assert await Slices(Watched()).ask(work(), fetch) == b"abc"
    assert asked == ["a", "b", "c"]


async def test_what_is_let_go_is_let_go_a_little_at_a_time() -> None:
    """Forty things that take a quarter of a slice each to forget: nobody waits for more than four of them."""
    clock, seen, gone = Watched(), [0], [0]

    class Heavy:
        def __del__(self) -> None:
            clock.now_ns += SLICE_NS // 4
            gone[0] += 1

    async def others() -> None:
        while gone[0] < 40:
            seen.append(gone[0])
            await asyncio.sleep(0)

    held: list[object] = [Heavy() for _ in range(40)]
    other = asyncio.ensure_future(others())
    await Slices(clock).let_go(held)
    await other
    assert not held
    assert max(later - sooner for sooner, later in pairwise(seen)) == 4
