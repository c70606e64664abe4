"""The stage of the demo: the sample configuration on a scratch directory, pointed at the farm, with tokens of its own.

The sample is changed where it has to be and nowhere else: addresses of endpoints become buyers of the farm, tokens
and secrets are made for this run, and the daemon takes free ports. All comments and terms stay as they are.
"""

import base64
import hashlib
import re
import secrets
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from router.clock import new_token
from router.demo.sample import sample_config

#: How the sample's buyers behave in the demo, and in which voice: `buyer/endpoint`.
CAST: Final[dict[str, tuple[str, str]]] = {
    "alarmlink/crm": ("accept", "header"),
    "brightroof/crm": ("picky", "json"),
    "driveright/api": ("local", "created"),
    "goldenstate/hook": ("accept", "result"),
    "greenwatt/intake": ("lossy", "bid"),
    "homeguard/relay": ("flaky", "full"),
    "lonestar/form": ("slow", "keyword"),
    "midwest-mutual/soap": ("slow", "soap"),
    "quickcover/post": ("picky", "sold"),
    "safehaven/api": ("picky", "flag"),
    "shieldauto/xml": ("accept", "verdict"),
    "sunpath/api": ("forgetful", "prospect"),
}
_UNKNOWN: Final = ("accept", "json")

_TOKENS: Final = re.compile(r"^token_sha256\s*=\s*\[[^\]]*\]", re.MULTILINE)
_SECRET: Final = re.compile(r'"secret:([A-Za-z0-9_.-]+)"')


class Stage(Struct, frozen=True, kw_only=True):
    """A prepared directory. `cast` maps a buyer's name at the farm (its id) to its temper."""

    config_dir: Path
    state_dir: Path
    operator_token: str
    source_tokens: dict[str, str]
    cast: dict[str, str]


def set_stage(directory: Path, farm_url: str) -> Stage:
    """Write configuration, secrets and state directory below `directory`. Raises SampleMissingError."""
    config_dir = directory / "config"
    shutil.copytree(sample_config(), config_dir, ignore=shutil.ignore_patterns("secrets", ".*"))
    state_dir = directory / "state"
    state_dir.mkdir(mode=0o700)
    operator_token = new_token()
    _write_router(config_dir / "router.toml", operator_token)
    cast: dict[str, str] = {}
    for path in sorted((config_dir / "buyers").glob("*.toml")):
        _point_at_farm(path, farm_url, cast)
    tokens = [_give_token(path) for path in sorted((config_dir / "sources").glob("*.toml"))]
    _make_secrets(config_dir)
    return Stage(
        config_dir=config_dir,
        state_dir=state_dir,
        operator_token=operator_token,
        source_tokens=dict(tokens),
        cast=cast,
    )


def _write_router(path: Path, operator_token: str) -> None:
    """The demo's own `router.toml`, with the sample's defaults."""
    sample = tomllib.loads(path.read_text("utf-8"))
    defaults = "\n".join(f'{key} = "{value}"' for key, value in sample.get("defaults", {}).items())
    path.write_text(
        f"""# router.toml of the demo: free ports, and endpoints on this machine
[server]
intake = ["127.0.0.1:0", "unix:lead-router.sock"]
admin = ["127.0.0.1:0"]
drain = "10s"
[network]
allow_private = ["127.0.0.0/8"]
allow_http = true
[defaults]
{defaults}
[operators]
demo = {{ token_sha256 = "{_digest(operator_token)}", role = "admin" }}
""",
        "utf-8",
    )


def _point_at_farm(path: Path, farm_url: str, cast: dict[str, str]) -> None:
    """Replace every address of a buyer's endpoints by one of the farm, and note its temper in `cast`."""
    text = path.read_text("utf-8")
    buyer = tomllib.loads(text)
    for name, endpoint in buyer.get("endpoints", {}).items():
        temper, voice = CAST.get(f"{buyer['id']}/{name}", _UNKNOWN)
        cast[buyer["id"]] = temper
        for address, played in _addresses(endpoint, temper, voice, buyer["id"]).items():
            text = text.replace(f'"{address}"', f'"{farm_url}{played}"')
    path.write_text(text, "utf-8")


def _addresses(endpoint: Mapping[str, Any], temper: str, voice: str, buyer_id: str) -> dict[str, str]:
    """Each address of an endpoint -> the path at the farm that plays it."""
    found = {str(endpoint["url"]): f"/buyer/{temper}/{buyer_id}?voice={voice}"}
    if "test_url" in endpoint:
        found[str(endpoint["test_url"])] = f"/buyer/accept/{buyer_id}-test?voice={voice}"
    return found


def _give_token(path: Path) -> tuple[str, str]:
    """Give a source a new token; returns its id and the token."""
    text = path.read_text("utf-8")
    token = new_token()
    line = f'token_sha256 = ["{_digest(token)}"]'
    written, n = _TOKENS.subn(line, text, count=1)
    path.write_text(written if n else f"{line}\n{text}", "utf-8")
    return str(tomllib.loads(text)["id"]), token


def _make_secrets(config_dir: Path) -> None:
    """A value for every `secret:NAME` that the files mention, readable by this user alone.

    All have the form that signing keys need; to the others any text is as good.
    """
    folder = config_dir / "secrets"
    folder.mkdir(mode=0o700)
    for path in sorted(config_dir.rglob("*.toml")):
        for name in _SECRET.findall(path.read_text("utf-8")):
            target = folder / name
            target.touch(mode=0o600)
            target.write_text(f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}", "utf-8")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
