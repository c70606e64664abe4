"""`lead-router diff`: a configuration against the running terms: what would change, in words and in numbers.

Without `--config` the daemon compares its own files. With it the running terms come from the daemon, or with `--state`
from its ledger, whether it runs or not.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DISK, DONE, NO, CommandError
from router.cli.screen import columns, print_json
from router.ledger.past import open_past
from router.ledger.protocol import LedgerError
from router.model.lead import Lead
from router.model.times import NS_DAY
from router.onboarding.placing import difference
from router.onboarding.replay import LEADS_MAX
from router.terms.book import Book
from router.terms.check import check
from router.terms.compile import compile_book
from router.terms.load import STATE_PLACE, load
from router.terms.problems import errors
from router.terms.revive import revive
from router.terms.schema import Terms
from router.web.findings import difference_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`diff [--config DIR] [--state DIR]`."""
    parser.add_argument(
        "--config", type=Path, metavar="DIR", help="the configuration (default: the daemon's own files)"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="read the running terms here instead of asking")
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; exit 1 when the configuration has errors."""
    found = _asked(options) if options.config is None and options.state is None else _compared(options)
    if options.json:
        print_json(found)
    else:
        print("\n".join(_lines(found)))
    return DONE


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """What the daemon says of its own files."""
    found = Daemon(options).ask("POST", "/v1/terms:check?diff=1")
    if not found["ok"]:
        places = [f"{one['file']}: {one['key']}: {one['message']}" for one in found["problems"]]
        raise CommandError(NO, "the configuration has errors:\n" + "\n".join(places), "`lead-router check` says more.")
    told: dict[str, Any] = found["difference"]
    return told


def _compared(options: argparse.Namespace) -> dict[str, Any]:
    if options.state is None:
        told = Daemon(options).ask("GET", "/v1/terms/current")
        running, leads = revive(told["version"], lambda address: msgspec.json.encode(told["pieces"][address])), None
    else:
        running, leads = _at_hand(options.state)
    terms = _wanted(options.config or Path("config"), running.terms)
    return difference_json(difference(running, compile_book(terms, running), leads))


def _at_hand(state_dir: Path) -> tuple[Book, list[Lead]]:
    """The terms loaded last and the last day's leads, out of a state directory."""
    try:
        with open_past(state_dir) as past:
            version = past.version_in_force() if past is not None else None
            book = past.book(version) if past is not None and version is not None else None
            if past is not None and book is not None:
                return book, past.latest_leads(time.time_ns() - NS_DAY, LEADS_MAX)
    except LedgerError as error:
        raise CommandError(DISK, str(error), error.hint) from None
    raise CommandError(NO, f"no terms were ever loaded in {state_dir}", "Name the daemon's state directory.")


def _wanted(config: Path, running: Terms) -> Terms:
    """The configuration with the buyers that the API keeps, which no directory but the daemon's has."""
    loaded = load(config)
    problems = [*loaded.problems, *(check(loaded.terms) if loaded.terms is not None else ())]
    if loaded.terms is None or errors(problems):
        lines = "\n".join(one.line() for one in errors(problems))
        raise CommandError(NO, f"the configuration has errors:\n{lines}", "`lead-router check` says more.")
    kept = {name: place for name, place in running.places.items() if place.startswith(STATE_PLACE)}
    buyers = {id_: buyer for id_, buyer in running.buyers.items() if f"buyer:{id_}" in kept}
    return msgspec.structs.replace(
        loaded.terms,
        buyers={**loaded.terms.buyers, **buyers},
        places={**loaded.terms.places, **kept},
    )


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["changes"]:
        yield "nothing would change"
        return
    for change in found["changes"]:
        yield change["words"]
    if found["more_changes"]:
        yield f"and {found['more_changes']} changes more"
    if "replay" in found:
        yield from _replayed(found["replay"])


def _replayed(found: Mapping[str, Any]) -> Iterator[str]:
    latest = "the latest " if found["bounded"] else ""
    yield f"of {latest}{found['leads']} leads of the last day {found['moved']} would have gone elsewhere"
    rows: Sequence[Mapping[str, Any]] = found["contracts"]
    if rows:
        head = ("contract", "leads", "revenue")
        yield from columns([head, *(_row(row) for row in rows)], indent="  ")


def _row(row: Mapping[str, Any]) -> tuple[str, str, str]:
    leads = f"{row['leads_before']} -> {row['leads_after']}"
    return row["contract_id"], leads, f"{row['revenue_before']} -> {row['revenue_after']}"
