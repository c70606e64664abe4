"""What a ledger holds, counted without a daemon: kinds of facts, leads by status, sizes, since when."""

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from router.ledger import opening, tables
from router.model.facts import TermsLoaded


class Stats(Struct, frozen=True, kw_only=True):
    """Counts and sizes. Instants are nanoseconds since 1970 UTC, none in an empty ledger; sizes are bytes."""

    facts: int
    first_at_ns: int | None
    last_at_ns: int | None
    kinds: dict[str, int]
    leads: dict[str, int]
    erased: int
    terms_versions: int
    losses_accepted: int
    files: dict[str, int]


def count(state_dir: Path) -> Stats | None:
    """Count what is there; None where there is no ledger. Raises LedgerError when it cannot be read."""
    path = state_dir / tables.DATABASE_FILE
    if not path.exists():
        return None
    try:
        with closing(tables.connect_reader(path)) as connection:
            connection.execute("BEGIN")  # one view of everything
            return _count(connection, state_dir)
    except sqlite3.Error as error:
        raise opening.translated(path, error) from error


def _count(connection: sqlite3.Connection, state_dir: Path) -> Stats:
    facts, first_at_ns, last_at_ns = connection.execute("SELECT count(*), min(at_ns), max(at_ns) FROM facts").fetchone()
    return Stats(
        facts=facts,
        first_at_ns=first_at_ns,
        last_at_ns=last_at_ns,
        kinds=dict(connection.execute("SELECT kind, count(*) FROM facts GROUP BY kind ORDER BY 2 DESC")),
        leads=dict(connection.execute("SELECT status, count(*) FROM leads GROUP BY status ORDER BY 2 DESC")),
        erased=connection.execute("SELECT count(*) FROM leads WHERE erased_at_ns IS NOT NULL").fetchone()[0],
        terms_versions=_terms_versions(connection),
        losses_accepted=connection.execute("SELECT count(*) FROM losses").fetchone()[0],
        files={path.name: path.stat().st_size for path in sorted(state_dir.iterdir()) if path.is_file()},
    )


def _terms_versions(connection: sqlite3.Connection) -> int:
    """How many terms were ever put in force; the rows of `terms` are the pieces they are made of."""
    rows = connection.execute("SELECT DISTINCT body FROM facts WHERE kind = ?", (TermsLoaded.__name__,))
    facts = (tables.decode_fact(body) for (body,) in rows)
    return len({fact.terms_version for fact in facts if isinstance(fact, TermsLoaded)})
