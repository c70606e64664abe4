"""Logs for machines first: one line of JSON on standard error for each thing that happened, as wide as it is useful.

Nothing personal is ever logged. That is held by construction: a line is built from the names in `KEYS` alone, and none
of them is a place where a lead's content could stand; of what a library logs only logger and level are kept, because
its words may quote a request. What a buyer answered is not logged either: it may repeat what it was sent.

Lead and attempt lines come by the thousand, so they are collected for a moment and written together. When the process
is killed the last of them may be missing from the log; the ledger has them all.
"""

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO

import orjson

#: What a line may hold beside `at`, `level`, `logger`, `event`: ids, codes, counts, places in code and configuration.
KEYS: Final = frozenset(
    {
        "action", "addresses", "attempt", "buyer_id", "by", "changed", "code", "contract_id", "copies", "count",
        "delivery_id", "delivery_ids", "error", "file", "hint", "http_status", "key", "late", "lead_id", "lead_type",
        "mend", "outcome", "places", "reason", "request_sha256", "rule", "sample", "seq", "severity", "source_id",
        "status", "took_ms", "until", "value", "version", "words",
    }
)  # fmt: skip
OURS: Final = "router"
FLUSH_AFTER_S: Final = 0.1
_HELD_BYTES_MAX: Final = 64 * 1024
_FOREIGN: Final = "a library logged something; its words may quote a request and are left out"


def stamp(at_s: float) -> str:
    """Seconds since 1970 UTC -> RFC 3339 to the millisecond."""
    whole, ms = divmod(int(at_s * 1000), 1000)
    return f"{_second(whole)}.{ms:03d}Z"


@lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    """Thousands of lines share a second."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}"


class JsonLines(logging.Formatter):
    """A record -> one line of JSON. The event is the record's message as it was written, without its arguments."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        ours = record.name == OURS or record.name.startswith(OURS + ".")
        said: dict[str, Any] = {
            "at": stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": str(record.msg) if ours else _FOREIGN,
        }
        if ours:
            said |= {key: value for key, value in record.__dict__.items() if key in KEYS and value is not None}
        if record.exc_info and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__name__
        return orjson.dumps(said, default=lambda value: type(value).__name__).decode()


class WideLines:
    """The many lines: one for each lead that ended and each attempt. Belongs to the event loop's thread."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def say(self, event: str, **said: str | int | float | bool | None) -> None:
        """Log a line soon. Only the names in `KEYS` may be said."""
        assert said.keys() <= KEYS, "this name is not known to hold nothing personal: see logs.KEYS"
        line = orjson.dumps(
            {"at": stamp(time.time()), "level": "info", "logger": OURS, "event": event, **said},
            option=orjson.OPT_APPEND_NEWLINE,
        )
        self._held.append(line)
        self._held_bytes += len(line)
        if self._held_bytes >= _HELD_BYTES_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self.flush)

    def flush(self) -> None:
        """Write what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text = b"".join(self._held).decode()
        self._held.clear()
        self._held_bytes = 0
        if text:
            self._stream.write(text)
            self._stream.flush()


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> logging.Handler:
    """Send every log line to `stream` (standard error without one) as JSON. Returns the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    for before in list(root.handlers):
        root.removeHandler(before)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(level)
    return handler
