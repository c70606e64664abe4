"""The pieces of one line or cell -> what it covers, what it leaves out, and what nobody can tell.

A place beside codes is hard: "henderson nv 89002 89011" means the codes, "all of Arizona, 86401" the state, and
"Oklahoma, 67001" (a code of Kansas) the state as well. So a place is only a name for codes that stand behind it and lie
in its state, or before it and lie in the place itself, unless the line says that all of it is meant.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from router.onboarding.territory.places import NoPlace, Place, pair_of, place_of, state_code_of
from router.onboarding.territory.wording import (
    Again,
    Aside,
    Circle,
    Codes,
    Piece,
    Reader,
    Sign,
    Unclear,
    Without,
    Words,
    pieces_of,
    plain,
)
from router.terms.geography import us
from router.terms.postal import EntryError, parse_entry

Meant = Codes | Circle | Place


class Said(NamedTuple):
    """One thing a line says. `what` is None for a remark, and for what is unread, which has a `why`.

    `label`: a place that only names the codes beside it.
    """

    said: str
    what: Meant | None = None
    without: bool = False
    label: bool = False
    guess: str = ""
    why: str = ""
    mend: str = ""


_Item = Piece | Place | NoPlace


def understand(text: str, reader: Reader, *, state: str | None = None, without: bool = False) -> list[Said]:
    """Everything that a line or cell says. `state`: that it is about; `without`: it stands among exclusions."""
    items = _places(list(pieces_of(plain(text), reader)), reader, state)
    said: list[Said] = []
    out, opened, since = without, False, 0
    for at, item in enumerate(items):
        match item:
            case Without():
                out, opened, since = not without, _inside(items, at), len(said)
            case Again():
                out = without
            case Sign(")") if opened:
                said += _nothing_left_out(said, since)
                out, opened = without, False
            case Sign() | Aside():
                pass
            case Words(""):
                pass
            case Words(words):
                said.append(Said(words))
            case NoPlace(words, why, mend):
                said.append(Said(words, why=why, mend=mend, without=out))
            case Unclear(words, why, mend):
                said.append(Said(words, why=why, mend=mend, without=out))
            case Place():
                label = _labels(items, at)
                if item.doubt and not label:
                    said.append(Said(item.said, without=out, why=item.doubt, mend="Ask for the postal codes"))
                else:
                    said.append(Said(item.said, item, without=out, label=label, guess=item.guess))
            case Codes() | Circle():
                said.append(Said(item.said, item, without=out, guess=item.guess))
    if out and not without:
        said += _nothing_left_out(said, since)
    return said


def _nothing_left_out(said: list[Said], since: int) -> list[Said]:
    """`78799 (not covered)`: an exception without codes behind it is one of what stands before it, or of nothing."""
    if any(one.what is not None or one.why for one in said[since:]):
        return []
    before = next((at for at in range(since - 1, -1, -1) if said[at].what is not None), None)
    if before is None:
        return []
    one = said[before]
    why = "an exception is said beside it, and it is unclear of what"
    said[before] = Said(one.said, why=why, mend="Write it among what is covered or what is not")
    return []


def home_states(entries: Iterable[str], country: str = "US") -> Counter[str]:
    """How many codes in use of which state these entries hold."""
    found: Counter[str] = Counter()
    for entry in entries:
        try:
            parsed = parse_entry(entry, country)
        except EntryError:
            continue
        for code in (*parsed.codes, *(code for prefix in parsed.prefixes for code in us().starting(prefix))):
            place = us().place(code)
            if place is not None:
                found[place.state] += 1
    return found


# -- places --------------------------------------------------------------------------------------


def _places(pieces: Sequence[Piece], reader: Reader, state: str | None) -> list[_Item]:
    """Words become places, `Austin` and `, TX` one; a joining "OR" between codes is no state."""
    items: list[_Item] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        if not isinstance(piece, Words) or reader.country != "US":
            items.append(piece)
            at += 1
            continue
        pair = _pair(pieces, at)
        if pair is not None:
            items.append(pair)
            at += 3
            continue
        if not _joins(pieces, at):
            items.append(_place(pieces, at, state))
        at += 1
    return items


def _pair(pieces: Sequence[Piece], at: int) -> Place | NoPlace | None:
    if at + 2 >= len(pieces) or pieces[at + 1] != Sign(",") or not isinstance(pieces[at + 2], Words):
        return None
    return pair_of(pieces[at].said, pieces[at + 2].said)


def _joins(pieces: Sequence[Piece], at: int) -> bool:
    between = at > 0 and at + 1 < len(pieces) and all(isinstance(pieces[at + step], Codes) for step in (-1, 1))
    return between and len(pieces[at].said) == 2 and state_code_of(pieces[at].said) is not None


def _place(pieces: Sequence[Piece], at: int, state: str | None) -> Words | Place | NoPlace:
    """What a run of words names, with the state of the codes beside it where it does not name its own."""
    text = pieces[at].said
    found = place_of(text, state)
    if isinstance(found, NoPlace) and found.why and state is None:
        homes = home_states(entry for codes in _neighbours(pieces, at) for entry in codes.entries)
        if homes:
            again = place_of(text, homes.most_common(1)[0][0])
            found = again if isinstance(again, Place) else found
    if isinstance(found, NoPlace) and not found.why:
        return Words(text if found.said else "")
    return found


def _neighbours(items: Sequence[_Item], at: int, *, behind: bool = True, before: bool = True) -> list[Codes]:
    """Codes beside a place, up to the next place, "except" or "plus"."""
    found: list[Codes] = []
    ways = [range(at + 1, len(items))] * behind + [range(at - 1, -1, -1)] * before
    for way in ways:
        for step in way:
            item = items[step]
            if isinstance(item, Place | NoPlace | Without | Again):
                break
            if isinstance(item, Words) and isinstance(place_of(item.said), Place):
                break
            if isinstance(item, Codes):
                found.append(item)
    return found


def _labels(items: Sequence[_Item], at: int) -> bool:
    """Whether the place at `at` only names the codes beside it."""
    place = items[at]
    assert isinstance(place, Place)
    if place.whole:
        return False
    behind = home_states(entry for codes in _neighbours(items, at, before=False) for entry in codes.entries)
    if behind and behind[place.state] * 2 > behind.total():
        return True
    within = set(place.codes)
    before = [entry for codes in _neighbours(items, at, behind=False) for entry in codes.entries]
    return bool(before) and all(_holds_some(within, entry) for entry in before)


def _holds_some(codes: set[str], entry: str) -> bool:
    parsed = parse_entry(entry, "US")
    return any(
        code in codes for code in (*parsed.codes, *(code for start in parsed.prefixes for code in us().starting(start)))
    )


def _inside(items: Sequence[_Item], at: int) -> bool:
    """Whether a parenthesis is open at this place."""
    signs = [item.said for item in items[:at] if isinstance(item, Sign)]
    return signs.count("(") > signs.count(")")
