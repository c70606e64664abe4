"""`lead-router override`: other caps, or no guards, for a contract (or `--buyer`) until an instant."""

import argparse
from collections.abc import Iterator, Sequence

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE, USAGE, CommandError
from router.cli.pause import path, subject
from router.cli.screen import print_json
from router.cli.until import until, until_options


def arguments(parser: argparse.ArgumentParser) -> None:
    """`override ID [--buyer] --cap ID=LIMIT... [--guards off] (--until TIME | --for DURATION) --reason TEXT`."""
    subject(parser, ("contract", "buyer"))
    parser.add_argument(
        "--cap",
        action="append",
        default=[],
        metavar="ID=LIMIT",
        help="a cap and its limit meanwhile: leads (daily=80), or money (month=9000.00); may be repeated",
    )
    parser.add_argument("--guards", choices=("on", "off"), default="on", help="off: guards turn nobody away meanwhile")
    parser.add_argument("--reason", required=True, help="why; it stands in what follows from it")
    until_options(parser)
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Set it."""
    body = {
        "reason": options.reason,
        "until": until(options),
        "caps": dict(_limits(options.cap)),
        "guards": options.guards,
    }
    answer = Daemon(options).ask("POST", f"{path(options)}:override", body)
    if options.json:
        print_json(answer)
    else:
        limits = [f"cap {name} is {limit}" for name, limit in answer["caps"].items()]
        said = [*limits, *(["guards turn nobody away"] if answer["guards"] == "off" else [])]
        print(f"{options.kind} {options.id}: {', '.join(said)} until {answer['until']}")
    return DONE


def _limits(given: Sequence[str]) -> Iterator[tuple[str, int | str]]:
    for one in given:
        name, equals, limit = one.partition("=")
        if not name or not equals or not limit:
            raise CommandError(USAGE, f"--cap {one} is not ID=LIMIT", "Write --cap daily=80, or --cap month=9000.00.")
        yield name, int(limit) if limit.isdecimal() else limit
