"""A text that a pattern matches, for made-up leads: the shortest it can be, letters and digits where there is a choice.

Look-arounds and references to groups are passed over; whether the text really matches is for the caller to see.
"""

import re
from re import _parser as parser  # type: ignore[attr-defined]  # the only exact reading of a pattern
from typing import Any, Final

#: Tried in this order where a pattern leaves a choice.
_LIKED: Final = "a0A1bB-_ .@/" + "".join(map(chr, range(33, 127)))


def text_for(pattern: str) -> str | None:
    """A text that probably matches the whole of the pattern; None when it cannot be read."""
    try:
        return _sequence(parser.parse(pattern))
    except (re.error, OverflowError, RecursionError, StopIteration):
        return None


def _sequence(items: Any) -> str:
    return "".join(_item(str(op), argument) for op, argument in items)


def _item(op: str, argument: Any) -> str:
    match op:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return next(char for char in _LIKED if char != chr(argument))
        case "ANY":
            return "a"
        case "IN":
            return _one_of(argument)
        case "SUBPATTERN" | "ATOMIC_GROUP":
            return _sequence(argument[-1] if op == "SUBPATTERN" else argument)
        case "BRANCH":
            return _sequence(argument[1][0])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, high, inner = argument
            return _sequence(inner) * (max(low, 1) if high else 0)
    return ""


def _one_of(choices: Any) -> str:
    """The most liked character of a set."""
    negated = bool(choices) and str(choices[0][0]) == "NEGATE"
    return next(char for char in _LIKED if any(_is_in(char, one) for one in choices) != negated)


def _is_in(char: str, choice: Any) -> bool:
    op, argument = str(choice[0]), choice[1]
    if op == "LITERAL":
        return char == chr(argument)
    if op == "RANGE":
        return bool(argument[0] <= ord(char) <= argument[1])
    if op == "CATEGORY":
        return re.fullmatch(_CATEGORIES[str(argument)], char) is not None
    return False


_CATEGORIES: Final = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
