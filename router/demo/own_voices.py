"""Buyers out of a file: what their API document says they ask for and answer, so that it can be rehearsed.

One TOML table a buyer, in it one table for each thing it can say, and what it insists on:

    [ridgeline.asks]
    format = "form"
    headers = { X-Key = "let-me-in" }
    fields = ["fn", "ph", "zip5"]
    [ridgeline.accepted]
    content_type = "text/html"
    body = "SUCCESS|77120"
    [ridgeline.rejected]
    status = 200
    body = "REJECT|{reason}"
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from router.demo.doors import Door
from router.demo.voices import TEXT, VOICES, Said, Spoken, Voice


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """One answer, as a file writes it. `{reason}` in it is why, `{price}` what is bid, `{n}` a number of its own."""

    status: int = 200
    content_type: str = TEXT
    body: str = ""
    headers: dict[str, str] = {}


class Own(Struct, frozen=True, forbid_unknown_fields=True):
    """A buyer of the file. What it has no answer of its own for is a rejection."""

    accepted: Answer
    rejected: Answer
    duplicate: Answer | None = None
    failed: Answer | None = None
    bid: Answer | None = None
    no_bid: Answer | None = None
    unknown: Answer = Answer(status=401)
    asks: Door = Door()


class Apis(NamedTuple):
    """The voices there are with those of a file, and the doors of its buyers, by name."""

    voices: Mapping[str, Voice]
    doors: Mapping[str, Door]


_ANSWERS: Final[dict[Said, str]] = {
    "accepted": "accepted", "rejected": "rejected", "duplicate": "duplicate", "refused": "failed", "bid": "bid",
    "no_bid": "no_bid", "unknown": "unknown",
}  # fmt: skip


def read_voices(path: Path) -> Apis:
    """Read them. Raises OSError, and ValueError that says what is wrong where."""
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=dict[str, Own])
        for own in file.values():
            _ = own.asks.token and own.asks.token.lasts_ns
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    voices = {name: _voice(own) for name, own in file.items()}
    return Apis({**VOICES, **voices}, {name: own.asks for name, own in file.items()})


def _voice(own: Own) -> Voice:
    def say(said: Said, reason: str) -> Spoken:
        answer: Answer = getattr(own, _ANSWERS.get(said, "rejected")) or own.rejected
        body = answer.body.replace("{reason}", reason).replace("{price}", reason)
        return Spoken(answer.status, answer.content_type, body.encode(), tuple(answer.headers.items()))

    return say
