"""How many examples a property is tried on: few in every run, ten thousand in a nightly one (`make nightly`)."""

from hypothesis import settings


def examples(usual: int) -> settings:
    """So many in a usual run. A nightly run has more as its default, and then it has that."""
    return settings(max_examples=max(usual, settings().max_examples) if nightly() else usual)


def nightly() -> bool:
    """Whether this is a nightly run: `tests/conftest.py` chose its profile by `-m nightly`."""
    return not settings().derandomize
