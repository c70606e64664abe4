"""Text -> pieces. One table of forms, tried in order wherever a piece can start; what nobody knows is a word or a sign.

A form either has one meaning, then it becomes entries as coverage writes them (`"787*"`, `"78701-78705"`) with the
guess that was needed, or it has none or two and becomes `Unclear` with the mend.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from router.terms.geography import us
from router.terms.postal import EntryError, parse_entry

_KM_A_MILE: Final = 1.609344
_US_DIGITS: Final = 5
#: Regions whose codes start with a zero, so that a spreadsheet shows four digits or three.
ZERO_STATES: Final = frozenset(("MA", "RI", "NH", "ME", "VT", "CT", "NJ", "PR", "VI", "AE", "NY"))


class Codes(NamedTuple):
    """Entries as coverage writes them; `guess` says what was supposed, empty where it is written so."""

    said: str
    entries: tuple[str, ...]
    guess: str = ""


class Circle(NamedTuple):
    """A radius around a postal code."""

    said: str
    center: str
    miles: float
    guess: str = ""


class Unclear(NamedTuple):
    """What can be read in no way, or in two."""

    said: str
    why: str
    mend: str = ""


class Words(NamedTuple):
    """Consecutive words; a place, or a remark."""

    said: str


class Sign(NamedTuple):
    """One character of punctuation."""

    said: str


class Without(NamedTuple):
    """From here on things are left out."""

    said: str


class Again(NamedTuple):
    """From here on things are covered again."""

    said: str


class Aside(NamedTuple):
    """A date, a price, a phone number: nothing of a territory."""

    said: str


Piece = Codes | Circle | Unclear | Words | Sign | Without | Again | Aside
Match = re.Match[str]


class Reader(NamedTuple):
    """How text is read. `zeros`: four digits may be a code that lost its zero; `column`: the text stands among codes;
    `state`: where they lie, if that is said beside them.
    """

    country: str = "US"
    zeros: bool = False
    column: bool = False
    state: str | None = None


_DASH: Final = r"(?:-+|to|thru|through|until|up to|\.{2,3})"
_MASK: Final = r"(?:[xX]+|\*+|#+|\?+|_+|%|\.{2,3})"


def _range(reader: Reader, match: Match) -> Piece:
    """`78701-78705`, also with lost zeros, a short end, or other words for the dash."""
    first, last = match["a"], match["b"]
    guesses: list[str] = []
    if len(first) == _US_DIGITS and len(last) < _US_DIGITS - 1:
        last = first[: -len(last)] + last
        guesses.append("the end has the beginning of the start")
    for text in (first, last):
        if len(text) < _US_DIGITS and not (reader.zeros or reader.column or len(match["a"]) != len(match["b"])):
            return Unclear(match[0], "both ends of a range have five digits", f"Write {first:0>5}-{last:0>5}")
    if len(first) < _US_DIGITS or len(last) < _US_DIGITS:
        guesses.append("leading zeros were lost")
    first, last = first.zfill(_US_DIGITS), last.zfill(_US_DIGITS)
    if first > last:
        return Unclear(match[0], "the range runs backwards", f"Write {last}-{first}, if that is meant")
    return Codes(match[0], (f"{first}-{last}",), ", ".join(guesses) or _as_written(match[0], f"{first}-{last}"))


def _as_written(said: str, entry: str) -> str:
    return "" if said.replace(" ", "") == entry else f"read as {entry}"


def _prefix_range(reader: Reader, match: Match) -> Piece:
    first, last = match["a"], match["b"]
    if first > last:
        return Unclear(match[0], "the range runs backwards", f"Write {last}* to {first}*, if that is meant")
    wide = len(first)
    entries = tuple(f"{number:0{wide}d}*" for number in range(int(first), int(last) + 1))
    return Codes(match[0], entries, f"{wide} digits are the beginning of codes")


def _slashed(reader: Reader, match: Match) -> Piece:
    """`92240/41` is 92240 and 92241."""
    first, *others = re.split(r"\s*/\s*", match[0])
    entries = [first, *(first[: -len(other)] + other if len(other) < _US_DIGITS else other for other in others)]
    short = any(len(other) < _US_DIGITS for other in others)
    return Codes(match[0], tuple(entries), "what follows a stroke has the beginning of the first" if short else "")


def _masked(reader: Reader, match: Match) -> Piece:
    digits = match["p"]
    mask = match[0][len(digits) :].strip()
    if len(digits) + len(mask) > _US_DIGITS and set(mask) <= set("xX#?_"):
        return Unclear(match[0], "digits and blanks together are more than five", f"Write {digits}*, if that is meant")
    return Codes(match[0], (f"{digits}*",), "" if mask == "*" else f"read as {digits}*")


def _beginning(reader: Reader, match: Match) -> Piece:
    digits = match["p"]
    return Codes(match[0], (f"{digits}*" if len(digits) < _US_DIGITS else digits,), "every code that starts so")


def _code(reader: Reader, match: Match) -> Piece:
    return Codes(match[0], (match["c"],), "" if match[0] == match["c"] else "what follows the five digits says no more")


def _number(reader: Reader, match: Match) -> Piece:
    """Fewer than five digits: a code that lost its zeros, the beginning of codes, or no code at all."""
    digits = match["c"]
    padded = digits.zfill(_US_DIGITS)
    may_pad = len(digits) > 2 and us().exists(padded)
    may_start = len(digits) == 3 and us().any_with_prefix(digits)
    if may_pad and may_start and reader.state is not None:
        may_pad = _lies_in(reader.state, [padded])
        may_start = _lies_in(reader.state, us().starting(digits))
    if len(digits) == 4:
        if may_pad and (reader.zeros or reader.column):
            return Codes(match[0], (padded,), "a leading zero was lost")
        if may_pad:
            return Unclear(match[0], "four digits may be a code that lost its zero, or no code", f"Write {padded}")
        return Unclear(match[0], "four digits are no code, and none in use has them after a zero", "Ask what is meant")
    if may_pad and may_start:
        return Unclear(match[0], f"it may be {padded} or every code of {digits}*", "Write the one that is meant")
    if may_pad and reader.column:
        return Codes(match[0], (padded,), "leading zeros were lost")
    if may_start:
        return Codes(match[0], (f"{digits}*",), "three digits are the beginning of codes")
    return Unclear(match[0], "a number that is no postal code", "Ask what is meant")


def _lies_in(state: str, codes: Iterable[str]) -> bool:
    return any(place is not None and place.state == state for place in map(us().place, codes))


def _look_alike(reader: Reader, match: Match) -> Piece:
    code = match[0].upper().translate(str.maketrans("OQILS", "00115"))
    if us().exists(code):
        return Codes(match[0], (code,), "a letter stood where a digit belongs")
    return Unclear(match[0], "a letter stands where a digit belongs", f"Write {code}, if that is meant")


def _spreadsheet(reader: Reader, match: Match) -> Piece:
    why = "a spreadsheet turned the code into a number and lost digits of it"
    return Unclear(match[0], why, "Take it from the original list, as text")


def _circle(reader: Reader, match: Match) -> Piece:
    miles, unit = float(match["n"]), match["u"].lower()
    center = match["c"].zfill(_US_DIGITS)
    guess = "a leading zero was lost" if len(match["c"]) < _US_DIGITS else ""
    if unit.startswith("k"):
        miles, guess = round(miles / _KM_A_MILE, 2), "kilometres as miles"
    place = us().place(center)
    if place is None or not place.located or not 0 < miles <= 5000:
        why = f"{center} has no known centre" if 0 < miles <= 5000 else "it is no distance"
        return Unclear(match[0], why, "Name a postal code in use as the centre")
    return Circle(match[0], center, miles, guess)


def _circle_around_name(reader: Reader, match: Match) -> Piece:
    why = "a circle needs a postal code as its centre, and this names a place"
    return Unclear(match[0].strip(), why, "Write it as 25 miles around 78701")


Make = Callable[[Reader, Match], Piece]
_UNIT: Final = r"(?P<u>mi(?:les?)?|km|kilomet(?:er|re)s?)\.?"
_AROUND: Final = r"(?:\s*(?:radius|circle))?\s*(?:around|of|from|about|near|surrounding)\s+(?:zip\s*(?:code)?\s*)?"

#: (what it looks like, what it means), tried in order; nothing of it stands inside a word or number.
_US_FORMS: Final[tuple[tuple[str, Make], ...]] = (
    (r"\$\s?\d[\d,.]*", lambda reader, match: Aside(match[0])),
    (r"\d{1,2}/\d{1,2}/\d{2,4}|\d{4}-\d{2}-\d{2}", lambda reader, match: Aside(match[0])),
    (r"\(?\d{3}\)?[-. ]\d{3}[-.]\d{4}", lambda reader, match: Aside(match[0])),
    (r"\S+@\S+\.\w+|https?://\S+", lambda reader, match: Aside(match[0])),
    (rf"(?:within\s+)?(?P<n>\d+(?:\.\d+)?)[\s-]*{_UNIT}{_AROUND}(?P<c>\d{{4,5}})(?:-\d{{4}})?", _circle),
    (rf"(?P<c>\d{{5}})\s*[+,(]?\s*(?:plus|within|with)?\s*(?P<n>\d+(?:\.\d+)?)[\s-]*{_UNIT}(?:\s*radius)?\)?", _circle),
    (rf"(?:within\s+)?(?P<n>\d+(?:\.\d+)?)[\s-]*{_UNIT}{_AROUND}[^\d;\n]+", _circle_around_name),
    (rf"(?:within\s+)?(?P<n>\d+(?:\.\d+)?)[\s-]*{_UNIT}(?:\s*radius)?", _circle_around_name),
    (r"\d+(?:\.\d+)?[eE]\+?\d+", _spreadsheet),
    (rf"(?:between\s+)?(?P<a>\d{{4,5}})\s*{_DASH}\s*(?P<b>\d{{5}})", _range),
    (r"between\s+(?P<a>\d{5})\s+and\s+(?P<b>\d{5})", _range),
    (r"(?P<c>\d{5})-?\d{4}", _code),
    (r"(?P<a>\d{5})\s?-\s?(?P<b>\d{1,3})", _range),
    (rf"(?P<a>\d{{4}})\s*{_DASH}\s*(?P<b>\d{{4}})", _range),
    (rf"(?P<a>\d{{3}}){_MASK}?\s*{_DASH}\s*(?P<b>\d{{3}}){_MASK}?", _prefix_range),
    (r"\d{5}(?:\s*/\s*\d{1,5})+", _slashed),
    (rf"(?P<p>\d{{1,4}})\s?{_MASK}", _masked),
    (r"(?P<p>\d{3})'?s", _beginning),
    (r"(?:start(?:s|ing)?(?:\s+with)?|begin(?:s|ning)?(?:\s+with)?|prefix(?:es)?):?\s+(?P<p>\d{1,5})", _beginning),
    (r"(?P<c>\d{5})", _code),
    (r"(?P<c>\d{5})\.0+", _code),
    (r"(?P<c>\d{3,4})\.0+", _number),
    (r"(?=\S*\d\S*\d\S*\d)[\dOoQIlS]{5}", _look_alike),
    (r"(?P<c>\d{1,4})", _number),
    (r"\d+", lambda reader, match: Unclear(match[0], "a number that is no postal code", "Ask what is meant")),
)  # fmt: skip
_WITHOUT: Final = (
    r"except(?:ing|ion|ions)?(?:\s+for)?|exclud(?:es?|ed|ing)|exclusions?|excl|but\s+not|other\s+than|not|no|minus"
    r"|without|less|never|don't|do\s+not|outside"
)
_AGAIN: Final = r"plus|also|as\s+well\s+as"
_WORD: Final = r"[^\W\d_]+(?:['.-][^\W\d_]+)*\.?"


def _compiled(forms: tuple[tuple[str, Make], ...]) -> tuple[tuple[re.Pattern[str], Make], ...]:
    return tuple((re.compile(rf"(?<!\w)(?:{form})(?!\w)", re.IGNORECASE | re.ASCII), make) for form, make in forms)


_FORMS: Final = _compiled(_US_FORMS)
_WITHOUT_FORM: Final = re.compile(rf"(?<!\w)(?:{_WITHOUT})(?!\w)\.?", re.IGNORECASE)
_AGAIN_FORM: Final = re.compile(rf"(?<!\w)(?:{_AGAIN})(?!\w)", re.IGNORECASE)
_WORDS_FORM: Final = re.compile(_WORD)
#: Codes of other countries: letters and digits together, perhaps in two parts, perhaps with a star.
_SPACED_FORM: Final = re.compile(
    r"(?<!\w)(?=[A-Z0-9 ]*\d)[A-Z]{1,2}[A-Z0-9]{1,3}(?:\s\d(?:[A-Z]{2}|[A-Z]\d))?\*?(?!\w)"
    r"|(?<!\w)[A-Z]{1,2}\d?[A-Z0-9]?\s?\d?\*"
    r"|(?<!\w)[A-Z]\d[A-Z]\d[A-Z]\d(?!\w)",
    re.IGNORECASE,
)
_DASHES: Final = re.compile("[\u2010-\u2015\u2212\u00ad~]")


def plain(text: str) -> str:
    """Text with plain digits, spaces, dashes and quotes, whatever characters a word processor made of them."""
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u2018", "'")
    text = text.replace("\u201c", '"').replace("\u201d", '"').replace("\u200b", "").replace("\ufeff", "")
    return " ".join(_DASHES.sub("-", text).split())


def pieces_of(text: str, reader: Reader) -> Iterator[Piece]:
    """Every piece of a line or cell that went through `plain`, in order."""
    at = 0
    words: list[str] = []
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        piece, end = _piece(text, at, reader)
        at = end
        if isinstance(piece, Words) and not _ends_words(piece.said):
            words.append(piece.said)
            continue
        if words:
            yield Words(" ".join(words))
            words = []
        yield Sign("and") if isinstance(piece, Words) else piece
    if words:
        yield Words(" ".join(words))


def _ends_words(word: str) -> bool:
    return word.casefold() == "and" or word in ("or", "Or")


def _piece(text: str, at: int, reader: Reader) -> tuple[Piece, int]:
    if reader.country == "US":
        for pattern, make in _FORMS:
            if match := pattern.match(text, at):
                return make(reader, match), match.end()
    elif match := _SPACED_FORM.match(text, at):
        return _spaced(reader, match), match.end()
    for pattern, kind in ((_WITHOUT_FORM, Without), (_AGAIN_FORM, Again), (_WORDS_FORM, Words)):
        if match := pattern.match(text, at):
            return kind(match[0]), match.end()
    return Sign(text[at]), at + 1


def _spaced(reader: Reader, match: Match) -> Piece:
    said = match[0].strip().upper()
    try:
        parsed = parse_entry(said, reader.country)
    except EntryError as bad:
        return Unclear(match[0], bad.message, bad.mend)
    if len(parsed.codes) == 1 and not parsed.prefixes:
        return Codes(match[0], parsed.codes)
    return Codes(match[0], (said,))
