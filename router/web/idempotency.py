"""The two request headers that change how a lead is taken: Idempotency-Key and Prefer. Pure parsing."""

import re
from collections.abc import Sequence
from typing import Final

from router.web.problems import Problem

KEY_LENGTH_MAX: Final = 255
#: `Prefer: wait=N` is honoured up to this; a client that wants to wait longer asks again with GET.
WAIT_MAX_S: Final = 60.0

_VISIBLE = re.compile(r"[ -~]+", re.ASCII)
_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.ASCII | re.IGNORECASE)


def parse_key(lines: Sequence[str], *, required: bool) -> str | None:
    """The key in the Idempotency-Key header lines; None when there is none and none is required.

    Surrounding double quotes are not part of it: `"a"` and `a` are one key. Raises Problem (400).
    """
    if not lines:
        if required:
            raise Problem("idempotency_key_required", "Send one for each lead, and the same one with its repeats.")
        return None
    if len(lines) > 1:
        raise Problem("idempotency_key_invalid", "Send one Idempotency-Key header line, not several.")
    text = lines[0].strip(" \t")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not 1 <= len(text) <= KEY_LENGTH_MAX or _VISIBLE.fullmatch(text) is None:
        raise Problem(
            "idempotency_key_invalid",
            f"An Idempotency-Key is 1 to {KEY_LENGTH_MAX} visible ASCII characters or spaces.",
        )
    return text


def preferred_wait_s(lines: Sequence[str]) -> float | None:
    """How long `Prefer` asks to wait for the sale, in seconds; None when it does not say.

    `wait=N` is capped at `WAIT_MAX_S` and wins over `respond-async` (RFC 7240: asynchronous if it takes longer).
    What is not understood is ignored, as RFC 7240 wants.
    """
    wait_s: float | None = None
    for line in lines:
        for preference in line.split(","):
            token = preference.split(";")[0].strip()
            if (asked := _WAIT.fullmatch(token)) is not None:
                return min(float(asked[1]), WAIT_MAX_S)
            if token.lower() == "respond-async":
                wait_s = 0.0
    return wait_s
