"""`lead-router token new`: a token, and the line of its hash for the configuration. It is kept nowhere."""

import argparse
import hashlib

from router.cli import options as shared
from router.cli.exits import DONE
from router.cli.screen import print_json
from router.clock import new_token


def arguments(parser: argparse.ArgumentParser) -> None:
    """`token new [--operator NAME --role ROLE]`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser("new", help="print a new token once, and what to write into the configuration")
    new.add_argument("--operator", metavar="NAME", help="print the line for [operators] of router.toml")
    new.add_argument("--role", choices=("auditor", "operator", "admin"), default="admin", help="of that operator")
    shared.json_output(new)
    new.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the token and the configuration line with its SHA-256."""
    token = new_token()
    digest = hashlib.sha256(token.encode()).hexdigest()
    if options.json:
        print_json({"token": token, "token_sha256": digest})
        return DONE
    line = f'token_sha256 = ["{digest}"]'
    place = "the source's or buyer's file"
    if options.operator:
        line = f'{options.operator} = {{ token_sha256 = "{digest}", role = "{options.role}" }}'
        place = "[operators] of router.toml"
    print(f"token     {token}\n\nIt is shown once. Into {place} goes its hash:\n\n{line}")
    return DONE
