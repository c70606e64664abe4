"""`lead-router resume`: take a pause back."""

import argparse

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.pause import path, subject
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`resume ID [--buyer | --source]`."""
    subject(parser)
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Resume it."""
    answer = Daemon(options).ask("POST", f"{path(options)}:resume", {})
    if options.json:
        print_json(answer)
    else:
        print(f"{options.kind} {options.id} goes on")
    return DONE
