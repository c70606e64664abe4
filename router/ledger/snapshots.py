"""Snapshots of routing state, in a SQLite file of their own.

They are large, written once a minute and never the truth: in the ledger they would go through its write-ahead log,
hold up commits and swell backups. A snapshot carries the hash of the fact it stands behind, so one that belongs to
another history, or to facts that were lost, is never taken for ours.
"""

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from router.ledger import tables

SNAPSHOTS_FILE: Final = "snapshots.sqlite3"
_KEPT: Final = 2
_SCHEMA: Final = """CREATE TABLE IF NOT EXISTS snapshots (
    seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, fact_hash BLOB NOT NULL, sha256 BLOB NOT NULL, body BLOB NOT NULL
)"""


class Snapshot(Struct, frozen=True, kw_only=True):
    """State after fact `seq`, whose hash is `fact_hash`."""

    seq: int
    fact_hash: bytes
    body: bytes


def save(state_dir: Path, snapshot: Snapshot, at_ns: int) -> None:
    """Store it durably and keep the last two. Raises sqlite3.Error."""
    row = (snapshot.seq, at_ns, snapshot.fact_hash, sha256(snapshot.body).digest(), snapshot.body)
    with closing(_connect(state_dir)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", row)
        connection.execute(
            "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)", (_KEPT,)
        )
        connection.execute("COMMIT")


def newest(connection: sqlite3.Connection, state_dir: Path) -> Snapshot | None:
    """The newest snapshot of this very history, which `connection` reads; others are deleted."""
    for snapshot in newest_first(state_dir):
        if tables.hash_at(connection, snapshot.seq) == snapshot.fact_hash:
            return snapshot
        delete(state_dir, snapshot.seq)
    return None


def newest_first(state_dir: Path) -> list[Snapshot]:
    """The snapshots whose bytes are what was stored, newest first; bad ones are deleted, a bad file too."""
    if not (state_dir / SNAPSHOTS_FILE).exists():
        return []
    try:
        with closing(_connect(state_dir)) as connection:
            return _read_good(connection)
    except sqlite3.Error:
        delete_all(state_dir)
        return []


def delete(state_dir: Path, seq: int) -> None:
    """Delete one that turned out not to be of this history."""
    with closing(_connect(state_dir)) as connection:
        connection.execute("DELETE FROM snapshots WHERE seq = ?", (seq,))


def delete_all(state_dir: Path) -> None:
    """Delete the file: state is then folded from the facts."""
    for suffix in ("", "-journal"):
        (state_dir / (SNAPSHOTS_FILE + suffix)).unlink(missing_ok=True)


def _read_good(connection: sqlite3.Connection) -> list[Snapshot]:
    good = []
    for seq, fact_hash, digest, body in connection.execute(
        "SELECT seq, fact_hash, sha256, body FROM snapshots ORDER BY seq DESC"
    ).fetchall():
        if isinstance(body, bytes) and sha256(body).digest() == digest:
            good.append(Snapshot(seq=seq, fact_hash=fact_hash, body=body))
        else:
            connection.execute("DELETE FROM snapshots WHERE seq = ?", (seq,))
    return good


def _connect(state_dir: Path) -> sqlite3.Connection:
    path = state_dir / SNAPSHOTS_FILE
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL").fetchall()
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
