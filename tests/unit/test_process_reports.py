"""Reports are made by a child process, one at a time, that never outlives its question."""

import asyncio
import sys
from pathlib import Path

import orjson
import pytest

from router.ledger.sqlite import SqliteLedger
from router.web import reports
from router.web.problems import Problem
from router.web.reports import WAITING_MAX, ProcessReports


async def test_a_report_comes_from_a_process_of_its_own(tmp_path: Path) -> None:
    """The answer is what `lead-router report` says of the state directory, also while a ledger is open on it."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    found = orjson.loads(await ProcessReports(tmp_path).make("acceptance", 1_700_000_000_000_000_000))
    assert found["contracts"] == []
    assert found["since"] == "2023-11-14T22:13:20.000Z"
    await ledger.close()


async def test_a_report_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    """Without a ledger the child says no, and the answer is 503."""
    with pytest.raises(Problem) as refused:
        await ProcessReports(tmp_path).make("coverage", None)
    assert (refused.value.code, refused.value.status) == ("report_failed", 503)


async def _spinning(monkeypatch: pytest.MonkeyPatch, made: ProcessReports) -> tuple[asyncio.Task[bytes], int]:
    """A report whose child never ends, and the child's process id."""
    start = reports._start
    started: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def never(_: list[str]) -> object:
        child = start([sys.executable, "-c", "import signal; signal.pause()"])
        loop.call_soon_threadsafe(started.put_nowait, child.pid)
        return child

    monkeypatch.setattr(reports, "_start", never)
    task = asyncio.create_task(made.make("coverage", None))
    return task, await started.get()


def _lives(pid: int) -> bool:
    """Whether a process of that id runs; ours that ended were waited for."""
    return Path(f"/proc/{pid}").exists()


async def test_a_report_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time the child is killed and the answer is 503 with the mend."""
    task, pid = await _spinning(monkeypatch, ProcessReports(tmp_path, timeout_s=0.2))
    with pytest.raises(Problem, match="report_failed"):
        await task
    await asyncio.to_thread(_gone, pid)


async def test_a_stop_ends_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that stops does not wait for a report."""
    made = ProcessReports(tmp_path)
    task, pid = await _spinning(monkeypatch, made)
    while made._running is None:
        await asyncio.sleep(0)
    made.stop()
    with pytest.raises(Problem):
        await task
    assert not _lives(pid)


async def test_few_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is made a few wait; more are told to ask again."""
    made = ProcessReports(tmp_path)
    task, _ = await _spinning(monkeypatch, made)
    others = [asyncio.create_task(made.make("coverage", None)) for _ in range(WAITING_MAX - 1)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await made.make("coverage", None)
    assert refused.value.code == "overloaded"
    for other in others:
        other.cancel()
    while made._running is None:
        await asyncio.sleep(0)
    made.stop()
    await asyncio.gather(task, *others, return_exceptions=True)


def _gone(pid: int) -> None:
    """Wait until a killed child has been reaped by the thread that reads it."""
    import time

    until = time.monotonic() + 10
    while _lives(pid):
        assert time.monotonic() < until
        time.sleep(0.01)
