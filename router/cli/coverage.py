"""`lead-router coverage`: take a buyer's territory list in."""

import argparse

from router.cli import territory


def arguments(parser: argparse.ArgumentParser) -> None:
    """`coverage import`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    taking = actions.add_parser("import", help="a buyer's territory list as it came -> a list, the TOML and a report")
    territory.arguments(taking)
    taking.set_defaults(action=territory.run, run=run)


def run(options: argparse.Namespace) -> int:
    """Do what was asked."""
    code: int = options.action(options)
    return code
