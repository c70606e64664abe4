"""`coverage import`: a buyer's territory list as it came -> a list under `config/coverage`, the TOML, the report."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from router.cli import options as shared
from router.cli.exits import DISK, DONE, NO, USAGE, CommandError
from router.cli.screen import columns, print_json
from router.onboarding.territory import Territory, UnreadableSheet, read_territory
from router.onboarding.territory.reading import Kind, Line
from router.onboarding.territory.writing import as_terms, expanded, lists, toml
from router.terms.coverage import codes_in_use
from router.terms.postal import COUNTRIES

_NAME_BAD: Final = "/\\"
_HEADINGS: Final[dict[Kind, str]] = {
    "unread": "could NOT be read, and is not in the result",
    "guessed": "guessed: taken as what it must have meant",
    "remark": "remarks, not read",
    "skipped": "skipped",
    "repeated": "said already",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """`coverage import FILE [--name NAME] [--country US] [--accept-unread] [--replace] [--dry-run]`."""
    parser.add_argument(
        "file", metavar="FILE|-", help="the list as the buyer sent it: CSV or plain text; - reads standard input"
    )
    parser.add_argument("--name", help="of the list under coverage/ (default: the file's own name)")
    parser.add_argument("--country", choices=COUNTRIES, default="US", help="whose postal codes these are (default: US)")
    parser.add_argument("--accept-unread", action="store_true", help="exit 0 although something could not be read")
    parser.add_argument(
        "--replace", action="store_true", help="write over a list of that name that says something else"
    )
    parser.add_argument("--dry-run", action="store_true", help="write no list, only report")
    shared.config_dir(parser)
    shared.json_output(parser)


def run(options: argparse.Namespace) -> int:
    """Import it; exit 1 when something could not be read, unless that is accepted."""
    try:
        territory = read_territory(_bytes(options.file), country=options.country)
    except UnreadableSheet as error:
        raise CommandError(USAGE, f"{options.file}: {error}", error.mend) from None
    list_name = f"coverage/{_name(options)}.csv"
    written = {} if options.dry_run else _written(territory, list_name, options)
    if options.json:
        print_json(_plain(territory, list_name, written))
    else:
        print("\n".join(_report(territory, list_name, written)))
    nothing = not territory.of("taken") and not territory.of("guessed")
    return NO if nothing or (territory.of("unread") and not options.accept_unread) else DONE


def _bytes(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(USAGE, f"{name}: {error.strerror or error}") from None


def _name(options: argparse.Namespace) -> str:
    given: str = options.name or ("territory" if options.file == "-" else Path(options.file).stem)
    name = given.removesuffix(".csv").removeprefix("coverage/")
    if not name or name.startswith(".") or any(sign in name for sign in _NAME_BAD):
        raise CommandError(USAGE, f"--name {given} is no name of a list", "Write letters, digits and dashes.")
    return name


def _written(territory: Territory, list_name: str, options: argparse.Namespace) -> dict[str, str]:
    """Write the lists; the paths they have, by name. A list that says something else is not written over unasked."""
    paths: dict[str, str] = {}
    for name, text in lists(territory, list_name).items():
        path: Path = options.config / name
        try:
            if path.exists() and path.read_text("utf-8-sig") != text and not options.replace:
                message = f"{path} is there and says something else"
                raise CommandError(
                    NO, message, "Nothing was written. Look at --dry-run, then give --replace or --name."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(DISK, f"{path}: {error}") from None
        paths[name] = str(path)
    return paths


def _plain(territory: Territory, list_name: str, written: dict[str, str]) -> dict[str, Any]:
    terms = as_terms(territory, list_name)
    coverage, problems = expanded(territory, list_name)
    return {
        "form": territory.form,
        "encoding": territory.encoding,
        "columns": territory.columns,
        "country": territory.country,
        "written": written,
        "toml": toml(terms),
        "coverage": {
            "postal_codes": territory.postal_codes,
            "states": territory.states,
            "counties": territory.counties,
            "cities": territory.cities,
            "radius": [{"center": center, "miles": miles} for center, miles in territory.radius],
            "exclude": {"postal_codes": territory.without_codes, "states": territory.without_states},
        },
        "codes": len(codes_in_use(coverage)),
        "counts": dict(Counter(line.kind for line in territory.lines)),
        **{kind: [_line(line) for line in territory.of(kind)] for kind in _HEADINGS},
        "problems": [one._asdict() for one in problems],
    }


def _line(line: Line) -> dict[str, Any]:
    return {"line": line.line, "said": line.said, "read_as": line.read_as, "why": line.why, "mend": line.mend}


def _sentence(one: Line) -> str:
    """The guess or the trouble, and what to do."""
    stop = "" if one.why.endswith("?") else "."
    return f"{one.why}{stop} {one.mend[:1].upper()}{one.mend[1:]}" if one.mend else one.why


def _report(territory: Territory, list_name: str, written: dict[str, str]) -> list[str]:
    coverage, problems = expanded(territory, list_name)
    lines = [f"read as {'a table' if territory.form == 'table' else 'text'}, {territory.encoding}"]
    if territory.columns:
        lines.append("  " + ", ".join(f"{name or '(no name)'}: {role}" for name, role in territory.columns.items()))
    for kind, heading in _HEADINGS.items():
        found = territory.of(kind)
        if found:
            rows = [(f"line {one.line}", one.said, one.read_as, _sentence(one)) for one in found]
            lines += ["", f"{heading}:", *columns(rows, indent="  ")]
    if problems:
        lines += ["", "what check will say of it:"]
        lines += [f"  {one.key}: {one.message}; {one.mend}" for one in problems]
    taken = len(territory.of("taken")) + len(territory.of("guessed"))
    lines += ["", f"{taken} entries taken, {len(territory.of('unread'))} not read"]
    if territory.country == "US":
        lines[-1] += f": {len(codes_in_use(coverage))} postal codes in use"
    lines += [f"wrote {path}" for path in written.values()]
    for directory in sorted({Path(path).parent.parent for path in written.values()}):
        if not (directory / "router.toml").exists():
            lines.append(
                f"there is no router.toml in {directory}: if your configuration is elsewhere, name it (--config)"
            )
    return [*lines, "", toml(as_terms(territory, list_name)).rstrip()]
