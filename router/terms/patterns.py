"""Patterns that operators write, judged when terms are loaded: they must compile, and they must not be able to explode.

Python's `re` backtracks. A repeat inside a repeat (`(a+)+`), or a choice inside one (`(a|ab)*`), can take exponential
time on an answer a hostile buyer makes up, and it would stop the whole process. So the shape of a pattern is looked at,
not its luck: what could explode is refused. For the rest the shape bounds the steps a text of n characters can cost,
`ways * n ** degree`, and from that follows how much text the pattern is shown.
"""

import re
from functools import lru_cache
from re import _parser as parser  # type: ignore[attr-defined]  # the only exact reading of a pattern
from typing import Any, Final, NamedTuple

#: A repeat of at most this many rounds is as good as spelled out; beyond it counts as open-ended.
_SPELLED_OUT_MAX: Final = 16
_STEPS_MAX: Final = 2_000_000
_SHOWN_MAX: Final = 65_536
_SHOWN_MIN: Final = 120
_PATTERN_MAX: Final = 1_000


class PatternError(ValueError):
    """A pattern that cannot be used, in words for the operator."""


class Pattern(NamedTuple):
    """A pattern that cannot run away on texts of at most `shown` characters."""

    regex: re.Pattern[str]
    shown: int

    def search(self, text: str) -> bool:
        """Whether it occurs in the first `shown` characters of the text; `^` and `$` anchor it."""
        return self.regex.search(text[: self.shown]) is not None


class _Cost(NamedTuple):
    """`degree`: open repeats that can stand against each other; `ways`: choices that do not depend on the length."""

    degree: int
    ways: int


_ONE: Final = _Cost(0, 1)


@lru_cache(maxsize=1024)
def compile_pattern(text: str) -> Pattern:
    """A pattern in Python's syntax. Raises PatternError when it does not compile or could run away."""
    if len(text) > _PATTERN_MAX:
        raise PatternError(f"the pattern is longer than {_PATTERN_MAX} characters")
    try:
        regex = re.compile(text)
        tree = parser.parse(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"the pattern does not compile: {error}") from None
    cost = _sequence(tree)
    degree = max(1, cost.degree + (not _anchored(tree, regex.flags)))
    shown = min(_SHOWN_MAX, int((_STEPS_MAX / cost.ways) ** (1 / degree)))
    if shown < _SHOWN_MIN:
        raise PatternError("the pattern holds too many repeats or choices in a row, and could run very long")
    return Pattern(regex, shown)


def _anchored(tree: Any, flags: int) -> bool:
    """Whether a search can only begin where the text begins."""
    if not tree or str(tree[0][0]) != "AT":
        return False
    where = str(tree[0][1])
    return where == "AT_BEGINNING_STRING" or (where == "AT_BEGINNING" and not flags & re.MULTILINE)


def _sequence(items: Any) -> _Cost:
    degree, ways = 0, 1
    for op, argument in items:
        cost = _item(str(op), argument)
        degree, ways = degree + cost.degree, min(ways * cost.ways, _STEPS_MAX)
    return _Cost(degree, ways)


def _item(op: str, argument: Any) -> _Cost:
    match op:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT":
            return _ONE
        case "SUBPATTERN" | "ASSERT" | "ASSERT_NOT":
            return _sequence(argument[-1])
        case "ATOMIC_GROUP":
            return _sequence(argument)
        case "BRANCH":
            costs = [_sequence(choice) for choice in argument[1]]
            return _Cost(max(cost.degree for cost in costs), sum(cost.ways for cost in costs))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _repeat(*argument)
        case "GROUPREF":
            return _Cost(1, 1)
    raise PatternError(f"the pattern uses a construct that is not supported here ({op.lower()})")


def _repeat(low: int, high: int, inner: Any) -> _Cost:
    cost = _sequence(inner)
    if high > _SPELLED_OUT_MAX:
        if cost != _ONE:
            raise PatternError(
                "the pattern repeats something that itself repeats or chooses, and could run without end"
            )
        return _Cost(1, 1)
    return _Cost(cost.degree * high, min(int(cost.ways) ** high * (high - low + 1), _STEPS_MAX))
