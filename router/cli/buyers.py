"""`lead-router buyers`: the hostile buyer farm on its own, to point endpoints at."""

import argparse
import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from router.cli import options as shared
from router.cli.exits import CONFIG, DISK, DONE, CommandError

if TYPE_CHECKING:
    from router.demo.own_voices import Apis

PORT = 9900
EPILOG = """\
/buyer/TEMPER/NAME       one with a name and a memory of its own
  ?voice=VOICE           json, xml, text, or one of --voices
  ?price=12.50           names that price when it accepts or bids
  ?after=20&then=503     after twenty requests turns into a 503 ...
   &for=60s              ... for a minute (or &for=10: for ten requests)
  ?at=787*:reject        leads from there meet that temper; again for more
POST /token/VOICE        OAuth 2 client credentials of an API of --voices
POST /turn/NAME/TEMPER   turns it now (?for=60s); /turn/NAME/usual takes that back
GET /received            what came and was answered; /received/DELIVERY_ID of one delivery

docs/rehearsal.md says how to rehearse with it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """`buyers [--port N] [--voices FILE] [--json]`."""
    parser.add_argument("--port", type=int, default=PORT, help=f"on loopback; 0 takes a free one (default: {PORT})")
    parser.add_argument("--voices", type=Path, metavar="FILE", help="TOML: what your own buyers ask for and answer")
    shared.json_output(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["buyers, /buyer/TEMPER:", *_tempers(), "", EPILOG])


def run(options: argparse.Namespace) -> int:
    """Play the buyers until Ctrl-C, one line for each request: never more of a lead than its postal code."""
    asyncio.run(_play(options.port, _apis(options.voices), as_json=options.json))
    return DONE


def _apis(path: Path | None) -> "Apis":
    from router.demo.own_voices import Apis, read_voices
    from router.demo.voices import VOICES

    try:
        return Apis(VOICES, {}) if path is None else read_voices(path)
    except OSError as error:
        raise CommandError(CONFIG, f"{path}: {error.strerror or error}", "Name a readable file.") from None
    except ValueError as error:
        raise CommandError(CONFIG, f"{path}: {error}", "docs/rehearsal.md shows how it is written.") from None


async def _play(port: int, apis: "Apis", *, as_json: bool) -> None:
    from msgspec import to_builtins

    from router.demo.farm import Farm, Received
    from router.demo.tempers import TEMPERS

    def heard(one: Received) -> None:
        if as_json:
            print(json.dumps(to_builtins(one)), flush=True)
            return
        answer = str(one.status) if one.status else "no answer"
        print(f"{one.name:<16} {one.postal_code:<8} {answer:<9} {one.said:<9} {one.delivery_id}", flush=True)

    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    farm = Farm(port=port, heard=heard, voices=apis.voices, doors=apis.doors)
    try:
        await farm.__aenter__()
    except OSError as error:
        raise CommandError(DISK, f"port {port}: {error.strerror or error}", "Choose another with --port.") from None
    try:
        if as_json:
            print(json.dumps({"url": farm.url, "tempers": list(TEMPERS)}), flush=True)
        else:
            print(f"buyers listen on {farm.url}/buyer/TEMPER; Ctrl-C ends them\n")
            print("\n".join(_tempers()))
            print(f"\n{EPILOG}\n", flush=True)
        await over.wait()
    finally:
        await farm.__aexit__()


def _tempers() -> list[str]:
    from router.demo.tempers import TEMPERS

    return [f"  {temper:<14} {what}" for temper, (what, _) in TEMPERS.items()]
