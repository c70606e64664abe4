"""Room on the disk: told apart from a broken disk, and kept in reserve.

A reserve file holds a little space back. When the disk fills up it is given up, so that what already happened
outside (outcomes in flight) can still be recorded while leads are refused; getting it back is the proof that there
is room again, and leads are taken again by themselves.
"""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from router.ledger.tables import DATABASE_FILE

RESERVE_FILE: Final = "reserve"
#: Enough for the outcomes of 2,000 deliveries in flight.
RESERVE_BYTES: Final = 4 * 1024 * 1024
_PROBE_BYTES: Final = 4096
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Reserve:
    """The reserve file of a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._path = state_dir / RESERVE_FILE

    def take(self) -> bool:
        """Hold the reserve; False if there is no room for it. Other OSErrors are raised."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self.give_up()
            return False
        return self._may_grow()

    def give_up(self) -> None:
        """Free the reserved space."""
        self._path.unlink(missing_ok=True)

    def explains(self, error: sqlite3.Error) -> bool:
        """Whether `error` means that there was no room, and nothing worse.

        SQLite says so for ENOSPC; a quota or a file size limit it calls a write error, so we try a write ourselves.
        """
        code = error.sqlite_errorcode
        if code == sqlite3.SQLITE_IOERR_WRITE:
            try:
                return not self._may_grow()
            except OSError:
                return False
        return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)

    def _may_grow(self) -> bool:
        """Whether a file as large as our largest could grow: a write beyond that size, to a file of its own."""
        database = self._state_dir / DATABASE_FILE
        sizes = [path.stat().st_size for path in (database, _wal(database)) if path.exists()]
        probe = self._path.with_name(RESERVE_FILE + ".probe")
        fd = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, bytes(_PROBE_BYTES), max(sizes, default=0))
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return False
        finally:
            os.close(fd)
            probe.unlink()
        return True


def _wal(database: Path) -> Path:
    return database.with_name(database.name + "-wal")
