"""The writer: group commit, a disk that is full for a while, a disk that is broken, and people who are forgotten."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from router.ledger import writer
from router.ledger.anchor import Anchor, read_anchor
from router.ledger.protocol import LedgerBroken, LedgerError, LedgerFull
from router.ledger.room import RESERVE_FILE, Reserve
from router.ledger.sqlite import SqliteLedger
from router.ledger.tables import DATABASE_FILE
from router.ledger.verify import verify
from tests.conformance.entries import T0, S, attempted, ended, received, reserved, settled


@pytest_asyncio.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    """An open ledger that looks for room again after 10 ms."""
    one = SqliteLedger(tmp_path, retry_s=0.01)
    await one.open()
    yield one
    await one.close()


async def facts(ledger: SqliteLedger) -> list[str]:
    """The kinds of all facts, in order."""
    return [type(entry.fact).__name__ async for part in ledger.facts_after(0) for _, entry in part]


async def test_what_queues_up_is_one_group(ledger: SqliteLedger) -> None:
    """A lone append is committed at once; what arrives while a commit runs is the next commit, all of it."""
    first = ledger.append([received(1)])
    while ledger.busy_since_ns is None:
        await asyncio.sleep(0)
    rest = [ledger.append([received(n)]) for n in range(2, 102)]
    assert await asyncio.gather(first, *rest) == list(range(1, 102))
    assert (ledger.stats.groups, ledger.stats.facts) == (2, 101)
    assert ledger.busy_since_ns is None


async def test_a_group_is_bounded(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst becomes several commits, so that none holds up the loop; one append is never torn apart."""
    monkeypatch.setattr(writer, "GROUP_FACTS_MAX", 10)
    futures = [ledger.append([received(n), ended(n), ended(n)]) for n in range(10)]
    await asyncio.gather(*futures)
    assert ledger.stats.groups == 3
    assert ledger.queued_facts == 0


async def test_what_durability_rests_on(ledger: SqliteLedger) -> None:
    """The settings no other test could miss: synced commits, overwritten erasures, no checkpoints behind our back."""
    connection = ledger._worker.here  # type: ignore[union-attr]
    names = ("journal_mode", "synchronous", "secure_delete", "wal_autocheckpoint", "busy_timeout")
    assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == ["wal", 2, 1, 0, 0]


async def test_the_reader_cannot_write(ledger: SqliteLedger) -> None:
    """There is one writer: the other connection is refused by SQLite itself."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await ledger._reader.run(lambda reader: reader.execute("DELETE FROM facts"))  # type: ignore[union-attr]


async def test_the_anchor_knows_whatever_was_acknowledged(ledger: SqliteLedger, tmp_path: Path) -> None:
    """When an append resolves, the anchor outside the ledger stands at it already."""
    for n in range(1, 6):
        seq = await ledger.append([received(n)])
        anchor = read_anchor(tmp_path)
        assert anchor
        assert anchor.seq == seq


async def test_the_log_is_brought_into_the_database_when_it_is_long(
    ledger: SqliteLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load a checkpoint runs between commits, and the write-ahead log stays near its bound."""
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 100)
    for n in range(200):
        await ledger.append([received(n), reserved(n), ended(n)])
    assert ledger.stats.checkpoints >= 5
    assert (tmp_path / f"{DATABASE_FILE}-wal").stat().st_size < 400 * 4096


async def test_a_quiet_ledger_tidies_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When work stays away, the log is brought in and then the anchor to the platter, without being asked."""
    monkeypatch.setattr(writer, "QUIET_S", 0.005)
    monkeypatch.setattr(writer, "CHECKPOINT_QUIET_PAGES", 1)
    monkeypatch.setattr(writer, "SYNC_EVERY_NS", 10**18)
    tidied = asyncio.Event()
    loop, checkpoint, sync = asyncio.get_running_loop(), writer.checkpoint, Anchor.sync
    done: list[str] = []

    def watch_checkpoint(connection: sqlite3.Connection, mode: str) -> bool:
        done.append(mode)
        return checkpoint(connection, mode)

    def watch_sync(anchor: Anchor) -> None:
        done.append("sync")
        sync(anchor)
        loop.call_soon_threadsafe(tidied.set)

    monkeypatch.setattr(writer, "checkpoint", watch_checkpoint)
    monkeypatch.setattr(Anchor, "sync", watch_sync)
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    await ledger.append([received(1)])
    await tidied.wait()
    assert done == ["PASSIVE", "sync"]
    await ledger.close()


# ------------------------------------------------------------------------------------------------------------- full


def fill(ledger: SqliteLedger) -> None:
    """No page can be added to the database any more: SQLite answers as on a full disk."""
    connection = ledger._worker.here  # type: ignore[union-attr]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(ledger: SqliteLedger) -> None:
    """Pages can be added again."""
    ledger._worker.here.execute("PRAGMA max_page_count = 1000000")  # type: ignore[union-attr]


async def until(ledger: SqliteLedger, writable: bool) -> None:
    """Wait for the ledger to become writable, or not."""
    changed = asyncio.Event()
    ledger.on_change = changed.set
    while ledger.writable != writable:
        changed.clear()
        await changed.wait()
    ledger.on_change = None


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The reserve cannot be had back until the patch is undone."""
    monkeypatch.setattr(Reserve, "take", lambda self: False)
    return monkeypatch


async def fill_up(ledger: SqliteLedger) -> int:
    """Append leads until there is no room; returns how many facts were taken."""
    fill(ledger)
    for n in range(1000, 1200):
        try:
            await ledger.append([received(n)])
        except LedgerFull:
            return ledger.head_seq
    raise AssertionError("it never filled up")


async def test_on_a_full_disk_leads_are_refused_and_the_chain_stays_as_it_was(
    ledger: SqliteLedger, tmp_path: Path, no_room: pytest.MonkeyPatch
) -> None:
    """The refused append took nothing; the ledger says it is not writable, why, and what to do; others fail at once."""
    changes: list[bool] = []
    ledger.on_change = lambda: changes.append(ledger.writable)
    taken = await fill_up(ledger)
    assert changes == [False]
    assert isinstance(ledger.problem, LedgerFull)
    assert "make room" in ledger.problem.hint
    refused = ledger.append([received(1)])
    assert refused.done()
    with pytest.raises(LedgerFull):
        await refused
    with pytest.raises(LedgerFull):
        await ledger.put_terms("v", b"")
    assert len(await facts(ledger)) == taken
    assert verify(tmp_path).ok


async def test_what_already_happened_waits_and_comes_first(
    ledger: SqliteLedger, tmp_path: Path, no_room: pytest.MonkeyPatch
) -> None:
    """Kept entries are written in their order as soon as there is room, before anything newer; then leads are taken."""
    await ledger.append([received(1), reserved(1)])
    taken = await fill_up(ledger)
    tried, explains = asyncio.Event(), Reserve.explains
    no_room.setattr(Reserve, "explains", lambda self, error: tried.set() or explains(self, error))
    kept = [ledger.append([entry] * 10, keep=True) for entry in (attempted(1), settled(1), ended(1))]
    await tried.wait()
    assert ledger.queued_facts == 30
    assert not any(future.done() for future in kept)
    make_room(ledger)
    no_room.undo()
    assert await asyncio.gather(*kept) == [taken + 10, taken + 20, taken + 30]
    await until(ledger, writable=True)
    assert await ledger.append([received(2)]) == taken + 31
    assert (await facts(ledger))[-31:] == ["Attempted"] * 10 + ["Settled"] * 10 + ["Ended"] * 10 + ["Received"]
    assert verify(tmp_path).ok


async def test_it_recovers_by_itself(ledger: SqliteLedger, no_room: pytest.MonkeyPatch) -> None:
    """With nothing waiting it notices the room and says so."""
    taken = await fill_up(ledger)
    make_room(ledger)
    no_room.undo()
    await until(ledger, writable=True)
    assert await ledger.append([received(1)]) == taken + 1


async def test_a_reserve_is_given_up_for_outcomes(ledger: SqliteLedger, tmp_path: Path) -> None:
    """The space held back is freed when the disk fills up, and taken again with the room."""
    reserve = tmp_path / RESERVE_FILE
    assert reserve.stat().st_blocks * 512 >= 4 * 1024 * 1024
    seen: list[bool] = []
    take = Reserve.take

    def watch(self: Reserve) -> bool:
        seen.append(reserve.exists())
        return take(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reserve, "take", watch)
        await fill_up(ledger)
        make_room(ledger)
        await until(ledger, writable=True)
    assert seen[0] is False
    assert reserve.exists()


async def test_closing_on_a_full_disk_fails_what_waits(ledger: SqliteLedger, no_room: pytest.MonkeyPatch) -> None:
    """Close tries once more, then tells; it does not wait for room forever."""
    await ledger.append([received(1), reserved(1)])
    await fill_up(ledger)
    waiting = ledger.append([attempted(1)] * 500, keep=True)
    await ledger.close()
    with pytest.raises(LedgerFull):
        await waiting


async def test_what_waits_is_bounded(
    ledger: SqliteLedger, no_room: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More outcomes than memory should hold: the ledger breaks rather than forget one."""
    monkeypatch.setattr(writer, "KEPT_FACTS_MAX", 100)
    await ledger.append([received(1), reserved(1)])
    await fill_up(ledger)
    waiting = ledger.append([attempted(1)] * 100, keep=True)
    with pytest.raises(LedgerBroken, match="more than may be held"):
        await ledger.append([attempted(1)], keep=True)
    with pytest.raises(LedgerBroken):
        await waiting


async def test_a_start_on_a_full_disk_is_not_writable(tmp_path: Path, no_room: pytest.MonkeyPatch) -> None:
    """Without room for the reserve it opens, to be read and to go on, but takes no leads until there is."""
    ledger = SqliteLedger(tmp_path, retry_s=0.01)
    await ledger.open()
    assert not ledger.writable
    no_room.undo()
    await until(ledger, writable=True)
    await ledger.close()


# ----------------------------------------------------------------------------------------------------------- broken


def breaking(code: int, message: str) -> sqlite3.OperationalError:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT])
async def test_after_an_error_of_the_disk_nothing_is_written_again(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A failed fsync ends it: the commit that failed, what queued behind it, kept or not, and all that comes later."""
    await ledger.append([received(1)])
    changes: list[LedgerError | None] = []
    ledger.on_change = lambda: changes.append(ledger.problem)

    def fail(*_: object) -> None:
        raise breaking(code, "disk I/O error")

    monkeypatch.setattr(writer, "_commit_and_anchor", fail)
    futures = [ledger.append([received(2)]), ledger.append([ended(1)], keep=True)]
    monkeypatch.setattr(writer, "GROUP_FACTS_MAX", 1)
    for future in futures:
        with pytest.raises(LedgerBroken, match="disk I/O error"):
            await future
    monkeypatch.undo()
    for keep in (False, True):
        with pytest.raises(LedgerBroken):
            await ledger.append([ended(1)], keep=keep)
    with pytest.raises(LedgerBroken):
        await ledger.erase(["lead-0001"])
    assert len(changes) == 1
    assert isinstance(changes[0], LedgerBroken)
    assert "must stop" in changes[0].hint
    assert await facts(ledger) == ["Received"]


async def test_an_anchor_that_cannot_be_written_stops_it(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact nobody could miss later must not be acknowledged."""

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Anchor, "move", fail)
    with pytest.raises(LedgerBroken, match="Input/output error"):
        await ledger.append([received(1)])
    assert isinstance(ledger.problem, LedgerBroken)
    monkeypatch.undo()


async def test_a_checkpoint_that_fails_stops_it(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's automatic checkpoints would have hidden this; the commit before it stands."""

    def fail(*_: object) -> bool:
        raise breaking(sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error")

    monkeypatch.setattr(writer, "checkpoint", fail)
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 1)
    told = asyncio.Event()
    ledger.on_change = told.set
    assert await ledger.append([received(1)]) == 1
    await told.wait()
    assert isinstance(ledger.problem, LedgerBroken)


async def test_a_mistake_in_a_call_is_the_callers_alone(ledger: SqliteLedger, tmp_path: Path) -> None:
    """Terms that are no bytes fail their own call; the ledger goes on."""
    with pytest.raises(TypeError):
        await ledger.put_terms("v1", "text")  # type: ignore[arg-type]
    assert await ledger.append([received(1)]) == 1
    assert await ledger.terms("v1") is None


async def test_another_program_in_the_way_is_waited_for(ledger: SqliteLedger, tmp_path: Path) -> None:
    """A shell that holds the database for a moment delays a commit on the thread, while the loop goes on."""
    other = sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    pending = ledger.append([received(1)])
    while ledger.busy_since_ns is None:
        await asyncio.sleep(0)
    threading.Timer(0.05, lambda: other.execute("ROLLBACK")).start()
    assert await pending == 1
    assert ledger.writable
    other.close()


# -------------------------------------------------------------------------------------------------------- forgetting


def holding(state: Path, text: str) -> list[str]:
    """The files that hold this text."""
    return [path.name for path in state.iterdir() if text.encode() in path.read_bytes()]


async def test_a_forgotten_person_is_in_none_of_our_files(tmp_path: Path) -> None:
    """Name, phone and email are gone from every byte of the state directory when erase returns; others stay."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    long_text = "x" * 9000 + "Ana-Overflow"  # a lead that needs overflow pages
    ana = {"phone": "+15125550147", "email": "ana@example.com", "note": long_text}
    for n in range(30):
        fields = ana if n % 10 == 3 else {"phone": f"+1713555{n:04d}", "email": f"bob{n}@example.com"}
        await ledger.append([received(n, key=f"key-{n}", fields=fields, external_id=f"ext-{n}"), ended(n)])
        await ledger.store_answer(
            f"lead-{n:04d}", 201, f'{{"redirect_url": "https://x/?e={fields["email"]}"}}'.encode()
        )
    for text in ("+15125550147", "ana@example.com", "Ana-Overflow", "ext-13", "key-13"):
        assert holding(tmp_path, text), text
    assert await ledger.erase(["lead-0003", "lead-0013", "lead-0023"]) == 3
    for text in ("5125550147", "ana@example.com", "Ana-Overflow", "ext-13", "key-13"):
        assert holding(tmp_path, text) == [], text
    assert holding(tmp_path, "bob4@example.com")
    assert verify(tmp_path).ok
    await ledger.close()
    assert holding(tmp_path, "5125550147") == []


async def test_erasing_waits_for_a_reader_and_holds_up_nobody(ledger: SqliteLedger, tmp_path: Path) -> None:
    """While somebody reads an older view, commits go on; erase returns only when the old bytes are gone."""
    await ledger.append([received(1)])
    reader = sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM facts").fetchone()
    erasing = asyncio.create_task(ledger.erase(["lead-0001"]))
    assert await ledger.append([received(2)]) == 2
    assert await ledger.append([received(3)]) == 3
    assert not erasing.done()
    reader.close()
    assert await erasing == 1
    assert holding(tmp_path, "+15125550001") == []


async def test_retention_goes_through_all_old_leads(ledger: SqliteLedger, tmp_path: Path) -> None:
    """More leads than one slice holds are forgotten, and only the old ones."""
    await ledger.append([received(n) for n in range(1, 1201)])
    assert await ledger.erase_before(T0 + 1100 * S) == 1099
    assert holding(tmp_path, "+15125550500") == []
    assert holding(tmp_path, "+15125551150")
    report = verify(tmp_path)
    assert (report.ok, report.erased) == (True, 1099)
