"""`lead-router trace`: the way a lead took, as a picture; or one contract's part in it, whoever it is."""

import argparse
import sys
from urllib.parse import quote

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.picture import way
from router.cli.screen import colours, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`trace LEAD [--contract ID]`."""
    parser.add_argument("lead", metavar="LEAD", help="its id, as the answer to the source gave it")
    parser.add_argument("--contract", metavar="ID", help="this contract alone, also one that does not cover the lead")
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; exit 1 when there is no such lead."""
    route = f"/v1/leads/{quote(options.lead, safe='')}/trace"
    if options.contract:
        route += f"?contract={quote(options.contract, safe='')}"
    trace = Daemon(options).ask("GET", route)
    if options.json:
        print_json(trace)
    else:
        print("\n".join(way(trace, colour=colours(sys.stdout))))
    return DONE
