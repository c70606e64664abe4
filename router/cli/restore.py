"""`lead-router restore`: take an override back before it is over."""

import argparse

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.pause import path, subject
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`restore ID [--buyer]`."""
    subject(parser, ("contract", "buyer"))
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """The terms hold again."""
    answer = Daemon(options).ask("POST", f"{path(options)}:restore", {})
    if options.json:
        print_json(answer)
    else:
        print(f"{options.kind} {options.id} " + ("has its terms again" if answer["restored"] else "was not overridden"))
    return DONE
