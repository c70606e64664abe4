"""`lead-router ledger`: look at the history itself, in the state directory; needs no daemon."""

import argparse
from typing import Any, Final

from msgspec import to_builtins

from router.cli import options as shared
from router.cli.exits import DISK, DONE, NO, CommandError
from router.cli.screen import Progress, columns, print_json
from router.ledger.protocol import LedgerError
from router.ledger.stats import Stats, count
from router.ledger.verify import Report, verify
from router.model.times import format_instant

_KIB: Final = 1024


def arguments(parser: argparse.ArgumentParser) -> None:
    """`ledger verify|stats --state DIR`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, run_action, help_line in (
        ("verify", _verify, "does the history hold: nothing edited, removed or cut off"),
        ("stats", _stats, "how many facts of which kind, how large, since when"),
    ):
        action = actions.add_parser(name, help=help_line, description=f"{help_line[0].upper()}{help_line[1:]}.")
        shared.state_dir(action)
        shared.json_output(action)
        action.set_defaults(action=run_action, run=run)


def run(options: argparse.Namespace) -> int:
    """Do what was asked; exit 1 when the history does not hold or there is none, 74 when it cannot be read."""
    try:
        code: int = options.action(options)
    except LedgerError as error:
        raise CommandError(DISK, str(error), error.hint) from None
    return code


def _verify(options: argparse.Namespace) -> int:
    bar: list[Progress] = []

    def progress(done: int, total: int) -> None:
        if not bar:
            bar.append(Progress(total, "facts"))
        bar[0].reach(done)

    try:
        report = verify(options.state, progress=progress)
    finally:
        for one in bar:
            one.close()
    if options.json:
        print_json(to_builtins(report))
    else:
        print("\n".join(_verdict(report)))
    return DONE if report.ok else NO


def _verdict(report: Report) -> list[str]:
    erased = f", {report.erased} of them erased" if report.erased else ""
    lines = [f"{report.facts} facts about {report.leads} leads{erased}"]
    if report.ok:
        lines.append(f"the history holds, up to fact {report.head_seq}, {report.head_hash[:16]}")
    else:
        lines.append("the history does NOT hold:")
        lines += [f"  {finding.what}" for finding in report.findings]
    if report.findings_more:
        lines.append(f"  and {report.findings_more} more")
    return [*lines, *(f"note: {note}" for note in report.notes)]


def _stats(options: argparse.Namespace) -> int:
    stats = count(options.state)
    if stats is None:
        raise CommandError(NO, f"there is no ledger in {options.state}", "Name the state directory with --state.")
    if options.json:
        print_json(_plain(stats))
    else:
        print("\n".join(_table(stats)))
    return DONE


def _plain(stats: Stats) -> dict[str, Any]:
    found: dict[str, Any] = to_builtins(stats)
    found["first_at"] = _instant(found.pop("first_at_ns"))
    found["last_at"] = _instant(found.pop("last_at_ns"))
    return found


def _instant(at_ns: int | None) -> str | None:
    return None if at_ns is None else format_instant(at_ns)


def _table(stats: Stats) -> list[str]:
    rows = [
        ("facts", str(stats.facts)),
        ("first", _instant(stats.first_at_ns) or "none yet"),
        ("last", _instant(stats.last_at_ns) or "none yet"),
        *((f"leads {status}", str(n)) for status, n in stats.leads.items()),
        ("leads erased", str(stats.erased)),
        *((f"facts {kind}", str(n)) for kind, n in stats.kinds.items()),
        ("terms versions", str(stats.terms_versions)),
        ("losses accepted", str(stats.losses_accepted)),
        *((f"file {name}", f"{size / _KIB:.0f} KiB") for name, size in stats.files.items()),
    ]
    return columns(rows)
