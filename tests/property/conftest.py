"""What properties over random terms share."""

from collections.abc import Iterator

import pytest

from router.terms import geography
from router.terms.coverage import _place_entry
from router.terms.geography import Geography, us
from router.terms.pieces import in_memory
from tests.property.worlds import CODES


@pytest.fixture(scope="module")
def few_codes() -> Iterator[None]:
    """A country of the postal codes around those that worlds name: a board costs time for every code in use.

    All real codes that share three digits with one of them, so that every entry worlds draw names the same codes here,
    and all that a lead can bear. Of the other 41,000 no lead ever comes.
    """
    whole = us()
    starts = {code[:3] for code in CODES}
    few = Geography(place for place in whole if place.code[:3] in starts)
    with pytest.MonkeyPatch.context() as patch:
        for country in (few, whole):
            us.cache_clear()  # and with it what numbers codes in another way
            _place_entry.cache_clear()
            in_memory.clear()
            patch.setattr(geography, "_load", lambda country=country: country)
            us()
            if country is few:
                yield
