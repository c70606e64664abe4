"""The past, read from a state directory whether a daemon runs on it or not: one view, and nothing changes.

For what looks at many leads at once: reports, reconciliation, maps. Whoever looks at one lead asks the ledger.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from router.ledger import opening, tables
from router.ledger.books import read_book
from router.model.codes import LeadStatus
from router.model.facts import AnyFact, Certified
from router.model.lead import Lead
from router.terms.book import Book


class WhereFrom(Struct, frozen=True):
    """A lead as far as maps and counts need it. `postal_code` is None once the person was forgotten (`erased`)."""

    lead_id: str
    lead_type: str
    source_id: str
    received_at_ns: int
    status: LeadStatus
    postal_code: str | None
    country: str | None
    erased: bool
    test: bool


class _Fields(Struct):
    postal_code: str | None = None


class _Body(Struct):
    """The parts of a stored lead that are looked at here."""

    fields: _Fields
    country: str
    test: bool = False


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_lead = msgspec.json.Decoder(Lead).decode


@contextmanager
def open_past(state_dir: Path) -> Iterator["Past | None"]:
    """One view of the ledger in a state directory; None where there is none. Raises LedgerError."""
    path = state_dir / tables.DATABASE_FILE
    if not path.exists():
        yield None
        return
    try:
        connection = tables.connect_reader(path)
        try:
            if tables.check_version(connection) == 0:
                yield None
                return
            connection.execute("BEGIN")
            yield Past(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise opening.translated(path, error) from error


class Past:
    """What happened, as it stood when this was opened."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def leads(self, since_ns: int = 0) -> Iterator[WhereFrom]:
        """Every lead received since then, oldest first."""
        rows = self._connection.execute(
            "SELECT l.lead_id, l.lead_type, l.source_id, l.received_at_ns, l.status, l.erased_at_ns, b.body"
            " FROM leads AS l LEFT JOIN lead_bodies AS b ON b.seq = l.seq WHERE l.received_at_ns >= ? ORDER BY l.seq",
            (since_ns,),
        )
        for lead_id, lead_type, source_id, received_at_ns, status, erased_at_ns, body in rows:
            seen = _decode_body(body) if body is not None else None
            yield WhereFrom(
                lead_id,
                lead_type,
                source_id,
                received_at_ns,
                status,
                seen.fields.postal_code if seen else None,
                seen.country if seen else None,
                erased_at_ns is not None or body is None,
                seen.test if seen else False,
            )

    def lead(self, lead_id: str) -> Lead | None:
        """The lead; None if unknown or forgotten."""
        return tables.read_lead(self._connection, lead_id)

    def person(self, lead_id: str) -> tuple[str | None, str | None]:
        """What a buyer's list may know a lead by, phone and e-mail, normalised; none once the person was forgotten."""
        row = self._connection.execute(
            "SELECT phone, email FROM leads WHERE seq = (SELECT seq FROM facts WHERE lead_id = ? ORDER BY seq LIMIT 1)",
            (lead_id,),
        ).fetchone()
        return (row[0], row[1]) if row else (None, None)

    def owners_of(self, ids: Iterable[str]) -> Counter[str]:
        """How many of these are deliveries to, or leads that went to, which buyer."""
        wanted = set(ids)
        rows = self._connection.execute("SELECT delivery_id, lead_id, buyer_id FROM deliveries") if wanted else ()
        return Counter(row[2] for row in rows if row[0] in wanted or row[1] in wanted)

    def facts(self, *kinds: type[AnyFact], since_ns: int = 0) -> Iterator[tuple[int, AnyFact]]:
        """(when, fact) of every fact of these kinds since then, in their order."""
        marks = ", ".join("?" * len(kinds))
        rows = self._connection.execute(
            f"SELECT at_ns, body FROM facts WHERE kind IN ({marks}) AND at_ns >= ? ORDER BY seq",  # noqa: S608 - marks
            (*(kind.__name__ for kind in kinds), since_ns),
        )
        for at_ns, body in rows:
            yield at_ns, tables.decode_fact(body)

    def book(self, version: str) -> Book | None:
        """The terms of that version; None if unknown. Raises LedgerDamaged."""
        return read_book(self._connection, version)

    def version_in_force(self) -> str | None:
        """The version of the terms loaded last; None when none ever was."""
        row = self._connection.execute(
            "SELECT body FROM facts WHERE kind = 'TermsLoaded' ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        fact = tables.decode_fact(row[0]) if row else None
        return getattr(fact, "terms_version", None)

    def latest_leads(self, since_ns: int, limit: int) -> list[Lead]:
        """The latest leads received since then, at most `limit`, oldest first; forgotten ones are left out."""
        return tables.recent_leads(self._connection, since_ns, limit)

    def certified(self) -> dict[str, str]:
        """`"buyer/endpoint"` -> the version that passed its certification last."""
        facts = (fact for _, fact in self.facts(Certified) if isinstance(fact, Certified) and fact.passed)
        return {f"{fact.buyer_id}/{fact.endpoint}": fact.version for fact in facts}
