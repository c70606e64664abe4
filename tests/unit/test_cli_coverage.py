"""`lead-router coverage`: lists taken in, drawn, and what nobody covers."""

import json
from pathlib import Path

import pytest

from router.cli import main
from router.cli.exits import DONE, NO, USAGE

CASES = Path(__file__).parents[1] / "cases" / "territory"


def test_import_writes_the_list_and_prints_the_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The normalised list goes under config/coverage, and the TOML that names it to standard output."""
    config = tmp_path / "config"
    assert main(["coverage", "import", str(CASES / "letter.txt"), "--config", str(config)]) == DONE
    out = capsys.readouterr().out
    assert (config / "coverage/letter.csv").read_text().startswith("postal_code\n597*\n59801\n")
    assert 'files = ["coverage/letter.csv"]' in out
    assert "line 9" in out


def test_import_says_no_when_something_was_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 and the lines at fault; 0 when told that this is accepted."""
    words = ["coverage", "import", str(CASES / "table.csv"), "--config", str(tmp_path), "--json"]
    assert main(words) == NO
    found = json.loads(capsys.readouterr().out)
    assert [line["line"] for line in found["unread"]] == [16, 18, 19, 20, 23, 25]
    assert found["counts"]["unread"] == 6
    assert found["written"] == {"coverage/table.csv": str(tmp_path / "coverage/table.csv")}
    assert main([*words, "--accept-unread"]) == DONE


def test_import_writes_over_nothing_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list of that name that says something else stays, unless --replace is given; a dry run writes nothing."""
    words = ["coverage", "import", str(CASES / "headings.txt"), "--name", "mine", "--config", str(tmp_path)]
    assert main([*words, "--dry-run"]) == DONE
    assert not (tmp_path / "coverage").exists()
    (tmp_path / "coverage").mkdir()
    (tmp_path / "coverage/mine.csv").write_text("postal_code\n10001\n")
    assert main(words) == NO
    assert (tmp_path / "coverage/mine.csv").read_text() == "postal_code\n10001\n"
    assert "--replace" in capsys.readouterr().err
    assert main([*words, "--replace"]) == DONE
    assert "787*" in (tmp_path / "coverage/mine.csv").read_text()
    assert main(words) == DONE


@pytest.mark.parametrize("words", [["nowhere.csv"], [str(CASES / "letter.txt"), "--name", "../x"]])
def test_import_of_nothing_is_usage(words: list[str], tmp_path: Path) -> None:
    """A file that is not there and a name that leads elsewhere are usage errors."""
    assert main(["coverage", "import", *words, "--config", str(tmp_path)]) == USAGE
