"""Voices out of a file: what a buyer's own API document says it answers, so that its response rules can be rehearsed.

One TOML table a voice, in it one table for each thing a buyer can say:

    [northwind.accepted]
    content_type = "text/html"
    body = "SUCCESS|77120"
    [northwind.rejected]
    status = 200
    body = "REJECT|zip"
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from router.demo.voices import TEXT, VOICES, Said, Spoken, Voice


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """One answer, as a file writes it."""

    status: int = 200
    content_type: str = TEXT
    body: str = ""
    headers: dict[str, str] = {}


_Answered = Literal["accepted", "rejected", "duplicate"]
_File = dict[str, dict[_Answered, Answer]]


def read_voices(path: Path) -> dict[str, Voice]:
    """The voices there are, and those of the file. Raises OSError, and ValueError that says what is wrong where."""
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    for name, answers in file.items():
        if "accepted" not in answers or "rejected" not in answers:
            raise ValueError(f"[{name}] needs {name}.accepted and {name}.rejected")
    return {**VOICES, **{name: _voice(answers) for name, answers in file.items()}}


def _voice(answers: Mapping[_Answered, Answer]) -> Voice:
    """Without an answer of its own a duplicate is a rejection."""

    def say(said: Said, _reason: str) -> Spoken:
        answer = answers["accepted"] if said == "accepted" else answers["rejected"]
        if said == "duplicate":
            answer = answers.get("duplicate", answer)
        return Spoken(answer.status, answer.content_type, answer.body.encode(), tuple(answer.headers.items()))

    return say
