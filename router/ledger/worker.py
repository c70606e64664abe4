"""Threads that wait for the disk, and why they do so little else.

A thread beside a busy event loop starves: CPython wakes it when the loop lets go of the interpreter lock for a moment,
and by the time it is awake the loop has the lock again. Measured beside a saturated loop on two cores, a commit whose
rows were inserted on aiosqlite's thread took *seconds*, because every row asks for the lock again. Two rules follow:

* what only computes (rows, chain, inserts) is done on the loop, for which the connection allows both threads; the
  thread is handed what waits for the disk, in one hop of a few lock acquisitions;
* while a hop is under way, the loop steps aside for a moment now and then, so that the thread gets the lock.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Concatenate, Final, ParamSpec, TypeVar

import aiosqlite

#: How long a hop may take before the loop steps aside, and how often then; a commit on a quiet disk takes less.
_STEP_ASIDE_EVERY_S: Final = 0.002
#: Long enough for the kernel to run the waiting thread.
_STEP_ASIDE_S: Final = 0.000_05

P = ParamSpec("P")
T = TypeVar("T")
Sql = sqlite3.Connection


class _Aside:
    """Makes the loop step aside now and then, until `end`; there is one a commit, and it leaves no cycle behind."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_STEP_ASIDE_EVERY_S, self._step)

    def _step(self) -> None:
        time.sleep(_STEP_ASIDE_S)  # on the loop, on purpose: it lets go of the interpreter lock for long enough
        self._timer = self._loop.call_later(_STEP_ASIDE_EVERY_S, self._step)

    def end(self) -> None:
        """The hop is over."""
        self._timer.cancel()


class Worker(aiosqlite.Connection):
    """aiosqlite's connection and thread, plus whole functions on that thread in one hop instead of one a statement."""

    @classmethod
    async def start(cls, connect: Callable[[], Sql]) -> "Worker":
        """A thread with the connection that `connect` makes on it. Raises what `connect` raises, the thread gone."""
        worker = cls(connect, iter_chunk_size=1)
        thread = worker._thread
        thread.daemon = True  # a process that gives up must be able to end
        try:
            await worker
        except BaseException:
            thread.join()  # aiosqlite has told it to stop; it must not outlive the loop it reports to
            raise
        return worker

    async def run(self, work: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(connection, ...)` on the connection's thread; the loop steps aside if it takes long."""
        aside = _Aside()
        try:
            result: T = await self._execute(partial(work, self.here, *args, **kwargs))  # type: ignore[no-untyped-call]
        finally:
            aside.end()
        return result

    @property
    def here(self) -> Sql:
        """The connection, for work on the loop's own thread while no `run` is under way."""
        return self._conn
