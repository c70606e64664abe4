"""A buyer's territory list as it really comes -> coverage terms, and a report of every line.

What is written plainly is taken; what is nearly plain is taken as the one thing it can be and reported as a guess; what
could be two things, or none, is not taken and reported as unread. Nothing is left out without a word.

    columns    which column holds what, by its name or, without names, by what stands in it
    wording    text -> pieces: codes, ranges, masks, circles, words, "except"
    places     words -> a state, county or city
    sentence   the pieces of a line -> what it covers and what it leaves out
    reading    rows -> `Territory`, with its report
    writing    `Territory` -> a list of postal codes and the TOML that names it
"""

from router.model.sheet import UnreadableSheet
from router.onboarding.territory.reading import Territory, read_territory

__all__ = ["Territory", "UnreadableSheet", "read_territory"]
