"""`lead-router resume`: take a pause back."""

import argparse

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.pause import path, subject
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`resume ID [--buyer | --source] [--ramp DURATION]`."""
    subject(parser)
    parser.add_argument(
        "--ramp", metavar="DURATION", help="let a growing share of leads through for so long, such as 30m; else all"
    )
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Resume it."""
    answer = Daemon(options).ask("POST", f"{path(options)}:resume", {"ramp": options.ramp} if options.ramp else {})
    if options.json:
        print_json(answer)
    elif not answer["resumed"]:
        print(f"{options.kind} {options.id} was not paused")
    else:
        print(f"{options.kind} {options.id} goes on" + (f", ramped over {options.ramp}" if options.ramp else ""))
    return DONE
