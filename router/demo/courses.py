"""How a buyer's temper changes while it is watched: after so many requests, for a while, at a postal code. Pure.

A rehearsal is a buyer that works, fails, and works again. Its URL says so:
`/buyer/accept/crm?after=20&then=unavailable&for=60s` takes twenty requests, is unavailable for a minute, and then takes
them again; `?at=787*:reject` declines leads from there.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from router.demo.tempers import TEMPERS
from router.model.times import parse_duration

#: The words of a buyer's URL that are ours; every other one is taken for a field of the lead.
WORDS: Final = ("voice", "price", "after", "then", "for", "at")


class While(Struct, frozen=True):
    """How long another temper lasts: so many requests, or so many nanoseconds from the first one; neither: always."""

    requests: int | None = None
    ns: int | None = None


class Course(Struct, frozen=True, kw_only=True):
    """What a buyer's URL says about its temper."""

    temper: str
    then: str | None = None
    after: int = 0
    lasts: While = While()
    at: tuple[tuple[str, str], ...] = ()  # (postal code, or its beginning and `*`; temper), the first that fits


class Turned(Struct, frozen=True):
    """Since when a buyer has its other temper: the number of the request, and nanoseconds on a steady clock."""

    turn: int
    at_ns: int


def course_of(temper: str, words: Iterable[tuple[str, str]]) -> Course:
    """Read the course from a path and a query. Raises ValueError that says what is wrong and what is right."""
    given: dict[str, str] = {}
    places: list[tuple[str, str]] = []
    for word, text in words:
        if word == "at":
            code, _, other = text.partition(":")
            places.append((code, known_temper(other)))
        elif word in WORDS:
            given[word] = text
    then = known_temper(given["then"]) if "then" in given else None
    if then is None and ("after" in given or "for" in given):
        raise ValueError("`after` and `for` need `then=TEMPER`: what it turns into")
    return Course(
        temper=known_temper(temper),
        then=then,
        after=_count("after", given.get("after", "0")),
        lasts=while_of(given.get("for", "")),
        at=tuple(places),
    )


def known_temper(temper: str) -> str:
    """A temper there is. Raises ValueError with the list of them."""
    if temper not in TEMPERS:
        raise ValueError(f"no such temper; one of: {', '.join(TEMPERS)}")
    return temper


def while_of(text: str) -> While:
    """`20` requests, `60s`; nothing is for ever. Raises ValueError."""
    if not text:
        return While()
    if text.isascii() and text.isdigit():
        return While(requests=int(text))
    try:
        return While(ns=int(parse_duration(text)))
    except ValueError:
        raise ValueError("`for` is a number of requests or a duration such as 60s") from None


def _count(word: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"`{word}` is a number of requests")
    return int(text)


def begins(course: Course, turn: int, now_ns: int) -> Turned | None:
    """From this request on the buyer has its other temper, unless it had it before."""
    return Turned(turn, now_ns) if course.then is not None and turn >= course.after else None


def lasts(span: While, since: Turned, turn: int, now_ns: int) -> bool:
    """Whether a temper taken on then still holds."""
    if span.requests is not None:
        return turn < since.turn + span.requests
    return span.ns is None or now_ns < since.at_ns + span.ns


def temper_now(course: Course, turned: Turned | None, *, postal_code: str, turn: int, now_ns: int) -> str:
    """The temper this request meets: that of its postal code, else the present one."""
    for code, temper in course.at:
        if postal_code == code or (code.endswith("*") and postal_code.startswith(code[:-1])):
            return temper
    if course.then is not None and turned is not None and lasts(course.lasts, turned, turn, now_ns):
        return course.then
    return course.temper
