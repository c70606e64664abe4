"""`--until` and `--for`: when something ends that is begun now."""

import argparse

from router.cli.exits import USAGE, CommandError
from router.cli.since import now_ns
from router.model.times import format_instant, parse_duration


def until_options(parser: argparse.ArgumentParser, without: str | None = None) -> None:
    """One of the two; `without` says what holds when neither is given, None: it must be."""
    ends = parser.add_mutually_exclusive_group(required=without is None)
    help_line = "RFC 3339, such as 2026-11-24T08:00:00Z" + (f"; none: {without}" if without else "")
    ends.add_argument("--until", metavar="TIME", help=help_line)
    ends.add_argument("--for", dest="lasts", metavar="DURATION", help="so long from now, such as 2h")


def until(options: argparse.Namespace) -> str | None:
    """RFC 3339; None when neither was given. Raises CommandError."""
    if options.lasts is None:
        return str(options.until) if options.until else None
    try:
        return format_instant(now_ns() + parse_duration(options.lasts))
    except ValueError:
        raise CommandError(USAGE, f"--for {options.lasts} is no duration", "Write 90m, 2h or 3d.") from None
