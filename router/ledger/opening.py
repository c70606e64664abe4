"""Opening: nothing is written to a ledger before its facts were held against their anchor.

    database   anchor            then
    none       none, or empty    a new ledger
    none       at fact N         refused: N facts are missing
    there      none              refused until `lead-router ledger verify` has checked everything and rebuilt it
    there      behind the facts  fine: a crash came between a commit and its anchor
    there      ahead             refused: the facts in between are missing
    there      another hash      refused: history was edited or replaced

`--accept-loss` goes on from what there is, and notes the loss in the ledger. A database that cannot be read at all is
set aside, never deleted.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from router.ledger import snapshots, tables
from router.ledger.anchor import ANCHOR_FILE, EMPTY, Head, read_anchor, write_anchor
from router.ledger.protocol import (
    LedgerBehindAnchor,
    LedgerBroken,
    LedgerDamaged,
    LedgerError,
    LedgerFull,
    LedgerLocked,
)

#: Facts at the end whose chain is followed at every start; the rest is for `verify`, and for the fold that reads it.
CHECKED_FACTS_MAX: Final = 100_000
_ACCEPT: Final = "restore the state directory from a backup, or start with --accept-loss to go on without them"


def open_writer(state_dir: Path, *, accept_loss: bool, now_ns: int) -> sqlite3.Connection:
    """The writer's connection to a ledger that is in order (or whose loss is accepted and noted); the anchor is there.

    Raises LedgerBehindAnchor, LedgerDamaged, LedgerLocked, LedgerFull, LedgerBroken.
    """
    path = state_dir / tables.DATABASE_FILE
    anchor, problem = _anchored(state_dir)
    if problem is None and anchor and anchor.seq and not _has_bytes(path):
        problem = behind(path, anchor, EMPTY)
    if problem and not accept_loss:
        raise problem
    if not _has_bytes(path):
        _begin(state_dir)
    try:
        connection = tables.connect_writer(path)
    except sqlite3.Error as error:
        return _unreadable(state_dir, translated(path, error), accept_loss=accept_loss, now_ns=now_ns)
    try:
        tables.create_tables(connection)
        head = tables.read_head(connection)
        problem = problem or judge(connection, path, anchor, head) or _look_over(connection, path)
        _settle(connection, state_dir, anchor, head, problem, accept_loss=accept_loss, now_ns=now_ns)
    except sqlite3.Error as error:
        connection.close()
        return _unreadable(state_dir, translated(path, error), accept_loss=accept_loss, now_ns=now_ns)
    except BaseException:
        connection.close()
        raise
    return connection


def judge(connection: sqlite3.Connection, path: Path, anchor: Head | None, head: Head) -> LedgerError | None:
    """What is wrong between the facts and their anchor; none if nothing is."""
    if anchor is None:
        return no_anchor(path) if head.seq else None
    if head.seq < anchor.seq:
        return behind(path, anchor, head)
    if tables.hash_at(connection, anchor.seq) != anchor.hash:
        return LedgerDamaged(
            f"{path}: fact {anchor.seq} is not the one that was anchored: history was edited or replaced",
            hint="run `lead-router ledger verify` to see where; restore a backup, or start with --accept-loss",
        )
    return None


def _look_over(connection: sqlite3.Connection, path: Path) -> LedgerError | None:
    """What can be seen in a second: whether pages are in order, and whether the youngest facts are what was written."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        return LedgerDamaged(f"{path} is damaged: {found}", hint=_ACCEPT)
    try:
        tables.check_chain(connection, CHECKED_FACTS_MAX)
    except LedgerDamaged as error:
        return error
    return None


def behind(path: Path, anchor: Head, head: Head) -> LedgerBehindAnchor:
    """The error for facts that are missing at the end."""
    what = f"ends at fact {head.seq}" if head.seq else "is missing or empty"
    missing = anchor.seq - head.seq
    return LedgerBehindAnchor(
        f"{path} {what}, but facts up to {anchor.seq} were durable: {missing} are missing",
        hint=_ACCEPT,
        anchor_seq=anchor.seq,
        head_seq=head.seq,
    )


def no_anchor(path: Path) -> LedgerDamaged:
    """The error for facts without an anchor."""
    return LedgerDamaged(
        f"{path.with_name(ANCHOR_FILE)} is missing: nobody can tell whether facts are",
        hint="run `lead-router ledger verify`: it checks the whole history and writes the anchor again",
    )


def translated(path: Path, error: sqlite3.Error) -> LedgerError:
    """What SQLite said while reading or opening, as one of our errors."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return LedgerLocked(f"{path}: {error}", hint="another program holds the database: close it")
    if code == sqlite3.SQLITE_FULL:
        return LedgerFull(f"{path}: {error}", hint="make room on the disk")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):  # the last: tables are missing
        return LedgerDamaged(f"{path} is damaged: {error}", hint=_ACCEPT)
    return LedgerBroken(f"{path}: {error}", hint="look at the disk, the file's owner and the system log")


def _anchored(state_dir: Path) -> tuple[Head | None, LedgerError | None]:
    try:
        return read_anchor(state_dir), None
    except LedgerDamaged as error:
        return None, error


def _settle(
    connection: sqlite3.Connection,
    state_dir: Path,
    anchor: Head | None,
    head: Head,
    problem: LedgerError | None,
    *,
    accept_loss: bool,
    now_ns: int,
) -> None:
    """Refuse what is not in order, or note the loss and anchor what there is."""
    if problem and not accept_loss:
        raise problem
    if problem:
        tables.record_loss(connection, now_ns, anchor.seq if anchor else 0, head.seq, str(problem))
        snapshots.delete_all(state_dir)
    if problem or anchor is None:
        write_anchor(state_dir, head)


def _begin(state_dir: Path) -> None:
    """The files of a new ledger, readable by nobody else; a log without its database is set aside."""
    _set_aside(state_dir, 0)
    snapshots.delete_all(state_dir)
    os.close(os.open(state_dir / tables.DATABASE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if not (state_dir / ANCHOR_FILE).exists():
        write_anchor(state_dir, EMPTY)


def _unreadable(state_dir: Path, problem: LedgerError, *, accept_loss: bool, now_ns: int) -> sqlite3.Connection:
    """A database that cannot be read: refuse; or, if only damaged and the loss is accepted, set it aside and begin."""
    if not accept_loss or not isinstance(problem, LedgerDamaged):
        raise problem
    _set_aside(state_dir, now_ns)
    return open_writer(state_dir, accept_loss=True, now_ns=now_ns)


def _set_aside(state_dir: Path, now_ns: int) -> None:
    """Rename the database's files; what is there may still be worth something to somebody."""
    for suffix in ("", "-wal", "-shm"):
        path = state_dir / (tables.DATABASE_FILE + suffix)
        if path.exists() and (suffix or path.stat().st_size):
            path.rename(path.with_name(f"{path.name}.damaged-{now_ns}"))


def _has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
