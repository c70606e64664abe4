"""The ledger of simulation: the same promises, kept in memory, inline and without a thread.

What is appended is durable at once, so a simulated run is a pure function of its seed. `full` and `broken` are the
disk's faults; `close` and `open` again are a crash and a restart.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from router.ledger.protocol import (
    FoundLead,
    KnownRequest,
    LedgerBroken,
    LedgerError,
    LedgerFull,
    OnChange,
    Opened,
    parse_cursor,
)
from router.model.codes import LeadStatus
from router.model.facts import Decided, Ended, Entry, Idempotency, Queued, Received, Reopened, Reserved, Words
from router.model.lead import Lead

_SLICE = 2_000


class _LeadRow(Struct):
    """What the tables `leads` and `lead_bodies` hold of one lead."""

    seq: int
    lead: Lead | None
    found: FoundLead
    request: KnownRequest


class _Snapshot(Struct, frozen=True):
    seq: int
    sha256: bytes
    body: bytes


class MemoryLedger:
    """See `protocol.Ledger` for what each method promises."""

    def __init__(self, *, on_change: OnChange | None = None) -> None:
        self.on_change = on_change
        self._problem: LedgerError | None = _closed()
        self._entries: list[Entry] = []
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[int]]] = []
        self._by_lead: dict[str, list[int]] = {}
        self._lead_of: dict[str, str] = {}
        self._leads: dict[str, _LeadRow] = {}
        self._answers: dict[str, tuple[int, bytes]] = {}
        self._terms: dict[str, bytes] = {}
        self._snapshots: list[_Snapshot] = []

    @property
    def writable(self) -> bool:
        """Whether a lead may be taken now."""
        return self._problem is None

    @property
    def problem(self) -> LedgerError | None:
        """Why not, if not."""
        return self._problem

    @property
    def head_seq(self) -> int:
        """The last durable fact's number."""
        return len(self._entries)

    # ------------------------------------------------------------------------------------------ the disk's faults

    def fill_disk(self) -> None:
        """From now on there is no room."""
        self._become(LedgerFull("the ledger cannot be written now: there is no room", hint="make room on the disk"))

    def make_room(self) -> None:
        """There is room again: what was kept is written, in its order."""
        self._become(None)
        waiting, self._waiting = self._waiting, []
        for entries, future in waiting:
            self._write(entries, future)

    def break_disk(self) -> None:
        """An fsync failed."""
        self._become(LedgerBroken("writing to the ledger failed: disk I/O error", hint="the process must stop"))
        self._fail_waiting()

    def _become(self, problem: LedgerError | None) -> None:
        changed = (self._problem is None) != (problem is None) or isinstance(problem, LedgerBroken)
        self._problem = problem
        if changed and self.on_change:
            self.on_change()

    # ------------------------------------------------------------------------------------------------- life cycle

    async def open(self) -> Opened:
        """Start, or start again after `close`."""
        self._problem = None
        self._snapshots = [each for each in self._snapshots if sha256(each.body).digest() == each.sha256]
        newest = self._snapshots[-1] if self._snapshots else None
        return Opened(
            snapshot=newest.body if newest else None,
            snapshot_seq=newest.seq if newest else 0,
            head_seq=len(self._entries),
        )

    async def close(self) -> None:
        """Stop taking; what still waits for room is lost, as it would be with the process."""
        if not isinstance(self._problem, LedgerBroken):
            self._problem = _closed()
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        for _, future in self._waiting:
            _fail(future, self._problem or _closed())
        self._waiting = []

    # ---------------------------------------------------------------------------------------------------- writing

    def append(self, entries: Sequence[Entry], *, keep: bool = False) -> asyncio.Future[int]:
        """Write `entries`; the future is done already, unless they wait for room."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for entry in entries:
            if isinstance(entry.fact, Received) and entry.lead is None:
                raise ValueError("a Received goes into the ledger with its lead")
        if self._problem is None:
            self._write(entries, future)
        elif isinstance(self._problem, LedgerFull) and keep:
            self._waiting.append((entries, future))
        else:
            _fail(future, self._problem)
        return future

    def _write(self, entries: Sequence[Entry], future: asyncio.Future[int]) -> None:
        for entry in entries:
            msgspec.json.encode(entry.fact)  # what the ledger on disk could not write down must fail here too
            self._entries.append(Entry(at_ns=entry.at_ns, fact=entry.fact))
            self._note(len(self._entries), entry)
        if not future.done():
            future.set_result(len(self._entries))

    def _note(self, seq: int, entry: Entry) -> None:
        """What the side tables learn from a fact."""
        fact = entry.fact
        lead_id: str | None = getattr(fact, "lead_id", None) or self._lead_of.get(getattr(fact, "delivery_id", ""))
        if isinstance(fact, Received):
            assert entry.lead
            self._leads[fact.lead_id] = _lead_row(seq, entry, entry.lead)
        elif isinstance(fact, Reserved):
            self._lead_of[fact.delivery_id] = fact.lead_id
        elif isinstance(fact, Ended):
            self._set_status(fact.lead_id, fact.status)
        elif isinstance(fact, Queued):
            self._set_status(fact.lead_id, "queued")
        elif isinstance(fact, Reopened):
            self._set_status(fact.lead_id, "routing")
        if lead_id is not None:
            self._by_lead.setdefault(lead_id, []).append(seq)

    def _set_status(self, lead_id: str, status: LeadStatus) -> None:
        row = self._leads.get(lead_id)
        if row and row.found.status != "erased":
            row.found = replace(row.found, status=status)

    def _refuse(self) -> None:
        if self._problem:
            raise self._problem

    async def store_answer(self, lead_id: str, status: int, body: bytes) -> None:
        """Store an answer; one for an unknown lead is not stored."""
        self._refuse()
        if lead_id in self._leads:
            self._answers[lead_id] = (status, body)

    async def forget_answers(self, before_ns: int) -> None:
        """Drop the answers of old leads."""
        self._refuse()
        for lead_id, row in self._leads.items():
            if row.found.received_at_ns < before_ns:
                self._answers.pop(lead_id, None)

    async def put_terms(self, version: str, body: bytes) -> None:
        """Store terms unless they are there."""
        self._refuse()
        self._terms.setdefault(version, body)

    async def save_snapshot(self, seq: int, body: bytes) -> None:
        """Keep the last two snapshots."""
        if not 0 <= seq <= len(self._entries):
            raise ValueError(f"a snapshot stands behind a durable fact; there is no fact {seq}")
        others = [each for each in self._snapshots if each.seq != seq]
        kept = sorted([*others, _Snapshot(seq, sha256(body).digest(), body)], key=lambda each: each.seq)
        self._snapshots = kept[-2:]

    def damage_snapshot(self) -> None:
        """The newest snapshot's bytes rot."""
        newest = self._snapshots.pop()
        self._snapshots.append(replace(newest, body=newest.body + b"?"))

    async def erase(self, lead_ids: Sequence[str]) -> int:
        """Forget these leads' personal data."""
        self._refuse()
        rows = [self._leads[lead_id] for lead_id in lead_ids if lead_id in self._leads]
        erased = sum(self._forget(row) for row in rows)
        for row in rows:
            row.found = replace(row.found, status="erased")
        return erased

    async def erase_before(self, before_ns: int) -> int:
        """Forget the personal data of old leads."""
        self._refuse()
        return sum(self._forget(row) for row in self._leads.values() if row.found.received_at_ns < before_ns)

    def _forget(self, row: _LeadRow) -> bool:
        had_any = row.lead is not None
        row.lead = None
        row.found = replace(row.found, external_id=None)
        row.request = replace(row.request, key=None, body_sha256=None, external_id=None)
        self._answers.pop(row.found.lead_id, None)
        return had_any

    # ---------------------------------------------------------------------------------------------------- reading

    async def facts_after(self, seq: int) -> AsyncIterator[list[tuple[int, Entry]]]:
        """Every fact after `seq`, in slices."""
        while seq < len(self._entries):
            entries = [self._read_keyed(number) for number in range(seq + 1, min(seq + _SLICE, len(self._entries)) + 1)]
            seq += len(entries)
            yield entries

    def _read(self, seq: int) -> tuple[int, Entry]:
        entry = self._entries[seq - 1]
        if isinstance(entry.fact, Received | Reopened) and (row := self._leads.get(entry.fact.lead_id)):
            return seq, replace(entry, lead=row.lead)
        return seq, entry

    def _read_keyed(self, seq: int) -> tuple[int, Entry]:
        """The entry with the Idempotency-Key that stands beside a Received."""
        _, entry = self._read(seq)
        request = self._leads[entry.fact.lead_id].request if isinstance(entry.fact, Received) else None
        if request is None or request.key is None or request.body_sha256 is None:
            return seq, entry
        return seq, replace(entry, idempotency=Idempotency(key=request.key, body_sha256=request.body_sha256))

    async def entries_of(self, lead_id: str) -> list[tuple[int, Entry]]:
        """Every fact of a lead, oldest first."""
        return [self._read(seq) for seq in self._by_lead.get(lead_id, ())]

    async def said(self, contract_ids: Sequence[str], board: str, seq: int) -> dict[str, Words]:
        """The last words of each contract at or before `seq`."""
        found: dict[str, Words] = {}
        for entry in self._entries[:seq]:
            if isinstance(entry.fact, Decided) and entry.fact.board == board:
                found |= {name: words for name, words in entry.fact.said.items() if name in contract_ids}
        return found

    async def lead(self, lead_id: str) -> Lead | None:
        """The lead; none if unknown or forgotten."""
        row = self._leads.get(lead_id)
        return row.lead if row else None

    async def lead_of(self, delivery_id: str) -> str | None:
        """The lead a delivery belongs to."""
        return self._lead_of.get(delivery_id)

    async def deliveries_of(self, buyer_id: str, since_ns: int, *, limit: int = 500) -> list[tuple[str, str]]:
        """A buyer's deliveries, oldest first."""
        found = [
            (entry.fact.delivery_id, entry.fact.lead_id)
            for entry in self._entries
            if isinstance(entry.fact, Reserved) and entry.fact.buyer_id == buyer_id and entry.at_ns >= since_ns
        ]
        return found[:limit]

    async def terms(self, version: str) -> bytes | None:
        """The terms of that version."""
        return self._terms.get(version)

    async def answer(self, lead_id: str) -> tuple[int, bytes] | None:
        """The stored answer."""
        return self._answers.get(lead_id)

    async def search(
        self,
        *,
        phone: str | None = None,
        email: str | None = None,
        source: str | None = None,
        status: LeadStatus | None = None,
        since_ns: int | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[FoundLead], str | None]:
        """Look at every lead, newest first."""
        below = parse_cursor(cursor) if cursor is not None else len(self._entries) + 1
        found = [
            row
            for row in reversed(self._leads.values())
            if row.seq < below
            and phone in (None, row.lead and row.lead.fields.get("phone"))
            and email in (None, row.lead and row.lead.fields.get("email"))
            and source in (None, row.found.source_id)
            and status in (None, row.found.status)
            and (since_ns is None or row.found.received_at_ns >= since_ns)
        ]
        more = str(found[limit - 1].seq) if len(found) > limit else None
        return [row.found for row in found[:limit]], more

    async def recent_leads(self, since_ns: int, *, limit: int) -> list[Lead]:
        """The latest leads, oldest first."""
        latest = list(self._leads.values())[-limit:]
        return [row.lead for row in latest if row.lead is not None and row.found.received_at_ns >= since_ns]

    async def recent_requests(self, since_ns: int) -> AsyncIterator[list[KnownRequest]]:
        """Requests that a repeat may refer to."""
        requests = [row.request for row in reversed(self._leads.values()) if row.request.received_at_ns >= since_ns]
        yield [
            replace(request, answered=request.lead_id in self._answers)
            for request in requests
            if request.key is not None or request.external_id is not None
        ]


def _lead_row(seq: int, entry: Entry, lead: Lead) -> _LeadRow:
    key = entry.idempotency
    return _LeadRow(
        seq=seq,
        lead=lead,
        found=FoundLead(
            lead_id=lead.lead_id,
            source_id=lead.source_id,
            lead_type=lead.lead_type,
            received_at_ns=lead.received_at_ns,
            status="routing",
            external_id=lead.external_id,
        ),
        request=KnownRequest(
            lead_id=lead.lead_id,
            source_id=lead.source_id,
            received_at_ns=lead.received_at_ns,
            key=key.key if key else None,
            body_sha256=key.body_sha256 if key else None,
            external_id=lead.external_id,
            answered=False,
        ),
    )


def _fail(future: asyncio.Future[int], error: LedgerError) -> None:
    future.set_exception(error)
    future.exception()


def _closed() -> LedgerBroken:
    return LedgerBroken("the ledger is not open", hint="open it first; after close nothing is taken")
