"""Leads in files: JSON, NDJSON and CSV, with other people's names for things."""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from router.cli import leads
from router.cli.exits import USAGE, CommandError


def read(path: Path | str, *words: str) -> list[leads.Numbered]:
    """The leads of a file as the command line gives them."""
    parser = argparse.ArgumentParser()
    leads.arguments(parser)
    return leads.read_leads(parser.parse_args([str(path), *words]))


def written(folder: Path, name: str, text: str) -> Path:
    """A file with that text."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "numbers"),
    [
        ("one.json", '{"zip": "78701"}', [1]),
        ("many.json", '[{"zip": "78701"}, {"zip": "78701"}]', [1, 2]),
        ("pretty.json", '{\n  "zip": "78701"\n}', [1]),
        ("lines.ndjson", '{"zip": "78701"}\n\n{"zip": "78701"}\n', [1, 3]),
        ("lines.txt", '{"zip": "78701"}\n{"zip": "78701"}\n', [1, 2]),
        ("table.csv", "zip\n78701\n78701\n", [2, 3]),
        ("bom.csv", "\ufeffzip\r\n78701\r\n", [2]),
    ],
)
def test_each_format_is_recognised(tmp_path: Path, name: str, text: str, numbers: list[int]) -> None:
    """By name or by content; every lead keeps the line (or number) it had."""
    found = read(written(tmp_path, name, text))
    assert [number for number, _ in found] == numbers
    assert all(lead == {"zip": "78701"} for _, lead in found)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads what is piped in."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"phone": "1"}\n{"phone": "2"}')))
    assert [lead["phone"] for _, lead in read("-")] == ["1", "2"]


def test_map_and_lead_type(tmp_path: Path) -> None:
    """Columns are renamed, at the top and in `fields`; a lead type fills in where there is none."""
    path = written(tmp_path, "x.json", '[{"zip": "1", "fields": {"tel": "2"}}, {"lead_type": "auto"}]')
    found = [lead for _, lead in read(path, "--map", "zip=postal_code", "--map", "tel=phone", "--lead-type", "solar")]
    assert found == [{"postal_code": "1", "fields": {"phone": "2"}, "lead_type": "solar"}, {"lead_type": "auto"}]


def test_csv_cells(tmp_path: Path) -> None:
    """Leading zeros stay, empty cells are absent, `test` is a boolean, quoted commas are text."""
    path = written(tmp_path, "x.csv", 'postal_code,name,email,test\n00501,"Ana, B.",,yes\n')
    assert read(path) == [(2, {"postal_code": "00501", "name": "Ana, B.", "test": True})]


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("x.ndjson", '{"a": 1}\n{"a":\n', "line 2"),
        ("x.csv", "a,b\n1,2\n1,2,3\n", "line 3"),
        ("x.csv", 'a,b\n1,"2" 3\n', "line 2"),
        ("x.json", "[1]", "a JSON object"),
        ("x.json", "{", "not JSON"),
        ("x.csv", "a,b\n", "no lead"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, place: str) -> None:
    """Usage, the line, and nothing is sent."""
    options: tuple[str, ...] = ("--format", "json") if text == "{" else ()
    with pytest.raises(CommandError, match=place) as caught:
        read(written(tmp_path, name, text), *options)
    assert caught.value.code == USAGE


@pytest.mark.parametrize("words", [["none.json"], ["x.json", "--map", "zip"], ["latin.csv"]])
def test_bad_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[Any]) -> None:
    """No such file, a map without its other half, a file that is not UTF-8."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "x.json", "{}")
    (tmp_path / "latin.csv").write_bytes(b"name\nJos\xe9\n")
    with pytest.raises(CommandError) as caught:
        read(words[0], *words[1:])
    assert caught.value.code == USAGE
