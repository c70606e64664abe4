"""How many examples a property is tried on: few in every run, ten thousand in a nightly one (`make nightly`)."""

from typing import Final

from hypothesis import settings

#: A nightly run tries a property in so many parts, each on examples of its own: workers share them out, and what
#: Hypothesis remembers of each example is let go of with its part.
PARTS: Final = 10


def examples(usual: int) -> settings:
    """So many in a usual run. A nightly run has more as its default, and then each part has its share of that."""
    return settings(max_examples=max(-(-usual // PARTS), settings().max_examples) if nightly() else usual)


def nightly() -> bool:
    """Whether this is a nightly run: `tests/conftest.py` chose its profile by `-m nightly`."""
    return not settings().derandomize
