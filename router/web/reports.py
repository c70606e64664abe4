"""Reports on demand, each in a short-lived process of its own: `lead-router report` on our own state directory.

No lead waits for a report: it gets its own interpreter and memory, a lower priority where the system lets us give it
one, and never more than one runs at a time. When the daemon stops, so does the report.
"""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from router.model.times import format_instant
from router.web.problems import Problem

TIMEOUT_S: Final = 120.0
WAITING_MAX: Final = 4
_NICE: Final = 10


class Reports(Protocol):
    """Who makes reports."""

    async def make(self, name: str, since_ns: int | None) -> bytes:
        """The report as JSON. Raises Problem."""


class ProcessReports:
    """Reports by child processes."""

    def __init__(self, state_dir: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._state_dir = state_dir
        self._timeout_s = timeout_s
        self._one = asyncio.Lock()
        self._waiting = 0
        self._running: subprocess.Popen[bytes] | None = None

    async def make(self, name: str, since_ns: int | None) -> bytes:
        """The report as JSON. Raises Problem: 503 when too many wait, or when it takes too long or cannot be made."""
        if self._waiting >= WAITING_MAX:
            raise Problem("overloaded", "Other reports are being made; ask again.", retry_after_s=10)
        self._waiting += 1
        try:
            async with self._one:
                return await self._make(name, since_ns)
        finally:
            self._waiting -= 1

    async def _make(self, name: str, since_ns: int | None) -> bytes:
        words = [sys.executable, "-m", "router", "report", name, "--state", str(self._state_dir), "--json"]
        if since_ns is not None:
            words += ["--since", format_instant(since_ns)]
        child: subprocess.Popen[bytes] | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                child = self._running = await asyncio.to_thread(_start, words)
                out, _ = await asyncio.to_thread(child.communicate)
        except TimeoutError:
            raise Problem("report_failed", "It took too long.", hint="Ask for a shorter time with `since`.") from None
        finally:
            self._running = None
            if child is not None and child.poll() is None:
                child.kill()
        if child.returncode:
            raise Problem("report_failed", f"The process that makes it ended with exit code {child.returncode}.")
        return out

    def stop(self) -> None:
        """End the report that is being made, if one is: the daemon is about to stop."""
        if self._running is not None:
            self._running.kill()


def _start(words: list[str]) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603 - our own program
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
    return child
