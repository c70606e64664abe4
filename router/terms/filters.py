"""The filters of the template language: each one small function, made from its argument when terms are loaded.

A filter takes a value that is there and gives a value, or None when it has nothing to give: `map` for a value its
table does not hold, `date` for a text that is no date. None passes through every filter but `default`, so that
`{{state|map:states|default:Other}}` reads as it is meant.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

import phonenumbers

#: What a path can give. Lists (`consent.sellers`) are tuples of texts; None is absent.
Given = str | int | float | bool | tuple[str, ...]
Step = Callable[[Given | None], Given | None]

_TRUNCATE_MAX: Final = 10_000
_INTEGRAL_MAX: Final = 10**15  # beyond it a float no longer holds every whole number
_DIRECTIVES: Final = frozenset("aAbBcdDeFGgHIjmMnpRStTuUVwWxXyYzZf%")
_TRUE: Final = frozenset(("true", "yes", "1"))
_FALSE: Final = frozenset(("false", "no", "0"))
_NANP: Final = re.compile(r"(?:\+?1)?([2-9]\d{2}[2-9]\d{6})", re.ASCII)
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NAME_PART: Final = re.compile(r"[^'’]+")


class ArgumentError(Exception):
    """A filter that cannot be made as written: what is wrong, and the mend."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


class Filter(NamedTuple):
    """One filter: its argument as written after the name, what it can be put on, and how it is made.

    `takes` holds the kinds of value (lead field types, `instant`, `text`) it makes sense for; empty: all of them.
    """

    argument: str  # "" when it takes none
    takes: frozenset[str]
    make: Callable[[str, Mapping[str, Mapping[str, str]]], Step]


def as_text(value: Given) -> str:
    """A value where only text can stand: `true`, `12`, `12.5`; whole floats without `.0`; lists joined by `, `."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _INTEGRAL_MAX:
        return str(int(value))
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


def _of_text(change: Callable[[str], Given | None]) -> Step:
    """A step on the text of a value; what is absent stays absent."""

    def step(value: Given | None) -> Given | None:
        return None if value is None else change(as_text(value))

    return step


def _without_argument(change: Callable[[str], Given | None]) -> Callable[[str, Mapping[str, Mapping[str, str]]], Step]:
    step = _of_text(change)
    return lambda argument, maps: step


# -- text ----------------------------------------------------------------------------------------


def _digits(text: str) -> str:
    return "".join(char for char in text if "0" <= char <= "9")


def _capital(match: re.Match[str]) -> str:
    """One word of a name. Mixed case is meant (`McDonald`); a letter alone after an apostrophe stays small."""
    word = match.group()
    if not (word.islower() or word.isupper()):
        return word
    return _NAME_PART.sub(
        lambda part: part.group().capitalize() if len(part.group()) > 1 or not part.start() else part.group().lower(),
        word,
    )


def title(text: str) -> str:
    """A name as people write it: `ANA O'NEIL-SMITH` -> `Ana O'Neil-Smith`; `McDonald` stays."""
    return _WORD.sub(_capital, text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


# -- phones --------------------------------------------------------------------------------------


def national(text: str) -> str:
    """The digits one dials inside the country: `+15125550147` -> `5125550147`, `+442079460000` -> `02079460000`.

    What is no phone number keeps its digits.
    """
    if match := _NANP.fullmatch(text):
        return match[1]
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return _digits(text)
    return _digits(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))


def e164(text: str) -> str | None:
    """`+15125550147`. Fields of type phone are that already; ten digits in other texts are North American."""
    if text.startswith("+"):
        return f"+{_digits(text)}"
    match = _NANP.fullmatch(_digits(text))
    return f"+1{match[1]}" if match else None


# -- with an argument ----------------------------------------------------------------------------


def _truncate(argument: str, _: Mapping[str, Mapping[str, str]]) -> Step:
    if not (argument.isascii() and argument.isdecimal() and 1 <= int(argument[:9]) <= _TRUNCATE_MAX):
        raise ArgumentError(
            f'truncate:N wants a whole number from 1 to {_TRUNCATE_MAX}, not "{argument}"', "Write it as truncate:50"
        )
    length = int(argument)
    return _of_text(lambda text: text[:length])


def _date(argument: str, _: Mapping[str, Mapping[str, str]]) -> Step:
    letters = re.sub(r"%-?(.)", lambda match: "" if match[1] in _DIRECTIVES else match[0], argument, flags=re.DOTALL)
    if "%" in letters or "%" not in argument:
        wrong = re.search(r"%-?.?", letters)
        what = f'"{wrong[0]}" is no part of a date' if wrong else f'"{argument}" names no part of the date'
        raise ArgumentError(f"date:FORMAT is a strftime format; {what}", "Write it as date:%Y-%m-%d or date:%m/%d/%Y")
    return _of_text(lambda text: _formatted(text, argument))


def _formatted(text: str, pattern: str) -> str | None:
    try:
        moment = date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.strftime(pattern)


def _default(argument: str, _: Mapping[str, Mapping[str, str]]) -> Step:
    return lambda value: argument if value is None else value


def _map(argument: str, maps: Mapping[str, Mapping[str, str]]) -> Step:
    table = maps.get(argument)
    if table is None:
        known = ", ".join(sorted(maps)) or "none"
        raise ArgumentError(
            f'the endpoint has no value table "{argument}" (it has: {known})', f"Add [endpoints.NAME.maps.{argument}]"
        )
    return _of_text(table.get)


def _bool(argument: str, _: Mapping[str, Mapping[str, str]]) -> Step:
    yes, colon, no = argument.partition(":")
    if not colon:
        raise ArgumentError(f'bool wants two texts, not "{argument}"', "Write it as bool:YES:NO, such as bool:Y:N")

    def choose(text: str) -> str | None:
        small = text.lower()
        return yes if small in _TRUE else no if small in _FALSE else None

    return _of_text(choose)


_ANY: Final[frozenset[str]] = frozenset()
_PHONES: Final = frozenset(("phone", "string", "text"))
_DATES: Final = frozenset(("date", "datetime", "instant"))

FILTERS: Final[dict[str, Filter]] = {
    "digits": Filter("", _ANY, _without_argument(_digits)),
    "national": Filter("", _PHONES, _without_argument(national)),
    "e164": Filter("", _PHONES, _without_argument(e164)),
    "upper": Filter("", _ANY, _without_argument(str.upper)),
    "lower": Filter("", _ANY, _without_argument(str.lower)),
    "title": Filter("", _ANY, _without_argument(title)),
    "truncate": Filter("N", _ANY, _truncate),
    "date": Filter("FORMAT", _DATES, _date),
    "default": Filter("TEXT", _ANY, _default),
    "map": Filter("NAME", _ANY, _map),
    "sha256": Filter("", _ANY, _without_argument(_sha256)),
    "bool": Filter("YES:NO", _ANY, _bool),
}
#: Filters that leave the kind of the value as it is; after the others it is plain text.
KEEPS_KIND: Final = frozenset(("default",))
