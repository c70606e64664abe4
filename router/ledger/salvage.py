"""After an accepted loss: everything that can still be believed goes into a new ledger.

A fact is believed if it can be read and decoded and follows from the one before it: from that one's hash as stored, or
as recomputed. What is believed is numbered and chained anew, so that the new ledger holds by itself. A lead that is
not the one whose digest stands in the chain counts as forgotten.
"""

import sqlite3
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.ledger import tables
from router.ledger.anchor import EMPTY, Head
from router.ledger.chain import envelope, link, personal_digest
from router.model.facts import AnyFact, Decided, Received, Reserved

_SLICE: Final = 500
Sql = sqlite3.Connection
Row = tuple[Any, ...]


def salvage(old: Sql, new: Sql, *, last_seq: int, now_ns: int) -> int:
    """Carry over what can be believed of the facts 1 to `last_seq`, and what stands beside them; returns how many.

    Runs in the transaction that is open on `new`.
    """
    head = EMPTY
    trail = _Trail()
    for seq, row in _rows(old, last_seq):
        fact = trail.follow(seq, row)
        if row is None or fact is None:
            continue
        at_ns, kind, lead_id, digest, body, _ = row
        number = head.seq + 1
        head = Head(number, link(head.hash, envelope(number, at_ns, kind, lead_id, digest, body)))
        new.execute("INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *row[:5], head.hash))
        _carry_beside(old, new, seq, number, fact, digest, now_ns)
    _restate(new)
    for table in ("terms", "losses"):
        for each in _tried(old, f"SELECT * FROM {table}"):  # noqa: S608 - our own names
            new.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", each)  # noqa: S608 - our own names
    return head.seq


class _Trail:
    """The hash before the next fact, in the two ways it may be known; none where it is not."""

    def __init__(self) -> None:
        self.stored: bytes | None = EMPTY.hash
        self.recomputed: bytes | None = EMPTY.hash

    def follow(self, seq: int, row: Row | None) -> AnyFact | None:
        """The fact of this row if it can be believed, and on to the next."""
        known = [value for value in (self.stored, self.recomputed) if value is not None]
        self.stored = self.recomputed = None
        if row is None:
            return None
        self.stored = row[5] if isinstance(row[5], bytes) else None
        try:
            fact = tables.decode_fact(row[4])
            links = [link(value, envelope(seq, *row[:5])) for value in known]
        except (msgspec.MsgspecError, TypeError, ValueError, AttributeError, struct.error):
            return None
        self.recomputed = links[-1] if links else self.stored
        follows = not links or self.stored in links
        return fact if follows and type(fact).__name__ == row[1] else None


def _rows(old: Sql, last_seq: int) -> Iterator[tuple[int, Row | None]]:
    """Every number with its row; none where there is none, or where it cannot be read."""
    query = "SELECT seq, at_ns, kind, lead_id, digest, body, hash FROM facts WHERE seq BETWEEN ? AND ?"
    for first in range(1, last_seq + 1, _SLICE):
        numbers = range(first, min(first + _SLICE, last_seq + 1))
        found = _tried(old, query, numbers[0], numbers[-1])
        if len(found) < len(numbers):  # something here is missing or cannot be read: one by one
            found = [row for seq in numbers for row in _tried(old, query, seq, seq)]
        rows = {row[0]: row[1:] for row in found}
        yield from ((seq, rows.get(seq)) for seq in numbers)


def _carry_beside(old: Sql, new: Sql, seq: int, number: int, fact: AnyFact, digest: bytes | None, now_ns: int) -> None:
    """What stands beside the fact that was `seq` and is now `number`."""
    if isinstance(fact, Reserved):
        delivery = (fact.delivery_id, fact.lead_id, fact.contract_id, fact.buyer_id)
        new.execute("INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?)", delivery)
    if isinstance(fact, Decided):
        rows = [(contract_id, fact.board, number) for contract_id in fact.said]
        new.executemany("INSERT OR IGNORE INTO said VALUES (?, ?, ?)", rows)
    if not isinstance(fact, Received):
        return

    def of(table: str) -> Row | None:
        rows = _tried(old, f"SELECT * FROM {table} WHERE seq = ?", seq)  # noqa: S608 - our own names
        return rows[0][1:] if rows else None

    lead, body, answer = of("leads"), of("lead_bodies"), of("answers")
    known = lead is not None and body is not None and digest is not None and _matches(body, digest)
    if known and lead and body:
        new.execute("INSERT INTO leads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *lead))
        new.execute("INSERT INTO lead_bodies VALUES (?, ?, ?)", (number, *body))
    else:
        status = lead[4] if lead else "unsold"
        new.execute(
            "INSERT INTO leads (seq, lead_id, source_id, lead_type, received_at_ns, status, erased_at_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, fact.lead_id, fact.source_id, fact.lead_type, _received_at(lead), status, now_ns),
        )
    if known and answer:
        new.execute("INSERT INTO answers VALUES (?, ?, ?)", (number, *answer))


def _restate(new: Sql) -> None:
    """Every lead's status is what the facts that were left say of it."""
    for seq, lead_id in new.execute("SELECT seq, lead_id FROM leads WHERE status <> 'erased'").fetchall():
        status = tables.status_by_facts(new, lead_id)
        if status is not None:
            new.execute("UPDATE leads SET status = ? WHERE seq = ?", (status, seq))


def _received_at(lead: Row | None) -> int:
    return lead[3] if lead and isinstance(lead[3], int) else 0


def _matches(body: Row, digest: bytes) -> bool:
    return isinstance(body[0], bytes) and isinstance(body[1], bytes) and personal_digest(body[0], body[1]) == digest


def _tried(connection: Sql, query: str, *values: int) -> list[Row]:
    """What could be read; nothing where SQLite finds damage."""
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.DatabaseError:
        return []
