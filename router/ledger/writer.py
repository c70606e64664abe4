"""The one that writes: group commit, what happens when the disk is full, and when it is broken.

Group commit is natural: while one commit runs, whatever is appended queues up, and all of it is the next transaction.
No timer collects anything; a lone append is committed at once, and under load the groups grow by themselves.

SQLite runs no checkpoints by itself here, because its automatic ones hide I/O errors; they run between two commits.
A full disk passes: what must be kept waits in memory and is written first. Any other error of the disk ends the
writer: after a failed fsync nobody knows what is on it, and SQLite itself would carry on.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from msgspec import Struct

from router.ledger import tables
from router.ledger.anchor import SYNC_EVERY_NS, Anchor, Head
from router.ledger.protocol import LedgerBroken, LedgerError, LedgerFull
from router.ledger.room import Reserve
from router.ledger.worker import Sql, Worker

#: Facts in one transaction at most: they are inserted on the loop, a few microseconds each.
GROUP_FACTS_MAX: Final = 500
#: Facts that may wait in memory for room on the disk; beyond it the process must stop.
KEPT_FACTS_MAX: Final = 200_000
#: Reserved deliveries whose lead is remembered; older ones are looked up.
DELIVERIES_REMEMBERED_MAX: Final = 50_000
#: Pages in the write-ahead log (4 KiB each) that call for a checkpoint: in any case, and when all is quiet.
CHECKPOINT_PAGES: Final = 4_000
CHECKPOINT_QUIET_PAGES: Final = 1_000
QUIET_S: Final = 0.25
_BUSY_MS: Final = 5_000
_TRUNCATE_TRIES: Final = 600
_TRUNCATE_PAUSE_S: Final = 0.05

P = ParamSpec("P")
T = TypeVar("T")


class LedgerStats(Struct):
    """What the writer has done since it was opened; counters and last values for metrics."""

    groups: int = 0
    facts: int = 0
    commit_ns_last: int = 0
    commit_ns_total: int = 0
    checkpoints: int = 0
    checkpoint_ns_last: int = 0


class _Write:
    """Rows that want to be in the next group."""

    __slots__ = ("answers", "facts", "future", "keep", "terms")

    def __init__(
        self,
        facts: list[tables.FactRow],
        answers: list[tables.AnswerRow],
        terms: list[tables.TermsRow],
        future: asyncio.Future[int],
        keep: bool,
    ) -> None:
        self.facts = facts
        self.answers = answers
        self.terms = terms
        self.future = future
        self.keep = keep


class _Job:
    """Work for the writer's connection between two groups, in a transaction of its own."""

    __slots__ = ("future", "keep", "work")

    def __init__(self, work: Callable[[Sql], object], future: asyncio.Future[object]) -> None:
        self.work = work
        self.future = future
        self.keep = False


class Writer:
    """Owns the queue, the writer's connection, the head of the chain and its anchor. For the loop's thread only.

    `tell` is called whenever `problem` came, changed for the worse, or went.
    """

    def __init__(
        self,
        path: Path,
        *,
        worker: Worker,
        aside: Worker,
        anchor: Anchor,
        reserve: Reserve,
        tell: Callable[[], None],
        retry_s: float,
    ) -> None:
        self.path = path
        self.stats = LedgerStats()
        self.problem: LedgerError | None = None if reserve.take() else full(path)
        #: Since when the disk has been at work for us (`time.monotonic_ns`); none when it is not. For the watchdog.
        self.busy_since_ns: int | None = None
        self.queued_facts = 0
        self._worker = worker
        self._aside = aside  # another thread that may wait for the disk while a commit does
        self._anchor = anchor
        self._anchor_dirty = False
        self._reserve = reserve
        self._tell = tell
        self._retry_s = retry_s
        self._head = anchor.head
        self._queue: deque[_Write | _Job] = deque()
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._lead_of: dict[str, str] = {}
        self._log_pages = 0
        self._anchor_synced_ns = 0
        self._anchor_task: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._write_until_closed(), name="ledger writer")

    @property
    def head_seq(self) -> int:
        """The last durable fact's number."""
        return self._head.seq

    # ----------------------------------------------------------------------------------------------- taking work

    def write(
        self,
        facts: list[tables.FactRow],
        answers: list[tables.AnswerRow],
        terms: list[tables.TermsRow] | None = None,
        *,
        keep: bool = False,
    ) -> asyncio.Future[int]:
        """Queue rows for the next group; the future holds the last fact's number once durable."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._submit(_Write(facts, answers, terms or [], future, keep))
        return future

    async def job(self, work: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on the writer's thread, between two groups and in a transaction of its own."""

        def in_transaction(connection: Sql) -> T:
            _begin_patiently(connection)
            try:
                result = work(connection, *args, **kwargs)
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
            return result

        return await self._between_groups(in_transaction)

    async def _between_groups(self, work: Callable[[Sql], T]) -> T:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._submit(_Job(work, future))
        result: T = await future  # type: ignore[assignment]
        return result

    def _submit(self, item: "_Write | _Job") -> None:
        """Queue it, or fail its future at once if it cannot be written or kept."""
        refusal = self._refusal(item.keep)
        if refusal:
            _fail(item.future, refusal)
            return
        self._queue.append(item)
        if isinstance(item, _Write):
            self.queued_facts += len(item.facts)
        self._wake.set()

    def _refusal(self, keep: bool) -> LedgerError | None:
        if self._closing.is_set():
            return closed()
        if isinstance(self.problem, LedgerFull) and keep:
            if self.queued_facts < KEPT_FACTS_MAX:
                return None
            return self.stop(f"{self.queued_facts} facts wait for room on the disk, more than may be held in memory")
        return self.problem

    # --------------------------------------------------------------------------------------------------- the loop

    async def _write_until_closed(self) -> None:
        """Groups and jobs in the order they came, until closed or broken."""
        try:
            while not isinstance(self.problem, LedgerBroken):
                if self._queue:
                    self.busy_since_ns = time.monotonic_ns()
                    await self._write_next(self._queue[0])
                    self.busy_since_ns = None
                elif self._closing.is_set():
                    return
                elif isinstance(self.problem, LedgerFull):
                    await self._look_for_room()
                else:
                    await self._be_idle()
        except Exception as error:
            self.stop(f"the writer failed: {error!r}")
            raise

    async def _write_next(self, item: _Write | _Job) -> None:
        if isinstance(item, _Job):
            self._queue.popleft()
            await self._run_job(item)
            return
        group = self._take_group()
        began = time.monotonic_ns()
        try:
            self._head = await self._commit(group)
        except Exception as error:
            await self._not_written(group, error)
        else:
            self._written(group, time.monotonic_ns() - began)
            await self._after_commit()

    def _take_group(self) -> list[_Write]:
        """The writes at the head of the queue, up to a bound and up to the next job."""
        group: list[_Write] = []
        facts = 0
        while self._queue and facts < GROUP_FACTS_MAX and isinstance(write := self._queue[0], _Write):
            self._queue.popleft()
            group.append(write)
            facts += len(write.facts)
        self.queued_facts -= facts
        return group

    async def _commit(self, group: list[_Write]) -> Head:
        """One transaction: rows inserted here, the commit and the anchor on the thread. Returns the chain's new head.

        Raises sqlite3.Error with nothing left of the transaction, OSError if the anchor failed after the commit.
        """
        connection = self._worker.here
        await self._begin(connection)
        try:
            rows = tables.GroupRows(self._head, self._lead_of)
            for write in group:
                for row in write.facts:
                    rows.add(connection, row)
            rows.insert(connection)
            answers = [answer for write in group for answer in write.answers]
            if answers:
                tables.insert_answers(connection, answers)
            terms = [row for write in group for row in write.terms]
            if terms:
                tables.insert_terms(connection, terms)
            await self._worker.run(_commit_and_anchor, self._anchor, rows.head)
        except BaseException:
            connection.rollback()
            raise
        self._anchor_dirty = True
        self._log_pages += 6 + (sum(len(fact[5]) for fact in rows.facts) + sum(len(row[3]) for row in terms)) // 2500
        self._forget_deliveries()
        return rows.head

    async def _begin(self, connection: Sql) -> None:
        """Begin here if nobody is in the way; else wait on the thread, not on the loop."""
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            await self._worker.run(_begin_patiently)

    def _forget_deliveries(self) -> None:
        """Keep the memory of deliveries bounded: the oldest go first."""
        excess = len(self._lead_of) - DELIVERIES_REMEMBERED_MAX
        if excess > 0:
            for delivery_id in list(self._lead_of)[: excess + DELIVERIES_REMEMBERED_MAX // 4]:
                del self._lead_of[delivery_id]

    def _written(self, group: list[_Write], took_ns: int) -> None:
        self.stats.groups += 1
        self.stats.commit_ns_last = took_ns
        self.stats.commit_ns_total += took_ns
        seq = self._head.seq
        for write in reversed(group):
            self.stats.facts += len(write.facts)
            if not write.future.done():
                write.future.set_result(seq)
            seq -= len(write.facts)

    async def _run_job(self, job: _Job) -> None:
        try:
            result = await self._worker.run(job.work)
        except sqlite3.Error as error:
            if self._reserve.explains(error):
                _fail(job.future, full(self.path))
            else:
                _fail(job.future, self.stop(f"writing failed: {error}"))
        except Exception as error:  # the work itself is at fault, and was rolled back
            _fail(job.future, error)
        else:
            if not job.future.done():
                job.future.set_result(result)

    # ------------------------------------------------------------------------------------------ full, and broken

    async def _not_written(self, group: list[_Write], error: Exception) -> None:
        """A commit failed and was rolled back: keep what must be kept, refuse the rest, or stop."""
        if not isinstance(error, sqlite3.Error) or not self._reserve.explains(error):
            broken = self.stop(f"writing failed: {error!r}")
            for write in group:
                _fail(write.future, broken)
            return
        first_time = self.problem is None
        self._become(full(self.path))
        waiting: list[_Write | _Job] = [*group, *self._queue]
        kept = [item for item in waiting if isinstance(item, _Write) and item.keep and not self._closing.is_set()]
        for item in waiting:
            if not item.keep or self._closing.is_set():
                _fail(item.future, full(self.path))
        self._queue = deque(kept)
        self.queued_facts = sum(len(write.facts) for write in kept)
        if first_time:
            self._reserve.give_up()
        else:
            self.busy_since_ns = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry_s):
                    await self._closing.wait()

    async def _look_for_room(self) -> None:
        """Everything kept is written: take leads again if the reserve can be had back, else wait a little."""
        if self._reserve.take():
            self._become(None)
        else:
            await self._passes(self._retry_s)

    def _become(self, problem: LedgerError | None) -> None:
        """Take note of a problem, or of its end, and tell whoever listens if that is news."""
        news = type(problem) is not type(self.problem)
        self.problem = problem
        if news:
            self._tell()

    def stop(self, what: str) -> LedgerError:
        """From here on nothing is written; everything that waits fails."""
        if not isinstance(self.problem, LedgerBroken):
            self._become(
                LedgerBroken(
                    f"{self.path}: {what}",
                    hint="the process must stop: look at the disk and the system log, then start it again",
                )
            )
        assert self.problem
        while self._queue:
            _fail(self._queue.popleft().future, self.problem)
        self.queued_facts = 0
        self._wake.set()
        return self.problem

    # ------------------------------------------------------------------------------------------ between commits

    async def _after_commit(self) -> None:
        if self._log_pages >= CHECKPOINT_PAGES:
            await self._checkpoint()
        if time.monotonic_ns() - self._anchor_synced_ns >= SYNC_EVERY_NS:
            self._sync_anchor()

    async def _be_idle(self) -> None:
        """Wait for work. When it stays away, do what would only be in the way later."""
        unfinished = self._anchor_dirty or self._log_pages >= CHECKPOINT_QUIET_PAGES
        if not await self._passes(QUIET_S if unfinished else None):
            return
        if self._log_pages >= CHECKPOINT_QUIET_PAGES:
            await self._checkpoint()
        if self._anchor_dirty:
            self._sync_anchor()

    async def _passes(self, seconds: float | None) -> bool:
        """Wait until `seconds` have passed without work: True. False as soon as there is work or we are closing."""
        self._wake.clear()
        if self._queue or self._closing.is_set() or isinstance(self.problem, LedgerBroken):
            return False
        timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._wake.set)
        await self._wake.wait()
        if timer:
            timer.cancel()
        return not self._queue and not self._closing.is_set() and self.problem is None

    async def _checkpoint(self) -> None:
        """Bring the log's pages into the database, so that the log starts over. No reader holds it up or is held up."""
        self.busy_since_ns = began = time.monotonic_ns()
        try:
            await self._worker.run(checkpoint, "PASSIVE")
        except sqlite3.Error as error:
            if not self._reserve.explains(error):
                self.stop(f"a checkpoint failed: {error}")
        self._log_pages = 0
        self.stats.checkpoints += 1
        self.stats.checkpoint_ns_last = time.monotonic_ns() - began
        self.busy_since_ns = None

    def _sync_anchor(self) -> None:
        """Bring the anchor to the platter beside the commits; one at a time."""
        if self._anchor_task is None or self._anchor_task.done():
            self._anchor_synced_ns = time.monotonic_ns()
            self._anchor_dirty = False
            self._anchor_task = asyncio.create_task(self._sync_anchor_aside(), name="ledger anchor")

    async def _sync_anchor_aside(self) -> None:
        try:
            await self._aside.run(_sync, self._anchor)
        except OSError as error:
            self.stop(f"writing the anchor failed: {error}")

    async def empty_log(self) -> None:
        """Empty the write-ahead log, where copies of what was erased remain. Waits for readers between tries."""
        for _ in range(_TRUNCATE_TRIES):
            if await self._between_groups(lambda connection: checkpoint(connection, "TRUNCATE")):
                self._log_pages = 0
                return
            await asyncio.sleep(_TRUNCATE_PAUSE_S)
        raise LedgerError(
            "the data is erased, but older copies remain in the write-ahead log: a reader keeps it in use",
            hint="end what reads the ledger (`lead-router ledger verify`, a SQLite shell) and erase again",
        )

    async def close(self) -> None:
        """Write what is queued; what cannot be written fails. The log is emptied unless something is broken."""
        self._closing.set()
        self._wake.set()
        await self._task
        if self._anchor_task:
            await self._anchor_task
        if not isinstance(self.problem, LedgerBroken):
            try:
                await self._worker.run(checkpoint, "TRUNCATE")
            except sqlite3.Error as error:  # the log stays as it is and is read at the next start
                if not self._reserve.explains(error):
                    self.stop(f"the last checkpoint failed: {error}")


def checkpoint(connection: Sql, mode: str) -> bool:
    """Move the log's pages into the database; False if somebody still reads the log. Raises sqlite3.Error."""
    busy: int = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
    return busy == 0


def full(path: Path) -> LedgerFull:
    """The error while nothing can be written but that may pass."""
    return LedgerFull(
        f"{path} cannot be written now: there is no room, or another program holds the database",
        hint="make room on the disk; leads are taken again by themselves",
    )


def closed() -> LedgerBroken:
    """The error before open and after close."""
    return LedgerBroken("the ledger is not open", hint="open it first; after close nothing is taken")


def failed(error: LedgerError) -> asyncio.Future[int]:
    """The future of a write that is refused."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    _fail(future, error)
    return future


def _commit_and_anchor(connection: Sql, anchor: Anchor, head: Head) -> None:
    """On the thread: make the open transaction durable, then let the anchor know."""
    connection.commit()
    anchor.move(head)


def _begin_patiently(connection: Sql) -> None:
    """On the thread: begin, waiting for another program that holds the database for a moment."""
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


def _sync(_connection: Sql, anchor: Anchor) -> None:
    anchor.sync()


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    """Fail a future; `problem` tells too, so nobody has to look at every one."""
    if not future.done():
        future.set_exception(error)
        future.exception()
