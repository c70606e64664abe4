"""Coverage judged across contracts: what each names, where two of one buyer overlap, which codes nobody covers."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, islice, product
from typing import Final

from router.terms.checks.page import Page
from router.terms.coverage import Coverage, Entry, codes_in_use, expand
from router.terms.geography import us
from router.terms.schema import Contract, Terms

_PAIRS_MAX: Final = 20
_MEETINGS_MAX: Final = 500_000
_STATES_SHOWN_MAX: Final = 6
_HINT: Final = "Leads from there stay unsold: find a buyer for them, or live with it"


def judge_coverage(page: Page, contract: Contract, terms: Terms) -> Coverage | None:
    """One contract's coverage, expanded; None when there is none to go on with."""
    if contract.coverage is None:
        mend = "Write [contracts.coverage] with postal_codes, states, files or, if it is meant, everywhere = true"
        page.error("coverage", "is missing, and no coverage never means everywhere", mend)
        return None
    coverage, problems = expand(contract.coverage, lists=terms.lists, country=terms.router.defaults.country)
    inner = page.at("coverage")
    for key, message, mend, severity in problems:
        (inner.error if severity == "error" else inner.warn)(key, message, mend)
    return coverage


def judge_overlaps(page: Page, covered: Sequence[tuple[int, Contract, Coverage]]) -> None:
    """Warn where two live contracts of one buyer and lead type want the same leads: only one can ever get them.

    `covered` holds each contract with its index in the buyer's file.
    """
    alike: dict[tuple[str, str], list[tuple[int, Contract, Coverage]]] = {}
    for entry in covered:
        alike.setdefault((entry[1].lead_type, entry[2].country), []).append(entry)
    for _, same in sorted(alike.items()):
        for first, second, code in islice(_overlaps(same), _PAIRS_MAX) if len(same) > 1 else ():
            one, (index, _, _) = same[first][1], same[second]
            where = f"at {code}" if code else "everywhere"
            message = f"it overlaps with {one.id} {where}, and a buyer gets a lead by one of its contracts only"
            page.warn(
                f"contracts[{index}].coverage", message, "Exclude there what the other covers, if that is not meant"
            )


def _share_a_source(one: Contract, other: Contract) -> bool:
    if "*" in one.sources and "*" in other.sources:
        return True
    return any(_takes_from(one, name) and _takes_from(other, name) for name in (*one.sources, *other.sources))


def _takes_from(contract: Contract, source: str) -> bool:
    return (
        source != "*"
        and ("*" in contract.sources or source in contract.sources)
        and (source not in contract.exclude_sources)
    )


def _overlaps(covered: Sequence[tuple[int, Contract, Coverage]]) -> Iterator[tuple[int, int, str]]:
    """Two places in `covered`, the lower one first, that share a source and whose coverage meets, and a code or prefix
    where it does (empty: everywhere). Each two once.
    """
    judged: set[tuple[int, int]] = set()
    for one, other, text, is_prefix in _meetings(covered):
        pair = (one, other) if one < other else (other, one)
        if pair in judged or (text and any(_excludes(covered[place][2], text, is_prefix) for place in pair)):
            continue
        judged.add(pair)
        if _share_a_source(covered[one][1], covered[other][1]):
            yield *pair, f"{text}*" if is_prefix else text


def _meetings(covered: Sequence[tuple[int, Contract, Coverage]]) -> Iterator[tuple[int, int, str, bool]]:
    """Two places with a text that both name, or that one names and the other's prefix starts; is it a prefix itself?

    A bounded number of them: thousands of contracts that all meet, but share no source, have millions.
    """
    codes: dict[str, list[list[int]]] = {}
    prefixes: dict[str, list[list[int]]] = {}
    for entry, places in _entries(covered):
        for text in entry.codes:
            codes.setdefault(text, []).append(places)
        for text in entry.prefixes:
            prefixes.setdefault(text, []).append(places)
    yield from islice(_on_texts(codes, prefixes), _MEETINGS_MAX)
    everywhere = [place for place, (_, _, coverage) in enumerate(covered) if coverage.everywhere]
    all_of_them = ((one, other, "", False) for one in everywhere for other in range(len(covered)) if one != other)
    yield from islice(all_of_them, _MEETINGS_MAX)


def _entries(covered: Sequence[tuple[int, Contract, Coverage]]) -> Iterable[tuple[Entry, list[int]]]:
    """Each entry with the places that name it: thousands of contracts may mean one state, which is one entry."""
    found: dict[int, tuple[Entry, list[int]]] = {}
    for place, (_, _, coverage) in enumerate(covered):
        for entry in () if coverage.everywhere else coverage.entries:
            found.setdefault(id(entry), (entry, []))[1].append(place)
    return found.values()


def _on_texts(
    codes: dict[str, list[list[int]]], prefixes: dict[str, list[list[int]]]
) -> Iterator[tuple[int, int, str, bool]]:
    """Two entries meet only where the shorter one starts the longer one, so each asks for its own beginnings."""
    lengths = sorted({len(text) for text in prefixes})
    for owners, is_prefix in ((prefixes, True), (codes, False)):
        for text, named in owners.items():
            starts = (text[:length] for length in lengths if length < len(text) + (not is_prefix))
            places = {*chain(*named)}
            shorter = {*chain(*(one for start in starts for one in prefixes.get(start, ())))}
            for one, other in chain(combinations(sorted(places), 2), product(sorted(places), sorted(shorter))):
                if one != other:
                    yield one, other, text, is_prefix


def _excludes(coverage: Coverage, text: str, is_prefix: bool) -> bool:
    return any(text.startswith(entry.prefixes) if is_prefix else entry.holds(text) for entry in coverage.excluded)


def judge_gaps(page: Page, coverages: Iterable[Coverage]) -> None:
    """Warn, on a lead type's page, of US postal codes that none of its live contracts covers."""
    of_us = [coverage for coverage in coverages if coverage.country == "US"]
    if not of_us:
        return
    uncovered = {place.code for place in us()}
    total = len(uncovered)
    for coverage in of_us:
        uncovered.difference_update(codes_in_use(coverage))
        if not uncovered:
            return
    states: dict[str, int] = {}
    for code in uncovered:
        place = us().place(code)
        if place is not None:
            states[place.state] = states.get(place.state, 0) + 1
    most = sorted(states, key=lambda state: (-states[state], state))
    where = ", ".join(most[:_STATES_SHOWN_MAX]) + (", ..." if len(most) > _STATES_SHOWN_MAX else "")
    page.warn("", f"{len(uncovered)} of {total} US postal codes are covered by no live contract ({where})", _HINT)
