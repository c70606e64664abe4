"""US postal codes by state, county, city and distance, so that operators may write what buyers say.

The data is that of PyPI `zipcodes`: every active code, post boxes and military ones included. It is read once, on
first use (about 0.6 s, nearly all of it decompression), into plain records; each index is built when first asked.
A county or city is only ever an approximation of a territory, because codes cross both.

The answers are sorted tuples, and the same object each time, so that ten thousand contracts share one "TX".
"""

import gc
import math
import re
import sys
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Any, Final, NamedTuple, TypeVar

from router.terms.regions import US_STATES, state_code

Codes = tuple[str, ...]
K = TypeVar("K", bound=Hashable)

EARTH_RADIUS_MILES: Final = 3958.7613
#: No number of any code.
NOT_IN_USE: Final = 0xFFFF
_SUGGESTIONS_MAX: Final = 3
_KINDS: Final = (
    "city and borough", "census area", "county", "parish", "borough", "municipality", "municipio", "city",
)  # fmt: skip
_SUFFIX: Final = re.compile(rf"(.+?) ({'|'.join(_KINDS)})")
_LEADING_KIND: Final = re.compile(rf"({'|'.join(_KINDS)}) of (.+)")


class Place(NamedTuple):
    """One postal code. Degrees; both are 0 where the place is not known (military post offices)."""

    code: str
    city: str
    state: str
    county: str
    latitude: float
    longitude: float

    @property
    def located(self) -> bool:
        """Whether the code has a centre."""
        return bool(self.latitude or self.longitude)


class _Counties(NamedTuple):
    """A key is (state, base name, kind); a base is the name without its kind and spaces."""

    codes: dict[tuple[str, str, str], Codes]
    names: dict[tuple[str, str, str], str]
    by_base: dict[tuple[str, str], tuple[tuple[str, str, str], ...]]


class Geography:
    """The postal codes of the United States. Unknown names give None; `suggest_*` says what may have been meant.

    `accepted` maps a code to the other city names its mail may bear.
    """

    def __init__(self, places: Iterable[Place], accepted: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._places: Final = {place.code: place for place in places}
        self._accepted: Final = accepted or {}

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places.values())

    def exists(self, code: str) -> bool:
        """Whether five digits are a postal code in use."""
        return code in self._places

    def place(self, code: str) -> Place | None:
        """City, state, county and centre of a postal code."""
        return self._places.get(code)

    @cached_property
    def codes(self) -> dict[str, str]:
        """Every code in use, under itself: the one text all coverages share."""
        return {code: code for code in self._places}

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Every code in use, numbered from 0 in ascending order."""
        return {code: number for number, code in enumerate(self._sorted)}

    @cached_property
    def by_digits(self) -> "array[int]":
        """The number of every code in use at what its digits say: a text just read is looked up at half the cost."""
        found = array("H", [NOT_IN_USE]) * 100_000
        for code, number in self.numbers.items():
            found[int(code)] = number
        return found

    @cached_property
    def in_use(self) -> frozenset[str]:
        """Every code in use."""
        return frozenset(self._places)

    def any_with_prefix(self, prefix: str) -> bool:
        """Whether any code in use starts with these digits."""
        at = bisect_left(self._sorted, prefix)
        return at < len(self._sorted) and self._sorted[at].startswith(prefix)

    def starting(self, prefix: str) -> Sequence[str]:
        """Every code in use that starts with these digits."""
        if not prefix:
            return self._sorted
        return self._sorted[bisect_left(self._sorted, prefix) : bisect_right(self._sorted, prefix + "9" * 5)]

    def state(self, text: str) -> Codes | None:
        """Every code of a state: `"OK"` or `"Oklahoma"`."""
        code = state_code(text)
        return None if code is None else self._by_state.get(code)

    def county(self, text: str) -> Codes | None:
        """Every code of a county: `"Travis, TX"`, with or without `County`, `Parish`, ... where that is unique."""
        name, state = _name_and_state(text)
        if state is None:
            return None
        exact = self._counties.codes.get((state, *_county_key(name)))
        if exact is not None:
            return exact
        found = self._counties.by_base.get((state, _squeeze(name)), ())
        return self._counties.codes[found[0]] if len(found) == 1 else None

    def city(self, text: str) -> Codes | None:
        """Every code of a city: `"Austin, TX"`.

        Those are the codes whose preferred name it is; only where no code prefers it, the ones that accept it for
        mail. ("Boston, MA" is not Allston, whose mail may say Boston; "Hollywood, CA" is what accepts that name.)
        """
        name, state = _name_and_state(text)
        if state is None:
            return None
        key = (state, _squeeze(name))
        return self._cities.get(key) or self._accepted_cities.get(key)

    def radius(self, center: str, miles: float) -> Codes | None:
        """Every code whose centre lies within so many miles of the centre of `center`, that one included.

        None when `center` does not exist or has no known place.
        """
        origin = self._places.get(center)
        if origin is None or not origin.located:
            return None
        angle = min(miles / EARTH_RADIUS_MILES, math.pi)
        latitudes, points = self._by_latitude
        reach = math.degrees(angle) + 1e-9
        first = bisect_left(latitudes, origin.latitude - reach)
        last = bisect_right(latitudes, origin.latitude + reach)
        x, y, z = _unit_vector(origin)
        # Half the chord is the sine of half the angle: the haversine formula without its trigonometry.
        farthest = (2 * math.sin(angle / 2)) ** 2 + 1e-15
        near = (code for code, a, b, c in points[first:last] if (a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2 <= farthest)
        return tuple(sorted(near))

    def suggest_state(self, text: str) -> Codes:
        """States that may have been meant: `"Oklahomaa"` -> `("OK",)`."""
        names = {name.casefold(): code for code, name in US_STATES.items()}
        return tuple(names[name] for name in get_close_matches(text.strip().casefold(), names, _SUGGESTIONS_MAX))

    def suggest_county(self, text: str) -> Codes:
        """Counties that may have been meant: `"Baltimore, MD"` -> `("Baltimore City, MD", "Baltimore County, MD")`."""
        name, state = _name_and_state(text)
        if state is None:
            return ()
        counties, base = self._counties, _county_key(name)[0]
        keys = counties.by_base.get((state, _squeeze(name))) or counties.by_base.get((state, base))
        if keys:
            return tuple(sorted(counties.names[key] for key in keys))
        return _closest(base, {key[1]: name for key, name in counties.names.items() if key[0] == state})

    def suggest_city(self, text: str) -> Codes:
        """Cities that may have been meant: `"Austn, TX"` -> `("Austin, TX", ...)`."""
        name, state = _name_and_state(text)
        if state is None:
            return ()
        names = {_squeeze(place.city): f"{place.city}, {state}" for place in self if place.state == state}
        return _closest(_squeeze(name), names)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._places)

    @cached_property
    def _by_state(self) -> dict[str, Codes]:
        return _grouped((place.state, place.code) for place in self)

    @cached_property
    def _counties(self) -> _Counties:
        keys = _county_keys({(place.state, place.county) for place in self if place.county})
        codes = _grouped((keys[place.state, place.county], place.code) for place in self if place.county)
        names = {key: f"{county}, {state}" for (state, county), key in sorted(keys.items(), reverse=True)}
        bases: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
        for key in codes:
            bases[key[0], key[1]].append(key)
        for same in bases.values():
            _merge_unnamed_kind(same, codes)
        return _Counties(codes, names, {base: tuple(same) for base, same in bases.items()})

    @cached_property
    def _cities(self) -> dict[tuple[str, str], Codes]:
        keys = {(place.state, place.city): (place.state, _squeeze(place.city)) for place in self}
        return _grouped((keys[place.state, place.city], place.code) for place in self)

    @cached_property
    def _accepted_cities(self) -> dict[tuple[str, str], Codes]:
        return _grouped(
            ((self._places[code].state, _squeeze(name)), code)
            for code, names in self._accepted.items()
            for name in names
        )

    @cached_property
    def _by_latitude(self) -> tuple[list[float], list[tuple[str, float, float, float]]]:
        located = sorted((place for place in self if place.located), key=lambda place: place.latitude)
        return [place.latitude for place in located], [(place.code, *_unit_vector(place)) for place in located]


@cache
def us() -> Geography:
    """The postal codes of the United States, read on first use and kept."""
    return _load()


def miles_between(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance of two points in degrees, in miles (haversine on the mean earth)."""
    a, b = math.radians(latitude), math.radians(other_latitude)
    across = math.radians(other_longitude - longitude)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(across / 2) ** 2
    return 2 * EARTH_RADIUS_MILES * math.asin(math.sqrt(min(1.0, half)))


def _load() -> Geography:
    """Read the data in ten slices, so that its 42,000 dictionaries never stand in memory together."""
    same: dict[str, str] = {}
    places: list[Place] = []
    accepted: dict[str, tuple[str, ...]] = {}
    import zipcodes  # 10 ms, which commands that look up no code need not spend

    read: Callable[[str], list[dict[str, Any]]] = zipcodes.similar_to
    with _collector_resting():
        for digit in "0123456789":
            for record in read(digit):
                if record["active"]:
                    place = _place(record, same)
                    places.append(place)
                    if record["acceptable_cities"]:
                        accepted[place.code] = tuple(record["acceptable_cities"])
    return Geography(places, accepted)


def _place(record: dict[str, Any], same: dict[str, str]) -> Place:
    city, county = record["city"], record["county"]
    return Place(
        code=sys.intern(record["zip_code"]),
        city=same.setdefault(city, city),
        state=sys.intern(record["state"]),
        county=same.setdefault(county, county),
        latitude=float(record["lat"] or 0),
        longitude=float(record["long"] or 0),
    )


@contextmanager
def _collector_resting() -> Iterator[None]:
    """A million short-lived objects without a cycle among them: collecting meanwhile costs a third of the load."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _grouped(pairs: Iterable[tuple[K, str]]) -> dict[K, Codes]:
    groups: dict[K, set[str]] = defaultdict(set)
    for key, code in pairs:
        groups[key].add(code)
    return {key: tuple(sorted(codes)) for key, codes in groups.items()}


def _closest(wanted: str, names: Mapping[str, str]) -> Codes:
    return tuple(names[key] for key in get_close_matches(wanted, names, _SUGGESTIONS_MAX))


def _name_and_state(text: str) -> tuple[str, str | None]:
    """`"Travis, TX"` -> `("Travis", "TX")`; no state when there is none or an unknown one."""
    name, comma, state = text.rpartition(",")
    return name, state_code(state) if comma and name.strip() else None


def _plain(name: str) -> str:
    """Lower case, single spaces, no accents, full stops or apostrophes; `saint` is `st`."""
    letters = name if name.isascii() else unicodedata.normalize("NFKD", name)
    kept = "".join(
        letter for letter in letters.casefold() if letter not in ".'\u2019" and not unicodedata.combining(letter)
    )
    return " ".join("st" if word == "saint" else word for word in kept.split())


def _squeeze(name: str) -> str:
    """A name as it is compared: "De Kalb" is "DeKalb" is "Dekalb"."""
    return _plain(name).replace(" ", "")


def _county_key(name: str) -> tuple[str, str]:
    """`"Travis County"` -> `("travis", "county")`; `"City and Borough of Juneau"` as `"Juneau City and Borough"`."""
    plain = _plain(name)
    if match := _LEADING_KIND.fullmatch(plain):
        return match[2].replace(" ", ""), match[1]
    if match := _SUFFIX.fullmatch(plain):
        return match[1].replace(" ", ""), match[2]
    return plain.replace(" ", ""), ""


def _county_keys(counties: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str, str]]:
    """(state, name as the data has it) -> key; "James City" is how the data also writes "James City County"."""
    keys = {(state, name): (state, *_county_key(name)) for state, name in counties}
    bases = {key[:2] for key in keys.values()}
    for place, (state, base, kind) in keys.items():
        if kind == "city" and (state, f"{base}city") in bases:
            keys[place] = (state, f"{base}city", "")
    return keys


def _merge_unnamed_kind(same: list[tuple[str, str, str]], codes: dict[tuple[str, str, str], Codes]) -> None:
    """Make two writings of one county, "Carolina" and "Carolina Municipio", one."""
    unnamed = [key for key in same if not key[2]]
    named = [key for key in same if key[2]]
    if unnamed and len(named) == 1:
        both = tuple(sorted({*codes[unnamed[0]], *codes[named[0]]}))
        codes[unnamed[0]] = codes[named[0]] = both
        same.remove(unnamed[0])


def _unit_vector(place: Place) -> tuple[float, float, float]:
    latitude, longitude = math.radians(place.latitude), math.radians(place.longitude)
    flat = math.cos(latitude)
    return flat * math.cos(longitude), flat * math.sin(longitude), math.sin(latitude)
