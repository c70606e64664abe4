"""Territory lists as buyers send them: every line is taken, guessed aloud, or said to be unread."""

import json
from pathlib import Path
from typing import Any

import pytest

from router.onboarding.territory import UnreadableSheet, read_territory
from router.onboarding.territory.reading import Territory
from router.onboarding.territory.writing import as_terms, expanded, lists, toml
from router.terms.coverage import codes_in_use, expand
from router.terms.schema import CoverageTerms

CASES = Path(__file__).parents[1] / "cases" / "territory"
INPUTS = sorted(path for path in CASES.iterdir() if path.suffix != ".json")
COVERED = ("postal_codes", "states", "counties", "cities", "radius", "without_codes", "without_states")


def found_in(territory: Territory) -> dict[str, Any]:
    """What a case's JSON says: what is covered, and every line that is not plainly taken."""
    covered = {
        key: [list(one) if isinstance(one, tuple) else one for one in getattr(territory, key)] for key in COVERED
    }
    kinds = ("unread", "guessed", "repeated", "skipped", "remark")
    lines = {kind: [[one.line, one.said, one.read_as] for one in territory.of(kind)] for kind in kinds}
    return {
        "country": territory.country,
        "form": territory.form,
        "coverage": {key: value for key, value in covered.items() if value},
        **{kind: value for kind, value in lines.items() if value},
    }


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_a_list_is_read_as_its_case_says(path: Path) -> None:
    """Each list of tests/cases/territory gives the coverage and the report that stand beside it."""
    wanted = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert found_in(read_territory(path.read_bytes(), country=wanted["country"])) == wanted


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_what_was_read_can_be_used(path: Path) -> None:
    """Lists and coverage table that come out are ones that a contract can be given without an error."""
    wanted = json.loads(path.with_suffix(".json").read_text("utf-8"))
    territory = read_territory(path.read_bytes(), country=wanted["country"])
    coverage, problems = expanded(territory, "coverage/x.csv")
    assert [one for one in problems if one.severity == "error"] == []
    assert coverage.entries


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("zip\n78701\n".encode("utf-8-sig"), "utf-8 with a byte order mark"),
        ("zip\n78701\n".encode("utf-16"), "utf-16 with a byte order mark"),
        ("zip;city\n78701;Ma\xf1ana\n".encode("utf-16-le"), "utf-16-le, by its zero bytes"),
        ("zip;city\n78701;Ma\xf1ana\n".encode("cp1252"), "cp1252, since it is not UTF-8"),
        (b"zip;city\n78701;Ma\x81ana\n", "latin-1, since it is not UTF-8"),
        (b"zip\r78701\r", "utf-8"),
        (b"zip,\0\n78701,\0\n", "utf-8"),
    ],
)
def test_any_encoding_is_read(data: bytes, encoding: str) -> None:
    """Byte order marks, UTF-16 with and without one, old Windows text, bare carriage returns, stray zero bytes."""
    territory = read_territory(data)
    assert territory.encoding == encoding
    assert territory.postal_codes == ("78701",)
    assert territory.of("unread") == []


@pytest.mark.parametrize("start", [b"PK\x03\x04rest", b"%PDF-1.7", b"\xd0\xcf\x11\xe0rest"])
def test_what_is_no_text_is_refused_with_the_mend(start: bytes) -> None:
    """A workbook or a PDF is named as what it is."""
    with pytest.raises(UnreadableSheet) as refused:
        read_territory(start)
    assert "CSV" in refused.value.mend


@pytest.mark.parametrize(
    "name", ["zip", "ZIP Code", "Zip/Postal", "postal_code", "Zip5", "Coverage Zips", "PostCode", "Zip 1"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_columns_are_known_by_any_usual_name(name: str, separator: str) -> None:
    """The column of the codes is found whatever it is called and whatever separates it."""
    text = f"Id{separator}{name}{separator}Rep\n12345{separator}2134{separator}Jo\n12346{separator}78701{separator}Al\n"
    territory = read_territory(text.encode())
    assert territory.postal_codes == ("02134", "78701")
    assert territory.columns[name] == "code"


def test_every_column_of_codes_counts() -> None:
    """Several columns of codes are all read; one that leaves out is read as that."""
    territory = read_territory(b"Zip 1,Zip 2,Excluded Zips\n78701,787xx,78799\n,75001,\n")
    assert territory.postal_codes == ("75001", "787*")
    assert territory.without_codes == ("78799",)


def test_an_unclosed_quote_swallows_nothing() -> None:
    """A quote somebody forgot does not make the rest of the file one cell."""
    rows = "".join(f"{code},TX\n" for code in range(78701, 78736) if code != 78707)
    territory = read_territory(f'zip,st\n"75001,TX\n{rows}'.encode())
    assert "78735" in territory.postal_codes


def test_places_left_out_become_codes() -> None:
    """Coverage can leave out codes and states only: a county or circle that is left out becomes its codes, aloud."""
    territory = read_territory(b"all of Texas\nexcept Travis County, TX and 5 miles around 75201\n")
    assert "78701" in territory.without_codes
    assert "75201" in territory.without_codes
    guesses = {one.said for one in territory.of("guessed")}
    assert {"Travis, TX", "5 miles around 75201"} <= guesses
    terms = as_terms(territory, "coverage/x.csv")
    assert terms.exclude.files == ("coverage/x-except.csv",)
    assert set(lists(territory, "coverage/x.csv")) == {"coverage/x-except.csv"}


def test_the_toml_is_the_coverage() -> None:
    """What is printed for pasting decodes to the same coverage."""
    import tomli
    from msgspec import convert

    territory = read_territory((CASES / "letter.txt").read_bytes())
    printed = tomli.loads(toml(as_terms(territory, "coverage/x.csv")).replace("[contracts.coverage]", ""))
    terms = convert(printed, CoverageTerms)
    again, _ = expand(terms, lists=lists(territory, "coverage/x.csv"), country="US")
    assert codes_in_use(again) == codes_in_use(expanded(territory, "coverage/x.csv")[0])
    assert "97201" not in codes_in_use(again)
    assert "97301" in codes_in_use(again)


def test_a_long_list_is_quick_and_kept_whole() -> None:
    """Forty thousand codes, every one of which comes out, within the time a person waits."""
    from router.terms.geography import us

    codes = sorted(us().codes)
    territory = read_territory(("zip\n" + "\n".join(codes)).encode())
    assert territory.postal_codes == tuple(codes)
    assert territory.lines[0].kind == "taken"


def test_a_line_with_a_code_in_it_is_no_row_of_names() -> None:
    """Else everything above it were taken for a title."""
    territory = read_territory(b"all of Ohio\nzip 9021O, ZIP: 10001-\n30 mi of 85001\n", country="US")
    assert territory.form == "text"
    assert (list(territory.states), list(territory.radius)) == (["OH"], [("85001", 30)])
