"""Who covers which postal codes, and which nobody covers, weighed by the leads that came from there.

What counts is buyers, not contracts: two contracts of one buyer never both get a lead.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from router.terms.book import Book
from router.terms.coverage import Coverage, codes_in_use, expand
from router.terms.geography import us
from router.terms.schema import Buyer, Contract, Terms

_STATES_SHOWN: Final = 8


class Territory(NamedTuple):
    """What one contract covers; `live`: it and its buyer are. `codes`: the US postal codes in use."""

    contract_id: str
    buyer_id: str
    lead_type: str
    live: bool
    coverage: Coverage
    codes: frozenset[str]


class Spot(NamedTuple):
    """Where leads come from."""

    lead_type: str
    country: str
    postal_code: str


class Gap(NamedTuple):
    """A postal code that at most one buyer covers. `leads`: how many came from there."""

    lead_type: str
    postal_code: str
    city: str
    state: str
    buyers: int
    buyer_id: str | None
    leads: int


def territories(terms: Terms) -> list[Territory]:
    """What every contract covers, by id. An entry that `check` calls an error covers nothing."""
    found: list[Territory] = []
    for buyer in terms.buyers.values():
        for contract in buyer.contracts:
            if contract.coverage is not None:
                coverage, _ = expand(contract.coverage, lists=terms.lists, country=terms.router.defaults.country)
                found.append(_territory(contract, buyer, coverage))
    return sorted(found)


def territories_of(book: Book) -> list[Territory]:
    """What every contract of a Book covers, by id: the codes it was compiled to."""
    return sorted(_territory(plan.terms, plan.buyer, plan.coverage) for plan in book.contracts.values())


def _territory(contract: Contract, buyer: Buyer, coverage: Coverage) -> Territory:
    live = buyer.status == contract.status == "live"
    codes = frozenset(codes_in_use(coverage))
    return Territory(contract.id, buyer.id, contract.lead_type, live, coverage, codes)


def buyers_at(covered: Iterable[Territory]) -> Counter[str]:
    """How many buyers cover each US postal code; those that nobody covers are left out."""
    of_buyer: dict[str, set[str]] = defaultdict(set)
    for one in covered:
        of_buyer[one.buyer_id] |= one.codes
    found: Counter[str] = Counter()
    for codes in of_buyer.values():
        found.update(codes)
    return found


def states_of(codes: Iterable[str]) -> list[tuple[str, int]]:
    """States by how many of these codes lie there, most first."""
    places = (us().place(code) for code in codes)
    counts = Counter(place.state for place in places if place is not None)
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def summary(covered: Sequence[Territory]) -> list[dict[str, Any]]:
    """A line for each contract: how many codes, in which states most."""
    return [
        {
            "contract_id": one.contract_id,
            "buyer_id": one.buyer_id,
            "lead_type": one.lead_type,
            "live": one.live,
            "country": one.coverage.country,
            "codes": len(one.codes),
            "everywhere": one.coverage.everywhere,
            "states": dict(states_of(one.codes)[:_STATES_SHOWN]),
        }
        for one in covered
    ]


def overlaps(covered: Iterable[Territory]) -> dict[int, int]:
    """How many US postal codes so many buyers cover, from none on."""
    counts = buyers_at(covered)
    found = Counter(counts.values())
    found[0] = len(us()) - len(counts)
    return dict(sorted(found.items()))


# -- gaps ----------------------------------------------------------------------------------------


def gaps(covered: Sequence[Territory], demand: Mapping[Spot, int], lead_types: Iterable[str]) -> dict[str, list[Gap]]:
    """By lead type: every postal code that no live contract or one buyer's only covers, most leads first."""
    return {
        kind: _gaps_of(kind, [one for one in covered if one.live and one.lead_type == kind], demand)
        for kind in lead_types
    }


def _gaps_of(kind: str, covered: Sequence[Territory], demand: Mapping[Spot, int]) -> list[Gap]:
    home = {code: demand.get(Spot(kind, "US", code), 0) for code in us().codes}
    buyers, alone = _covering(covered)
    found = [
        _gap(kind, code, buyers.get(code, 0), alone.get(code), leads)
        for code, leads in home.items()
        if buyers.get(code, 0) < 2
    ]
    elsewhere = [
        spot for spot in demand if spot.lead_type == kind and not (spot.country == "US" and spot.postal_code in home)
    ]
    for spot in elsewhere:
        who = {one.buyer_id for one in covered if _takes(one.coverage, spot)}
        if len(who) < 2:
            found.append(_gap(kind, spot.postal_code, len(who), next(iter(who), None), demand[spot]))
    return sorted(found, key=lambda gap: (-gap.leads, gap.buyers, gap.postal_code))


def _covering(covered: Iterable[Territory]) -> tuple[Counter[str], dict[str, str]]:
    """How many buyers cover each code, and the first that does."""
    covered = list(covered)
    first: dict[str, str] = {}
    for one in covered:
        for code in one.codes - first.keys():
            first[code] = one.buyer_id
    return buyers_at(covered), first


def _takes(coverage: Coverage, spot: Spot) -> bool:
    return coverage.country == spot.country and coverage.allows(spot.postal_code)


def _gap(kind: str, code: str, buyers: int, buyer_id: str | None, leads: int) -> Gap:
    place = us().place(code)
    city, state = (place.city, place.state) if place is not None else ("", "")
    return Gap(kind, code, city, state, buyers, buyer_id if buyers else None, leads)


def gaps_summary(found: Sequence[Gap], leads: int, *, rows_max: int | None = None) -> dict[str, Any]:
    """A lead type's gaps in numbers, by state, and the weightiest of them. `leads`: all that came, of this type."""
    of = {buyers: [gap for gap in found if gap.buyers == buyers] for buyers in (0, 1)}
    states: dict[str, dict[str, int]] = {}
    for gap in found:
        at = states.setdefault(gap.state, {"none": 0, "one": 0, "leads_none": 0, "leads_one": 0})
        word = "one" if gap.buyers else "none"
        at[word] += 1
        at[f"leads_{word}"] += gap.leads
    return {
        "none": len(of[0]),
        "one": len(of[1]),
        "leads": leads,
        "leads_none": sum(gap.leads for gap in of[0]),
        "leads_one": sum(gap.leads for gap in of[1]),
        "states": dict(
            sorted(states.items(), key=lambda entry: (-entry[1]["leads_none"], -entry[1]["none"], entry[0]))
        ),
        "rows": [gap._asdict() for gap in found[:rows_max]],
    }
