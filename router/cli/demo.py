"""`lead-router demo`: everything at once, on this machine, in a scratch directory."""

import argparse
import contextlib
import sys

from router.cli import options as shared
from router.cli.exits import DONE, INTERNAL, NO, CommandError
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`demo [--leads N] [--rate R] [--stay]`."""
    parser.add_argument("--leads", type=_positive, default=300, metavar="N", help="how many (default: 300)")
    parser.add_argument("--rate", type=float, default=40.0, metavar="R", help="leads a second (default: 40)")
    shared.json_output(parser)
    parser.add_argument("--stay", action="store_true", help="go on until Ctrl-C, with the dashboard")


def run(options: argparse.Namespace) -> int:
    """Play it; exit 1 when something does not add up, 70 when the daemon failed. With `--json` all text is stderr's."""
    from router.demo.crew import DaemonFailedError
    from router.demo.play import Wishes, play

    try:
        with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
            found = play(Wishes(leads=options.leads, rate=options.rate, stay=options.stay))
    except DaemonFailedError as error:
        raise CommandError(INTERNAL, str(error)) from None
    if options.json:
        print_json(found)
    return NO if found["wrong"] else DONE


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
