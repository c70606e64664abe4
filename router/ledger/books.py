"""A Book of the past from the pieces that the ledger keeps, for who reads it without a daemon."""

import sqlite3
from typing import NoReturn

from router.ledger import tables
from router.ledger.protocol import LedgerDamaged
from router.terms.book import Book
from router.terms.revive import revive


def read_book(connection: sqlite3.Connection, version: str) -> Book | None:
    """The Book of a terms version; None when there is none of it. Raises LedgerDamaged when a part is gone."""
    if tables.read_terms(connection, version) is None:
        return None
    return revive(version, lambda address: tables.read_terms(connection, address) or gone(version, address))


def gone(version: str, address: str) -> NoReturn:
    """A piece of a terms version is not there. Raises LedgerDamaged."""
    raise LedgerDamaged(
        f"the terms {version} lack their piece {address}",
        hint="restore the ledger from a backup: decisions made under these terms cannot be judged again",
    )
