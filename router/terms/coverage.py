"""Coverage: the postal codes a contract accepts, from what an operator wrote to exact codes and prefixes.

Whatever is written (codes, ranges, prefixes, states, counties, cities, circles, files) becomes exact codes and
prefixes, nothing else: that is all the index has to know. A range is decomposed, never enumerated, so
"00000-99999" costs ten prefixes. Each written entry stays one `Entry`, so that a decision can name what allowed it.

Codes are kept in order, packed (`terms.codes`): two bytes for each.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from operator import eq
from typing import Final, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import force_setattr

from router.terms.code_lists import read_entries
from router.terms.codes import Packed, packed
from router.terms.geography import Geography, us
from router.terms.postal import COUNTRIES, EntryError, Parsed, canonical_postal_code, parse_entry
from router.terms.schema import CoverageTerms, Exclude, Radius

__all__ = [
    "Coverage",
    "CoverageProblem",
    "Entry",
    "any_in_use",
    "canonical_postal_code",
    "codes_in_use",
    "expand",
    "parse_entry",
]

#: The label of the entry that holds all single codes of one list.
POSTAL_CODES: Final = "postal_codes"
_PROBLEMS_MAX: Final = 20  # of one kind below one key; the rest is counted
_SHOWN_MAX: Final = 5
_Kind = Literal["state", "county", "city"]


class CoverageProblem(NamedTuple):
    """One finding. `key` is relative to the coverage table: `postal_codes[2]`, `exclude.files[0]`, `""` for itself."""

    key: str
    message: str
    mend: str
    severity: Literal["error", "warning"]


class Entry(Struct, frozen=True, weakref=True):
    """What one written entry stands for. `label` as written: `"postal_codes: 787*"`, `"files: coverage/x.csv"`.

    All single codes of one `postal_codes` list stand together in an entry labelled `"postal_codes"`.
    `codes` and `prefixes` are sorted and distinct; `approximate` says a place name or a circle was meant.
    """

    label: str
    codes: Sequence[str] = ()
    prefixes: tuple[str, ...] = ()
    approximate: bool = False

    def __post_init__(self) -> None:
        force_setattr(self, "codes", packed(self.codes))

    def holds(self, code: str) -> bool:
        """Whether a canonical code is among these."""
        return code.startswith(self.prefixes) or _among(self.codes, code)


class Coverage(Struct, frozen=True, gc=False):
    """The postal codes a contract accepts, in canonical form. What is excluded wins over everything."""

    country: str
    everywhere: bool = False
    entries: tuple[Entry, ...] = ()
    excluded: tuple[Entry, ...] = ()

    @property
    def codes(self) -> frozenset[str]:
        """All exact codes; made anew at each call."""
        return frozenset(code for entry in self.entries for code in entry.codes)

    @property
    def prefixes(self) -> frozenset[str]:
        """All prefixes; made anew at each call."""
        return frozenset(prefix for entry in self.entries for prefix in entry.prefixes)

    @property
    def excluded_codes(self) -> frozenset[str]:
        """All exact codes left out; made anew at each call."""
        return frozenset(code for entry in self.excluded for code in entry.codes)

    @property
    def excluded_prefixes(self) -> frozenset[str]:
        """All prefixes left out; made anew at each call."""
        return frozenset(prefix for entry in self.excluded for prefix in entry.prefixes)

    @property
    def areas(self) -> tuple[str, ...]:
        """The postal areas it takes codes in, each a country and the first character of its codes: `("US7", "US8")`.

        The country alone where it takes in everything.
        """
        if self.everywhere:
            return (self.country,)
        initials = {
            one for entry in self.entries for texts in (entry.codes, entry.prefixes) for one in _initials(texts)
        }
        return _areas(self.country, "".join(sorted(initials)))

    def allows(self, code: str) -> bool:
        """Whether the contract accepts this canonical code: the plain truth that every faster way is held to."""
        if _find(self.excluded, code) is not None:
            return False
        return self.everywhere or _find(self.entries, code) is not None

    def entry_for(self, code: str) -> Entry | None:
        """The first entry that names the code, a single code by itself; None where only `everywhere` covers it."""
        return _alone(_find(self.entries, code), code)

    def exclusion_for(self, code: str) -> Entry | None:
        """The first entry of `exclude` that names the code."""
        return _alone(_find(self.excluded, code), code)


@lru_cache(maxsize=4096)
def _areas(country: str, initials: str) -> tuple[str, ...]:
    """Ten thousand contracts share one tuple."""
    return tuple([country + initial for initial in initials])


def _initials(texts: Sequence[str]) -> Iterator[str]:
    """The first characters of sorted texts, each once."""
    at = 0
    while at < len(texts):
        initial = texts[at][0]
        yield initial
        at = len(texts) if texts[-1][0] == initial else bisect_left(texts, chr(ord(initial) + 1), at)


def expand(terms: CoverageTerms, *, lists: Mapping[str, str], country: str) -> tuple[Coverage, list[CoverageProblem]]:
    """Coverage terms -> Coverage and every finding about them.

    `lists` holds the text of each file by the name it is referred to with; `country` (alpha-2) is used when the
    terms name none. With an error among the findings, what could be understood is returned all the same.
    """
    home = terms.country or country
    problems: list[CoverageProblem] = []
    if home not in COUNTRIES:
        mend = f"write one of {', '.join(COUNTRIES)}"
        problems.append(CoverageProblem("country", f"postal codes of {home[:20]!r} are not known here", mend, "error"))
        return Coverage(home), problems
    reading = _Reading(home, lists, problems)
    coverage = Coverage(
        country=home,
        everywhere=terms.everywhere,
        entries=(
            *reading.postal_codes("postal_codes", terms.postal_codes),
            *reading.places("states", "state", terms.states),
            *reading.places("counties", "county", terms.counties),
            *reading.places("cities", "city", terms.cities),
            *reading.circles(terms.radius),
            *reading.files("files", terms.files),
        ),
        excluded=reading.exclude(terms.exclude),
    )
    problems += _judge(coverage, understood=not any(problem.severity == "error" for problem in problems))
    return coverage, problems


def codes_in_use(coverage: Coverage) -> set[str]:
    """The US postal codes in use that a coverage takes in; none for another country's."""
    if coverage.country != "US":
        return set()
    codes = set(us().codes) if coverage.everywhere else _in_use(coverage.entries)
    return codes - _in_use(coverage.excluded) if coverage.excluded else codes


def any_in_use(coverage: Coverage) -> bool:
    """Whether it takes in any postal code in use; codes of another country are judged by form alone, and may be."""
    if coverage.country != "US" or coverage.everywhere:
        return True
    if coverage.excluded:
        return bool(codes_in_use(coverage))
    geography = us()
    return any(
        any(map(geography.exists, entry.codes)) or any(map(geography.any_with_prefix, entry.prefixes))
        for entry in coverage.entries
    )


def _in_use(entries: Sequence[Entry]) -> set[str]:
    geography = us()
    found: set[str] = set()
    for entry in entries:
        found.update(geography.in_use.intersection(entry.codes))
        for prefix in entry.prefixes:
            found.update(geography.starting(prefix))
    return found


class _List(NamedTuple):
    """Where entries are written: an array of the terms, or a file one of them names."""

    key: str
    file: str | None = None

    def at(self, place: int) -> tuple[str, str]:
        """Key and start of the message for the entry with this index, or on this line."""
        return (f"{self.key}[{place}]", "") if self.file is None else (self.key, f"{self.file} line {place}: ")


class _Reading:
    """One coverage table being read: what it means goes to the caller, what is wrong with it to `problems`."""

    def __init__(self, country: str, lists: Mapping[str, str], problems: list[CoverageProblem]) -> None:
        self._country: Final = country
        self._lists: Final = lists
        self._problems: Final = problems

    def exclude(self, terms: Exclude) -> tuple[Entry, ...]:
        """Every entry of `[coverage.exclude]`."""
        return (
            *self.postal_codes("exclude.postal_codes", terms.postal_codes),
            *self.places("exclude.states", "state", terms.states),
            *self.files("exclude.files", terms.files),
        )

    def postal_codes(self, key: str, texts: Sequence[str]) -> Iterator[Entry]:
        """One entry for all single codes, then one for each range, prefix, outcode or FSA."""
        single, wide = self._understood(_List(key), range(len(texts)), texts)
        if single:
            codes = _distinct(single)
            yield Entry(POSTAL_CODES, texts if codes == texts else codes)  # one list for what was written and meant
        for text, parsed in wide:
            yield Entry(f"{POSTAL_CODES}: {text}", parsed.codes, parsed.prefixes)

    def files(self, key: str, names: Sequence[str]) -> Iterator[Entry]:
        """One entry for each file."""
        for at, name in enumerate(names):
            text, place = self._lists.get(name), f"{key}[{at}]"
            if text is None:
                self._error(place, f"{name} was not found", "put the file there, or correct its name")
                continue
            before = len(self._problems)
            try:
                lines = list(read_entries(text))
            except EntryError as bad:
                self._error(place, f"{name} {bad.message}", bad.mend)
                continue
            here = _List(place, name)
            single, wide = self._understood(here, [line for line, _ in lines], [entry for _, entry in lines])
            codes = _distinct([*single, *(code for _, parsed in wide for code in parsed.codes)])
            prefixes = tuple(_distinct([prefix for _, parsed in wide for prefix in parsed.prefixes]))
            if codes or prefixes:
                yield Entry(f"files: {name}", codes, prefixes)
            elif len(self._problems) == before:
                self._error(place, f"{name} names no code", "write one code a line, or leave the file out")

    def places(self, key: str, kind: _Kind, names: Sequence[str]) -> Iterator[Entry]:
        """One entry for each state, county or city; each is an approximation, and warned about as one."""
        if names and not self._is_us(key):
            return
        for at, name in enumerate(names):
            place, codes = f"{key}[{at}]", _codes_of(kind, name)
            if codes is None:
                self._error(place, f"{_shown(name)} is not a {kind} of the US", _did_you_mean(kind, name))
                continue
            self._warn_approximate(place, name, len(codes))
            yield _place_entry(f"{key.removeprefix('exclude.')}: {name}", kind, name)

    def circles(self, circles: Sequence[Radius]) -> Iterator[Entry]:
        """One entry for each radius."""
        if circles and not self._is_us("radius"):
            return
        for at, circle in enumerate(circles):
            key, label = f"radius[{at}]", f"{circle.miles:g} miles around {circle.center}"
            if not 0 < circle.miles < math.inf:
                self._error(f"{key}.miles", "a radius is more than 0 miles", "write the distance in miles")
                continue
            codes = us().radius(circle.center, circle.miles)
            if codes is None:
                mend = "write the five digits of a postal code in use that has a place on the map"
                self._error(f"{key}.center", f"{_shown(circle.center)} has no known centre", mend)
                continue
            self._warn_approximate(key, label, len(codes))
            yield Entry(f"radius: {label}", codes, approximate=True)

    def _understood(
        self, here: _List, places: Sequence[int], texts: Sequence[str]
    ) -> tuple[Sequence[str], list[tuple[str, Parsed]]]:
        """Single codes as often as written, and every other entry with its text.

        Codes in use, which nearly all are, are known at one look; only the others are read closely.
        """
        geography = us() if self._country == "US" else None
        if geography is not None and (isinstance(texts, Packed) or geography.in_use.issuperset(texts)):
            return texts, []
        known = list(map(geography.codes.get, texts)) if geography else [None] * len(texts)
        single = [code for code in known if code is not None]
        wide: list[tuple[str, Parsed]] = []
        found: list[CoverageProblem] = []
        for index in _unknown(known):
            at, text = places[index], texts[index]
            try:
                parsed = parse_entry(text, self._country)
            except EntryError as bad:
                key, start = here.at(at)
                found.append(CoverageProblem(key, start + bad.message, bad.mend, "error"))
                continue
            if len(parsed.codes) == 1 and not parsed.prefixes:
                single += parsed.codes
            else:
                wide.append((text.strip(), parsed))
            if geography and not _any_in_use(parsed, geography):
                key, start = here.at(at)
                message = f"{start}{_shown(text)} is no postal code in use"
                found.append(CoverageProblem(key, message, "check it, or leave it out", "warning"))
        self._problems.extend(_bounded(here, found))
        return single, wide

    def _is_us(self, key: str) -> bool:
        if self._country != "US":
            mend = "write postal_codes or files instead"
            self._error(key, f"known for the US only, and this coverage is in {self._country}", mend)
        return self._country == "US"

    def _error(self, key: str, message: str, mend: str) -> None:
        self._problems.append(CoverageProblem(key, message, mend, "error"))

    def _warn_approximate(self, key: str, name: str, count: int) -> None:
        message = f"{_shown(name)} only approximates what a buyer enforces: taken as {count} postal codes"
        self._problems.append(CoverageProblem(key, message, "ask the buyer for its postal codes", "warning"))


def _codes_of(kind: _Kind, name: str) -> tuple[str, ...] | None:
    return {"state": us().state, "county": us().county, "city": us().city}[kind](name)


@lru_cache(maxsize=4096)
def _place_entry(label: str, kind: _Kind, name: str) -> Entry:
    """Ten thousand contracts share one "TX"."""
    return Entry(label, _codes_of(kind, name) or (), approximate=True)


def _did_you_mean(kind: _Kind, name: str) -> str:
    suggest, form = {
        "state": (us().suggest_state, '"OK"'),
        "county": (us().suggest_county, '"Travis, TX"'),
        "city": (us().suggest_city, '"Austin, TX"'),
    }[kind]
    meant = suggest(name)
    return f"did you mean {' or '.join(map(_shown, meant))}?" if meant else f"write it as {form}"


def _unknown(known: Sequence[str | None]) -> Sequence[int]:
    return [index for index, code in enumerate(known) if code is None] if None in known else ()


def _distinct(texts: Sequence[str]) -> Sequence[str]:
    """In ascending order, each once."""
    if isinstance(texts, Packed):
        return texts.in_order()
    ordered = sorted(texts)
    return tuple(dict.fromkeys(ordered) if any(map(eq, ordered, islice(ordered, 1, None))) else ordered)


def _any_in_use(parsed: Parsed, geography: Geography) -> bool:
    return any(map(geography.exists, parsed.codes)) or any(map(geography.any_with_prefix, parsed.prefixes))


def _bounded(here: _List, found: list[CoverageProblem]) -> Iterator[CoverageProblem]:
    """The first findings of each severity; the others as a count."""
    for severity in ("error", "warning"):
        these = [problem for problem in found if problem.severity == severity]
        yield from these[:_PROBLEMS_MAX]
        if len(these) > _PROBLEMS_MAX:
            where = here.file or here.key
            message = f"{where}: {len(these) - _PROBLEMS_MAX} more entries like these"
            yield CoverageProblem(here.key, message, these[-1].mend, these[-1].severity)


def _judge(coverage: Coverage, *, understood: bool) -> Iterator[CoverageProblem]:
    """What only shows when all of it is known. With errors before, nothing named is not said again."""
    if coverage.everywhere and coverage.entries:
        mend = "leave out everywhere, or all but everywhere"
        yield CoverageProblem("everywhere", "everywhere = true makes the other entries mean nothing", mend, "warning")
    if not coverage.everywhere and not coverage.entries:
        if understood:
            mend = "name postal_codes, states, counties, cities, radius or files, or write everywhere = true"
            yield CoverageProblem("", "no coverage is named, which is never everywhere", mend, "error")
        return
    yield from _judge_excluded(coverage)


def _judge_excluded(coverage: Coverage) -> Iterator[CoverageProblem]:
    if coverage.everywhere or not coverage.excluded:
        return
    codes, prefixes = coverage.codes, coverage.prefixes
    ordered = sorted(codes | prefixes)
    for entry in coverage.excluded:
        idle = [code for code in entry.codes if code not in codes and not _under(code, prefixes)]
        idle += [
            prefix for prefix in entry.prefixes if not _starts_any(prefix, ordered) and not _under(prefix, prefixes)
        ]
        together = entry.label == POSTAL_CODES
        if idle and (together or len(idle) == len(entry.codes) + len(entry.prefixes)):
            what = ", ".join(idle[:_SHOWN_MAX]) if together else entry.label
            more = f" and {len(idle) - _SHOWN_MAX} more" if together and len(idle) > _SHOWN_MAX else ""
            key = f"exclude.{entry.label.partition(':')[0]}"
            message = f"{what}{more} excludes nothing: it is not in this coverage"
            yield CoverageProblem(key, message, "leave it out, or check what was meant", "warning")
    out_codes, out_prefixes = coverage.excluded_codes, coverage.excluded_prefixes
    if all(_under(prefix, out_prefixes) for prefix in prefixes) and all(
        code in out_codes or _under(code, out_prefixes) for code in codes
    ):
        yield CoverageProblem("exclude", "everything that is named is excluded again", "take something out", "error")


def _find(entries: tuple[Entry, ...], code: str) -> Entry | None:
    return next((entry for entry in entries if entry.holds(code)), None)


def _alone(entry: Entry | None, code: str) -> Entry | None:
    """The entry; for one that holds many single codes, the one code as if it stood alone."""
    if entry is None or entry.label != POSTAL_CODES:
        return entry
    return Entry(f"{POSTAL_CODES}: {code}", (code,))


def _among(codes: Sequence[str], code: str) -> bool:
    at = bisect_left(codes, code)
    return at < len(codes) and codes[at] == code


def _under(text: str, prefixes: frozenset[str]) -> bool:
    """Whether one of the prefixes starts the text, or is it."""
    return any(text[:length] in prefixes for length in range(1, len(text) + 1))


def _starts_any(prefix: str, ordered: list[str]) -> bool:
    at = bisect_left(ordered, prefix)
    return at < len(ordered) and ordered[at].startswith(prefix)


def _shown(text: str) -> str:
    return f'"{text[:37]}..."' if len(text) > 40 else f'"{text}"'
