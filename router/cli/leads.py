"""Leads in files, as people have them: JSON, NDJSON, or CSV with whatever its columns are called."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from router.cli.exits import USAGE, CommandError

#: A lead as it will be posted, with the line or number it had in its file.
Numbered = tuple[int, dict[str, Any]]

_TRUE: Final = frozenset({"true", "yes", "1"})


def arguments(parser: argparse.ArgumentParser) -> None:
    """`FILE|- --map --lead-type --format`."""
    parser.add_argument(
        "file", metavar="FILE|-", help="JSON (one lead or a list), NDJSON or CSV; - reads standard input"
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="INCOMING=FIELD",
        help="a column or key that is called otherwise here; may be given several times",
    )
    parser.add_argument("--lead-type", metavar="ID", help="of the leads that do not say theirs")
    parser.add_argument("--format", choices=("json", "ndjson", "csv"), help="when neither name nor content tells")


def read_leads(options: argparse.Namespace) -> list[Numbered]:
    """The leads of `options.file`, renamed and typed. Raises CommandError naming the line that cannot be read."""
    text = _text(options.file)
    names = _names(options.map)
    kind = options.format or _kind(options.file, text)
    found = {"json": _json, "ndjson": _ndjson, "csv": _csv}[kind](text)
    leads = [(number, _shaped(lead, names, options.lead_type)) for number, lead in found]
    if not leads:
        raise CommandError(USAGE, f"{options.file} holds no lead")
    return leads


def _text(name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(USAGE, f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise CommandError(USAGE, f"{name}: not UTF-8 at byte {error.start}", "Save it as UTF-8.") from None


def _names(pairs: list[str]) -> dict[str, str]:
    names = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(incoming and field for incoming, field in names.items()):
        raise CommandError(USAGE, "--map wants INCOMING=FIELD, such as --map zip=postal_code")
    return names


def _kind(name: str, text: str) -> str:
    suffix = Path(name).suffix.lower()
    known = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}.get(suffix)
    if known:
        return known
    if not text.lstrip().startswith(("{", "[")):
        return "csv"
    try:
        json.loads(text)
    except ValueError:
        return "ndjson"
    return "json"


def _json(text: str) -> Iterator[tuple[int, Any]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CommandError(USAGE, f"not JSON: {error}") from None
    yield from enumerate(found if isinstance(found, list) else [found], start=1)


def _ndjson(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise CommandError(USAGE, f"line {number} is not JSON: {error}", "Nothing was sent.") from None


def _csv(text: str) -> Iterator[tuple[int, Any]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            if None in row:
                raise CommandError(USAGE, f"line {rows.line_num} has more cells than the header", "Nothing was sent.")
            lead: dict[str, Any] = {name.strip(): cell for name, cell in row.items() if cell}
            if "test" in lead:
                lead["test"] = str(lead["test"]).lower() in _TRUE
            yield rows.line_num, lead
    except csv.Error as error:
        raise CommandError(USAGE, f"line {rows.reader.line_num} is not CSV: {error}", "Nothing was sent.") from None


def _shaped(lead: Any, names: Mapping[str, str], lead_type: str | None) -> dict[str, Any]:
    """A lead with its keys renamed, at the top level and in `fields`, and its lead type."""
    if not isinstance(lead, dict):
        raise CommandError(USAGE, "a lead is a JSON object, or a list of them", "Nothing was sent.")
    shaped = {names.get(key, key): value for key, value in lead.items()}
    if isinstance(shaped.get("fields"), dict):
        shaped["fields"] = {names.get(key, key): value for key, value in shaped["fields"].items()}
    if lead_type:
        shaped.setdefault("lead_type", lead_type)
    return shaped
