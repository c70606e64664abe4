"""Does the history hold? Everything is looked at, with or without a daemon running, and nothing in the ledger changes.

Checked are: that SQLite can read every page; that the facts are numbered without a gap and every hash covers its row
and the hash before; that each lead is the one whose digest stands in the chain, or was erased; that what stands beside
the facts for searching and replaying (statuses, deliveries, erasures) says what they say; and that the facts reach as
far as the anchor knew. Of answers kept for repeats no fact speaks: they are only held to be about their own leads.

A missing anchor is written again when, and only when, everything else holds.
"""

import contextlib
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from router.ledger import opening, tables
from router.ledger.anchor import EMPTY, Head, read_anchor, write_anchor
from router.ledger.chain import envelope, link, personal_digest
from router.ledger.protocol import LedgerDamaged
from router.model.facts import Decided, Received, Reserved, TermsLoaded
from router.model.lead import Lead
from router.model.times import format_instant
from router.terms.revive import found

#: Findings listed one by one; further ones are only counted.
FINDINGS_MAX: Final = 100
_SLICE: Final = 5_000
_NAMING: Final = frozenset({Reserved.__name__, Decided.__name__, TermsLoaded.__name__})
_decode_lead = msgspec.json.Decoder(Lead).decode


#: What is kept of answers is no fact and has no hash; but each is a 2xx about its own lead.
_ODD_ANSWERS: Final = """
SELECT a.seq,
    CASE WHEN a.status NOT BETWEEN 200 AND 299 THEN 'is none that takes a lead' ELSE 'is about another one' END
FROM answers AS a JOIN leads AS l ON l.seq = a.seq
WHERE a.status NOT BETWEEN 200 AND 299
OR (json_valid(CAST(a.body AS TEXT)) AND json_extract(CAST(a.body AS TEXT), '$.lead_id') <> l.lead_id)
"""


class Finding(Struct, frozen=True):
    """One thing that does not hold. `seq` is the fact it was seen at, if it was at one."""

    seq: int | None
    what: str


class Report(Struct, kw_only=True):
    """What verify saw. `ok` says whether the history holds; `notes` are worth knowing and no fault."""

    ok: bool = True
    facts: int = 0
    leads: int = 0
    erased: int = 0
    head_seq: int = 0
    head_hash: str = ""
    anchor_seq: int | None = None
    anchor_rebuilt: bool = False
    findings: list[Finding] = []
    findings_more: int = 0
    notes: list[str] = []

    def add(self, seq: int | None, what: str) -> None:
        """Note something that does not hold."""
        self.ok = False
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(seq, what))
        else:
            self.findings_more += 1


Progress = Callable[[int, int], None]  # facts done, facts in all


def verify(state_dir: Path, *, progress: Progress | None = None) -> Report:
    """Check the ledger in `state_dir`. Damage is in the report; only what keeps us from looking is raised.

    Raises LedgerBroken when the files cannot be read for another reason than damage, LedgerDamaged for a ledger that a
    later version of the program wrote.
    """
    report = Report()
    path = state_dir / tables.DATABASE_FILE
    anchor = _read_anchor(state_dir, report)  # before the facts: a daemon that runs only moves both forward
    if not path.exists():
        _report_nothing(path, anchor, report)
        return report
    try:
        with contextlib.closing(tables.connect_reader(path)) as connection:
            if tables.check_version(connection) == 0:
                _report_nothing(path, anchor, report)
                return report
            connection.execute("BEGIN")  # one view of everything
            _check_pages(connection, report)
            _check_facts(connection, report, progress)
            _check_anchor(connection, path, anchor, report)
            _check_beside(connection, report)
    except sqlite3.Error as error:
        problem = opening.translated(path, error)
        if not isinstance(problem, LedgerDamaged):
            raise problem from error
        report.add(None, str(problem))
    if report.ok and anchor is None:
        write_anchor(state_dir, Head(report.head_seq, bytes.fromhex(report.head_hash)))
        report.anchor_rebuilt = True
        report.notes.append(
            f"the anchor was missing and stands again at fact {report.head_seq}; whether facts after it were lost"
            " cannot be told"
        )
    return report


def _report_nothing(path: Path, anchor: Head | None, report: Report) -> None:
    """There is no database, or no table in it: fine only if there never was a fact."""
    if anchor and anchor.seq:
        report.add(None, str(opening.behind(path, anchor, EMPTY)))
    elif anchor is None:
        report.add(None, f"there is no ledger in {path.parent}")


def _read_anchor(state_dir: Path, report: Report) -> Head | None:
    try:
        anchor = read_anchor(state_dir)
    except LedgerDamaged as error:
        report.add(None, str(error))
        return None
    report.anchor_seq = anchor.seq if anchor else None
    return anchor


def _check_pages(connection: sqlite3.Connection, report: Report) -> None:
    """SQLite's own view: pages, indexes, types."""
    for (line,) in connection.execute(f"PRAGMA integrity_check({FINDINGS_MAX})"):
        if line != "ok":
            report.add(None, f"SQLite: {line}")


def _check_facts(connection: sqlite3.Connection, report: Report, progress: Progress | None) -> None:
    """The chain, fact by fact. After a finding it goes on from what is stored, so that each place shows once."""
    total = connection.execute("SELECT count(*) FROM facts").fetchone()[0]
    head = EMPTY
    rows = connection.execute(
        "SELECT f.seq, f.at_ns, f.kind, f.lead_id, f.digest, f.body, f.hash, b.salt, b.body, l.lead_id, l.erased_at_ns,"
        " l.status, l.source_id, l.lead_type, l.received_at_ns, l.phone, l.email, l.external_id FROM facts AS f"
        " LEFT JOIN lead_bodies AS b ON b.seq = f.seq LEFT JOIN leads AS l ON l.seq = f.seq ORDER BY f.seq"
    )
    for row in rows:
        seq, at_ns, kind, lead_id, digest, body, stored = row[:7]
        if seq != head.seq + 1:
            report.add(seq, f"facts {head.seq + 1} to {seq - 1} are missing")
        elif _link(head, seq, at_ns, kind, lead_id, digest, body) != stored:
            report.add(seq, f"fact {seq} is not what was written, or does not follow the one before it")
        if digest is not None:
            _check_lead(report, seq, digest, row[7:])
            _check_status(connection, report, seq, *row[9:12])
        elif kind in _NAMING:
            _check_named(connection, report, seq, body)
        head = Head(seq, stored if isinstance(stored, bytes) else b"")
        report.facts += 1
        if progress and report.facts % _SLICE == 0:
            progress(report.facts, total)
    report.head_seq, report.head_hash = head.seq, head.hash.hex()


def _link(
    head: Head, seq: int, at_ns: object, kind: object, lead_id: object, digest: object, body: object
) -> bytes | None:
    """The hash a row should have; none if its columns are not even of the right types."""
    if not (isinstance(at_ns, int) and isinstance(kind, str) and isinstance(body, bytes)):
        return None
    if not (isinstance(lead_id, str | None) and isinstance(digest, bytes | None)):
        return None
    with contextlib.suppress(struct.error):  # columns longer than any we write
        return link(head.hash, envelope(seq, at_ns, kind, lead_id, digest, body))
    return None


def _check_lead(report: Report, seq: int, digest: bytes, row: tuple[object, ...]) -> None:
    """The lead beside a Received: the one that was taken, or erased; and its search columns say the same."""
    salt, body, lead_id, erased_at_ns, _status, *columns = row
    report.leads += 1
    if lead_id is None:
        report.add(seq, f"the row that finds the lead of fact {seq} is missing")
    elif body is None:
        report.erased += 1
        if erased_at_ns is None:
            report.add(seq, f"the lead of fact {seq} is gone although it was never erased")
        elif any(column is not None for column in columns[-3:]):
            report.add(seq, f"the lead of fact {seq} was erased and can still be found by what it said")
    elif erased_at_ns is not None:
        report.add(seq, f"the lead of fact {seq} is marked as erased and is still there")
    elif not (isinstance(salt, bytes) and isinstance(body, bytes)) or personal_digest(salt, body) != digest:
        report.add(seq, f"the lead of fact {seq} is not the one that was taken")
    elif [lead_id, *columns] != _columns(_decode_lead(body)):
        report.add(seq, f"what finds the lead of fact {seq} in a search is not what the lead says")


def _check_status(
    connection: sqlite3.Connection, report: Report, seq: int, lead_id: object, erased_at_ns: object, status: object
) -> None:
    """A lead's status beside the facts is that of the last fact that gave it one; or it was erased."""
    if not isinstance(lead_id, str) or (status == "erased" and erased_at_ns is not None):
        return
    said = tables.status_by_facts(connection, lead_id)
    if said is not None and status != said:
        report.add(seq, f"the status of the lead of fact {seq} is not what its facts say: {said}")


def _check_named(connection: sqlite3.Connection, report: Report, seq: int, body: bytes) -> None:
    """What a fact names and somebody will look up is there: a delivery's way to its lead, terms in force."""
    try:
        fact = tables.decode_fact(body)
    except (msgspec.MsgspecError, TypeError):
        return  # its hash told already
    if isinstance(fact, Reserved) and not tables.has_delivery(connection, fact):
        report.add(seq, f"the row that leads from the delivery of fact {seq} to its lead is missing or wrong")
    elif isinstance(fact, Decided) and not tables.said_at(connection, fact, seq):
        report.add(seq, f"the rows that lead to what fact {seq} says of contracts are missing or wrong")
    elif isinstance(fact, TermsLoaded):
        _check_terms(connection, report, seq, fact.terms_version)


def _check_terms(connection: sqlite3.Connection, report: Report, seq: int, version: str) -> None:
    """Every piece of terms that were put in force is there; whether it is what was stored shows elsewhere."""

    def fetch(address: str) -> bytes | None:
        with contextlib.suppress(LedgerDamaged):
            return tables.read_terms(connection, address)
        return b""

    gone = None
    with contextlib.suppress(msgspec.MsgspecError):
        gone = next((address for address, piece in found(version, fetch) if piece is None), None)
    if gone is not None:
        what = "are missing" if gone == version else f"lack their piece {gone}"
        report.add(seq, f"the terms {version} that fact {seq} put in force {what}")


def _columns(lead: Lead) -> list[object]:
    return [
        lead.lead_id, lead.source_id, lead.lead_type, lead.received_at_ns,
        tables.text_field(lead, "phone"), tables.text_field(lead, "email"), lead.external_id,
    ]  # fmt: skip


def _check_beside(connection: sqlite3.Connection, report: Report) -> None:
    """Side tables against the facts: nothing without a fact, nothing that a fact names is missing."""
    for table in ("leads", "lead_bodies", "answers"):
        query = f"SELECT seq FROM {table} EXCEPT SELECT seq FROM facts WHERE kind = ?"  # noqa: S608 - our own names
        for (seq,) in connection.execute(query, (Received.__name__,)):
            report.add(seq, f"`{table}` has a row for fact {seq}, which is no Received")
    strays = (
        "SELECT delivery_id FROM deliveries EXCEPT"
        " SELECT json_extract(CAST(body AS TEXT), '$.delivery_id') FROM facts WHERE kind = ?"
    )
    for (delivery_id,) in connection.execute(strays, (Reserved.__name__,)):
        report.add(None, f"`deliveries` has a row for {delivery_id!r}, which no fact reserved")
    for seq, what in connection.execute(_ODD_ANSWERS):
        report.add(seq, f"the answer kept for the lead of fact {seq} {what}")
    for (version,) in connection.execute("SELECT version FROM terms").fetchall():
        try:
            tables.read_terms(connection, version)
        except LedgerDamaged as error:
            report.add(None, str(error))
    for at_ns, what in connection.execute("SELECT at_ns, what FROM losses"):
        report.notes.append(f"a loss was accepted at {format_instant(at_ns)}: {what}")


def _check_anchor(connection: sqlite3.Connection, path: Path, anchor: Head | None, report: Report) -> None:
    """The facts reach as far as the anchor knew, and it is the same history."""
    if anchor is None:
        return
    problem = opening.judge(connection, path, anchor, Head(report.head_seq, bytes.fromhex(report.head_hash)))
    if problem:
        report.add(None, str(problem))
    elif report.head_seq > anchor.seq:
        report.notes.append(
            f"the anchor stands at fact {anchor.seq}, {report.head_seq - anchor.seq} behind the last: normal after a"
            " crash, and while the daemon writes"
        )
