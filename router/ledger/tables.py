"""Rows: how entries become rows of the tables in `schema.sql` and back.

Synchronous functions over a `sqlite3.Connection`, for whichever thread owns it: the writer's, the reader's, or the
one of `lead-router ledger verify`.
"""

import contextlib
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from router.ledger.anchor import EMPTY, Head
from router.ledger.chain import SALT_BYTES, envelope, link, personal_digest
from router.ledger.protocol import FoundLead, KnownRequest, LedgerDamaged
from router.model.codes import LeadStatus
from router.model.facts import AnyFact, Decided, Ended, Entry, Idempotency, Queued, Received, Reopened, Reserved, Words
from router.model.lead import Lead

DATABASE_FILE: Final = "ledger.sqlite3"
SCHEMA_VERSION: Final = 2

_encode = msgspec.json.Encoder().encode
_decode_fact = msgspec.json.Decoder(AnyFact).decode
_decode_lead = msgspec.json.Decoder(Lead).decode

#: Where the pages of a growing history go is decided by `Writer`; these hold for the life of the connection.
_WRITER_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # an acknowledged lead survives power loss
    "PRAGMA secure_delete = ON",  # what is erased is overwritten
    "PRAGMA wal_autocheckpoint = 0",  # SQLite's own checkpoints swallow I/O errors: we run them and look
    "PRAGMA busy_timeout = 0",  # the loop never waits for another program; the thread does
    "PRAGMA cache_size = -32000",
    "PRAGMA temp_store = MEMORY",
)


class FactRow(msgspec.Struct, frozen=True, gc=False):
    """One entry encoded for the tables; everything but its number, its hash and, for some, its lead."""

    at_ns: int
    kind: str
    lead_id: str | None
    delivery_id: str | None
    body: bytes
    reserved: Reserved | None = None
    decided: Decided | None = None  # one that says something
    status: LeadStatus | None = None
    received: "ReceivedRow | None" = None


class ReceivedRow(msgspec.Struct, frozen=True, gc=False):
    """What stands beside a `Received`: the lead as JSON, its salt and digest, and the columns of `leads`."""

    digest: bytes
    salt: bytes
    body: bytes
    lead: Lead
    idem_key: str | None
    body_sha256: bytes | None


AnswerRow = tuple[str, int, bytes]  # lead_id, HTTP status, body
TermsRow = tuple[str, int, bytes, bytes]  # address, since when, SHA-256, compressed body


def encode_entry(entry: Entry) -> FactRow:
    """An entry as rows. Raises ValueError for a `Received` without its lead."""
    fact = entry.fact
    body = _encode(fact)
    kind = type(fact).__name__
    if isinstance(fact, Received):
        return FactRow(entry.at_ns, kind, fact.lead_id, None, body, received=_encode_received(entry))
    if isinstance(fact, Reserved):
        return FactRow(entry.at_ns, kind, fact.lead_id, fact.delivery_id, body, reserved=fact)
    if isinstance(fact, Decided):
        return FactRow(entry.at_ns, kind, fact.lead_id, None, body, decided=fact if fact.said else None)
    lead_id, delivery_id = getattr(fact, "lead_id", None), getattr(fact, "delivery_id", None)
    return FactRow(entry.at_ns, kind, lead_id, delivery_id, body, status=_status_after(fact))


def _encode_received(entry: Entry) -> ReceivedRow:
    lead = entry.lead
    if lead is None:
        raise ValueError("a Received goes into the ledger with its lead")
    body = _encode(lead)
    salt = os.urandom(SALT_BYTES)
    key = entry.idempotency
    return ReceivedRow(
        digest=personal_digest(salt, body),
        salt=salt,
        body=body,
        lead=lead,
        idem_key=key.key if key else None,
        body_sha256=key.body_sha256 if key else None,
    )


def _status_after(fact: AnyFact) -> LeadStatus | None:
    """The status a lead has after this fact; none if it says nothing of it."""
    if isinstance(fact, Ended):
        return fact.status
    if isinstance(fact, Queued):
        return "queued"
    if isinstance(fact, Reopened):
        return "routing"
    return None


def status_by_facts(connection: sqlite3.Connection, lead_id: str) -> LeadStatus | None:
    """The status that a lead's facts say it has; None when they cannot be read."""
    rows = connection.execute(
        "SELECT body FROM facts WHERE lead_id = ? AND kind IN (?, ?, ?) ORDER BY seq DESC LIMIT 1",
        (lead_id, Ended.__name__, Queued.__name__, Reopened.__name__),
    )
    for (body,) in rows:
        try:
            return _status_after(decode_fact(body))
        except (msgspec.MsgspecError, TypeError):
            return None
    return "routing"


def has_delivery(connection: sqlite3.Connection, fact: Reserved) -> bool:
    """Whether the row beside a reservation says what it says."""
    row = (fact.lead_id, fact.contract_id, fact.buyer_id)
    query = "SELECT lead_id, contract_id, buyer_id FROM deliveries WHERE delivery_id = ?"
    return bool(connection.execute(query, (fact.delivery_id,)).fetchone() == row)


def decode_fact(body: bytes) -> AnyFact:
    """A fact from its JSON. Raises msgspec.DecodeError if it is none."""
    fact: AnyFact = _decode_fact(body)
    return fact


# ---------------------------------------------------------------------------------------------------------- opening


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes, for a thread and the loop in turn. Transactions are begun and ended by hand."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _WRITER_PRAGMAS:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, and so never checkpoints: not even when it is the last to close."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 5000").fetchall()
    return connection


def check_version(connection: sqlite3.Connection) -> int:
    """The schema's version; 0 if there is none yet. Raises LedgerDamaged for one that we do not know."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise LedgerDamaged(
            f"the ledger has schema version {version}; this program knows {SCHEMA_VERSION}",
            hint="run the version of lead-router that wrote it, or a newer one",
        )
    return version


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the schema, all or nothing, unless it is there. Raises LedgerDamaged for a schema we do not know."""
    if check_version(connection) == 0:
        schema = files("router.ledger").joinpath("schema.sql").read_text("utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version = {SCHEMA_VERSION};\nCOMMIT;")


def read_head(connection: sqlite3.Connection) -> Head:
    """The last fact's number and hash."""
    row = connection.execute("SELECT seq, hash FROM facts ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(row[0], row[1]) if row else EMPTY


def hash_at(connection: sqlite3.Connection, seq: int) -> bytes | None:
    """The hash of fact `seq` (0: that before the first); none if there is no such fact."""
    if seq == 0:
        return EMPTY.hash
    row = connection.execute("SELECT hash FROM facts WHERE seq = ?", (seq,)).fetchone()
    return row[0] if row else None


# ---------------------------------------------------------------------------------------------------------- writing


class GroupRows:
    """Rows of one transaction, collected table by table, with their place in the chain."""

    def __init__(self, head: Head, lead_of: dict[str, str]) -> None:
        self.head = head
        self._lead_of = lead_of
        self.facts: list[tuple[int, int, str, str | None, bytes | None, bytes, bytes]] = []
        self.leads: list[tuple[object, ...]] = []
        self.bodies: list[tuple[int, bytes, bytes]] = []
        self.deliveries: list[tuple[str, str, str, str]] = []
        self.said: list[tuple[str, str, int]] = []
        self.statuses: dict[str, LeadStatus] = {}

    def add(self, connection: sqlite3.Connection, row: FactRow) -> None:
        """Give one fact its number and hash and spread it over the tables."""
        seq = self.head.seq + 1
        lead_id = row.lead_id or self._lead_of_delivery(connection, row.delivery_id)
        digest = row.received.digest if row.received else None
        value = link(self.head.hash, envelope(seq, row.at_ns, row.kind, lead_id, digest, row.body))
        self.facts.append((seq, row.at_ns, row.kind, lead_id, digest, row.body, value))
        self.head = Head(seq, value)
        if row.received:
            self._add_lead(seq, row.received)
        elif row.reserved:
            fact = row.reserved
            self._lead_of[fact.delivery_id] = fact.lead_id
            self.deliveries.append((fact.delivery_id, fact.lead_id, fact.contract_id, fact.buyer_id))
        elif row.decided:
            self.said += [(contract_id, row.decided.board, seq) for contract_id in row.decided.said]
        elif row.status and lead_id:
            self.statuses[lead_id] = row.status

    def _add_lead(self, seq: int, row: ReceivedRow) -> None:
        lead = row.lead
        self.leads.append((
            seq, lead.lead_id, lead.source_id, lead.lead_type, lead.received_at_ns, "routing",
            lead.external_id, row.idem_key, row.body_sha256, text_field(lead, "phone"), text_field(lead, "email"),
        ))  # fmt: skip
        self.bodies.append((seq, row.salt, row.body))

    def _lead_of_delivery(self, connection: sqlite3.Connection, delivery_id: str | None) -> str | None:
        """The lead of a delivery: one of the last reserved, else looked up."""
        if delivery_id is None:
            return None
        known = self._lead_of.get(delivery_id)
        return known if known is not None else lead_of(connection, delivery_id)

    def insert(self, connection: sqlite3.Connection) -> None:
        """Insert everything collected, in the transaction that is open."""
        connection.executemany("INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", self.facts)
        if self.leads:
            connection.executemany(
                "INSERT INTO leads (seq, lead_id, source_id, lead_type, received_at_ns, status,"
                " external_id, idem_key, body_sha256, phone, email) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self.leads,
            )
            connection.executemany("INSERT INTO lead_bodies VALUES (?, ?, ?)", self.bodies)
        if self.deliveries:
            connection.executemany("INSERT INTO deliveries VALUES (?, ?, ?, ?)", self.deliveries)
        if self.said:
            connection.executemany("INSERT INTO said VALUES (?, ?, ?)", self.said)
        if self.statuses:
            connection.executemany(
                "UPDATE leads SET status = ? WHERE status <> 'erased'"
                " AND seq = (SELECT seq FROM facts WHERE lead_id = ? ORDER BY seq LIMIT 1)",
                [(status, lead_id) for lead_id, status in self.statuses.items()],
            )


#: A lead's number is that of its first fact, its Received.
_SEQ_OF_LEAD: Final = "SELECT seq FROM facts WHERE lead_id = ? ORDER BY seq LIMIT 1"


def text_field(lead: Lead, field: str) -> str | None:
    """A field that is searched by, if the lead has it as text."""
    value = lead.fields.get(field)
    return value if isinstance(value, str) else None


def insert_answers(connection: sqlite3.Connection, answers: Iterable[AnswerRow]) -> None:
    """Store answers, replacing earlier ones; one for an unknown lead is not stored."""
    connection.executemany(
        "INSERT OR REPLACE INTO answers SELECT seq, ?, ? FROM facts WHERE lead_id = ? ORDER BY seq LIMIT 1",
        [(status, body, lead_id) for lead_id, status, body in answers],
    )


def delete_answers(connection: sqlite3.Connection, before_ns: int, slice_rows: int) -> int:
    """Drop up to `slice_rows` of the oldest answers if their leads came before then; returns how many."""
    cursor = connection.execute(
        "DELETE FROM answers WHERE seq IN (SELECT seq FROM answers ORDER BY seq LIMIT ?)"
        " AND coalesce((SELECT received_at_ns FROM leads WHERE leads.seq = answers.seq), 0) < ?",
        (slice_rows, before_ns),
    )
    return cursor.rowcount


def terms_row(version: str, body: bytes, at_ns: int) -> TermsRow:
    """A piece of terms as a row."""
    return version, at_ns, sha256(body).digest(), zlib.compress(body, 6)


def insert_terms(connection: sqlite3.Connection, rows: Iterable[TermsRow]) -> None:
    """Store pieces of terms unless they are there."""
    connection.executemany("INSERT OR IGNORE INTO terms VALUES (?, ?, ?, ?)", rows)


def erase_leads(connection: sqlite3.Connection, lead_ids: Iterable[str], at_ns: int) -> int:
    """Forget these leads' personal data and mark them `erased`; returns how many had any left."""
    seqs = [row[0] for lead_id in lead_ids for row in connection.execute(_SEQ_OF_LEAD, (lead_id,))]
    erased = _forget(connection, seqs, at_ns)
    connection.executemany("UPDATE leads SET status = 'erased' WHERE seq = ?", [(seq,) for seq in seqs])
    return erased


def erase_oldest(connection: sqlite3.Connection, before_ns: int, at_ns: int, slice_rows: int) -> int:
    """Forget the personal data of up to `slice_rows` of the oldest leads received before then; returns how many."""
    rows = connection.execute(
        "SELECT seq FROM lead_bodies JOIN leads USING (seq) WHERE received_at_ns < ? AND seq <="
        " (SELECT max(seq) FROM (SELECT seq FROM lead_bodies ORDER BY seq LIMIT ?))",
        (before_ns, slice_rows),
    )
    return _forget(connection, [row[0] for row in rows], at_ns)


def _forget(connection: sqlite3.Connection, seqs: Sequence[int], at_ns: int) -> int:
    before = connection.total_changes
    connection.executemany("DELETE FROM lead_bodies WHERE seq = ?", [(seq,) for seq in seqs])
    erased = connection.total_changes - before
    connection.executemany("DELETE FROM answers WHERE seq = ?", [(seq,) for seq in seqs])
    connection.executemany(
        "UPDATE leads SET erased_at_ns = ?, external_id = NULL, idem_key = NULL, body_sha256 = NULL, phone = NULL,"
        " email = NULL WHERE seq = ? AND erased_at_ns IS NULL",
        [(at_ns, seq) for seq in seqs],
    )
    return erased


# ---------------------------------------------------------------------------------------------------------- reading


def read_slice(connection: sqlite3.Connection, after: Head, rows_max: int) -> tuple[list[tuple[int, Entry]], Head]:
    """The next facts after `after` and the head behind them. Raises LedgerDamaged where the chain does not hold.

    The chain is followed through the slice and compared at its end: that is as good, and the hashes need not be read.
    """
    rows = connection.execute(
        "SELECT f.at_ns, f.lead_id, f.digest, f.body, b.body, b.salt, l.idem_key, l.body_sha256 FROM facts AS f"
        " LEFT JOIN lead_bodies AS b ON b.seq = f.seq AND f.digest IS NOT NULL"
        " LEFT JOIN leads AS l ON l.seq = f.seq AND f.digest IS NOT NULL"
        " WHERE f.seq > ? ORDER BY f.seq LIMIT ?",
        (after.seq, rows_max),
    )
    entries: list[tuple[int, Entry]] = []
    seq, value = after.seq, after.hash
    try:
        for at_ns, lead_id, digest, body, lead_body, salt, idem_key, body_sha256 in rows:
            seq += 1
            fact = _decode_fact(body)
            value = link(value, envelope(seq, at_ns, type(fact).__name__, lead_id, digest, body))
            lead = None
            if lead_body is not None:
                if personal_digest(salt, lead_body) != digest:
                    raise damaged_facts(seq, seq)
                lead = _decode_lead(lead_body)
            elif isinstance(fact, Reopened):
                lead = read_lead(connection, fact.lead_id)
            keyed = Idempotency(key=idem_key, body_sha256=body_sha256) if idem_key is not None else None
            entries.append((seq, Entry(at_ns=at_ns, fact=fact, lead=lead, idempotency=keyed)))
    except (msgspec.MsgspecError, TypeError, ValueError, struct.error):  # columns that we never wrote
        raise damaged_facts(seq, seq) from None
    if hash_at(connection, seq) != value:
        raise damaged_facts(after.seq + 1, seq)
    return entries, Head(seq, value)


def read_through(connection: sqlite3.Connection) -> None:
    """Read every fact as a fold would. Raises LedgerDamaged where the chain does not hold."""
    at = EMPTY
    while True:
        entries, at = read_slice(connection, at, 2_000)
        if not entries:
            return


def check_chain(connection: sqlite3.Connection, facts_max: int) -> None:
    """Follow the chain through the last `facts_max` facts. Raises LedgerDamaged where it does not hold."""
    end = read_head(connection)
    seq = max(0, end.seq - facts_max)
    value = hash_at(connection, seq)
    if value is None:
        raise damaged_facts(seq, seq)
    rows = connection.execute("SELECT at_ns, kind, lead_id, digest, body FROM facts WHERE seq > ? ORDER BY seq", (seq,))
    began = seq
    try:
        for row in rows:
            seq += 1
            value = link(value, envelope(seq, *row))
    except (TypeError, AttributeError, struct.error):
        raise damaged_facts(seq, seq) from None
    if Head(seq, value) != end:
        raise damaged_facts(began + 1, end.seq)


def damaged_facts(first: int, last: int) -> LedgerDamaged:
    """The error for facts that are not what was written, the first and the last in doubt."""
    where = f"fact {first} is not what was" if first == last else f"one of the facts {first} to {last} is not what was"
    return LedgerDamaged(
        f"{where} written, or is missing",
        hint="run `lead-router ledger verify` to see the extent, then restore a backup, or start with --accept-loss",
    )


def entries_of(connection: sqlite3.Connection, lead_id: str) -> list[tuple[int, Entry]]:
    """Every fact of a lead, oldest first."""
    lead = read_lead(connection, lead_id)
    rows = connection.execute("SELECT seq, at_ns, body FROM facts WHERE lead_id = ? ORDER BY seq", (lead_id,))
    return [(seq, _entry(at_ns, _decode_fact(body), lead)) for seq, at_ns, body in rows]


def _entry(at_ns: int, fact: AnyFact, lead: Lead | None) -> Entry:
    return Entry(at_ns=at_ns, fact=fact, lead=lead if isinstance(fact, Received | Reopened) else None)


def read_lead(connection: sqlite3.Connection, lead_id: str) -> Lead | None:
    """The lead; none if unknown or forgotten."""
    rows = connection.execute(
        "SELECT body FROM lead_bodies WHERE seq = (SELECT seq FROM facts WHERE lead_id = ? ORDER BY seq LIMIT 1)",
        (lead_id,),
    )
    row = rows.fetchone()
    return _decode_lead(row[0]) if row else None


def recent_leads(connection: sqlite3.Connection, since_ns: int, limit: int) -> list[Lead]:
    """The latest leads received since then, at most `limit`, oldest first; forgotten ones are left out."""
    rows = connection.execute(
        "SELECT body FROM leads JOIN lead_bodies USING (seq) WHERE received_at_ns >= ? AND seq >"
        " (SELECT coalesce(min(seq), 0) - 1 FROM (SELECT seq FROM leads ORDER BY seq DESC LIMIT ?))"
        " ORDER BY seq DESC LIMIT ?",
        (since_ns, limit, limit),
    )
    return [_decode_lead(row[0]) for row in rows][::-1]


def read_said(connection: sqlite3.Connection, contract_ids: Iterable[str], board: str, seq: int) -> dict[str, Words]:
    """What each contract's standing refusal was in words at fact `seq`; contracts that never had one are left out."""
    found: dict[str, Words] = {}
    for contract_id in contract_ids:
        row = connection.execute(
            "SELECT body FROM facts WHERE seq = (SELECT max(seq) FROM said WHERE contract_id = ? AND mode = ?"
            " AND seq <= ?)",
            (contract_id, board, seq),
        ).fetchone()
        fact = _decode_fact(row[0]) if row else None
        if isinstance(fact, Decided) and contract_id in fact.said:
            found[contract_id] = fact.said[contract_id]
    return found


def said_at(connection: sqlite3.Connection, fact: Decided, seq: int) -> bool:
    """Whether every contract of whom a decision says something leads to it."""
    return all(
        connection.execute(
            "SELECT 1 FROM said WHERE contract_id = ? AND mode = ? AND seq = ?", (contract_id, fact.board, seq)
        ).fetchone()
        for contract_id in fact.said
    )


def lead_of(connection: sqlite3.Connection, delivery_id: str) -> str | None:
    """The lead a delivery belongs to; none if unknown."""
    row = connection.execute("SELECT lead_id FROM deliveries WHERE delivery_id = ?", (delivery_id,)).fetchone()
    return row[0] if row else None


def read_answer(connection: sqlite3.Connection, lead_id: str) -> tuple[int, bytes] | None:
    """The stored answer; none if there is none."""
    row = connection.execute(
        "SELECT status, body FROM answers WHERE seq = (SELECT seq FROM facts WHERE lead_id = ? ORDER BY seq LIMIT 1)",
        (lead_id,),
    ).fetchone()
    return (row[0], row[1]) if row else None


def read_terms(connection: sqlite3.Connection, version: str) -> bytes | None:
    """The terms of that version; none if unknown. Raises LedgerDamaged if they are not what was stored."""
    row = connection.execute("SELECT sha256, body FROM terms WHERE version = ?", (version,)).fetchone()
    if row is None:
        return None
    with contextlib.suppress(zlib.error):
        body = zlib.decompress(row[1])
        if sha256(body).digest() == row[0]:
            return body
    raise LedgerDamaged(
        f"the stored terms {version} are not what was stored",
        hint="restore them from a backup of the ledger: decisions made under them cannot be judged again",
    )


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What a search asks for; none matches everything."""

    phone: str | None
    email: str | None
    source: str | None
    status: LeadStatus | None
    since_ns: int | None

    def clause(self) -> tuple[str, list[object]]:
        """The SQL condition and its parameters."""
        wanted = {
            "phone = ?": self.phone,
            "email = ?": self.email,
            "source_id = ?": self.source,
            "status = ?": self.status,
            "received_at_ns >= ?": self.since_ns,
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        return "".join(f" AND {condition}" for condition in given), list(given.values())


def search_slice(
    connection: sqlite3.Connection, query: Query, below_seq: int, from_seq: int, limit: int
) -> list[tuple[int, FoundLead]]:
    """Matching leads with `from_seq <= seq < below_seq`, newest first, at most `limit`, with their numbers."""
    clause, values = query.clause()
    rows = connection.execute(
        "SELECT seq, lead_id, source_id, lead_type, received_at_ns, status, external_id FROM leads"  # noqa: S608 - ours
        f" WHERE seq >= ? AND seq < ?{clause} ORDER BY seq DESC LIMIT ?",
        [from_seq, below_seq, *values, limit],
    )
    return [
        (row[0], FoundLead(
            lead_id=row[1], source_id=row[2], lead_type=row[3], received_at_ns=row[4], status=row[5],
            external_id=row[6],
        ))
        for row in rows
    ]  # fmt: skip


def requests_slice(
    connection: sqlite3.Connection, since_ns: int, below_seq: int, rows_max: int
) -> tuple[list[KnownRequest], int | None]:
    """Known requests among the `rows_max` leads below `below_seq`, and where to go on; none when all older is older."""
    rows = connection.execute(
        "SELECT l.seq, l.lead_id, l.source_id, l.received_at_ns, l.idem_key, l.body_sha256, l.external_id, a.seq"
        " FROM leads AS l LEFT JOIN answers AS a ON a.seq = l.seq WHERE l.seq < ? ORDER BY l.seq DESC LIMIT ?",
        (below_seq, rows_max),
    ).fetchall()
    recent = [row for row in rows if row[3] >= since_ns]
    found = [
        KnownRequest(
            lead_id=row[1], source_id=row[2], received_at_ns=row[3], key=row[4], body_sha256=row[5],
            external_id=row[6], answered=row[7] is not None,
        )
        for row in recent if row[4] is not None or row[6] is not None
    ]  # fmt: skip
    return found, rows[-1][0] if recent and len(rows) == rows_max else None
