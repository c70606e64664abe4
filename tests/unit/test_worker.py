"""The worker: whole functions on a thread that waits for the disk, and a loop that lets it have the lock."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.ledger import worker
from router.ledger.worker import Worker


@pytest_asyncio.fixture
async def one() -> AsyncIterator[Worker]:
    """A worker with a connection in memory that both threads may use."""
    started = await Worker.start(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    yield started
    await started.close()


async def test_work_runs_on_the_thread_and_its_result_comes_back(one: Worker) -> None:
    """The function gets the connection and its arguments, on another thread than the loop's."""

    def work(connection: sqlite3.Connection, a: int, *, b: int) -> tuple[int, int]:
        return connection.execute("SELECT ? + ?", (a, b)).fetchone()[0], threading.get_ident()

    total, thread = await one.run(work, 1, b=2)
    assert total == 3
    assert thread != threading.get_ident()
    assert one.here.execute("SELECT 4").fetchone() == (4,)


async def test_an_error_comes_back_as_it_was(one: Worker) -> None:
    """What the function raises is raised to the caller, and the thread goes on."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await one.run(lambda connection: connection.execute("SELECT * FROM nowhere"))
    assert await one.run(lambda _: 5) == 5


async def test_the_loop_steps_aside_while_work_takes_long(one: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 2 ms of a long hop the loop sleeps for a moment, and no longer once the hop is over."""
    aside = threading.Semaphore(0)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        aside.release()

    monkeypatch.setattr(worker.time, "sleep", sleep)
    assert await one.run(lambda _: [aside.acquire(timeout=5) for _ in range(3)]) == [True, True, True]
    count = len(slept)
    assert set(slept) == {0.000_05}
    await asyncio.sleep(0.02)
    assert len(slept) == count


async def test_a_hop_leaves_no_garbage_behind(one: Worker) -> None:
    """There is one a commit: a cycle in each would be most of what the collector has to find."""
    await one.run(lambda _: None)
    gc.collect()
    for _ in range(50):
        await one.run(lambda _: None)
    assert gc.collect() < 50


async def test_a_connection_that_cannot_be_made_leaves_no_thread() -> None:
    """The error is the connector's own, and the thread is gone when it arrives."""
    before = set(threading.enumerate())
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await Worker.start(lambda: sqlite3.connect("/nowhere/at/all.sqlite3"))
    assert set(threading.enumerate()) <= before  # those of earlier tests may end meanwhile
