"""Words -> a state, county or city, where they can mean one thing only.

Two letters are a state in capitals, or behind the name of a city of that state: "or", "in" and "me" are words first.
"""

import re
from functools import cache
from typing import Final, Literal, NamedTuple

from router.terms.geography import us
from router.terms.regions import US_STATES, state_code

Kind = Literal["state", "county", "city"]

#: Words around the name of a place that say nothing of it.
_FILLERS: Final = frozenset((
    "a", "an", "all", "also", "any", "anything", "area", "areas", "below", "by", "can", "city",
    "cities", "code", "codes", "complete", "county", "counties", "cover", "coverage", "covered", "covering",
    "covers", "do", "entire", "entirely", "every", "everything", "for", "from", "full", "fully", "in",
    "include", "included", "includes", "including", "is", "just", "list", "live", "of", "only",
    "our", "please", "postal", "region", "regions", "sell", "send", "serve", "served", "serves",
    "service", "serviced", "servicing", "state", "states", "statewide", "take", "taking",
    "territory", "that", "the", "these", "they", "this", "throughout", "to", "town", "towns", "we", "whole", "wide",
    "will", "with", "within", "work", "works", "you", "your", "zip", "zips", "zipcode", "zipcodes"
))  # fmt: skip
#: Which of them say that the whole place is meant.
_WHOLE: Final = frozenset(("all", "complete", "entire", "entirely", "every", "everything", "full", "fully", "statewide",
                           "throughout", "whole", "wide"))  # fmt: skip
#: Which of them, beside a name, say that something else is meant than the place.
_PARTLY: Final = frozenset((
    "bordering", "certain", "close", "greater", "half", "metro", "metropolitan", "most", "mostly", "near", "nearby",
    "outskirts", "over", "part", "partial", "partly", "parts", "portions", "select", "selected", "some", "suburbs",
    "surrounding",
))  # fmt: skip
_COUNTY_WORD: Final = re.compile(r"(?:count(?:y|ies)|parish(?:es)?|borough|municipio|census area)", re.IGNORECASE)
_LONGEST_STATE: Final = max(len(name.split()) for name in US_STATES.values())


class Place(NamedTuple):
    """A place of the US; `name` as coverage writes it: `"TX"`, `"Travis, TX"`.
    `whole`: it is said that all of it is meant; `doubt`: why it cannot be taken as it stands.
    """

    kind: Kind
    name: str
    state: str
    said: str
    whole: bool = False
    doubt: str = ""
    guess: str = ""

    @property
    def codes(self) -> tuple[str, ...]:
        """Its postal codes."""
        geography = us()
        find = {"state": geography.state, "county": geography.county, "city": geography.city}[self.kind]
        return find(self.name) or ()


class NoPlace(NamedTuple):
    """Words that name no place, or not one alone. `why` is empty where they are only a remark."""

    said: str
    why: str = ""
    mend: str = ""


def place_of(text: str, state: str | None = None) -> Place | NoPlace:
    """What a run of words names. `state` is the one that the line is about, if it says so."""
    words = text.replace(".", "").split()
    whole = any(word.casefold() in _WHOLE for word in words)
    if state_code_of(text) is not None:
        return _state(text, text)
    county = any(map(_COUNTY_WORD.fullmatch, words))
    partly = any(word.casefold() in _PARTLY for word in words)
    core = [word for word in words if not _says_nothing(word)]
    core = [word for word in core if not _COUNTY_WORD.fullmatch(word)]
    if not core:
        return NoPlace("")
    name = " ".join(core)
    found = _stated(core, county=county) or _bare(name, state, county=county)
    if isinstance(found, Place):
        doubt = f"not all of {found.name} is meant, or more than it" if partly else found.doubt
        if not partly and {word.casefold() for word in words} & {"state", "statewide"}:
            doubt = ""
        return found._replace(said=text, whole=whole and not partly, doubt=doubt)
    return NoPlace(text, *(found or ()))


def _says_nothing(word: str) -> bool:
    return word.casefold() in _FILLERS | _PARTLY and not (word.isupper() and state_code(word))


def state_code_of(text: str) -> str | None:
    """A state by its name in any case, or by two capitals."""
    bare = text.strip(" .")
    return state_code(bare) if len(bare) > 2 or bare.isupper() else None


def pair_of(first: str, second: str) -> Place | NoPlace | None:
    """`Austin` and `TX` with a comma between them; None when they are no pair."""
    state = state_code_of(second)
    if state is None:
        return None
    left = place_of(first, state)
    if isinstance(left, Place) and left.kind != "state" and left.state == state:
        return left._replace(said=f"{first}, {second}", guess="")
    if state_code_of(first) is None:
        return None
    if us().city(f"{first.strip()}, {state}") is None:
        return None
    if state_code_of(first) == state:
        return Place("city", f"{first.strip()}, {state}", state, f"{first}, {second}")
    why = f"it may be the city of {first} in {state}, or the states {first} and {second}"
    return NoPlace(f"{first}, {second}", why, "Write the one that is meant")


def named(kind: Kind, name: str, state: str | None) -> Place | NoPlace:
    """A place out of a column of its kind."""
    said = f"{name}, {state}" if state and kind != "state" else name
    if kind == "state":
        found = _state(name, name)
        return found._replace(doubt="") if isinstance(found, Place) else found
    bare, _, own = name.partition(",")
    own_state = (state_code(own) if own else None) or (state_code(state) if state else None)
    if own_state is None:
        if not state:
            return NoPlace(said, f"a {kind} without its state", "Name the state beside it")
        return NoPlace(said, f"{state} is no state", "Correct it")
    full = f"{bare.strip()}, {own_state}"
    if kind == "city" and any(map(_COUNTY_WORD.fullmatch, bare.split())):
        return named("county", f"{bare.strip()}, {own_state}", None)
    place = Place(kind, full, own_state, said)
    if place.codes:
        return place
    return NoPlace(said, f"no {kind} of that name in {own_state}", _did_you_mean(kind, full))


def _state(text: str, said: str) -> Place | NoPlace:
    code = state_code(text.strip(" ."))
    if code is None:
        return NoPlace(said, "no state of that name", _did_you_mean("state", text))
    twice = len(text) > 2 and us().city(f"{US_STATES[code]}, {code}") is not None
    doubt = f"it may be the state, {code}, or the city of that name" if twice else ""
    return Place("state", code, code, said, doubt=doubt)


def _stated(words: list[str], *, county: bool) -> Place | tuple[str, str] | None:
    """Words of which the last name a state: "oklahoma", "henderson nv", "Travis County Texas"."""
    for length in range(min(_LONGEST_STATE, len(words)), 0, -1):
        last, before = " ".join(words[-length:]), " ".join(words[:-length])
        code = state_code(last)
        if code is None:
            continue
        if not before:
            found = _state(last, last) if len(last) > 2 or last.isupper() else None
            return found if isinstance(found, Place) else None
        for kind in ("county",) if county else ("city",):
            place = Place(kind, f"{before}, {code}", code, "")
            if place.codes:
                return place
        if len(last) == 2 and not last.isupper():
            return None
        kind = "county" if county else "city"
        return f"no {kind} of that name in {code}", _did_you_mean(kind, f"{before}, {code}")
    return None


def _bare(name: str, state: str | None, *, county: bool) -> Place | tuple[str, str] | None:
    """A name without its state: known where the line is about one."""
    kind: Kind = "county" if county else "city"
    if state is not None and (place := Place(kind, f"{name}, {state}", state, "")).codes:
        return place._replace(guess=f"in {state}, as is said beside it")
    if county:
        return f"which {name} County?" if state is None else f"no county of that name in {state}", "Name its state"
    if name.casefold() in _city_names():
        return f"{name} without its state", "Name the state beside it"
    return None


@cache
def _city_names() -> frozenset[str]:
    return frozenset(place.city.casefold() for place in us())


def _did_you_mean(kind: str, name: str) -> str:
    geography = us()
    suggest = {"state": geography.suggest_state, "county": geography.suggest_county, "city": geography.suggest_city}
    meant = suggest[kind](name)
    return f"Did you mean {' or '.join(meant)}?" if meant else "Correct it, or name its postal codes"
