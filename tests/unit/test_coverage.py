"""Coverage: what entries mean, what is wrong with them, and what to write instead."""

from typing import Any

import pytest

from router.terms.coverage import Coverage, CoverageProblem, canonical_postal_code, expand, parse_entry
from router.terms.postal import EntryError, Parsed, decompose
from router.terms.schema import CoverageTerms, Exclude, Radius


def read(
    terms: CoverageTerms, *, lists: dict[str, str] | None = None, country: str = "US"
) -> tuple[Coverage, list[CoverageProblem]]:
    """Expand with no lists by default."""
    return expand(terms, lists=lists or {}, country=country)


def clean(*codes: str, **more: Any) -> Coverage:
    """Coverage from entries that nothing is wrong with."""
    coverage, problems = read(CoverageTerms(postal_codes=codes, **more))
    assert [problem for problem in problems if problem.severity == "error"] == []
    return coverage


# -- postal codes as text ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "country", "code"),
    [
        ("78701", "US", "78701"),
        (" 78701 ", "US", "78701"),
        ("78701-1234", "US", "78701"),
        ("m5v3l9", "CA", "M5V 3L9"),
        ("M5V  3L9", "CA", "M5V 3L9"),
        ("m 5v3 l9", "CA", "M5V 3L9"),
        ("sw1a1aa", "GB", "SW1A 1AA"),
        ("M1 1AE", "GB", "M1 1AE"),
        ("b33 8th", "GB", "B33 8TH"),
        ("cr2 6xh", "GB", "CR2 6XH"),
        ("DN55 1PT", "GB", "DN55 1PT"),
        ("W1A 0AX", "GB", "W1A 0AX"),
        ("EC1A 1BB", "GB", "EC1A 1BB"),
        ("gir0aa", "GB", "GIR 0AA"),
    ],
)
def test_whole_codes_in_any_spelling_have_one_form(text: str, country: str, code: str) -> None:
    """Case and spacing do not matter; ZIP+4 is its ZIP."""
    assert canonical_postal_code(text, country) == code


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("7870", "US"), ("787XX", "US"), ("787011", "US"), ("78701 1234", "US"), ("", "US"), ("７８７０１", "US"),
        ("78701-12", "US"), ("-8701", "US"), ("+8701", "US"), ("M5V 3L9", "US"),
        ("M5V", "CA"), ("D5V 3L9", "CA"), ("M5O 3L9", "CA"), ("M5V-3L9", "CA"),
        ("SW1A", "GB"), ("QW1A 1AA", "GB"), ("SW1A 1AC", "GB"), ("GIR 0AB", "GB"), ("SW1I 1AA", "GB"),
        ("10115", "DE"), ("78701", ""),
    ],
)  # fmt: skip
def test_what_is_not_a_whole_code_is_none(text: str, country: str) -> None:
    """Nothing is padded or completed: four digits, masked codes and parts of codes are not codes."""
    assert canonical_postal_code(text, country) is None


# -- entries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "country", "parsed"),
    [
        ("78701", "US", Parsed(("78701",))),
        ("787*", "US", Parsed((), ("787",))),
        ("78701*", "US", Parsed(("78701",))),
        ("78702-78705", "US", Parsed(("78702", "78703", "78704", "78705"))),
        ("78702 - 78703", "US", Parsed(("78702", "78703"))),
        ("78701-78701", "US", Parsed(("78701",))),
        ("78700-78799", "US", Parsed((), ("787",))),
        ("78699-78800", "US", Parsed(("78699", "78800"), ("787",))),
        ("00000-99999", "US", Parsed((), tuple("0123456789"))),
        ("M5V", "CA", Parsed((), ("M5V ",))),
        ("m5*", "CA", Parsed((), ("M5",))),
        ("M5V 3*", "CA", Parsed((), ("M5V 3",))),
        ("SW1", "GB", Parsed((), ("SW1 ",))),
        ("SW1*", "GB", Parsed((), ("SW1",))),
        ("SW1A *", "GB", Parsed((), ("SW1A ",))),
        ("SW1A 1AA*", "GB", Parsed(("SW1A 1AA",))),
        ("sw1a1aa", "GB", Parsed(("SW1A 1AA",))),
    ],
)
def test_entries_become_codes_and_prefixes(text: str, country: str, parsed: Parsed) -> None:
    """A range is the fewest codes and prefixes; an outcode ends with its space; `*` is plain characters."""
    assert parse_entry(text, country) == parsed


@pytest.mark.parametrize(
    ("text", "country", "mend"),
    [
        ("2134", "US", 'write "02134"'),
        ("501", "US", 'write "00501", or "501*" for every code that starts so'),
        ("787xx", "US", 'write "787*"'),
        ("021XX", "US", 'write "021*"'),
        ("787??", "US", 'write "787*"'),
        ("02199-0001", "US", 'write "02199"'),
        ("78705-78702", "US", 'write "78702-78705"'),
        ("01002–01009", "US", 'write "01002-01009"'),
        ("850 thru 853", "US", 'write "78701", "78702-78705" or "787*"'),
        ("85000 thru 85399", "US", 'write "85000-85399"'),
        ("92234-36", "US", 'write "92234-92236"'),
        ("O2445", "US", 'write "02445"'),
        ("2134.0", "US", 'write "02134"'),
        ("1.05E+03", "US", "take the codes from the original, as text"),
        ("2138, 2139", "US", "write one entry for each"),
        ("Middlesex County", "US", "put it under states, counties or cities"),
        ("", "US", "take the entry out"),
        ("*", "US", "write everywhere = true instead"),
        ("M5V 3L9", "US", 'set country = "CA"'),
        ("7*8", "US", 'write "78701", "78702-78705" or "787*"'),
        ("M5V3*", "CA", 'write "M5V 3*", with its space'),
        ("M5V 3L", "CA", 'write "M5V 3L*"'),
        ("M5", "CA", 'write "M5*"'),
        ("M5V-M5X", "CA", "write each area, or a prefix with *"),
        ("D1A", "CA", 'write "M5V 3L9", "M5V" or "M5*"'),
        ("SW1A 1", "GB", 'write "SW1A 1*"'),
        ("SW1A1*", "GB", 'write "SW1A 1*", with its space'),
        ("QQ1", "GB", 'write "SW1A 1AA", "SW1A" or "SW1*"'),
        ("78701", "GB", 'set country = "US"'),
        ("*", "GB", 'write "SW1A 1AA", "SW1A" or "SW1*"'),
        ("", "GB", "take the entry out"),
    ],
)
def test_a_bad_entry_says_what_to_write(text: str, country: str, mend: str) -> None:
    """Territory lists as they really come are not guessed at; each error carries the entry that was meant."""
    with pytest.raises(EntryError) as caught:
        parse_entry(text, country)
    assert caught.value.mend == mend


def test_an_entry_is_shown_short_and_printable() -> None:
    """A megabyte of noise in an entry does not come back in the error."""
    with pytest.raises(EntryError) as caught:
        parse_entry("\x1b[31m" * 1000, "US")
    assert len(caught.value.message) < 120
    assert "\x1b" not in caught.value.message


def test_decomposition_is_minimal() -> None:
    """A range from inside one prefix to inside another is single codes at the ends and prefixes between."""
    assert decompose("19998", "30001") == Parsed(("19998", "19999", "30000", "30001"), ("2",))


# -- coverage -------------------------------------------------------------------------------------------


def test_coverage_allows_what_it_names_and_nothing_else() -> None:
    """Codes, ranges and prefixes together; what is excluded wins."""
    coverage = clean("78701", "78704-78706", "733*", exclude=Exclude(postal_codes=("73301", "78705")))
    allowed = {code for code in (f"{number:05d}" for number in range(73000, 79000)) if coverage.allows(code)}
    assert allowed == {"78701", "78704", "78706"} | {f"733{rest:02d}" for rest in range(100)} - {"73301"}


def test_everywhere_is_everything_but_what_is_excluded() -> None:
    """`exclude` wins over `everywhere` too."""
    coverage, problems = read(CoverageTerms(everywhere=True, exclude=Exclude(postal_codes=("787*",))))
    assert problems == []
    assert coverage.allows("10001")
    assert not coverage.allows("78701")
    assert coverage.entry_for("10001") is None


def test_an_outcode_does_not_take_in_its_longer_neighbours() -> None:
    """`SW1` covers SW1 alone, `SW1*` covers SW1A as well."""
    exact, _ = read(CoverageTerms(country="GB", postal_codes=("SW1",)))
    plain, _ = read(CoverageTerms(country="GB", postal_codes=("SW1*",)))
    assert [exact.allows("SW1 1AA"), exact.allows("SW1A 1AA")] == [True, False]
    assert [plain.allows("SW1 1AA"), plain.allows("SW1A 1AA")] == [True, True]


def test_the_entry_that_allows_a_code_is_named_as_written() -> None:
    """Traces name the written entry: the code itself, its range, its prefix, its state, or its file."""
    terms = CoverageTerms(
        postal_codes=("78701", "78703", "78704-78706", "733*"), states=("OK",), files=("coverage/a.csv",)
    )
    coverage, _ = read(terms, lists={"coverage/a.csv": "10001\n"})
    labels = {code: getattr(coverage.entry_for(code), "label", None) for code in
              ("78701", "78703", "78705", "73399", "73008", "10001", "10002")}  # fmt: skip
    assert labels == {
        "78701": "postal_codes: 78701", "78703": "postal_codes: 78703", "78705": "postal_codes: 78704-78706",
        "73399": "postal_codes: 733*", "73008": "states: OK", "10001": "files: coverage/a.csv", "10002": None,
    }  # fmt: skip
    excluding = clean("787*", exclude=Exclude(postal_codes=("78799", "78798")))
    exclusion = excluding.exclusion_for("78799")
    assert exclusion is not None
    assert (exclusion.label, exclusion.codes) == ("postal_codes: 78799", ("78799",))
    assert excluding.exclusion_for("78701") is None


def test_unions_of_codes_and_prefixes() -> None:
    """What the index reads: all exact codes and prefixes, included and excluded."""
    coverage = clean("78701", "78700-78709", "733*", exclude=Exclude(postal_codes=("7330*", "73399")))
    assert coverage.codes == {"78701"}
    assert coverage.prefixes == {"7870", "733"}
    assert coverage.excluded_codes == {"73399"}
    assert coverage.excluded_prefixes == {"7330"}


def test_places_are_expanded_and_warned_about() -> None:
    """State, county, city and circle become codes, each with a warning that it only approximates."""
    coverage, problems = read(
        CoverageTerms(
            states=("OK",),
            counties=("Travis, TX",),
            cities=("Boston, MA",),
            radius=(Radius(center="10001", miles=2),),
            exclude=Exclude(states=("TX",)),
        )
    )
    assert {(problem.key, problem.severity) for problem in problems} == {
        ("states[0]", "warning"), ("counties[0]", "warning"), ("cities[0]", "warning"), ("radius[0]", "warning"),
        ("exclude.states[0]", "warning"),
    }  # fmt: skip
    assert all("approximates" in problem.message for problem in problems)
    assert all(entry.approximate for entry in coverage.entries)
    assert [coverage.allows(code) for code in ("73008", "02108", "10001", "78701")] == [True, True, True, False]


def test_unknown_places_are_errors_with_a_suggestion() -> None:
    """Each names its key and what may have been meant."""
    _, problems = read(
        CoverageTerms(
            states=("Oklahomaa",),
            counties=("Baltimore, MD", "Travis"),
            cities=("Austn, TX",),
            radius=(Radius(center="99999", miles=5), Radius(center="78701", miles=0)),
        )
    )
    assert [(problem.key, problem.mend) for problem in problems if problem.severity == "error"] == [
        ("states[0]", 'did you mean "OK"?'),
        ("counties[0]", 'did you mean "Baltimore City, MD" or "Baltimore County, MD"?'),
        ("counties[1]", 'write it as "Travis, TX"'),
        ("cities[0]", 'did you mean "Austin, TX" or "Justin, TX" or "Easton, TX"?'),
        ("radius[0].center", "write the five digits of a postal code in use that has a place on the map"),
        ("radius[1].miles", "write the distance in miles"),
    ]


def test_places_are_known_for_the_us_only() -> None:
    """A Canadian coverage by province, city or circle is an error, not an empty one."""
    terms = CoverageTerms(
        country="CA", postal_codes=("M5V",), states=("ON",), cities=("Toronto, ON",),
        radius=(Radius(center="M5V 3L9", miles=5),),
    )  # fmt: skip
    _, problems = read(terms)
    assert [(problem.key, problem.severity) for problem in problems] == [
        ("states", "error"), ("cities", "error"), ("radius", "error"),
    ]  # fmt: skip


def test_a_country_without_known_codes_is_an_error() -> None:
    """Its own country goes before the default one; neither is taken blindly."""
    assert read(CoverageTerms(country="DE", postal_codes=("10115",)))[1][0].key == "country"
    assert read(CoverageTerms(postal_codes=("10115",)), country="DE")[1][0].severity == "error"
    assert read(CoverageTerms(postal_codes=("M5V",)), country="CA")[1] == []


def test_nothing_named_is_an_error_and_never_everywhere() -> None:
    """An empty coverage, and one whose excludes take everything away again, name no code."""
    coverage, problems = read(CoverageTerms())
    assert [(problem.key, problem.severity) for problem in problems] == [("", "error")]
    assert not coverage.allows("78701")
    _, problems = read(CoverageTerms(postal_codes=("78701", "787*"), exclude=Exclude(postal_codes=("78700-78799",))))
    assert [(problem.key, problem.severity) for problem in problems] == [("exclude", "error")]


def test_a_bad_entry_is_not_reported_as_nothing_named_too() -> None:
    """One mistake, one error."""
    _, problems = read(CoverageTerms(postal_codes=("2134",)))
    assert [problem.key for problem in problems] == ["postal_codes[0]"]


def test_codes_not_in_use_are_warned_about() -> None:
    """Single codes, prefixes and ranges without one code in use; a range with gaps is fine."""
    _, problems = read(CoverageTerms(postal_codes=("78701", "99999", "000*", "00000-00002", "78700-78710")))
    assert [(problem.key, problem.severity) for problem in problems] == [
        ("postal_codes[1]", "warning"), ("postal_codes[2]", "warning"), ("postal_codes[3]", "warning"),
    ]  # fmt: skip


def test_excludes_that_exclude_nothing_are_warned_about() -> None:
    """A code outside the coverage, named; one inside a prefix, a prefix over a code, or under everywhere is quiet."""
    _, problems = read(
        CoverageTerms(
            postal_codes=("787*", "73301"),
            exclude=Exclude(postal_codes=("02134", "78799", "733*", "10*"), files=("out.txt",)),
        ),
        lists={"out.txt": "90210\n"},
    )
    assert [(problem.key, problem.severity) for problem in problems] == [
        ("exclude.postal_codes", "warning"), ("exclude.postal_codes", "warning"), ("exclude.files", "warning"),
    ]  # fmt: skip
    assert problems[0].message.startswith("02134 ")
    assert problems[1].message.startswith("postal_codes: 10* ")


def test_everywhere_beside_other_entries_is_warned_about() -> None:
    """One of the two was not meant."""
    coverage, problems = read(CoverageTerms(everywhere=True, postal_codes=("78701",)))
    assert [(problem.key, problem.severity) for problem in problems] == [("everywhere", "warning")]
    assert coverage.allows("10001")


# -- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "78701\n78702\n",
        "# ours\n\n 78701 \r\n78702-78702\r\n",
        "postal_code\n78701\n78702",
        "\ufeffpostal_code,city\n78701,Austin\n\n# gone\n78702,Austin\n",
        'city;Postal_Code\n"Austin; TX";"78701"\nAustin;78702\n;\n',
        "postal_code\tcity\n78701\tAustin\n78702\tAustin\n",
        '"postal_code","note"\n"78701","two\nlines"\n"78702",""\n',
        "78701\n78702\n78701\n",
    ],
)
def test_files_are_lists_or_csv(text: str) -> None:
    """One entry a line, or the column of any spreadsheet's CSV; comments and repetitions are harmless."""
    coverage, problems = read(CoverageTerms(files=("f",)), lists={"f": text})
    assert problems == []
    assert coverage.codes == {"78701", "78702"}


@pytest.mark.parametrize(
    ("text", "start", "mend"),
    [
        ("78701\n\n2134\n", 'f line 3: "2134" has 4 digits', 'write "02134"'),
        ("# c\nZip Code,City\n78701,x\n", "f line 2: a CSV without", 'rename column "zip code" to postal_code'),
        ("a,b\n", "f line 1: a CSV", "name the column of the codes postal_code, or write one a line"),
        ('postal_code,n\n"78701","a\nb"\n7870,x\n', 'f line 4: "7870"', 'write "07870"'),
        ("n,postal_code\nx\n", 'f line 2: "" is empty', "take the entry out"),
        ("# nothing\n\n", "f names no code", "write one code a line, or leave the file out"),
        ("postal_code,x\n", "f names no code", "write one code a line, or leave the file out"),
        ("postal_code,x\n" + "1" * 200_000, "f line 2: not readable as CSV", "save the file as plain CSV"),
    ],
)
def test_a_fault_in_a_file_names_its_line(text: str, start: str, mend: str) -> None:
    """The file, the line as an editor counts it, and what to write."""
    _, problems = read(CoverageTerms(files=("f",)), lists={"f": text})
    assert [(problem.key, problem.severity) for problem in problems] == [("files[0]", "error")]
    assert problems[0].message.startswith(start)
    assert problems[0].mend == mend


def test_a_file_that_is_not_there_is_an_error() -> None:
    """Never an empty list."""
    _, problems = read(CoverageTerms(postal_codes=("78701",), files=("gone.csv",)))
    assert [(problem.key, problem.severity) for problem in problems] == [("files[0]", "error")]


def test_faults_are_bounded() -> None:
    """A file full of faults tells the first twenty and counts the rest."""
    _, problems = read(CoverageTerms(files=("f",)), lists={"f": "bad!\n" * 1000})
    assert len(problems) == 21
    assert "980 more" in problems[-1].message


def test_a_million_codes_simply_work() -> None:
    """Repeated a hundredfold, with a range over everything beside them."""
    _, problems = read(
        CoverageTerms(files=("f",), postal_codes=("00000-99999",)),
        lists={"f": "\n".join(f"787{number % 100:02d}" for number in range(1_000_000))},
    )
    assert not [problem for problem in problems if problem.severity == "error"]
