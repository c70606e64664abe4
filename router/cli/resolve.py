"""`lead-router resolve`: the buyer said what became of a delivery that was in doubt."""

import argparse
from urllib.parse import quote

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`resolve DELIVERY accepted|rejected`."""
    parser.add_argument("delivery", metavar="DELIVERY", help="its id, as `lead-router trace` shows it")
    parser.add_argument("outcome", choices=("accepted", "rejected"), help="rejected: the lead may go to the next buyer")
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Resolve it; exit 1 when it was not in doubt."""
    route = f"/v1/deliveries/{quote(options.delivery, safe='')}:resolve"
    answer = Daemon(options).ask("POST", route, {"outcome": options.outcome})
    if options.json:
        print_json(answer)
    else:
        print(f"delivery {options.delivery} counts as {options.outcome}")
    return DONE
