"""`lead-router coverage`: lists taken in, drawn, and what nobody covers."""

import json
from pathlib import Path

import pytest

from router.cli import main
from router.cli.exits import DONE, NO, USAGE

CASES = Path(__file__).parents[1] / "cases" / "territory"
CONFIG = Path(__file__).parents[2] / "config"


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


def test_import_says_no_to_a_list_without_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file is no territory; and where no configuration is, it asks whether that is meant."""
    (tmp_path / "empty.csv").write_bytes(b"\n\n")
    assert main(["coverage", "import", str(tmp_path / "empty.csv"), "--config", str(tmp_path)]) == NO
    assert main(["coverage", "import", str(CASES / "letter.txt"), "--config", str(tmp_path)]) == DONE
    assert f"there is no router.toml in {tmp_path}" in capsys.readouterr().out


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


def test_show_draws_the_map_and_says_who_covers_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sample's contracts: a map, a line for each contract, how many buyers at how many codes."""
    out = tmp_path / "all.svg"
    words = ["coverage", "show", "--config", str(CONFIG), "--state", str(tmp_path), "--out", str(out)]
    assert main([*words, "--lead-type", "solar"]) == DONE
    said = capsys.readouterr().out
    assert "brightroof-tx" in said
    assert out.read_text("utf-8").startswith("<svg")
    assert main([*words, "--json", "homeguard"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert [one["contract_id"] for one in found["contracts"]] == [
        "homeguard-atlanta",
        "homeguard-charlotte",
        "homeguard-nashville",
    ]
    assert main([*words, "nobody"]) == USAGE


def test_show_may_go_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--out -` prints the map alone there, and the words to standard error."""
    words = ["coverage", "show", "brightroof-tx", "--config", str(CONFIG), "--state", str(tmp_path), "--out", "-"]
    assert main(words) == DONE
    said = capsys.readouterr()
    assert said.out.startswith("<svg")
    assert "brightroof-tx" in said.err


def test_gaps_without_a_ledger_are_not_weighed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes that nobody covers by state; it says that it knows of no leads."""
    words = ["coverage", "gaps", "--config", str(CONFIG), "--state", str(tmp_path), "--lead-type", "solar"]
    assert main(words) == DONE
    said = capsys.readouterr().out
    assert "410 postal codes that nobody covers" in said
    assert "there is no ledger" in said
    assert main([*words, "--json", "--limit", "3"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert found["ledger"] is None
    assert len(found["lead_types"]["solar"]["rows"]) == 3


@pytest.mark.parametrize(("text", "code"), [("2 weeks", USAGE), ("30d", DONE), ("2026-11-24T00:00:00Z", DONE)])
def test_since_is_an_instant_or_how_long_ago(text: str, code: int, tmp_path: Path) -> None:
    """`--since` takes both forms, and says what it takes otherwise."""
    words = ["coverage", "gaps", "--config", str(CONFIG), "--state", str(tmp_path), "--lead-type", "solar"]
    assert main([*words, "--since", text]) == code
