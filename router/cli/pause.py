"""`lead-router pause`: stop leads to a contract (or `--buyer`), or from a `--source`, until it is resumed."""

import argparse
from urllib.parse import quote

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.screen import print_json
from router.cli.until import until, until_options


def arguments(parser: argparse.ArgumentParser) -> None:
    """`pause ID [--buyer | --source] [--reason TEXT] [--until TIME | --for DURATION] [--ramp DURATION]`."""
    subject(parser)
    parser.add_argument("--reason", default="paused by hand", help="why; it stands in every refusal that follows")
    until_options(parser, "until resumed")
    parser.add_argument("--ramp", metavar="DURATION", help="after that let a growing share through for so long, 30m")
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Pause it."""
    ends = until(options)
    body = {"reason": options.reason, "until": ends, "ramp": options.ramp}
    answer = Daemon(options).ask("POST", f"{path(options)}:pause", {key: one for key, one in body.items() if one})
    if options.json:
        print_json(answer)
    else:
        print(f"{options.kind} {options.id} is paused" + (f" until {ends}" if ends else ""))
    return DONE


def subject(parser: argparse.ArgumentParser, kinds: tuple[str, ...] = ("contract", "buyer", "source")) -> None:
    """What is meant: a contract, unless an option says otherwise."""
    parser.add_argument("id", metavar="ID", help="of the contract")
    of = parser.add_mutually_exclusive_group()
    for kind in kinds:
        of.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=f"ID is that of a {kind}")
    parser.set_defaults(kind="contract")


def path(options: argparse.Namespace) -> str:
    """The route of what `subject` names."""
    return f"/v1/{options.kind}s/{quote(options.id, safe='')}"
