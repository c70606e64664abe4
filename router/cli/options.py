"""Options that several commands share, declared once so that they are called the same everywhere."""

import argparse
import os
from pathlib import Path
from typing import Final

INTAKE_URL: Final = "http://127.0.0.1:8080"
ADMIN_URL: Final = "http://127.0.0.1:8081"


def json_output(parser: argparse.ArgumentParser) -> None:
    """`--json`: one JSON document instead of text."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def daemon(parser: argparse.ArgumentParser, *, url: str = ADMIN_URL) -> None:
    """`--url --token --socket`: where the daemon is and who asks. `url` is the default address."""
    where = parser.add_argument_group("the daemon")
    where.add_argument(
        "--url",
        default=os.environ.get("LEAD_ROUTER_URL") or url,
        help=f"where it listens (default: LEAD_ROUTER_URL, else {url})",
    )
    where.add_argument("--socket", type=Path, metavar="PATH", help="a unix socket to reach it by, instead of TCP")
    where.add_argument(
        "--token",
        "--source-token",
        default=os.environ.get("LEAD_ROUTER_TOKEN"),
        help="who you are (default: LEAD_ROUTER_TOKEN; in a shell's history the variable is safer)",
    )


def config_dir(parser: argparse.ArgumentParser) -> None:
    """`--config DIR`."""
    parser.add_argument(
        "--config", type=Path, default=Path("config"), metavar="DIR", help="the configuration (default: ./config)"
    )


def state_dir(parser: argparse.ArgumentParser) -> None:
    """`--state DIR`."""
    parser.add_argument(
        "--state", type=Path, default=Path("var"), metavar="DIR", help="the state directory (default: ./var)"
    )
