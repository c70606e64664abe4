"""Opening: what a ledger refuses to go on from, what it says is missing, and how a loss is accepted."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from router.ledger.anchor import ANCHOR_FILE, EMPTY, Head, read_anchor, write_anchor
from router.ledger.protocol import LedgerBehindAnchor, LedgerDamaged
from router.ledger.snapshots import SNAPSHOTS_FILE
from router.ledger.sqlite import SqliteLedger
from router.ledger.tables import DATABASE_FILE
from router.ledger.verify import verify
from tests.conformance.entries import ended, received


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state directory with ten facts and a snapshot behind each of two."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    for n in range(1, 6):
        await ledger.append([received(n), ended(n)])
    await ledger.save_snapshot(4, b"four")
    await ledger.save_snapshot(8, b"eight")
    await ledger.close()
    return tmp_path


def edit(path: Path, *statements: str) -> None:
    """Change a database behind the router's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def cut_tail(state: Path) -> None:
    """Remove the last three facts, cleanly: SQLite sees nothing wrong."""
    edit(state / DATABASE_FILE, "DELETE FROM facts WHERE seq > 7", "DELETE FROM leads WHERE seq > 7",
         "DELETE FROM lead_bodies WHERE seq > 7")  # fmt: skip


def remove(state: Path) -> None:
    """The database is gone."""
    (state / DATABASE_FILE).unlink()


def empty(state: Path) -> None:
    """The database is an empty file."""
    (state / DATABASE_FILE).write_bytes(b"")


def garbage(state: Path) -> None:
    """The database is something else."""
    (state / DATABASE_FILE).write_bytes(b"not a database at all" * 1000)


def halve(state: Path) -> None:
    """Half of the database is gone."""
    path = state / DATABASE_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_fact(state: Path) -> None:
    """A fact says something else."""
    edit(state / DATABASE_FILE, "UPDATE facts SET at_ns = at_ns + 1 WHERE seq = 5")


def edit_head(state: Path) -> None:
    """The last fact and its hash are someone else's."""
    edit(state / DATABASE_FILE, "UPDATE facts SET hash = zeroblob(32) WHERE seq = 10")


def drop_anchor(state: Path) -> None:
    """The anchor is gone."""
    (state / ANCHOR_FILE).unlink()


def garble_anchor(state: Path) -> None:
    """The anchor is unreadable."""
    (state / ANCHOR_FILE).write_bytes(b"?")


DAMAGE: list[tuple[Callable[[Path], None], str, int]] = [
    (cut_tail, "ends at fact 7, but facts up to 10 were durable: 3 are missing", 7),
    (remove, "is missing or empty, but facts up to 10 were durable: 10 are missing", 0),
    (empty, "is missing or empty, but facts up to 10 were durable: 10 are missing", 0),
    (garbage, "is damaged", 0),
    (halve, "is damaged", 0),
    (edit_fact, "one of the facts 1 to 10 is not what was written", 9),
    (edit_head, "fact 10 is not the one that was anchored", 9),
    (drop_anchor, "anchor is missing", 10),
    (garble_anchor, "anchor is unreadable", 10),
]


@pytest.mark.parametrize(("damage", "says", "_facts"), DAMAGE)
async def test_damage_is_refused_and_named(state: Path, damage: Callable[[Path], None], says: str, _facts: int) -> None:
    """The error says what is missing and what to do, again and again, and nothing is let go that could be restored."""
    damage(state)
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    for _ in range(2):
        ledger = SqliteLedger(state)
        with pytest.raises(LedgerDamaged, match=says) as caught:
            await ledger.open()
        assert "ledger verify" in caught.value.hint or "--accept-loss" in caught.value.hint
        assert not ledger.writable
        await ledger.close()
    assert {path.name: path.read_bytes() for path in state.iterdir() if path.name in before} == before


@pytest.mark.parametrize(("damage", "_says", "facts"), DAMAGE)
async def test_an_accepted_loss_goes_on_and_is_noted(
    state: Path, damage: Callable[[Path], None], _says: str, facts: int
) -> None:
    """With accept_loss it goes on from the facts there are, notes the loss for verify, and opens normally then."""
    damage(state)
    ledger = SqliteLedger(state, accept_loss=True)
    opened = await ledger.open()
    assert (opened.head_seq, opened.snapshot) == (facts, None)
    assert await ledger.append([received(20)]) == facts + 1
    await ledger.close()
    ledger = SqliteLedger(state)
    assert (await ledger.open()).head_seq == facts + 1
    await ledger.close()
    notes = verify(state).notes
    assert len(notes) == 1
    assert "a loss was accepted" in notes[0]


async def test_missing_facts_are_counted(state: Path) -> None:
    """The error carries how far the anchor knew and how far the facts go."""
    cut_tail(state)
    ledger = SqliteLedger(state)
    with pytest.raises(LedgerBehindAnchor) as caught:
        await ledger.open()
    assert (caught.value.anchor_seq, caught.value.head_seq) == (10, 7)


async def test_an_unreadable_database_is_set_aside_not_deleted(state: Path) -> None:
    """Accepting its loss keeps the file under another name."""
    garbage(state)
    ledger = SqliteLedger(state, accept_loss=True, now_ns=lambda: 77)
    await ledger.open()
    await ledger.close()
    assert (state / f"{DATABASE_FILE}.damaged-77").read_bytes().startswith(b"not a database")


async def test_accepting_without_a_loss_changes_nothing(state: Path) -> None:
    """An operator who leaves --accept-loss in the unit file notes no loss that was none."""
    ledger = SqliteLedger(state, accept_loss=True)
    opened = await ledger.open()
    assert (opened.head_seq, opened.snapshot) == (10, b"eight")
    await ledger.close()
    assert verify(state).notes == []


async def test_facts_ahead_of_the_anchor_are_normal(state: Path) -> None:
    """A crash between commit and anchor: it opens, and the anchor catches up."""
    write_anchor(state, EMPTY)
    ledger = SqliteLedger(state)
    assert (await ledger.open()).head_seq == 10
    await ledger.close()
    anchor = read_anchor(state)
    assert anchor
    assert anchor.seq == 10


async def test_verify_lets_a_ledger_without_anchor_open_again(state: Path) -> None:
    """A missing anchor is an error until verify has rebuilt it."""
    drop_anchor(state)
    assert verify(state).anchor_rebuilt
    ledger = SqliteLedger(state)
    assert (await ledger.open()).head_seq == 10
    await ledger.close()


async def test_a_crash_before_the_first_fact_is_a_new_ledger(tmp_path: Path) -> None:
    """An anchor of an empty ledger, or an empty file, with nothing behind it is no loss."""
    write_anchor(tmp_path, EMPTY)
    (tmp_path / DATABASE_FILE).touch()
    ledger = SqliteLedger(tmp_path)
    assert (await ledger.open()).head_seq == 0
    assert await ledger.append([received(1)]) == 1
    await ledger.close()


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Personal data is readable by nobody else, whatever the umask."""
    ledger = SqliteLedger(tmp_path / "state")
    await ledger.open()
    await ledger.append([received(1)])
    await ledger.save_snapshot(1, b"one")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    await ledger.close()


@pytest.mark.parametrize(
    ("statements", "begins_at"),
    [
        (("UPDATE snapshots SET body = x'00' WHERE seq = 8",), 4),
        (("UPDATE snapshots SET sha256 = x'00' WHERE seq = 8",), 4),
        (("UPDATE snapshots SET fact_hash = x'00' WHERE seq = 8",), 4),
        (("UPDATE snapshots SET seq = 80 WHERE seq = 8",), 4),
        (("UPDATE snapshots SET body = 'text'",), 0),
        (("DROP TABLE snapshots",), 0),
    ],
)
async def test_a_bad_snapshot_is_never_trusted_over_the_facts(
    state: Path, statements: tuple[str, ...], begins_at: int
) -> None:
    """A snapshot that rotted, or stands behind another fact, is passed over for the one before it, or for none."""
    edit(state / SNAPSHOTS_FILE, *statements)
    ledger = SqliteLedger(state)
    assert (await ledger.open()).snapshot_seq == begins_at
    await ledger.save_snapshot(10, b"ten")
    await ledger.close()
    assert (await ledger.open()).snapshot == b"ten"
    await ledger.close()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"?" * 5000)])
async def test_without_the_snapshots_the_facts_are_enough(state: Path, damage: Callable[[Path], object]) -> None:
    """The snapshots' file may be lost or ruined: state is folded from the facts."""
    damage(state / SNAPSHOTS_FILE)
    ledger = SqliteLedger(state)
    opened = await ledger.open()
    assert (opened.snapshot, opened.head_seq) == (None, 10)
    await ledger.close()


async def test_a_ledger_of_another_time_is_found(state: Path, tmp_path: Path) -> None:
    """An older copy of the database under today's anchor is behind it; a stranger's is another history."""
    shutil.copy(state / DATABASE_FILE, tmp_path / "older")
    ledger = SqliteLedger(state)
    await ledger.open()
    await ledger.append([received(30), ended(30)])
    await ledger.close()
    shutil.copy(tmp_path / "older", state / DATABASE_FILE)
    with pytest.raises(LedgerBehindAnchor, match="2 are missing"):
        await SqliteLedger(state).open()
    write_anchor(state, Head(9, b"x" * 32))
    with pytest.raises(LedgerDamaged, match="fact 9 is not the one that was anchored"):
        await SqliteLedger(state).open()


async def test_a_newer_schema_is_not_touched(state: Path) -> None:
    """A ledger written by a later version is refused by name, with or without accept_loss."""
    edit(state / DATABASE_FILE, "PRAGMA user_version = 99")
    for accept_loss in (False, True):
        with pytest.raises(LedgerDamaged, match="schema version 99"):
            await SqliteLedger(state, accept_loss=accept_loss).open()
