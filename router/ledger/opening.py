"""Opening: nothing is written to a ledger before its facts were held against their anchor.

    database   anchor            then
    none       none, or empty    a new ledger
    none       at fact N         refused: N facts are missing
    there      none              refused until `lead-router ledger verify` has checked everything and rebuilt it
    there      behind the facts  fine: a crash came between a commit and its anchor
    there      ahead             refused: the facts in between are missing
    there      another hash      refused: history was edited or replaced
    damaged                      refused

Looking is done on a connection that cannot write, so that what is refused stays as it was found, the write-ahead log
included. With `--accept-loss` the old files are kept beside the new ones if anything had to be left behind, and the
ledger notes the loss.
"""

import os
import sqlite3
from contextlib import closing
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
from router.ledger.salvage import salvage

#: Facts at the end whose chain is followed at every start; the rest is for `verify`, and for the fold that reads it.
CHECKED_FACTS_MAX: Final = 100_000
#: Ledgers up to this size have all their pages looked over at every start (about 0.4 s for a million facts).
CHECKED_BYTES_MAX: Final = 1024 * 1024 * 1024
_ACCEPT: Final = "restore the state directory from a backup, or start with --accept-loss to go on without them"


def open_writer(state_dir: Path, *, accept_loss: bool, now_ns: int) -> sqlite3.Connection:
    """The writer's connection to a ledger that is in order, or whose loss is accepted and noted; the anchor is there.

    Raises LedgerBehindAnchor, LedgerDamaged, LedgerLocked, LedgerFull, LedgerBroken.
    """
    path = state_dir / tables.DATABASE_FILE
    try:
        problem = inspect(state_dir, thorough=accept_loss)
        if problem and not accept_loss:
            raise problem
        if problem:
            return _accept(state_dir, problem, now_ns)
        if not (state_dir / ANCHOR_FILE).exists():
            write_anchor(state_dir, EMPTY)
        return _connect(path)
    except sqlite3.Error as error:
        raise translated(path, error) from error


def inspect(state_dir: Path, *, thorough: bool) -> LedgerError | None:
    """What is wrong with the ledger, if anything; changes nothing. `thorough` reads every fact as a fold would.

    Raises sqlite3.Error or LedgerDamaged for what accepting a loss would not help.
    """
    path = state_dir / tables.DATABASE_FILE
    try:
        anchor = read_anchor(state_dir)
    except LedgerDamaged as error:
        return error
    nothing = behind(path, anchor, EMPTY) if anchor and anchor.seq else None
    if not path.exists() or path.stat().st_size == 0:
        return nothing
    try:
        with closing(tables.connect_reader(path)) as connection:
            if tables.check_version(connection) == 0:
                return nothing
            head = tables.read_head(connection)
            return judge(connection, path, anchor, head) or _look_over(connection, path, thorough=thorough)
    except sqlite3.Error as error:
        problem = translated(path, error)
        if isinstance(problem, LedgerDamaged):
            return problem
        raise


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


def _look_over(connection: sqlite3.Connection, path: Path, *, thorough: bool) -> LedgerError | None:
    """Whether pages are in order and facts are what was written: as far as a second allows, or `thorough`."""
    small = path.stat().st_size <= CHECKED_BYTES_MAX
    if (small or thorough) and (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        return LedgerDamaged(f"{path} is damaged: {found}", hint=_ACCEPT)
    try:
        if thorough:
            tables.read_through(connection)
        else:
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
    if "Could not decode" in str(error):  # SQLite quotes the whole value, which may be a person's: never repeat it
        return LedgerDamaged(f"{path} is damaged: a column that should be text is not", hint=_ACCEPT)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):  # the last: tables are missing
        return LedgerDamaged(f"{path} is damaged: {error}", hint=_ACCEPT)
    return LedgerBroken(f"{path}: {error}", hint="look at the disk, the file's owner and the system log")


# -------------------------------------------------------------------------------------------------- accepting a loss


def _accept(state_dir: Path, problem: LedgerError, now_ns: int) -> sqlite3.Connection:
    """Go on from what there is: as it stands if that holds by itself, else from what can be salvaged."""
    path = state_dir / tables.DATABASE_FILE
    anchor_seq = problem.anchor_seq if isinstance(problem, LedgerBehindAnchor) else _anchor_seq(state_dir)
    snapshots.delete_all(state_dir)
    connection = _connect(path) if _holds(path) else _salvaged(state_dir, anchor_seq, now_ns)
    try:
        head = tables.read_head(connection)
        connection.execute("INSERT INTO losses VALUES (?, ?, ?, ?)", (now_ns, anchor_seq, head.seq, str(problem)))
        write_anchor(state_dir, head)
    except BaseException:
        connection.close()
        raise
    return connection


def _anchor_seq(state_dir: Path) -> int:
    try:
        anchor = read_anchor(state_dir)
    except LedgerDamaged:
        return 0
    return anchor.seq if anchor else 0


def _holds(path: Path) -> bool:
    """Whether the database, whatever its anchor says, can be read from beginning to end."""
    if not path.exists():
        return False
    try:
        with closing(tables.connect_reader(path)) as connection:
            return _look_over(connection, path, thorough=True) is None
    except sqlite3.Error:
        return False


def _salvaged(state_dir: Path, anchor_seq: int, now_ns: int) -> sqlite3.Connection:
    """A new ledger with what can be believed of the old one, whose files are set aside and never deleted."""
    path = state_dir / tables.DATABASE_FILE
    aside = f"damaged-{now_ns}"
    for suffix in ("-shm", "-wal", ""):
        if (each := path.with_name(path.name + suffix)).exists():
            each.rename(path.with_name(f"{path.name}.{aside}{suffix}"))
    connection = _connect(path)
    try:
        with closing(tables.connect_reader(path.with_name(f"{path.name}.{aside}"))) as old:
            connection.execute("BEGIN IMMEDIATE")
            salvage(old, connection, last_seq=_last_seq(old, anchor_seq), now_ns=now_ns)
            connection.commit()
    except sqlite3.Error:  # nothing of it can be read
        connection.rollback()
    except BaseException:
        connection.close()
        raise
    return connection


def _last_seq(old: sqlite3.Connection, anchor_seq: int) -> int:
    """The highest number a fact may have; where SQLite cannot tell, what the anchor knew."""
    try:
        last: int | None = old.execute("SELECT max(seq) FROM facts").fetchone()[0]
    except sqlite3.DatabaseError:
        last = 0
    return max(last or 0, anchor_seq)


def _connect(path: Path) -> sqlite3.Connection:
    """The writer's connection, on a file that nobody else can read, with its tables."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = tables.connect_writer(path)
    try:
        tables.create_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection
