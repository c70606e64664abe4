"""Postal codes as text: their canonical form, and the entries operators write (a code, a range, a prefix).

Judged by format alone; whether a code is in use is `geography`'s business. US `78701`; CA `M5V 3L9`;
GB `SW1A 1AA`. An entry without inward part, `M5V` or `SW1A`, covers that area or outcode exactly: it is the prefix
with its space, so that `SW1` never takes in `SW1A`. With `*` the characters count as they stand.

A code that is nearly right is never guessed at: the error says what to write instead.
"""

import re
import string
from collections.abc import Callable
from sys import intern
from typing import Final, NamedTuple

COUNTRIES: Final = ("US", "CA", "GB")

_Slots = tuple[str, ...]  # the characters allowed at each position

_DIGITS: Final = string.digits
_CA_FIRST: Final = "ABCEGHJKLMNPRSTVXY"
_CA_LETTER: Final = "ABCEGHJKLMNPRSTVWXYZ"
_GB_1: Final = "ABCDEFGHIJKLMNOPRSTUWYZ"
_GB_2: Final = "ABCDEFGHKLMNOPQRSTUVWXY"
_GB_3: Final = "ABCDEFGHJKMNPRSTUVWXY"  # today's letters, and those of central London until 2000
_GB_4: Final = "ABEHMNPRVWXY"
_GB_UNIT: Final = "ABDEFGHJLNPQRSTUWXYZ"
_GB_INWARD: Final[_Slots] = (_DIGITS, _GB_UNIT, _GB_UNIT)

#: Every form a code can take: its outward and its inward part.
_FORMS: Final[dict[str, tuple[tuple[_Slots, _Slots], ...]]] = {
    "CA": (((_CA_FIRST, _DIGITS, _CA_LETTER), (_DIGITS, _CA_LETTER, _DIGITS)),),
    "GB": (
        ((_GB_1, _DIGITS), _GB_INWARD),
        ((_GB_1, _DIGITS, _DIGITS), _GB_INWARD),
        ((_GB_1, _GB_2, _DIGITS), _GB_INWARD),
        ((_GB_1, _GB_2, _DIGITS, _DIGITS), _GB_INWARD),
        ((_GB_1, _DIGITS, _GB_3), _GB_INWARD),
        ((_GB_1, _GB_2, _DIGITS, _GB_4), _GB_INWARD),
        (("G", "I", "R"), ("0", "A", "A")),
    ),
}
_EXAMPLES: Final = {
    "US": '"78701", "78702-78705" or "787*"',
    "CA": '"M5V 3L9", "M5V" or "M5*"',
    "GB": '"SW1A 1AA", "SW1A" or "SW1*"',
}


def _alternatives(forms: list[_Slots]) -> str:
    return "|".join("".join(f"[{slot}]" for slot in form) for form in forms)


#: Over text without spaces: group 1 is the outward, group 2 the inward part (absent for an area or outcode).
_CODE: Final = {
    country: re.compile(
        "|".join(f"(?:{_alternatives([out])})(?:{_alternatives([inward])})" for out, inward in forms), re.ASCII
    )
    for country, forms in _FORMS.items()
}
_OUTWARD: Final = {
    country: re.compile(_alternatives([out for out, _ in forms]), re.ASCII) for country, forms in _FORMS.items()
}
_INWARD_LENGTH: Final = 3

_ZIP_PLUS_4: Final = re.compile(r"(\d{5})-\d{4}", re.ASCII)
_US_PREFIX: Final = re.compile(r"(\d{1,5})\*", re.ASCII)
_US_RANGE: Final = re.compile(r"(\d{5})\s*-\s*(\d{5})", re.ASCII)
_US_DIGITS: Final = 5


class EntryError(ValueError):
    """An entry that cannot be understood: what is wrong, and what to write instead."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message: Final = message
        self.mend: Final = mend


class Parsed(NamedTuple):
    """What an entry stands for: exact codes and prefixes, both in canonical form and ascending order."""

    codes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


def canonical_postal_code(text: str, country: str) -> str | None:
    """A whole postal code in its canonical form, judged by format alone; None when it is not one.

    `country` is `US`, `CA` or `GB`; of any other country no code is known, so None. `"78701-1234"` -> `"78701"`;
    `"m5v3l9"` -> `"M5V 3L9"`. Four digits are not padded and masked codes (`787XX`) are not codes.
    """
    if country == "US":
        code = text.strip()
        if len(code) != _US_DIGITS:
            plus_4 = _ZIP_PLUS_4.fullmatch(code)
            return plus_4[1] if plus_4 else None
        return code if code.isascii() and code.isdigit() else None
    pattern = _CODE.get(country)
    if pattern is None:
        return None
    squeezed = "".join(text.split()).upper()
    return _spaced(squeezed) if pattern.fullmatch(squeezed) else None


def country_of_code(text: str, assumed: str) -> str:
    """The one country whose codes look like this; the assumed one where that fits or none does."""
    for country in (assumed, *COUNTRIES):
        if canonical_postal_code(text, country) is not None:
            return country
    return assumed


def parse_entry(text: str, country: str) -> Parsed:
    """One coverage entry: a code, an inclusive range (US), a prefix with `*`, an outcode or FSA.

    Raises EntryError with the mend. `country` is one of COUNTRIES.
    """
    return _parse_us(text.strip()) if country == "US" else _parse_spaced(text, country)


def decompose(first: str, last: str) -> Parsed:
    """The fewest exact codes and prefixes that are exactly the five-digit codes from `first` to `last`, inclusive."""
    low, high = int(first), int(last)
    codes: list[str] = []
    prefixes: list[str] = []
    while low <= high:
        wild = 0
        while wild < _US_DIGITS - 1 and low % 10 ** (wild + 1) == 0 and low + 10 ** (wild + 1) - 1 <= high:
            wild += 1
        text = intern(f"{low:05d}"[: _US_DIGITS - wild])
        (prefixes if wild else codes).append(text)
        low += 10**wild
    return Parsed(tuple(codes), tuple(prefixes))


def _spaced(squeezed: str) -> str:
    return intern(f"{squeezed[:-_INWARD_LENGTH]} {squeezed[-_INWARD_LENGTH:]}")


def _parse_us(text: str) -> Parsed:
    if len(text) == _US_DIGITS and text.isascii() and text.isdigit():
        return Parsed((intern(text),))
    if match := _US_PREFIX.fullmatch(text):
        digits = intern(match[1])
        return Parsed((digits,)) if len(digits) == _US_DIGITS else Parsed((), (digits,))
    if match := _US_RANGE.fullmatch(text):
        first, last = match.groups()
        if first > last:
            raise EntryError(f"the range {first}-{last} runs backwards", f'write "{last}-{first}"')
        return decompose(first, last)
    raise _us_complaint(text)


def _parse_spaced(text: str, country: str) -> Parsed:
    written = " ".join(text.split()).upper()
    squeezed = written.replace(" ", "")
    if written.endswith("*"):
        return _parse_spaced_prefix(text.strip().upper()[:-1], country)
    if _CODE[country].fullmatch(squeezed):
        return Parsed((_spaced(squeezed),))
    if _OUTWARD[country].fullmatch(squeezed):
        return Parsed((), (intern(f"{squeezed} "),))
    raise _spaced_complaint(written, country)


def _parse_spaced_prefix(start: str, country: str) -> Parsed:
    prefix = " ".join(start.split()) + " " * start[-1:].isspace()
    squeezed = prefix.replace(" ", "")
    if _CODE[country].fullmatch(squeezed):
        return Parsed((_spaced(squeezed),))
    if not squeezed or "*" in squeezed:
        raise EntryError(f"{_quoted(start + '*')} is not a prefix", _mend_form(country))
    if _begins_code(prefix, country):
        return Parsed((), (intern(prefix),))
    for at in range(2, len(squeezed)):
        spaced = f"{squeezed[:at]} {squeezed[at:]}"
        if _begins_code(spaced, country):
            raise EntryError(f"no code starts with {_quoted(prefix)}", f'write "{spaced}*", with its space')
    raise EntryError(f"no code of {country} starts with {_quoted(prefix)}", _mend_form(country))


def _begins_code(prefix: str, country: str) -> bool:
    """Whether some code of the country starts with these characters."""
    for outward, inward in _FORMS[country]:
        slots = (*outward, " ", *inward)
        if len(prefix) <= len(slots) and all(character in slot for character, slot in zip(prefix, slots, strict=False)):
            return True
    return False


# -- what to write instead ----------------------------------------------------------------------------


def _quoted(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.strip())
    return f'"{shown[:37]}..."' if len(shown) > 40 else f'"{shown}"'


def _mend_form(country: str) -> str:
    return f"write {_EXAMPLES[country]}"


def _write(entry: str) -> str:
    return f'write "{entry}"'


def _lost_zeros(match: re.Match[str]) -> tuple[str, str]:
    digits = match[1]
    prefix = f', or "{digits}*" for every code that starts so' if len(digits) < _US_DIGITS - 1 else ""
    return f"has {len(digits)} digits: a leading zero was lost", _write(digits.zfill(_US_DIGITS)) + prefix


def _short_range(match: re.Match[str]) -> tuple[str, str]:
    first, end = match.groups()
    return "is not a range: both ends have five digits", _write(f"{first}-{first[: -len(end)]}{end}")


def _look_alikes(match: re.Match[str]) -> tuple[str, str]:
    return "has a letter where a digit belongs", _write(match[0].upper().translate(str.maketrans("OQILS", "00115")))


_Complaint = tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[str, str]]]

#: Tried in order on a US entry that is not one.
_US_COMPLAINTS: Final[tuple[_Complaint, ...]] = (
    (re.compile(r""), lambda _: ("is empty", "take the entry out")),
    (re.compile(r"\*+"), lambda _: ("is every code", "write everywhere = true instead")),
    (re.compile(r"(\d{1,4})", re.ASCII), _lost_zeros),
    (re.compile(r"(\d{5})-\d{4}|(\d{5})\d{4}", re.ASCII), lambda m: ("is a ZIP+4", _write(m[1] or m[2]))),
    (re.compile(r"(\d{5})\s*-\s*(\d{1,4})", re.ASCII), _short_range),
    (
        re.compile(
            r"(\d{5})\s*(?:[\u2010-\u2015\u2212]|-{2,}|\.{2,3}|to|thru|through)\s*(\d{5})", re.ASCII | re.IGNORECASE
        ),
        lambda m: ("is not written as a range", _write(f"{m[1]}-{m[2]}")),
    ),
    (
        re.compile(r"(\d{1,4})(?:[xX]+|[?_%#.]+|\*{2,})", re.ASCII),
        lambda m: ("is a masked code", _write(f"{m[1]}*")),
    ),
    (
        re.compile(r"\d+(?:\.\d+)?[eE]\+?\d+", re.ASCII),
        lambda _: ("was turned into a number by a spreadsheet", "take the codes from the original, as text"),
    ),
    (re.compile(r"(\d{1,5})\.0+", re.ASCII), lambda m: ("is a number", _write(m[1].zfill(_US_DIGITS)))),
    (re.compile(r"(?=.*\d.*\d)[\dOoQqIiLlSs]{5}", re.ASCII), _look_alikes),
    (
        re.compile(r"[\d*-]+(?:\s*[,;/&|+]\s*|\s+)[\d*\s,;/&|+-]+", re.ASCII),
        lambda _: ("holds several codes", "write one entry for each"),
    ),
    (
        re.compile(r"[A-Za-z][A-Za-z .'-]*,?[A-Za-z .'-]*", re.ASCII),
        lambda _: ("is a name, not a postal code", "put it under states, counties or cities"),
    ),
)


def _us_complaint(text: str) -> EntryError:
    for pattern, say in _US_COMPLAINTS:
        if match := pattern.fullmatch(text):
            what, mend = say(match)
            return EntryError(f"{_quoted(text)} {what}", mend)
    for country in ("CA", "GB"):
        if canonical_postal_code(text, country):
            return EntryError(f"{_quoted(text)} is a code of {country}, not of US", f'set country = "{country}"')
    return EntryError(f"{_quoted(text)} is not a US postal code, range or prefix", _mend_form("US"))


def _spaced_complaint(text: str, country: str) -> EntryError:
    if not text:
        return EntryError('"" is empty', "take the entry out")
    squeezed = text.replace(" ", "")
    for at in range(2, len(squeezed)):
        sector = f"{squeezed[:at]} {squeezed[at:]}"
        if _OUTWARD[country].fullmatch(squeezed[:at]) and _begins_code(sector, country):
            return EntryError(f"{_quoted(text)} is a part of a code", _write(f"{sector}*"))
    if _begins_code(text, country):
        return EntryError(f"{_quoted(text)} is neither a code nor an area", _write(f"{text}*"))
    if re.fullmatch(r"[A-Z0-9 ]+[-\u2010-\u2015][A-Z0-9 ]+", text):
        return EntryError(f"{_quoted(text)}: ranges are for US codes", "write each area, or a prefix with *")
    for other in COUNTRIES:
        if other != country and canonical_postal_code(text, other):
            return EntryError(f"{_quoted(text)} is a code of {other}, not of {country}", f'set country = "{other}"')
    return EntryError(f"{_quoted(text)} is not a postal code of {country}", _mend_form(country))
