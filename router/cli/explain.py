"""`lead-router explain`: the whole decision about a lead, as if it came now; nothing is recorded, sent or reserved."""

import argparse

from router.cli import leads
from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE, USAGE, CommandError
from router.cli.picture import explanation
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`explain FILE|- [--source ID]`."""
    leads.arguments(parser)
    parser.add_argument("--source", metavar="ID", help="as if this source had sent it, when the file does not say")
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Explain one lead; exit 1 when it is not even a lead (the 422 is shown)."""
    numbered = leads.read_leads(options)
    if len(numbered) != 1:
        raise CommandError(USAGE, f"the file holds {len(numbered)} leads; explain takes one")
    lead = numbered[0][1]
    if options.source:
        lead.setdefault("source_id", options.source)
    answer = Daemon(options).ask("POST", "/v1/explain", lead)
    if options.json:
        print_json(answer)
    else:
        print("\n".join(explanation(answer)))
    return DONE
