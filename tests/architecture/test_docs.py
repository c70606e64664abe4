"""The documentation says what the code does: every key, code, metric, command and library is compared with it."""

import argparse
import importlib
import re
import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from router.cli import COMMANDS
from router.demo.tempers import SANDBOX, TEMPERS
from router.metrics import Metrics
from router.model.codes import REFUSAL_CODES, RULES, LeadStatus, Outcome, UnsoldReason
from router.model.delivery import FailureKind
from router.model.times import Duration, format_duration
from router.terms import schema
from router.terms.enforced import UNENFORCED
from router.web.problems import PROBLEMS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
TABLES = [
    found
    for found in vars(schema).values()
    if isinstance(found, type) and issubclass(found, schema.Table) and found is not schema.Table
]


def text_of(name: str) -> str:
    """A page of the reference."""
    return (REFERENCE / name).read_text("utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, without head and rule."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def codes_of(text: str) -> set[str]:
    """Everything that stands alone in code quotes in the first two cells of a row."""
    return {word for row in rows(text) for cell in row[:2] for word in re.findall(r"`([a-z_0-9]+)`", cell)}


def section(name: str) -> str:
    """The part of config.md that belongs to a struct."""
    parts = re.split(r"<!-- (\w+) -->", text_of("config.md").partition("\n## Not enforced yet")[0])
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert name in found, f"config.md has no part for {name}: put `<!-- {name} -->` before it"
    return found[name]


def default_shown(field: msgspec.structs.FieldInfo) -> str | None:
    """The default as config.md writes it; None where any text will do (nested tables)."""
    if field.required:
        return "**needed**"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return None
    if value is None or value is msgspec.UNSET:
        return "–"
    if isinstance(value, Duration):
        return f'`"{format_duration(value)}"`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in value) + "]`"
    return f"`{value}`"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_key_is_documented_with_its_default(table: type[schema.Table]) -> None:
    """config.md has exactly the keys of each struct, and the defaults it names are those that hold."""
    shown = {row[0].strip("`"): row for row in rows(section(table.__name__)) if row[0].startswith("`")}
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    assert shown.keys() == fields.keys()
    for name, field in fields.items():
        wanted = default_shown(field)
        assert wanted in (None, shown[name][2]), f"{table.__name__}.{name}: the default is {wanted}"
        assert shown[name][3], f"{table.__name__}.{name} says nothing"


def test_what_is_not_enforced_is_listed() -> None:
    """The last part of config.md is the table of `terms.enforced`."""
    shown = {row[1].split("`")[1] for row in rows(text_of("config.md").partition("\n## Not enforced yet")[2])[1:]}
    assert shown == {one.key for one in UNENFORCED}


def test_every_refusal_code_stands_by_its_rule() -> None:
    """codes.md lists every rule's codes, in the order in which rules are asked."""
    part = text_of("codes.md").partition("## Why a contract is refused")[2].partition("\n## ")[0]
    shown = [(row[0].split(" ")[0], row[1].strip("`")) for row in rows(part)[1:]]
    assert shown == [(rule, code) for rule, codes in RULES.items() for code in codes]


def test_reserved_codes_are_marked() -> None:
    """A refusal code that no rule gives is marked `(reserved)`, and no other is."""
    part = text_of("codes.md").partition("## Why a contract is refused")[2].partition("\n## ")[0]
    reserved = {row[1].strip("`") for row in rows(part)[1:] if "(reserved)" in row[2]}
    written = "".join(path.read_text("utf-8") for path in sorted((ROOT / "router/core").rglob("*.py")))
    assert reserved == {code for code in REFUSAL_CODES if f'"{code}"' not in written}


@pytest.mark.parametrize("words", [LeadStatus, UnsoldReason, Outcome, FailureKind], ids=str)
def test_every_public_word_is_documented(words: object) -> None:
    """Statuses, reasons, outcomes and failures all stand in a table of codes.md."""
    assert set(get_args(words)) <= codes_of(text_of("codes.md"))


def test_every_problem_code_is_documented() -> None:
    """The table of problems is the one that answers are made from."""
    part = text_of("codes.md").partition("## Problems of a request")[2]
    shown = {row[0].strip("`"): (int(row[1]), row[2]) for row in rows(part)[1:]}
    assert shown == PROBLEMS


def test_every_field_error_code_is_documented() -> None:
    """Codes that intake gives to fields stand below the table of problems."""
    part = text_of("codes.md").partition("Codes of `errors[]`")[2].partition("\n## ")[0]
    written = "".join(path.read_text("utf-8") for path in sorted((ROOT / "router/core/intake").glob("*.py")))
    used = set(re.findall(r'Wrong\(\s*"(\w+)"', written)) | set(
        re.findall(r'FieldError\([^"]*"[^"]*"*, "(\w+)"', written)
    )
    used |= set(re.findall(r'FieldError\(shown_name\(path\), "(\w+)"', written))
    assert used
    assert used <= set(re.findall(r"`(\w+)`", part)), used - set(re.findall(r"`(\w+)`", part))


def test_every_metric_is_documented() -> None:
    """metrics.md has exactly the metrics of the registry that are ours."""
    families = {family.name: family.type for family in Metrics().registry.collect()}
    ours = {
        f"{name}_total" if kind == "counter" else name
        for name, kind in families.items()
        if name.startswith("lead_router")
    }
    shown = {row[0].strip("`") for row in rows(text_of("metrics.md")) if row[0].startswith("`")}
    assert ours <= shown, ours - shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    """cli.md has each command in its table, and each of its own options somewhere."""
    page = text_of("cli.md")
    assert any(f"`{name}" in row[0] for row in rows(page)), f"cli.md: {name} is not in the table"
    for option in sorted(options(name)):
        assert option in page, f"cli.md: {name} {option}"


def options(name: str) -> set[str]:
    """The long options of a command and its actions."""
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(f"router.cli.{name}").arguments(parser)
    found: set[str] = set()
    parsers = [parser]
    while parsers:
        for action in parsers.pop()._actions:
            found |= {text for text in action.option_strings if text.startswith("--")}
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    return found - {"--help"}


def test_exit_codes_are_documented() -> None:
    """Every exit code the program can end with is in the table."""
    from router.cli import exits

    shown = {int(row[0]) for row in rows(text_of("cli.md").partition("## Exit codes")[2])[1:]}
    assert shown == {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}


def test_every_temper_is_documented() -> None:
    """cli.md lists the farm's buyers and the sandbox's postal codes as they are."""
    part = text_of("cli.md").partition("\n## buyers")[2].partition("\n## ")[0]
    shown = {row[0]: row[1] for row in rows(part)}
    assert {f"`{temper}`": what for temper, (what, _) in TEMPERS.items()}.items() <= shown.items()
    assert {ending: f"`{temper}`" for ending, temper in SANDBOX.items()}.items() <= shown.items()


def test_every_library_has_its_reason() -> None:
    """The table of decision 2 is the list of dependencies in pyproject.toml; development tools are named below it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs/decisions/0002-libraries.md").read_text("utf-8")
    shown = {row[0].strip("`") for row in rows(page)[1:]}
    assert shown == {_name(one) for one in project["dependencies"]}
    missing = {_name(one) for one in project["optional-dependencies"]["dev"]} - set(re.findall(r"`([\w-]+)`", page))
    assert not missing


def _name(requirement: str) -> str:
    return re.split(r"[<>=~!;\[ ]", requirement, maxsplit=1)[0]


def test_the_map_is_the_house() -> None:
    """ARCHITECTURE.md names every package and module at the top of `router`, and nothing that is not there."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    shown = {path for row in rows(page)[1:] for path in re.findall(r"`([\w/.]+)`", row[0])}
    assert {path for path in shown if not (ROOT / "router" / path).exists()} == set()
    there = [path for path in (ROOT / "router").iterdir() if not path.name.startswith(("_", "py."))]
    tops = {path.split("/")[0] for path in shown}
    assert {path.name for path in there} == tops


def test_doors_of_the_map_exist() -> None:
    """Every function and class that ARCHITECTURE.md names as a door stands in the room it is said to."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for row in rows(page)[1:]:
        rooms = [ROOT / "router" / path for path in re.findall(r"`([\w/.]+)`", row[0])]
        files = [file for room in rooms for file in (sorted(room.glob("*.py")) if room.is_dir() else [room])]
        written = "".join(file.read_text("utf-8") for file in files)
        for door in re.findall(r"`([A-Za-z]\w*)\(", row[1]):
            assert re.search(rf"^(?:async )?(?:def|class) {door}\b", written, re.MULTILINE), f"{row[0]}: {door}"
