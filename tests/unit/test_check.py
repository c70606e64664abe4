"""What `check` refuses and warns of: every kind of finding has a case below `tests/cases/config`."""

import re
from pathlib import Path
from typing import Any

import pytest

from router.terms.check import check, check_buyer
from router.terms.enforced import UNENFORCED
from router.terms.load import load
from router.terms.problems import errors
from router.terms.secrets import references
from tests.config_cases import CASES, findings, lay_out, matches, read_cases

SAMPLE = Path(__file__).parents[2] / "config"
BAD = read_cases("bad")
WARNED = read_cases("warned")


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in BAD])
def test_bad_configurations_are_refused(case: dict[str, Any], tmp_path: Path) -> None:
    """Exactly the expected errors are found, each in its place and in words that help."""
    problems = findings(lay_out(case, tmp_path))
    unexpected = [
        problem.line() for problem in errors(problems) if not any(matches(problem, one) for one in case["expect"])
    ]
    missing = [one for one in case["expect"] if not any(matches(problem, one) for problem in errors(problems))]
    assert (unexpected, missing) == ([], [])
    assert all(problem.mend for problem in problems)
    assert "never" not in case or case["never"] not in " ".join(problem.line() for problem in problems)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in WARNED])
def test_what_is_probably_wrong_is_warned_of(case: dict[str, Any], tmp_path: Path) -> None:
    """The expected warnings are there, and none of them keeps the terms from being used."""
    problems = findings(lay_out(case, tmp_path))
    assert errors(problems) == []
    missing = [one for one in case["expect"] if not any(matches(problem, one) for problem in problems)]
    assert missing == [], [problem.line() for problem in problems]
    assert "never" not in case or case["never"] not in " ".join(problem.line() for problem in problems)


def test_the_base_of_the_cases_is_good() -> None:
    """So that a case's findings come from its changes."""
    problems = findings(CASES / "base")
    assert [problem.line() for problem in problems if "covered by no live contract" not in problem.message] == []


@pytest.mark.parametrize("name", sorted(path.name for path in (CASES / "good").iterdir()))
def test_good_configurations_pass(name: str) -> None:
    """Whole configurations that use the words of the specification have no error."""
    assert [problem.line() for problem in errors(findings(CASES / "good" / name))] == []


def test_the_sample_passes() -> None:
    """What we hand to operators to learn from has no error, and only real postal codes."""
    problems = findings(SAMPLE)
    assert [problem.line() for problem in errors(problems)] == []
    assert {problem.message.partition(" only ")[2][:12] for problem in problems if "coverage" in problem.key} == {
        "approximates"
    }


def test_the_sample_names_its_secrets() -> None:
    """The page in `config/secrets` lists exactly the names that the sample refers to."""
    terms = load(SAMPLE).terms
    assert terms is not None
    listed = set(re.findall(r"^\| `(\w+)` \|", (SAMPLE / "secrets" / "README.md").read_text(), re.MULTILINE))
    assert {reference.removeprefix("secret:") for _, _, reference, _ in references(terms)} == listed


def test_every_row_of_what_is_not_enforced_has_a_case() -> None:
    """Whoever deletes a row deletes its case, and the other way round."""
    keys = {
        re.sub(r"^(contracts\[0\]|endpoints\.crm)\.", "", one["key"])
        for _, case in BAD
        for one in case["expect"]
        if "not enforced yet" in one["says"]
    }
    assert keys == {row.key for row in UNENFORCED}


def test_one_buyer_alone_is_judged_alike() -> None:
    """`check_buyer` finds what `check` finds in that buyer's file."""
    terms = load(SAMPLE).terms
    assert terms is not None
    whole = [problem for problem in check(terms) if problem.file == "buyers/homeguard.toml"]
    assert whole == [problem for problem in check_buyer(terms, "homeguard") if problem.file == "buyers/homeguard.toml"]
    assert whole
