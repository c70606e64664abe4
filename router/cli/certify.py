"""`lead-router certify`: post test leads to a buyer's endpoints and show every step, with the mend where one fails."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE, NO, USAGE, CommandError
from router.cli.screen import colours, paint, print_json

_MARKS: Final = {True: ("✓", "good"), False: ("✗", "bad"), None: ("·", "faint")}


def arguments(parser: argparse.ArgumentParser) -> None:
    """`certify BUYER [--endpoint NAME] [--field NAME=VALUE]...`."""
    parser.add_argument("buyer", metavar="BUYER", help="the buyer's id")
    parser.add_argument("--endpoint", metavar="NAME", help="this endpoint alone")
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value of the test lead, such as the postal code a sandbox wants; may be given several times",
    )
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Certify; exit 1 when an endpoint did not pass."""
    body: dict[str, Any] = {"fields": dict(map(_pair, options.field))}
    if options.endpoint:
        body["endpoint"] = options.endpoint
    found = Daemon(options).ask("POST", f"/v1/buyers/{quote(options.buyer, safe='')}:certify", body)
    if options.json:
        print_json(found)
    else:
        print("\n".join(_lines(found, on=colours(sys.stdout))))
    return DONE if found["certified"] else NO


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandError(USAGE, "--field is NAME=VALUE", "Such as --field postal_code=78701.")
    return name, value


def _lines(found: Mapping[str, Any], *, on: bool) -> Iterator[str]:
    for report in found["endpoints"]:
        said = "certified" if report["certified"] else "NOT certified"
        yield paint(f"{found['buyer_id']}/{report['endpoint']}: {said}", "strong", on=on)
        for step in report["steps"]:
            mark, kind = _MARKS[step["ok"]]
            yield f"  {paint(mark, kind, on=on)} {step['step']:<12} {step['detail']}"
            if step["mend"] and step["ok"] is not True:
                yield f"    {'':<12} {paint(step['mend'], 'faint', on=on)}"
    if not found["endpoints"]:
        yield f"{found['buyer_id']} has no endpoints"
