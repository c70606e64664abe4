"""`lead-router status`: is it ready, with which terms, and what it has to do just now."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE, NO
from router.cli.screen import columns, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`status`."""
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; exit 1 when the daemon answers and is not ready. Needs no token; with one it names the terms too."""
    daemon = Daemon(options)
    answer = daemon.call("GET", "/readyz")
    ready = answer.status == 200
    found: dict[str, Any] = {"ready": ready, **_mapping(answer.json())}
    if options.token:
        found["terms"] = daemon.ask("GET", "/v1/terms")
    if options.json:
        print_json(found)
    else:
        print("\n".join(columns([("ready", "yes" if ready else "no"), *_rows("", found)])))
    return DONE if ready else NO


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _rows(prefix: str, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Nested values as `a.b  value`; what is empty is left out."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _rows(f"{prefix}{name}.", value)
        elif value not in (None, [], "") and f"{prefix}{name}" != "ready":
            yield (
                prefix + name,
                {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value),
            )
