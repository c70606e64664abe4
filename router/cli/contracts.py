"""`lead-router contracts`: every contract with its live state, or one in full."""

import argparse
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from router.cli import options as shared
from router.cli.client import Daemon
from router.cli.exits import DONE
from router.cli.screen import columns, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """`contracts [ID]`."""
    parser.add_argument("id", nargs="?", metavar="ID", help="one contract, in full; none: a line for each")
    shared.json_output(parser)
    shared.daemon(parser)


def run(options: argparse.Namespace) -> int:
    """Show them."""
    daemon = Daemon(options)
    if options.id:
        found = daemon.ask("GET", f"/v1/contracts/{quote(options.id, safe='')}")
        shown: list[Mapping[str, Any]] = [found]
    else:
        found = daemon.ask("GET", "/v1/contracts")
        shown = found if isinstance(found, list) else found.get("contracts") or []
    if options.json:
        print_json(found)
    elif options.id:
        print("\n".join(_full(found)))
    else:
        print("\n".join(_table(shown)))
    return DONE


def _table(contracts: list[Mapping[str, Any]]) -> list[str]:
    head = ("contract", "buyer", "state", "in flight", "caps", "remarks")
    rows = [
        (
            str(one.get("contract_id")),
            str(one.get("buyer_id")),
            "paused" if one.get("paused") else str(one.get("status")),
            str(one.get("in_flight", "")),
            ", ".join(_cap(cap) for cap in one.get("caps") or ()),
            _remarks(one),
        )
        for one in contracts
    ]
    return columns([head, *rows])


def _cap(cap: Mapping[str, Any]) -> str:
    held = f"+{cap['held']}" if cap.get("held") else ""
    return f"{cap.get('used')}{held}/{cap.get('limit')} per {cap.get('per')}"


def _remarks(one: Mapping[str, Any]) -> str:
    breaker = one.get("breaker") or {}
    guards = [("breaker", breaker), *((str(guard.get("metric")), guard) for guard in one.get("guards") or ())]
    moved = [f"{name} {_guard_state(guard)}" for name, guard in guards if guard.get("state") not in (None, "closed")]
    back = one.get("resuming")
    moved += [f"back from its pause, {back['share']:.0%} of leads until {back['until']}"] if back else []
    moved += [f"overridden by {set_['by']} until {set_['until']}" for set_ in one.get("overrides") or ()]
    return ", ".join(moved)


def _guard_state(guard: Mapping[str, Any]) -> str:
    until = f" until {guard['until']}" if guard.get("until") else ""
    read = "" if guard.get("value") is None else f" ({guard['value']} of {guard.get('sample')})"
    return f"{guard.get('state')}{read}{until}"


def _full(one: Mapping[str, Any]) -> list[str]:
    rows = [
        (str(key), value if isinstance(value, str) else _inline(value))
        for key, value in one.items()
        if value not in (None, [], {}) and key not in ("caps", "terms", "guards", "breaker")
    ]
    caps = [
        (f"cap {cap.get('id')}", f"{_cap(cap)}, held {cap.get('held')}, turns over {cap.get('resets_at') or 'never'}")
        for cap in one.get("caps") or ()
    ]
    guards = [
        (f"guard {guard.get('metric')}", f"{_guard_state(guard)}; {guard.get('action')} unless {guard.get('wants')}")
        for guard in one.get("guards") or ()
    ]
    breaker = one.get("breaker")
    guards += [("breaker", f"{_guard_state(breaker)}; open unless {breaker.get('wants')}")] if breaker else []
    return columns([*rows, *caps, *guards])


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inline(part)}" for key, part in value.items() if part not in (None, [], {}))
    if isinstance(value, list):
        return "; ".join(_inline(part) for part in value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
