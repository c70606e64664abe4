"""Coverage is held to a naive reading of its entries: enumerate, compare, no cleverness."""

import re
from itertools import combinations, pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from router.terms.checks.page import Page
from router.terms.checks.territory import judge_overlaps
from router.terms.coverage import Coverage, expand
from router.terms.postal import canonical_postal_code, decompose, parse_entry
from router.terms.schema import Contract, CoverageTerms, Exclude
from tests import factory
from tests.examples import examples

digits = st.text("0123456789", min_size=5, max_size=5)
near = st.integers(0, 299).map(lambda number: f"787{number:03d}"[-5:])
codes = st.one_of(near, digits)
ranges = st.tuples(codes, codes).map(lambda pair: "-".join(sorted(pair)))
prefixes = st.text("0123456789", min_size=1, max_size=5).map(lambda start: f"{start}*")
entries = st.lists(st.one_of(codes, ranges, prefixes), max_size=6)

gb_codes = st.from_regex(r"(SW1[AB]?|SW11|M1|M11) [12](AA|AB)", fullmatch=True)
gb_entries = st.lists(st.sampled_from(["SW1", "SW1A", "SW1*", "SW11", "M1", "M1*", "M*", "SW1A 1*", "sw1b2ab", "M11"]))


def named(entry: str, code: str) -> bool:
    """What an entry says, read naively."""
    if entry.endswith("*"):
        return code.startswith(entry[:-1])
    first, _, last = entry.partition("-")
    return first <= code <= (last or first)


def named_gb(entry: str, code: str) -> bool:
    """The same for the UK."""
    if entry.endswith("*"):
        return code.startswith(entry[:-1])
    whole = canonical_postal_code(entry, "GB")
    return code == whole if whole else code.split(" ")[0] == entry


def expanded(included: list[str], excluded: list[str], country: str) -> Coverage:
    """Coverage of these entries, whatever the warnings."""
    terms = CoverageTerms(postal_codes=tuple(included), exclude=Exclude(postal_codes=tuple(excluded)))
    return expand(terms, lists={}, country=country)[0]


@examples(150)
@given(entries, entries, st.lists(codes, min_size=1, max_size=40))
def test_allows_is_the_naive_scan(included: list[str], excluded: list[str], asked: list[str]) -> None:
    """A code is allowed exactly when some entry names it and no excluded one does; the entry named does name it."""
    coverage = expanded(included, excluded, "US")
    for code in [*asked, *(entry[:5] for entry in included if len(entry) != 4 and "*" not in entry)]:
        wanted = any(named(entry, code) for entry in included) and not any(named(entry, code) for entry in excluded)
        assert coverage.allows(code) == wanted
        entry = coverage.entry_for(code)
        assert (entry is not None) == any(named(written, code) for written in included)
        if entry is not None:
            assert named(entry.label.removeprefix("postal_codes: "), code)


@examples(150)
@given(entries, entries, st.lists(codes, min_size=1, max_size=40))
def test_the_unions_say_what_allows_says(included: list[str], excluded: list[str], asked: list[str]) -> None:
    """The sets the index is built from give the same answer as the entries."""
    coverage = expanded(included, excluded, "US")

    def among(code: str, exact: frozenset[str], starts: frozenset[str]) -> bool:
        return code in exact or any(code.startswith(start) for start in starts)

    for code in asked:
        said = among(code, coverage.codes, coverage.prefixes) and not among(
            code, coverage.excluded_codes, coverage.excluded_prefixes
        )
        assert coverage.allows(code) == said


@examples(150)
@given(gb_entries, gb_entries, st.lists(gb_codes, min_size=1, max_size=30))
def test_allows_is_the_naive_scan_in_the_uk(included: list[str], excluded: list[str], asked: list[str]) -> None:
    """Outcodes are exact, `*` is plain characters."""
    coverage = expanded(included, excluded, "GB")
    for code in asked:
        wanted = any(named_gb(one, code) for one in included) and not any(named_gb(one, code) for one in excluded)
        assert coverage.allows(code) == wanted


@examples(300)
@given(st.integers(0, 99_999), st.integers(0, 99_999))
def test_a_decomposed_range_is_the_range(one: int, other: int) -> None:
    """Its parts are exactly the codes of the range, each once, and no ten siblings stand where one prefix would do."""
    low, high = sorted((one, other))
    parts = decompose(f"{low:05d}", f"{high:05d}")
    spans = sorted((int(part.ljust(5, "0")), int(part.ljust(5, "9"))) for part in (*parts.codes, *parts.prefixes))
    assert spans[0][0] == low
    assert spans[-1][1] == high
    assert all(before[1] + 1 == after[0] for before, after in pairwise(spans))
    assert all(len(part) == 5 for part in parts.codes)
    stems = [part[:-1] for part in (*parts.codes, *parts.prefixes) if len(part) > 1]
    assert all(stems.count(stem) < 10 for stem in stems)


@examples(300)
@given(
    st.text(max_size=20) | st.from_regex(r"[A-Za-z0-9 *-]{0,12}", fullmatch=True), st.sampled_from(["US", "CA", "GB"])
)
def test_any_text_is_an_entry_or_an_explained_error(text: str, country: str) -> None:
    """No text breaks the reader, a whole code is an entry, and every error has a mend."""
    whole = canonical_postal_code(text, country)
    if whole is not None and not re.search(r"-\d{4}\s*$", text):
        assert parse_entry(text, country).codes == (whole,)
    _, problems = expand(CoverageTerms(postal_codes=(text,)), lists={}, country=country)
    assert all(problem.message and problem.mend for problem in problems)


sources = st.lists(st.sampled_from(["web", "fax", "pier"]), min_size=1, max_size=2, unique=True) | st.just(["*"])
contracts = st.lists(
    st.tuples(st.lists(st.one_of(near, prefixes), max_size=4), st.lists(prefixes, max_size=1), sources, st.booleans()),
    max_size=6,
)


@examples(300)
@given(contracts)
def test_contracts_that_overlap_are_the_naive_ones(
    drawn: list[tuple[list[str], list[str], list[str], bool]],
) -> None:
    """Two contracts are warned of, once, exactly when they share a source and one names a text that begins the other's
    or is the same, which neither excludes; or when one of them is everywhere.
    """
    covered = []
    for place, (included, excluded, named_sources, everywhere) in enumerate(drawn):
        contract = factory.read(factory.contract(f"c{place}", sources=named_sources), Contract)
        coverage = expanded(included, excluded, "US")
        covered.append((place, contract, Coverage("US", everywhere, coverage.entries, coverage.excluded)))

    def share(one: Contract, other: Contract) -> bool:
        return "*" in {*one.sources, *other.sources} or not {*one.sources}.isdisjoint(other.sources)

    def texts(coverage: Coverage) -> set[str]:
        return coverage.codes | {f"{prefix}*" for prefix in coverage.prefixes}

    def within(text: str, other: str) -> bool:
        return text == other or (other.endswith("*") and text.rstrip("*").startswith(other[:-1]))

    def met(one: Coverage, other: Coverage) -> bool:
        if one.everywhere or other.everywhere:
            return True
        both = {b if within(b, a) else a for a, b in product(texts(one), texts(other)) if within(a, b) or within(b, a)}
        away = {f"{prefix}*" for coverage in (one, other) for prefix in coverage.excluded_prefixes}
        away |= one.excluded_codes | other.excluded_codes
        return any(not any(within(text, out) for out in away) for text in both)

    page = Page("buyers/b.toml")
    judge_overlaps(page, covered)
    found = [(problem.key, problem.message.split()[3]) for problem in page.problems]
    assert len(found) == len(set(found))
    assert set(found) == {
        (f"contracts[{b[0]}].coverage", a[1].id)
        for a, b in combinations(covered, 2)
        if share(a[1], b[1]) and met(a[2], b[2])
    }
