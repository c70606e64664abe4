"""Long work in small steps."""

import random

from router.terms.compile import compiling
from router.terms.steps import at_once, each, in_order
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
    """A thousand to a step."""
    taken: list[int] = []
    assert sum(1 for _ in each(range(10_000), taken.append)) == 10
    assert taken == list(range(10_000))


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
