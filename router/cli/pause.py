"""`lead-router pause`: stop leads to a contract (or `--buyer`), or from a `--source`, until it is resumed."""

import argparse
from urllib.parse import quote

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.screen import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`pause ID [--buyer | --source] [--reason TEXT] [--until TIME]`."""
    subject(parser)
    parser.add_argument("--reason", default="paused by hand", help="why; it stands in every refusal that follows")
    parser.add_argument("--until", metavar="TIME", help="RFC 3339, such as 2026-11-24T08:00:00Z; none: until resumed")
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Pause it."""
    body = {"reason": options.reason} | ({"until": options.until} if options.until else {})
    answer = Daemon(options).ask("POST", f"{path(options)}:pause", body)
    if options.json:
        print_json(answer)
    else:
        print(f"{options.kind} {options.id} is paused" + (f" until {options.until}" if options.until else ""))
    return DONE


def subject(parser: argparse.ArgumentParser) -> None:
    """What is paused or resumed: a contract, unless an option says otherwise."""
    parser.add_argument("id", metavar="ID", help="of the contract")
    kinds = parser.add_mutually_exclusive_group()
    for kind in ("contract", "buyer", "source"):
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=f"ID is that of a {kind}")
    parser.set_defaults(kind="contract")


def path(options: argparse.Namespace) -> str:
    """The route of what `subject` names."""
    return f"/v1/{options.kind}s/{quote(options.id, safe='')}"
