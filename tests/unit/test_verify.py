"""verify: whatever is done to a history behind the router's back is found, and the finding names the place."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from router.ledger.anchor import ANCHOR_FILE, EMPTY, read_anchor, write_anchor
from router.ledger.sqlite import SqliteLedger
from router.ledger.tables import DATABASE_FILE
from router.ledger.verify import verify
from router.model.facts import Entry, TermsLoaded
from tests.conformance.entries import T0, attempted, ended, received, reserved, settled


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state directory with 22 facts about four leads."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    await ledger.put_terms("v1", b"{}")
    await ledger.append([Entry(at_ns=T0, fact=TermsLoaded(terms_version="v1", by="start"))])
    for n in range(1, 5):
        await ledger.append([received(n, key=f"k{n}"), reserved(n), attempted(n), settled(n), ended(n)])
        await ledger.store_answer(f"lead-{n:04d}", 201, b"{}")
    await ledger.erase(["lead-0004"])
    await ledger.append([ended(4, "erased")])
    await ledger.close()
    return tmp_path


def edit(state: Path, *statements: str) -> None:
    """Change the database behind the router's back."""
    with closing(sqlite3.connect(state / DATABASE_FILE, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_an_untouched_history_holds(state: Path) -> None:
    """Nothing is found, leads and erasures are counted, and looking changed nothing."""
    before = (state / DATABASE_FILE).read_bytes()
    report = verify(state)
    assert (report.ok, report.findings, report.notes) == (True, [], [])
    assert (report.facts, report.leads, report.erased) == (22, 4, 1)
    assert (report.head_seq, report.anchor_seq) == (22, 22)
    assert (state / DATABASE_FILE).read_bytes() == before


OTHER = '{"lead_id": "lead-0003"}'
FACT_9 = "UPDATE facts SET {} WHERE seq = 9"
SWAP = (
    "UPDATE facts SET seq = -1 WHERE seq = 8",
    "UPDATE facts SET seq = 8 WHERE seq = 9",
    "UPDATE facts SET seq = 9 WHERE seq = -1",
)


@pytest.mark.parametrize(
    ("statements", "seq", "what"),
    [
        ((FACT_9.format("body = replace(body, 'accepted', 'rejected')"),), 9, "not what was written"),
        ((FACT_9.format("at_ns = at_ns + 1"),), 9, "not what was written"),
        ((FACT_9.format("kind = 'Attempted2'"),), 9, "not what was written"),
        ((FACT_9.format("lead_id = 'lead-0001'"),), 9, "not what was written"),
        ((FACT_9.format("lead_id = NULL"),), 9, "not what was written"),
        ((FACT_9.format("hash = zeroblob(32)"),), 9, "not what was written"),
        ((FACT_9.format("hash = 'text'"),), 9, "not what was written"),
        (("DELETE FROM facts WHERE seq = 9",), 10, "facts 9 to 9 are missing"),
        (("DELETE FROM facts WHERE seq BETWEEN 1 AND 9",), 10, "facts 1 to 9 are missing"),
        (SWAP, 8, "not what was written"),
        (("DELETE FROM facts WHERE seq > 20",), None, "2 are missing"),
        (("DELETE FROM facts",), None, "22 are missing"),
        (
            ("INSERT INTO facts SELECT 23, at_ns, kind, lead_id, digest, body, hash FROM facts WHERE seq = 1",),
            23,
            "not",
        ),
        (("UPDATE lead_bodies SET body = replace(body, 'US', 'CA') WHERE seq = 2",), 2, "not the one that was taken"),
        (("UPDATE lead_bodies SET salt = zeroblob(16) WHERE seq = 2",), 2, "not the one that was taken"),
        (("DELETE FROM lead_bodies WHERE seq = 2",), 2, "never erased"),
        (("UPDATE leads SET phone = '+15125559999' WHERE seq = 2",), 2, "finds the lead"),
        (("UPDATE leads SET source_id = 'globex' WHERE seq = 2",), 2, "finds the lead"),
        (("DELETE FROM leads WHERE seq = 2",), 2, "is missing"),
        (("INSERT INTO lead_bodies VALUES (3, zeroblob(16), '{}')",), 3, "is no Received"),
        (("UPDATE deliveries SET lead_id = 'lead-0002' WHERE delivery_id = 'delivery-0001'",), 3, "to its lead"),
        (("DELETE FROM deliveries WHERE delivery_id = 'delivery-0003'",), 13, "to its lead"),
        (("UPDATE deliveries SET buyer_id = 'other' WHERE delivery_id = 'delivery-0001'",), 3, "to its lead"),
        (("UPDATE deliveries SET contract_id = 'other' WHERE delivery_id = 'delivery-0003'",), 13, "to its lead"),
        (("INSERT INTO deliveries VALUES ('delivery-0009', 'lead-0001', 'c', 'b')",), None, "no fact reserved"),
        (("UPDATE leads SET status = 'unsold' WHERE seq = 2",), 2, "what its facts say: sold"),
        (("UPDATE leads SET status = 'erased' WHERE seq = 2",), 2, "what its facts say: sold"),
        (("UPDATE leads SET erased_at_ns = 5 WHERE seq = 2",), 2, "marked as erased"),
        (("UPDATE leads SET phone = '+15125559999' WHERE lead_id = 'lead-0004'",), 17, "can still be found"),
        (("UPDATE answers SET status = 500 WHERE seq = 2",), 2, "none that takes a lead"),
        ((f"UPDATE answers SET body = '{OTHER}' WHERE seq = 2",), 2, "about another one"),
        (("UPDATE terms SET body = zeroblob(9)",), None, "stored terms v1"),
        (("UPDATE terms SET sha256 = zeroblob(32)",), None, "stored terms v1"),
        (("DELETE FROM terms",), 1, "terms v1 that fact 1 put in force are missing"),
    ],
)
def test_every_kind_of_tampering_is_found(state: Path, statements: tuple[str, ...], seq: int | None, what: str) -> None:
    """Edited, removed, swapped, cut off, added: the first finding names the fact and what is the matter."""
    edit(state, *statements)
    report = verify(state)
    assert not report.ok
    assert report.findings[0].seq == seq
    assert what in report.findings[0].what


def test_one_edit_is_one_finding(state: Path) -> None:
    """An edited fact does not make every later one look edited."""
    edit(state, FACT_9.format("at_ns = 0"))
    assert [finding.seq for finding in verify(state).findings] == [9]


def test_findings_are_listed_up_to_a_bound(state: Path) -> None:
    """A ruined history does not fill the memory: the rest is counted."""
    edit(state, "WITH RECURSIVE n(i) AS (VALUES (100) UNION ALL SELECT i + 2 FROM n WHERE i < 600)"
         " INSERT INTO facts SELECT i, 0, 'x', NULL, NULL, '{}', x'00' FROM n")  # fmt: skip
    report = verify(state)
    assert len(report.findings) == 100
    assert report.findings_more > 100


def flip(path: Path, at: float) -> None:
    """Change one byte at a fraction of the file's length."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0x55
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Cut the file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero_header(path: Path) -> None:
    """Overwrite the file's header."""
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


@pytest.mark.parametrize("damage", [cut, zero_header, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_damaged_file_does_not_hold(state: Path, damage: Callable[[Path], object]) -> None:
    """Half a file, no header, an empty one and none at all are findings, not crashes."""
    damage(state / DATABASE_FILE)
    report = verify(state)
    assert not report.ok
    assert report.findings


def test_bytes_where_text_should_stand_are_a_finding_that_repeats_none_of_them(state: Path) -> None:
    """SQLite's own words quote the whole value, which in a lead's body is a person: ours do not."""
    edit(state, "UPDATE facts SET body = cast(x'ff' || cast('secret-value' as blob) as text) WHERE seq = 3")
    report = verify(state)
    assert not report.ok
    assert not any("secret-value" in str(finding) for finding in report.findings)


def test_any_flipped_byte_of_a_fact_is_found(state: Path) -> None:
    """Each byte of one fact's JSON on the page counts."""
    data = (state / DATABASE_FILE).read_bytes()
    start = data.index(b'{"kind":"Attempted","delivery_id":"delivery-0002"')
    for at in range(start, start + 60, 7):
        changed = bytearray(data)
        changed[at] ^= 1
        (state / DATABASE_FILE).write_bytes(changed)
        assert not verify(state).ok, at


def test_a_missing_anchor_is_rebuilt_when_all_else_holds(state: Path) -> None:
    """verify writes the anchor again and says so; a second run finds nothing to say."""
    (state / ANCHOR_FILE).unlink()
    report = verify(state)
    assert (report.ok, report.anchor_rebuilt) == (True, True)
    assert "cannot be told" in report.notes[0]
    anchor = read_anchor(state)
    assert anchor
    assert anchor.seq == 22
    assert verify(state).notes == []


def test_a_missing_anchor_is_not_rebuilt_over_damage(state: Path) -> None:
    """A history that does not hold gets no new anchor that would bless it."""
    (state / ANCHOR_FILE).unlink()
    edit(state, FACT_9.format("at_ns = 0"))
    assert not verify(state).ok
    assert read_anchor(state) is None


def test_another_history_under_the_same_anchor_is_found(state: Path, tmp_path: Path) -> None:
    """A whole ledger rebuilt with good hashes is still not the one that was anchored."""
    head = read_anchor(state)
    assert head
    write_anchor(state, type(head)(20, b"x" * 32))
    assert "not the one that was anchored" in verify(state).findings[0].what


def test_an_anchor_that_lags_is_normal(state: Path) -> None:
    """Facts ahead of the anchor are a note, not a finding."""
    write_anchor(state, EMPTY)
    report = verify(state)
    assert report.ok
    assert "22 behind the last" in report.notes[0]


def test_an_unreadable_anchor_is_a_finding(state: Path) -> None:
    """It is not silently replaced."""
    (state / ANCHOR_FILE).write_bytes(b"?")
    assert not verify(state).ok


def test_a_directory_without_a_ledger_does_not_hold(tmp_path: Path) -> None:
    """A mistyped --state is told, and nothing is created."""
    assert not verify(tmp_path).ok
    assert list(tmp_path.iterdir()) == []


async def test_it_can_look_while_the_daemon_writes(tmp_path: Path) -> None:
    """With the writer at work the view is consistent: the anchor is never ahead of what is seen."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    for n in range(20):
        pending = ledger.append([received(n), ended(n)])
        report = verify(tmp_path)
        assert report.ok, report.findings
        await pending
    assert verify(tmp_path).facts == 40
    await ledger.close()


def test_progress_is_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long work says how far it is."""
    monkeypatch.setattr("router.ledger.verify._SLICE", 10)
    seen: list[tuple[int, int]] = []
    verify(state, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 22), (20, 22)]
