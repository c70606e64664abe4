"""Coverage judged across contracts: what each names, where two of one buyer overlap, which codes nobody covers."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from router.terms.checks.page import Page
from router.terms.coverage import Coverage, codes_in_use, expand
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
    kinds = {contract.lead_type for _, contract, _ in covered}
    for kind in sorted(kinds):
        same = [entry for entry in covered if entry[1].lead_type == kind]
        pairs = (met for met in _overlaps(same) if _share_a_source(same[met[0][0]][1], same[met[0][1]][1]))
        for (first, second), code in islice(pairs, _PAIRS_MAX):
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


def _overlaps(covered: Sequence[tuple[int, Contract, Coverage]]) -> Iterator[tuple[tuple[int, int], str]]:
    """Pairs of places in `covered` whose coverage meets, each with a code or prefix where it does.

    Two entries meet only where the shorter one starts the longer one, so each entry asks for its own beginnings.
    """
    owners = _owners(covered)
    seen: set[tuple[int, int]] = set()
    for pair, text, is_prefix in islice(_meetings(owners), _MEETINGS_MAX):
        if pair not in seen and not any(_excludes(covered[place][2], text, is_prefix) for place in pair):
            seen.add(pair)
            yield pair, f"{text}*" if is_prefix else text
    for place, (_, _, coverage) in enumerate(covered):
        for other, (_, _, theirs) in enumerate(covered):
            pair = (min(place, other), max(place, other))
            if coverage.everywhere and place != other and coverage.country == theirs.country and pair not in seen:
                seen.add(pair)
                yield pair, ""


def _owners(covered: Sequence[tuple[int, Contract, Coverage]]) -> dict[tuple[str, str, bool], list[int]]:
    """Who names a text: country, text and whether it is a prefix -> places in `covered`."""
    owners: dict[tuple[str, str, bool], list[int]] = {}
    for place, (_, _, coverage) in enumerate(covered):
        for entry in () if coverage.everywhere else coverage.entries:
            for text, is_prefix in (
                *((text, True) for text in entry.prefixes),
                *((text, False) for text in entry.codes),
            ):
                places = owners.setdefault((coverage.country, text, is_prefix), [])
                if place not in places:
                    places.append(place)
    return owners


def _meetings(owners: dict[tuple[str, str, bool], list[int]]) -> Iterator[tuple[tuple[int, int], str, bool]]:
    """Every pair of places with a text that both name, or that one names and the other's prefix starts."""
    for (country, text, is_prefix), places in owners.items():
        starts = [text[:length] for length in range(1, len(text) + (not is_prefix))]
        others = [*places, *(place for start in starts for place in owners.get((country, start, True), ()))]
        for place in places:
            for other in others:
                if place != other:
                    yield (min(place, other), max(place, other)), text, is_prefix


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
