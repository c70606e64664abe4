"""Long work in small steps."""

import random
import sys
from collections.abc import Generator
from types import FrameType
from typing import Any

from msgspec.structs import replace

from router.terms.checks.certified import judging_certified
from router.terms.compile import compile_book, compiling
from router.terms.revive import gathering, written
from router.terms.steps import LOOKS, at_once, each, emptying, in_order
from tests import factory


def test_sorting_in_steps_is_sorting() -> None:
    """Stable, by key, whatever the length; and no step is about more than a few thousand items."""
    chance = random.Random(7)
    for size in (0, 1, 2047, 2048, 10_000):
        items = [(chance.randrange(50), number) for number in range(size)]
        steps = in_order(items, lambda item: item[0])
        assert at_once(steps) == sorted(items, key=lambda item: item[0])
    assert sum(1 for _ in in_order(list(range(100_000)), int)) >= 90


def test_each_takes_everything_in_order() -> None:
    """A few hundred to a step."""
    taken: list[int] = []
    assert sum(1 for _ in each(range(100 * LOOKS), taken.append)) == 100
    assert taken == list(range(100 * LOOKS))


def test_a_dict_is_emptied_in_steps() -> None:
    """A few hundred at a time, to the last."""
    held: dict[int, None] = dict.fromkeys(range(10 * LOOKS + 1))
    assert sum(1 for _ in emptying(held)) == 11
    assert not held


def test_a_contract_is_a_step() -> None:
    """Compiling yields at least once a contract, so that nobody waits for more than one; unchanged ones are looks."""
    buyers = [
        factory.buyer(f"b{number}", *(factory.contract(f"c{number}-{each}") for each in range(3)))
        for number in range(40)
    ]
    terms = factory.terms(*buyers)
    assert sum(1 for _ in compiling(terms)) >= 120
    before = at_once(compiling(terms))
    edited = factory.terms(*buyers[:-1], factory.buyer("b39", factory.contract("c39-0", price="9.00")))
    same = before.terms.buyers | {"b39": edited.buyers["b39"]}
    terms_after = type(terms)(
        router=terms.router, lead_types=terms.lead_types, sources=terms.sources, buyers=same, lists={}, places={}
    )
    assert sum(1 for _ in compiling(terms_after, before)) < 40


class Lines:
    """Counts the lines of Python that run, whatever function they stand in."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: FrameType, event: str, _arg: object) -> "Lines":
        """As `sys.settrace` calls it."""
        self.count += event == "line"
        return self

    def longest(self, steps: Generator[Any, Any, Any], pieces: dict[str, bytes] | None = None) -> int:
        """The lines of the longest step; those that ask are sent the pieces they ask for."""
        longest, sent = 0, None
        while True:
            self.count = 0
            sys.settrace(self)
            try:
                asked = steps.send(sent)
            except StopIteration:
                return max(longest, self.count)
            finally:
                sys.settrace(None)
            longest = max(longest, self.count)
            sent = None if pieces is None else [pieces[address] for address in asked]


def test_no_step_of_a_reload_looks_at_everything() -> None:
    """A thousand buyers, unchanged, one edited, all edited: a step is a few hundred looks, or a buyer made anew."""

    def tree(number: int, price: str) -> dict[str, Any]:
        return factory.buyer(f"b{number}", factory.contract(f"c{number}", price=price))

    terms = factory.terms(*(tree(number, "10.00") for number in range(1000)))
    dearer = factory.terms(*(tree(number, "11.00") for number in range(1000)))
    edited = replace(terms, buyers=terms.buyers | {"b7": dearer.buyers["b7"]})
    before = compile_book(terms)
    for changed in (terms, edited, dearer):
        after = compile_book(changed, before)
        pieces = dict(written(after))
        assert Lines().longest(compiling(changed, before)) < 8000
        assert Lines().longest(gathering(after.version, before, {}), pieces) < 8000
    assert Lines().longest(judging_certified(terms, {})) < 8000
