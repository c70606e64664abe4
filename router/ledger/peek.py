"""A look into the ledger without a daemon, or beside one: the terms in force and the latest leads. Reads only."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec

from router.ledger import opening, tables
from router.ledger.books import read_book
from router.model.facts import AnyFact, TermsLoaded
from router.model.lead import Lead
from router.terms.book import Book

T = TypeVar("T")


def running_book(state_dir: Path) -> Book | None:
    """The terms that were loaded last; None where there are none. Raises LedgerError when they cannot be read."""
    return _look(state_dir, _book)


def latest_leads(state_dir: Path, since_ns: int, limit: int) -> list[Lead]:
    """As `Ledger.recent_leads`. Raises LedgerError when the ledger cannot be read."""
    return _look(state_dir, lambda connection: tables.recent_leads(connection, since_ns, limit)) or []


def _book(connection: sqlite3.Connection) -> Book | None:
    row = connection.execute("SELECT body FROM facts WHERE kind = 'TermsLoaded' ORDER BY seq DESC LIMIT 1").fetchone()
    fact = msgspec.json.decode(row[0], type=AnyFact) if row else None
    return read_book(connection, fact.terms_version) if isinstance(fact, TermsLoaded) else None


def _look(state_dir: Path, read: Callable[[sqlite3.Connection], T]) -> T | None:
    path = state_dir / tables.DATABASE_FILE
    if not path.exists():
        return None
    try:
        with closing(tables.connect_reader(path)) as connection:
            return read(connection)
    except sqlite3.Error as error:
        raise opening.translated(path, error) from error
