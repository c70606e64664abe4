"""How all tests run: Hypothesis with the same examples every run, no verdict on how busy the machine is, and loops."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, is_hypothesis_test, settings

from tests.examples import PARTS, nightly

PROPERTIES = Path(__file__).parent / "property"

settings.register_profile(
    "steady",
    deadline=None,  # a slow machine is no failure
    derandomize=True,  # a test that passed passes again; the nightly runs look further
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.register_profile(
    "nightly",
    settings.get_profile("steady"),
    derandomize=False,  # other examples every night
    max_examples=-(-int(os.environ.get("EXAMPLES", "10000")) // PARTS),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining a failure traces every line of every example
    print_blob=True,  # what failed can be run again by @reproduce_failure
)


def pytest_configure(config: pytest.Config) -> None:
    """`-m nightly` chooses the nightly profile, before any test module is read."""
    settings.load_profile("nightly" if config.option.markexpr == "nightly" else "steady")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a nightly run the properties take part, with the profile's number of examples."""
    if nightly():
        for item in items:
            if item.path.is_relative_to(PROPERTIES):
                item.add_marker("nightly")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In a nightly run a property is tried in parts."""
    drawn = is_hypothesis_test(metafunc.function) or metafunc.definition.get_closest_marker("hypothesis")
    if nightly() and drawn and metafunc.definition.path.is_relative_to(PROPERTIES):
        metafunc.fixturenames.append("part")
        metafunc.parametrize("part", range(1, PARTS + 1))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own loop; modules with `BOTH_LOOPS = True` run on uvloop too, which the daemon uses."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if getattr(getattr(item, "module", None), "BOTH_LOOPS", False):
        loops["uvloop"] = uvloop.new_event_loop
    return loops
