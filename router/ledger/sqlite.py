"""The durable ledger: SQLite in WAL mode with `synchronous=FULL`, one connection that writes and one that reads.

Here stand opening, closing and reading; `writer` has the commits, `opening` the checks before the first one.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from router.ledger import deliveries, snapshots, tables
from router.ledger.anchor import Anchor, Head
from router.ledger.lock import StateLock
from router.ledger.opening import open_writer, translated
from router.ledger.protocol import (
    FoundLead,
    KnownRequest,
    LedgerBroken,
    LedgerError,
    OnChange,
    Opened,
    parse_cursor,
)
from router.ledger.room import Reserve
from router.ledger.worker import Sql, Worker
from router.ledger.writer import LedgerStats, Writer, closed, failed, full
from router.model.codes import LeadStatus
from router.model.facts import Entry, Words
from router.model.lead import Lead

_FACTS_SLICE: Final = 2_000
_SEARCH_SLICE: Final = 20_000
_ERASE_SLICE: Final = 500
_COMPRESSED_HERE_MAX: Final = 16_384  # bytes; a millisecond

P = ParamSpec("P")
T = TypeVar("T")


class SqliteLedger:
    """See `protocol.Ledger` for what each method promises. Not thread-safe: it belongs to the event loop's thread."""

    def __init__(
        self,
        state_dir: Path,
        *,
        accept_loss: bool = False,
        now_ns: Callable[[], int] = time.time_ns,
        on_change: OnChange | None = None,
        retry_s: float = 1.0,
    ) -> None:
        self.on_change = on_change
        self._state_dir = state_dir
        self._path = state_dir / tables.DATABASE_FILE
        self._accept_loss = accept_loss
        self._now_ns = now_ns
        self._retry_s = retry_s
        self._problem: LedgerError | None = closed()
        self._lock: StateLock | None = None
        self._worker: Worker | None = None
        self._reader: Worker | None = None
        self._anchor: Anchor | None = None
        self._writer: Writer | None = None

    @property
    def writable(self) -> bool:
        """Whether a lead may be taken now."""
        return self.problem is None

    @property
    def problem(self) -> LedgerError | None:
        """Why not, if not."""
        return self._writer.problem if self._writer else self._problem

    @property
    def head_seq(self) -> int:
        """The last durable fact's number."""
        return self._writer.head_seq if self._writer else 0

    @property
    def stats(self) -> LedgerStats:
        """What the writer has done."""
        return self._writer.stats if self._writer else LedgerStats()

    @property
    def queued_facts(self) -> int:
        """How many facts wait to be written."""
        return self._writer.queued_facts if self._writer else 0

    @property
    def busy_since_ns(self) -> int | None:
        """Since when the disk has been at work for us (`time.monotonic_ns`), for the watchdog; none when it is not."""
        return self._writer.busy_since_ns if self._writer else None

    # ------------------------------------------------------------------------------------------------- life cycle

    async def open(self) -> Opened:
        """Take the lock, check the facts against their anchor, start the writer. See `protocol.Ledger.open`."""
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = StateLock(self._state_dir)
        try:
            return await self._open()
        except BaseException:
            await self._let_go()
            raise

    async def _open(self) -> Opened:
        opening = partial(open_writer, self._state_dir, accept_loss=self._accept_loss, now_ns=self._now_ns())
        self._worker = await Worker.start(opening)
        self._anchor = Anchor(self._state_dir)
        self._anchor.move(tables.read_head(self._worker.here))
        self._reader = await Worker.start(partial(tables.connect_reader, self._path))
        snapshot = await self._reader.run(snapshots.newest, self._state_dir)
        self._writer = Writer(
            self._path,
            worker=self._worker,
            aside=self._reader,
            anchor=self._anchor,
            reserve=Reserve(self._state_dir),
            tell=self._tell,
            retry_s=self._retry_s,
        )
        return Opened(
            snapshot=snapshot.body if snapshot else None,
            snapshot_seq=snapshot.seq if snapshot else 0,
            head_seq=self._writer.head_seq,
        )

    def _tell(self) -> None:
        if self.on_change:
            self.on_change()

    async def close(self) -> None:
        """Write what is queued, then let go of everything. Does nothing when it is not open."""
        try:
            if self._writer:
                await self._writer.close()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Close connections and files. The last connection to close checkpoints, unless it is the reader."""
        broken = isinstance(self.problem, LedgerBroken) and self._writer is not None
        self._problem = self.problem or closed()
        self._writer = None
        try:
            for worker in (self._worker, self._reader) if broken else (self._reader, self._worker):
                if worker:
                    await worker.close()
            if self._anchor:
                self._anchor.close()
        finally:
            self._worker = self._reader = self._anchor = None
            if self._lock:
                self._lock.release()
            self._lock = None

    # ---------------------------------------------------------------------------------------------------- writing

    def append(self, entries: Sequence[Entry], *, keep: bool = False) -> asyncio.Future[int]:
        """Queue `entries` for the next group. See `protocol.Ledger.append`."""
        rows = [tables.encode_entry(entry) for entry in entries]
        if self._writer is None:
            return failed(self._problem or closed())
        return self._writer.write(rows, [], keep=keep)

    async def store_answer(self, lead_id: str, status: int, body: bytes) -> None:
        """Store an answer with the next group. See `protocol.Ledger.store_answer`."""
        await self._open_writer().write([], [(lead_id, status, body)])

    async def forget_answers(self, before_ns: int) -> None:
        """Drop old answers, a slice at a time."""
        while await self._open_writer().job(tables.delete_answers, before_ns, _ERASE_SLICE) == _ERASE_SLICE:
            pass

    async def put_terms(self, version: str, body: bytes) -> None:
        """Store terms with the next group, unless they are there. Much of it is compressed beside the loop."""
        make = partial(tables.terms_row, version, body, self._now_ns())
        row = await asyncio.to_thread(make) if len(body) > _COMPRESSED_HERE_MAX else make()
        await self._open_writer().write([], [], [row])

    async def erase(self, lead_ids: Sequence[str]) -> int:
        """Forget these leads' personal data, down to the bytes in our files. See `protocol.Ledger.erase`."""
        writer, erased = self._open_writer(), 0
        for at in range(0, len(lead_ids), _ERASE_SLICE):
            erased += await writer.job(tables.erase_leads, lead_ids[at : at + _ERASE_SLICE], self._now_ns())
        await writer.empty_log()
        return erased

    async def erase_before(self, before_ns: int) -> int:
        """Forget the personal data of old leads, a slice at a time. See `protocol.Ledger.erase_before`."""
        writer, erased = self._open_writer(), 0
        while count := await writer.job(tables.erase_oldest, before_ns, self._now_ns(), _ERASE_SLICE):
            erased += count
        if erased:
            await writer.empty_log()
        return erased

    async def save_snapshot(self, seq: int, body: bytes) -> None:
        """Store a snapshot in the snapshots' own file, on the reader's thread."""
        writer, reader = self._open_writer(), self._open_reader()
        try:
            await reader.run(_save_snapshot, self._state_dir, seq, body, self._now_ns())
        except sqlite3.Error as error:
            if Reserve(self._state_dir).explains(error):
                raise full(self._path) from None
            raise writer.stop(f"writing a snapshot failed: {error}") from None

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise self._problem or closed()
        return self._writer

    def _open_reader(self) -> Worker:
        if self._reader is None:
            raise self._problem or closed()
        return self._reader

    # ---------------------------------------------------------------------------------------------------- reading

    async def facts_after(self, seq: int) -> AsyncIterator[list[tuple[int, Entry]]]:
        """Every fact after `seq`, in slices, the chain checked on the way. See `protocol.Ledger.facts_after`."""
        value = await self._read(tables.hash_at, seq)
        if value is None:
            raise tables.damaged_facts(seq, seq)
        at = Head(seq, value)
        while True:
            entries, at = await self._read(tables.read_slice, at, _FACTS_SLICE)
            if not entries:
                return
            yield entries

    async def entries_of(self, lead_id: str) -> list[tuple[int, Entry]]:
        """Every fact of a lead, oldest first."""
        return await self._read(tables.entries_of, lead_id)

    async def said(self, contract_ids: Sequence[str], board: str, seq: int) -> dict[str, Words]:
        """The words of standing refusals at a decision."""
        return await self._read(tables.read_said, contract_ids, board, seq)

    async def lead(self, lead_id: str) -> Lead | None:
        """The lead; none if unknown or forgotten."""
        return await self._read(tables.read_lead, lead_id)

    async def lead_of(self, delivery_id: str) -> str | None:
        """The lead a delivery belongs to."""
        return await self._read(tables.lead_of, delivery_id)

    async def deliveries_of(self, buyer_id: str, since_ns: int, *, limit: int = 500) -> list[tuple[str, str]]:
        """A buyer's deliveries, oldest first."""
        return await self._read(deliveries.deliveries_of, buyer_id, since_ns, limit)

    async def terms(self, version: str) -> bytes | None:
        """The terms of that version."""
        return await self._read(tables.read_terms, version)

    async def answer(self, lead_id: str) -> tuple[int, bytes] | None:
        """The stored answer."""
        return await self._read(tables.read_answer, lead_id)

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
        """Scan the narrow table backwards, a slice a hop, so that other readers get their turn in between."""
        query = tables.Query(phone=phone, email=email, source=source, status=status, since_ns=since_ns)
        below = parse_cursor(cursor) if cursor is not None else self.head_seq + 1
        found: list[tuple[int, FoundLead]] = []
        while below > 1 and len(found) <= limit:
            start = max(1, below - _SEARCH_SLICE)
            found += await self._read(tables.search_slice, query, below, start, limit + 1 - len(found))
            below = start
        more = found[limit - 1][0] if len(found) > limit else None
        return [lead for _, lead in found[:limit]], str(more) if more else None

    async def recent_leads(self, since_ns: int, *, limit: int) -> list[Lead]:
        """The latest leads, oldest first."""
        return await self._read(tables.recent_leads, since_ns, limit)

    async def recent_requests(self, since_ns: int) -> AsyncIterator[list[KnownRequest]]:
        """Requests that a repeat may refer to, in slices, newest first."""
        below: int | None = self.head_seq + 1
        while below is not None:
            requests, below = await self._read(tables.requests_slice, since_ns, below, _FACTS_SLICE)
            yield requests

    async def _read(self, work: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query on the reader's thread; what SQLite has against it comes out as one of our errors."""
        try:
            return await self._open_reader().run(work, *args, **kwargs)
        except sqlite3.Error as error:
            raise translated(self._path, error) from error


def _save_snapshot(connection: Sql, state_dir: Path, seq: int, body: bytes, at_ns: int) -> None:
    value = tables.hash_at(connection, seq)
    if value is None:
        raise ValueError(f"a snapshot stands behind a durable fact; there is no fact {seq}")
    snapshots.save(state_dir, snapshots.Snapshot(seq=seq, fact_hash=value, body=body), at_ns)
