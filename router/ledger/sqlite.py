"""The durable ledger: SQLite in WAL mode with `synchronous=FULL`, one connection that writes.

Group commit is natural: while one commit runs, whatever is appended queues up, and all of it is the next transaction.
No timer collects anything; a lone append is committed at once, and under load the groups grow by themselves. A whole
group goes to the writer's thread and back in one hop: rows, chain, commit, anchor.

SQLite runs no checkpoints by itself here, because its automatic ones hide I/O errors; the writer runs them between
commits. An error of the disk other than "full" ends the ledger: after a failed fsync nobody knows what is on it.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import aiosqlite
from msgspec import Struct

from router.ledger import snapshots, tables
from router.ledger.anchor import EMPTY, SYNC_EVERY_NS, Anchor, Head
from router.ledger.lock import StateLock
from router.ledger.opening import open_writer, translated
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
from router.ledger.room import Reserve
from router.model.codes import LeadStatus
from router.model.facts import Entry
from router.model.lead import Lead

#: Facts in one transaction at most, so that one commit cannot hold up the rest for long.
GROUP_FACTS_MAX: Final = 4_000
#: Facts that may wait in memory for room on the disk; beyond it the process must stop.
KEPT_FACTS_MAX: Final = 200_000
#: Reserved deliveries whose lead is remembered; older ones are looked up.
DELIVERIES_REMEMBERED_MAX: Final = 50_000
#: Pages in the write-ahead log that call for a checkpoint: when nothing is queued, and in any case.
CHECKPOINT_IDLE_PAGES: Final = 4_000
CHECKPOINT_PAGES: Final = 16_000
_PAGE_BYTES: Final = 4096
_FACTS_SLICE: Final = 2_000
_SEARCH_SLICE: Final = 20_000
_ERASE_SLICE: Final = 500
_TRUNCATE_TRIES: Final = 600
_TRUNCATE_PAUSE_S: Final = 0.05

P = ParamSpec("P")
T = TypeVar("T")
Sql = sqlite3.Connection


class Worker(aiosqlite.Connection):
    """aiosqlite's connection and thread, plus whole functions on that thread in one hop instead of one a statement."""

    async def run(self, work: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(connection, ...)` on the connection's thread."""
        call = partial(work, self._conn, *args, **kwargs)
        result: T = await self._execute(call)  # type: ignore[no-untyped-call]
        return result

    @classmethod
    async def start(cls, connect: Callable[[], Sql]) -> "Worker":
        """A thread with the connection that `connect` makes on it."""
        worker = cls(connect, iter_chunk_size=1)
        await worker
        return worker


class _Write:
    """Rows that want to be in the next group."""

    __slots__ = ("answers", "facts", "future", "keep")

    def __init__(
        self, facts: list[tables.FactRow], answers: list[tables.AnswerRow], future: asyncio.Future[int], keep: bool
    ) -> None:
        self.facts = facts
        self.answers = answers
        self.future = future
        self.keep = keep


class _Job:
    """Work for the writer's connection between two groups; in a transaction of its own."""

    __slots__ = ("future", "keep", "work")

    def __init__(self, work: Callable[[Sql], object], future: asyncio.Future[object]) -> None:
        self.work = work
        self.future = future
        self.keep = False


class LedgerStats(Struct):
    """What the writer has done since it was opened; counters for metrics."""

    groups: int = 0
    facts: int = 0
    commit_ns_last: int = 0
    commit_ns_total: int = 0
    checkpoints: int = 0
    checkpoint_ns_last: int = 0
    anchor_syncs: int = 0


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
        self._state_dir = state_dir
        self._accept_loss = accept_loss
        self._now_ns = now_ns
        self._retry_s = retry_s
        self.on_change = on_change
        self.stats = LedgerStats()
        #: When the commit that is running began (`time.monotonic_ns`); none when none runs. For the watchdog.
        self.busy_since_ns: int | None = None
        self._problem: LedgerError | None = _closed()
        self._head = EMPTY
        self._queue: deque[_Write | _Job] = deque()
        self._queued_facts = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._lead_of: dict[str, str] = {}
        self._wal_pages = 0
        self._anchor_synced_ns = 0
        self._reserve = Reserve(state_dir)
        self._lock: StateLock | None = None
        self._anchor: Anchor | None = None
        self._writer: Worker | None = None
        self._reader: Worker | None = None
        self._task: asyncio.Task[None] | None = None
        self._anchor_task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------------- life cycle

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
        return self._head.seq

    @property
    def queued_facts(self) -> int:
        """How many facts wait to be written."""
        return self._queued_facts

    async def open(self) -> Opened:
        """Take the lock, check the facts against their anchor, start the writer. See `protocol.Ledger.open`."""
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = StateLock(self._state_dir)
        self._closing = False
        try:
            return await self._open()
        except BaseException:
            await self._let_go()
            raise

    async def _open(self) -> Opened:
        opening = partial(open_writer, self._state_dir, accept_loss=self._accept_loss, now_ns=self._now_ns())
        self._writer = await Worker.start(opening)
        self._head = await self._writer.run(tables.read_head)
        self._anchor = Anchor(self._state_dir)
        self._anchor.move(self._head)
        self._reader = await Worker.start(partial(tables.connect_reader, self._state_dir / tables.DATABASE_FILE))
        snapshot = await self._reader.run(_newest_snapshot, self._state_dir)
        self._problem = None if self._reserve.take() else _full(self._state_dir)
        self._task = asyncio.create_task(self._write_until_closed(), name="ledger writer")
        return Opened(
            snapshot=snapshot.body if snapshot else None,
            snapshot_seq=snapshot.seq if snapshot else 0,
            head_seq=self._head.seq,
        )

    async def close(self) -> None:
        """Write what is queued, then let go of everything. Does nothing when it is not open."""
        self._closing = True
        self._wake.set()
        if self._task:
            await self._task
            self._task = None
        if self._anchor_task:
            await self._anchor_task
        if self._writer and not isinstance(self._problem, LedgerBroken):
            with contextlib.suppress(sqlite3.Error):  # the log stays and is read at the next start
                await self._writer.run(_checkpoint, "TRUNCATE")
        if not isinstance(self._problem, LedgerBroken):
            self._problem = _closed()
        await self._let_go()

    async def _let_go(self) -> None:
        """Close connections and files. The last connection to close checkpoints, unless it is the reader."""
        broken = isinstance(self._problem, LedgerBroken)
        for worker in (self._writer, self._reader) if broken else (self._reader, self._writer):
            if worker:
                await worker.close()
        self._writer = self._reader = None
        if self._anchor:
            self._anchor.close()
            self._anchor = None
        if self._lock:
            self._lock.release()
            self._lock = None

    # ---------------------------------------------------------------------------------------------------- writing

    def append(self, entries: Sequence[Entry], *, keep: bool = False) -> asyncio.Future[int]:
        """Queue `entries` for the next group. See `protocol.Ledger.append`."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not entries and self.writable:
            future.set_result(self._head.seq)
            return future
        self._submit(_Write([tables.encode_entry(entry) for entry in entries], [], future, keep))
        return future

    def _submit(self, item: "_Write | _Job") -> None:
        """Queue it, or fail its future at once if it cannot be written or kept."""
        refusal = self._refusal(item.keep)
        if refusal:
            _fail(item.future, refusal)
            return
        self._queue.append(item)
        if isinstance(item, _Write):
            self._queued_facts += len(item.facts)
        self._wake.set()

    def _refusal(self, keep: bool) -> LedgerError | None:
        if self._closing:
            return _closed()
        if isinstance(self._problem, LedgerFull) and keep:
            if self._queued_facts < KEPT_FACTS_MAX:
                return None
            self._break(f"{self._queued_facts} facts wait for room on the disk, more than may be held in memory")
        return self._problem

    async def _write_until_closed(self) -> None:
        """The writer task: groups and jobs in the order they came, until closed or broken."""
        try:
            while not isinstance(self._problem, LedgerBroken):
                if self._queue:
                    await self._write_next()
                elif self._closing:
                    return
                elif isinstance(self._problem, LedgerFull):
                    await self._look_for_room()
                else:
                    await self._idle()
        except Exception as error:
            self._break(f"the writer failed: {error!r}")
            raise

    async def _write_next(self) -> None:
        assert self._writer
        job = self._queue[0]
        if isinstance(job, _Job):
            self._queue.popleft()
            await self._run_job(job)
            return
        group = self._take_group()
        self.busy_since_ns = time.monotonic_ns()
        try:
            self._head = await self._writer.run(self._commit, group)
        except (sqlite3.Error, OSError) as error:
            await self._not_written(group, error)
        else:
            self._written(group, time.monotonic_ns() - self.busy_since_ns)
            await self._after_commit()
        finally:
            self.busy_since_ns = None

    def _take_group(self) -> list[_Write]:
        """The writes at the head of the queue, up to a bound and up to the next job."""
        group: list[_Write] = []
        facts = 0
        while self._queue and facts < GROUP_FACTS_MAX and isinstance(write := self._queue[0], _Write):
            self._queue.popleft()
            group.append(write)
            facts += len(write.facts)
        self._queued_facts -= facts
        return group

    def _commit(self, connection: Sql, group: list[_Write]) -> Head:
        """On the writer's thread: one transaction, then the anchor. The chain's head moves only if both went well."""
        rows = tables.GroupRows(self._head, self._lead_of)
        for write in group:
            for row in write.facts:
                rows.add(connection, row)
        with _transaction(connection):
            rows.insert(connection)
            answers = [answer for write in group for answer in write.answers]
            if answers:
                tables.insert_answers(connection, answers)
        assert self._anchor
        if rows.facts:
            self._anchor.move(rows.head)
        self._wal_pages += 8 + sum(len(fact[5]) for fact in rows.facts) // 1024
        self._forget_deliveries()
        return rows.head

    def _forget_deliveries(self) -> None:
        """Keep the memory of deliveries bounded: the oldest go first."""
        for delivery_id in list(self._lead_of)[: max(0, len(self._lead_of) - DELIVERIES_REMEMBERED_MAX)]:
            del self._lead_of[delivery_id]

    def _written(self, group: list[_Write], took_ns: int) -> None:
        seq = self._head.seq
        self.stats.groups += 1
        self.stats.commit_ns_last = took_ns
        self.stats.commit_ns_total += took_ns
        for write in reversed(group):
            self.stats.facts += len(write.facts)
            if not write.future.done():
                write.future.set_result(seq)
            seq -= len(write.facts)

    async def _not_written(self, group: list[_Write], error: sqlite3.Error | OSError) -> None:
        """A commit failed and was rolled back: keep what must be kept, refuse the rest, or stop."""
        if not isinstance(error, sqlite3.Error) or not self._reserve.explains(error):
            for write in group:
                _fail(write.future, self._break(f"writing to the ledger failed: {error}"))
            return
        first_time = self.writable
        waiting: list[_Write | _Job] = [*group, *self._queue]
        self._become(_full(self._state_dir))
        kept = [item for item in waiting if isinstance(item, _Write) and item.keep and not self._closing]
        for item in waiting:
            if not item.keep or self._closing:
                _fail(item.future, _full(self._state_dir))
        self._queue = deque(kept)
        self._queued_facts = sum(len(write.facts) for write in kept)
        if first_time:
            self._reserve.give_up()
        else:
            await self._pause(self._retry_s, woken_by_work=False)

    async def _look_for_room(self) -> None:
        """Everything kept is written: take leads again if the reserve can be had back, else wait a little."""
        if self._reserve.take():
            self._become(None)
        else:
            await self._pause(self._retry_s, woken_by_work=True)

    async def _run_job(self, job: _Job) -> None:
        assert self._writer
        try:
            result = await self._writer.run(job.work)
        except sqlite3.Error as error:
            if self._reserve.explains(error):
                _fail(job.future, _full(self._state_dir))
            else:
                _fail(job.future, self._break(f"writing to the ledger failed: {error}"))
        else:
            if not job.future.done():
                job.future.set_result(result)

    async def _after_commit(self) -> None:
        """Between two commits: a checkpoint if it is time, and the anchor to the platter."""
        limit = CHECKPOINT_PAGES if self._queue else CHECKPOINT_IDLE_PAGES
        if self._wal_pages >= limit:
            await self._checkpoint_log()
        self._sync_anchor_if_due()

    async def _checkpoint_log(self) -> None:
        assert self._writer
        began = time.monotonic_ns()
        try:
            await self._writer.run(_checkpoint, "PASSIVE")
        except sqlite3.Error as error:
            if not self._reserve.explains(error):
                self._break(f"a checkpoint failed: {error}")
        self._wal_pages = 0
        self.stats.checkpoints += 1
        self.stats.checkpoint_ns_last = time.monotonic_ns() - began

    def _sync_anchor_if_due(self) -> None:
        due = time.monotonic_ns() - self._anchor_synced_ns >= SYNC_EVERY_NS
        if due and (self._anchor_task is None or self._anchor_task.done()):
            self._anchor_synced_ns = time.monotonic_ns()
            self._anchor_task = asyncio.create_task(self._sync_anchor(), name="ledger anchor")

    async def _sync_anchor(self) -> None:
        """On the reader's thread, so that it holds up no commit."""
        assert self._reader
        assert self._anchor
        try:
            await self._reader.run(_sync, self._anchor)
        except OSError as error:
            self._break(f"writing the anchor failed: {error}")
        self.stats.anchor_syncs += 1

    async def _idle(self) -> None:
        await self._pause(None, woken_by_work=True)

    async def _pause(self, seconds: float | None, *, woken_by_work: bool) -> None:
        """Wait for work or closing, at most `seconds`; with `woken_by_work=False` for closing only."""
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while not self._closing:
                    self._wake.clear()
                    if woken_by_work and self._queue:
                        return
                    await self._wake.wait()

    def _become(self, problem: LedgerError | None) -> None:
        """Take note of a problem, or of its end, and tell who listens."""
        changed = (self._problem is None) != (problem is None) or isinstance(problem, LedgerBroken)
        self._problem = problem
        if changed and self.on_change:
            self.on_change()

    def _break(self, what: str) -> LedgerError:
        """From here on nothing is written. Everything that waits fails."""
        if not isinstance(self._problem, LedgerBroken):
            self._become(
                LedgerBroken(
                    f"{self._state_dir / tables.DATABASE_FILE}: {what}",
                    hint="the process must stop: look at the disk and the system log, then start it again",
                )
            )
        assert self._problem
        while self._queue:
            _fail(self._queue.popleft().future, self._problem)
        self._queued_facts = 0
        return self._problem

    async def _job(self, work: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a transaction of its own on the writer's connection, between two groups."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def run(connection: Sql) -> T:
            with _transaction(connection):
                return work(connection, *args, **kwargs)

        self._submit(_Job(run, future))
        result: T = await future  # type: ignore[assignment]
        return result

    async def store_answer(self, lead_id: str, status: int, body: bytes) -> None:
        """Store an answer with the next group. See `protocol.Ledger.store_answer`."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._submit(_Write([], [(lead_id, status, body)], future, keep=False))
        await future

    async def forget_answers(self, before_ns: int) -> None:
        """Drop old answers, a slice at a time."""
        while await self._job(tables.delete_answers, before_ns, _ERASE_SLICE) == _ERASE_SLICE:
            pass

    async def put_terms(self, version: str, body: bytes) -> None:
        """Store terms unless they are there."""
        await self._job(tables.insert_terms, version, body, self._now_ns())

    async def erase(self, lead_ids: Sequence[str]) -> int:
        """Forget these leads' personal data, down to the bytes in our files. See `protocol.Ledger.erase`."""
        erased = 0
        for at in range(0, len(lead_ids), _ERASE_SLICE):
            erased += await self._job(tables.erase_leads, lead_ids[at : at + _ERASE_SLICE], self._now_ns())
        await self._empty_log()
        return erased

    async def erase_before(self, before_ns: int) -> int:
        """Forget the personal data of old leads, a slice at a time. See `protocol.Ledger.erase_before`."""
        erased = 0
        while count := await self._job(tables.erase_oldest, before_ns, self._now_ns(), _ERASE_SLICE):
            erased += count
        if erased:
            await self._empty_log()
        return erased

    async def _empty_log(self) -> None:
        """Empty the write-ahead log, where copies of what was erased remain. Waits for readers between tries."""
        assert self._writer
        for _ in range(_TRUNCATE_TRIES):
            try:
                done = await self._writer.run(_checkpoint, "TRUNCATE")
            except sqlite3.Error as error:
                if not self._reserve.explains(error):
                    raise self._break(f"a checkpoint failed: {error}") from None
                raise _full(self._state_dir) from None
            if done:
                self._wal_pages = 0
                return
            await asyncio.sleep(_TRUNCATE_PAUSE_S)
        raise LedgerError(
            "the data is erased, but older copies remain in the write-ahead log: a reader keeps it in use",
            hint="end what reads the ledger (`lead-router ledger verify`, a SQLite shell) and erase again",
        )

    async def save_snapshot(self, seq: int, body: bytes) -> None:
        """Store a snapshot in the snapshots' own file, on the reader's thread."""
        assert self._reader
        try:
            await self._reader.run(_save_snapshot, self._state_dir, seq, body, self._now_ns())
        except sqlite3.Error as error:
            if self._reserve.explains(error):
                raise _full(self._state_dir) from None
            raise self._break(f"writing a snapshot failed: {error}") from None

    # ---------------------------------------------------------------------------------------------------- reading

    async def facts_after(self, seq: int) -> AsyncIterator[list[tuple[int, Entry]]]:
        """Every fact after `seq`, in slices, the chain checked on the way. See `protocol.Ledger.facts_after`."""
        value = await self._read(tables.hash_at, seq)
        if value is None:
            raise tables.damaged_fact(seq)
        at = Head(seq, value)
        while True:
            entries, at = await self._read(tables.read_slice, at, _FACTS_SLICE)
            if not entries:
                return
            yield entries

    async def entries_of(self, lead_id: str) -> list[tuple[int, Entry]]:
        """Every fact of a lead, oldest first."""
        return await self._read(tables.entries_of, lead_id)

    async def lead(self, lead_id: str) -> Lead | None:
        """The lead; none if unknown or forgotten."""
        return await self._read(tables.read_lead, lead_id)

    async def lead_of(self, delivery_id: str) -> str | None:
        """The lead a delivery belongs to."""
        return await self._read(tables.lead_of, delivery_id)

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
        below = parse_cursor(cursor) if cursor is not None else self._head.seq + 1
        found: list[tuple[int, FoundLead]] = []
        while below > 1 and len(found) <= limit:
            start = max(1, below - _SEARCH_SLICE)
            found += await self._read(tables.search_slice, query, below, start, limit + 1 - len(found))
            below = start
        more = found[limit - 1][0] if len(found) > limit else None
        return [lead for _, lead in found[:limit]], str(more) if more else None

    async def recent_requests(self, since_ns: int) -> AsyncIterator[list[KnownRequest]]:
        """Requests that a repeat may refer to, in slices, newest first."""
        below: int | None = self._head.seq + 1
        while below is not None:
            requests, below = await self._read(tables.requests_slice, since_ns, below, _FACTS_SLICE)
            yield requests

    async def _read(self, work: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query on the reader's thread; what SQLite has against it comes out as one of our errors."""
        if self._reader is None:
            raise _closed()
        try:
            return await self._reader.run(work, *args, **kwargs)
        except sqlite3.Error as error:
            raise translated(self._state_dir / tables.DATABASE_FILE, error) from error


@contextlib.contextmanager
def _transaction(connection: Sql) -> Iterator[None]:
    """Begin, and commit or roll back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _checkpoint(connection: Sql, mode: str) -> bool:
    """Move the log's pages into the database; False if somebody still reads the log."""
    busy: int = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
    return busy == 0


def _sync(_connection: Sql, anchor: Anchor) -> None:
    anchor.sync()


def _save_snapshot(connection: Sql, state_dir: Path, seq: int, body: bytes, at_ns: int) -> None:
    value = tables.hash_at(connection, seq)
    if value is None:
        raise ValueError(f"a snapshot stands behind a durable fact; there is no fact {seq}")
    snapshots.save(state_dir, snapshots.Snapshot(seq=seq, fact_hash=value, body=body), at_ns)


def _newest_snapshot(connection: Sql, state_dir: Path) -> snapshots.Snapshot | None:
    """The newest snapshot of this very history; others are deleted."""
    for snapshot in snapshots.newest_first(state_dir):
        if tables.hash_at(connection, snapshot.seq) == snapshot.fact_hash:
            return snapshot
        snapshots.delete(state_dir, snapshot.seq)
    return None


def _fail(future: "asyncio.Future[Any]", error: LedgerError) -> None:
    """Fail a future; `writable` and `on_change` tell too, so nobody has to look at every one."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def _full(state_dir: Path) -> LedgerFull:
    return LedgerFull(
        f"the ledger in {state_dir} cannot be written now: there is no room, or another program holds the database",
        hint="make room on the disk; leads are taken again by themselves",
    )


def _closed() -> LedgerBroken:
    return LedgerBroken("the ledger is not open", hint="open it first; after close nothing is taken")
