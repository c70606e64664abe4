"""`lead-router buyers`: the hostile buyer farm on its own, to point endpoints at."""

import argparse
import asyncio
import contextlib
import json

from router.cli import options as shared
from router.cli.exits import DISK, DONE, CommandError

PORT = 9900


def arguments(parser: argparse.ArgumentParser) -> None:
    """`buyers [--port N] [--json]`."""
    parser.add_argument("--port", type=int, default=PORT, help=f"on loopback; 0 takes a free one (default: {PORT})")
    shared.json_output(parser)


def run(options: argparse.Namespace) -> int:
    """Play the buyers until Ctrl-C, one line for each request: never more of a lead than its postal code."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_play(options.port, as_json=options.json))
    return DONE


async def _play(port: int, *, as_json: bool) -> None:
    from msgspec import to_builtins

    from router.demo.farm import Farm, Received
    from router.demo.tempers import TEMPERS

    def heard(one: Received) -> None:
        if as_json:
            print(json.dumps(to_builtins(one)), flush=True)
            return
        answer = str(one.status) if one.status else "no answer"
        print(f"{one.name:<16} {one.postal_code:<8} {answer:<9} {one.said:<9} {one.delivery_id}", flush=True)

    farm = Farm(port=port, heard=heard)
    try:
        await farm.__aenter__()
    except OSError as error:
        raise CommandError(DISK, f"port {port}: {error.strerror or error}", "Choose another with --port.") from None
    try:
        if as_json:
            print(json.dumps({"url": farm.url, "tempers": list(TEMPERS)}), flush=True)
        else:
            print(f"buyers listen on {farm.url}; Ctrl-C ends them\n")
            for temper, (what, _) in TEMPERS.items():
                print(f"  {farm.url}/buyer/{temper:<14} {what}")
            print(f"\n  {farm.url}/received tells what came; /buyer/TEMPER/NAME is one with a name\n", flush=True)
        await asyncio.Event().wait()
    finally:
        await farm.__aexit__()
