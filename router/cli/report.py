"""`lead-router report`: what operators ask about many leads at once, from the daemon or from a state directory."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DISK, DONE, NO, CommandError
from router.cli.screen import columns, print_json
from router.cli.since import now_ns, since

NAMES: Final = ("acceptance", "near-misses", "coverage")
_ROWS: Final = 40

Json = Mapping[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """`report acceptance|near-misses|coverage [--since WHEN] [--state DIR]`."""
    parser.add_argument("name", choices=NAMES, help="which one")
    parser.add_argument("--since", metavar="WHEN", help='since then: "30d" ago or RFC 3339 (default: 30d)')
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="reckon it here from this state directory, without asking the daemon"
    )
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; exit 1 when there is no ledger to report about."""
    found = _asked(options) if options.state is None else _reckoned(options)
    if options.json:
        print_json(found)
    else:
        print("\n".join(_TABLES[options.name](found)))
    return DONE


def _asked(options: argparse.Namespace) -> Any:
    start = since(options.since)
    query = ""
    if start:
        from router.model.times import format_instant

        query = f"?since={quote(format_instant(start))}"
    return Daemon(options).ask("GET", f"/v1/reports/{options.name}{query}")


def _reckoned(options: argparse.Namespace) -> Any:
    from router.ledger.protocol import LedgerError
    from router.reports.run import report

    start = since(options.since) or None
    try:
        found = report(options.name, options.state, now_ns=now_ns(), since_ns=start)
    except LedgerError as error:
        raise CommandError(DISK, str(error), error.hint) from None
    if found is None:
        raise CommandError(NO, f"there is no ledger in {options.state}", "Name the state directory with --state.")
    return found


def _acceptance(found: Json) -> list[str]:
    head = (
        "contract",
        "deliveries",
        "accepted",
        "rate",
        "rejected",
        "duplicate",
        "failed",
        "in doubt",
        "late",
        "revenue",
    )
    rows = [
        (
            str(one["contract_id"]),
            str(one["deliveries"]),
            str(one["accepted"]),
            "–" if one["acceptance"] is None else f"{one['acceptance']:.1%}",
            *(str(one[key]) for key in ("rejected", "duplicate", "failed", "in_doubt", "late", "revenue")),
        )
        for one in found["contracts"]
    ]
    return [_when(found), "", *_cut(head, rows)]


def _near_misses(found: Json) -> list[str]:
    head = ("contract", "refused by", "wanted", "leads", "worth", "for example")
    rows = [
        (
            str(one["contract_id"]),
            str(one["code"]),
            str(one["expected"]),
            str(one["leads"]),
            str(one["worth"]),
            str(one["examples"][0]),
        )
        for one in found["rows"]
    ]
    more = f", {found['not_looked_at']} more were not looked at" if found["not_looked_at"] else ""
    said = f"{_when(found)}: {found['unsold']} leads stayed unsold{more}."
    if not rows:
        return [f"{said} No contract that covers them was one rule away."]
    return [f"{said} One rule alone stood between them and:", "", *_cut(head, rows)]


def _coverage(found: Json) -> list[str]:
    lines = [_when(found)]
    for kind, table in found["lead_types"].items():
        lines += [
            "",
            f"{kind}: {table['none']:,} postal codes nobody covers ({table['leads_none']:,} leads),"
            f" {table['one']:,} one buyer covers ({table['leads_one']:,} leads), {table['leads']:,} leads in all",
        ]
        weighty = [row for row in table["rows"] if row["leads"]]
        rows = [
            (
                row["postal_code"],
                f"{row['city']}, {row['state']}".strip(", "),
                str(row["leads"]),
                row["buyer_id"] or "nobody",
            )
            for row in weighty
        ]
        if rows:
            lines += _cut(("code", "place", "leads", "covered by"), rows)
    return lines


def _when(found: Json) -> str:
    return f"since {found['since']}"


def _cut(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    shown = columns([head, *rows[:_ROWS]], indent="  ")
    return [*shown, f"  and {len(rows) - _ROWS} more (--json has them)"] if len(rows) > _ROWS else shown


_TABLES: Final[dict[str, Callable[[Json], list[str]]]] = {
    "acceptance": _acceptance,
    "near-misses": _near_misses,
    "coverage": _coverage,
}
