"""Territory lists of any bytes and any mixture of the words buyers use: nothing breaks, and nothing is taken unseen."""

import re
from contextlib import suppress
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from router.onboarding.territory import UnreadableSheet, read_territory
from router.onboarding.territory.writing import expanded
from router.reports.buyer_list import read_list
from router.terms.coverage import codes_in_use
from router.terms.geography import us

WORDS = st.sampled_from([
    "78701", "78702-78705", "787xx", "2134", "O2445", "78701-1234", "92240/41", "850 thru 853", "1.05E+03",
    "99999", "501", "Texas", "TX", "Austin, TX", "Travis County", "New York", "Springfield", "las vegas",
    "henderson nv", "OR", "all of", "except", "no", "plus", "not covered", "10 miles around 03301",
    "25 km of 78701", "most of", "(", ")", ":", ";", ",", "\t", "|", "\n", "\n\n", "zip", "state", "county",
    "Covered", "Y", "N", "#", "-", "\u2013", "\u00a0", "call Pat", '"',
])  # fmt: skip
LISTS = st.lists(WORDS, max_size=40).map(" ".join)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """A file that is no text is refused in words; every other one is read, as a territory and as a buyer's list."""
    with suppress(UnreadableSheet):
        assert read_territory(data).encoding
        read_list(data, country="US", zone=ZoneInfo("America/Chicago"))


@given(LISTS)
def test_what_is_covered_is_what_some_line_says(text: str) -> None:
    """Every entry of the result stands in the report as taken or guessed, and gives coverage that expands."""
    territory = read_territory(text.encode())
    said = {line.read_as for line in territory.lines if line.kind in ("taken", "guessed", "repeated")}
    assert set(territory.postal_codes) <= said
    assert {f"state {name}" for name in territory.states} <= said
    assert {f"city {name}" for name in territory.cities} <= said
    assert {f"county {name}" for name in territory.counties} <= said
    _, problems = expanded(territory, "coverage/x.csv")
    assert not [one for one in problems if one.severity == "error" and one.key not in ("", "exclude")]


@given(LISTS)
def test_every_plain_code_is_somewhere_in_the_report(text: str) -> None:
    """Five digits that a list holds are covered, left out, or in a line that is named as not read: never lost.

    Of a long line the report has the number and the beginning.
    """
    territory = read_territory(text.encode())
    lines = text.splitlines()
    whole = [lines[line.line - 1 : line.line] for line in territory.lines if line.said.endswith("…")]
    reported = " ".join([*(f"{line.said} {line.read_as}" for line in territory.lines), *(one for [one] in whole)])
    for code in set(re.findall(r"(?<![\w/.-])\d{5}(?![\w/.-])", text)):
        assert code in reported, code


@given(
    st.lists(st.sampled_from(sorted(us().codes)), min_size=1, max_size=60),
    st.sampled_from(["\n", ", ", ";", " ", "\t"]),
)
def test_a_plain_list_is_taken_as_it_stands(codes: list[str], between: str) -> None:
    """Codes in use with anything between them come out as exactly those codes."""
    territory = read_territory(between.join(codes).encode())
    coverage, _ = expanded(territory, "coverage/x.csv")
    assert codes_in_use(coverage) == set(codes)
    assert not territory.of("unread")
