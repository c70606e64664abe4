"""How all tests run: Hypothesis with the same examples every run, no verdict on how busy the machine is, and loops."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady",
    deadline=None,  # a slow machine is no failure
    derandomize=True,  # a test that passed passes again; the nightly runs look further
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own loop; modules with `BOTH_LOOPS = True` run on uvloop too, which the daemon uses."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if getattr(getattr(item, "module", None), "BOTH_LOOPS", False):
        loops["uvloop"] = uvloop.new_event_loop
    return loops
