"""One daemon a state directory: an advisory lock that the kernel releases when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path
from typing import Final

from router.ledger.protocol import LedgerLocked

LOCK_FILE: Final = "lock"


class StateLock:
    """Holds `$STATE/lock` until `release`. Raises LedgerLocked, naming the lock and its holder, if another has it."""

    def __init__(self, state_dir: Path) -> None:
        path = state_dir / LOCK_FILE
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise LedgerLocked(
                f"{path} is held by process {holder}",
                hint=f"one daemon a state directory: stop process {holder}, or give this one another --state",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two daemons hold two files of one name."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
