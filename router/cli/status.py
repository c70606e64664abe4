"""`lead-router status`: is it ready, with which terms, and what it has to do just now."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
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
    """Show it; exit 1 when the daemon answers and is not ready. A token is not needed; with one: terms, open alerts."""
    daemon = Daemon(options)
    answer = daemon.call("GET", "/readyz")
    ready = answer.status == 200
    found: dict[str, Any] = {"ready": ready, **_mapping(answer.json())}
    if options.token:
        found["terms"] = daemon.ask("GET", "/v1/terms")
        found["alerts"] = daemon.ask("GET", "/v1/alerts")["alerts"]
    if options.json:
        print_json(found)
    else:
        alerts = found.pop("alerts", None)
        print("\n".join(columns([("ready", "yes" if ready else "no"), *_rows("", found)])))
        if alerts is not None:
            print("\n".join(_alerts(alerts)))
    return DONE if ready else NO


def _alerts(alerts: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Each with what to do, two lines a piece."""
    yield f"{len(alerts)} alert{'' if len(alerts) == 1 else 's'} open" if alerts else "no alerts"
    for one in alerts:
        yield f"  {one['subject']}: {one['message']} (since {one['since']})"
        yield f"    {one['mend']}"


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
