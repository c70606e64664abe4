"""Accepting a loss loses as little as can be: what can still be believed is carried into a new ledger that holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from router.ledger.protocol import LedgerDamaged
from router.ledger.sqlite import SqliteLedger
from router.ledger.tables import DATABASE_FILE
from router.ledger.verify import verify
from router.model.facts import Entry, Received
from tests.conformance.entries import attempted, ended, received, reserved, settled

LEADS = 200


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state directory with 1,001 facts about 200 leads, the first of them forgotten."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    for n in range(1, LEADS + 1):
        await ledger.append([received(n, key=f"k{n}"), reserved(n), attempted(n), settled(n), ended(n)])
    await ledger.store_answer("lead-0200", 201, b"answer")
    await ledger.put_terms("v1", b"terms")
    await ledger.erase(["lead-0001"])
    await ledger.append([ended(1, "erased")])
    await ledger.close()
    return tmp_path


def edit(state: Path, *statements: str) -> None:
    """Change the database behind the router's back."""
    with closing(sqlite3.connect(state / DATABASE_FILE, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def salvaged(state: Path) -> list[Entry]:
    """All entries after the loss was accepted; the new ledger must hold by itself."""
    ledger = SqliteLedger(state, accept_loss=True)
    await ledger.open()
    entries = [entry async for part in ledger.facts_after(0) for _, entry in part]
    assert await ledger.answer("lead-0200") == (201, b"answer")
    assert await ledger.terms("v1") == b"terms"
    assert await ledger.lead_of("delivery-0150") == "lead-0150"
    assert [row.lead_id for row in (await ledger.search(status="erased"))[0]] == ["lead-0001"]
    await ledger.close()
    report = verify(state)
    assert report.ok, report.findings
    assert "a loss was accepted" in report.notes[0]
    assert [path for path in state.iterdir() if path.name.startswith(f"{DATABASE_FILE}.damaged-")]
    return entries


def expected() -> list[Entry]:
    """What went in, as it comes out."""
    entries = []
    for n in range(1, LEADS + 1):
        entries += [received(n, key=f"k{n}"), reserved(n), attempted(n), settled(n), ended(n)]
    entries[0] = Entry(at_ns=entries[0].at_ns, fact=entries[0].fact)
    return [*entries, ended(1, "erased")]


async def test_an_edited_fact_is_left_behind_and_nothing_else(state: Path) -> None:
    """One fact is not what was written: 1,000 of 1,001 go on, in their order."""
    edit(state, "UPDATE facts SET body = replace(body, 'accepted', 'rejected') WHERE seq = 503")
    assert await salvaged(state) == expected()[:502] + expected()[503:]


async def test_missing_facts_leave_the_others(state: Path) -> None:
    """Facts are gone from the middle: those on both sides go on."""
    edit(state, "DELETE FROM facts WHERE seq IN (503, 504, 505)")
    assert await salvaged(state) == expected()[:502] + expected()[505:]


async def test_a_page_that_cannot_be_read_costs_its_own_facts(state: Path) -> None:
    """A page of the database is zeros: what stands on the other pages goes on."""
    path = state / DATABASE_FILE
    data = bytearray(path.read_bytes())
    at = data.index(b'"delivery_id":"delivery-0100"') // 4096 * 4096
    data[at : at + 4096] = bytes(4096)
    path.write_bytes(data)
    entries = await salvaged(state)
    assert 960 < len(entries) < 1001
    wanted = iter(expected())
    assert all(entry in wanted for entry in entries), "in their order"


async def test_a_lead_that_was_edited_counts_as_forgotten(state: Path) -> None:
    """The fact that a lead was received stays; a lead that is not the one that was taken is not sold on."""
    edit(state, "UPDATE lead_bodies SET body = replace(body, 'US', 'CA') WHERE seq = 501")
    ledger = SqliteLedger(state)
    await ledger.open()
    with pytest.raises(LedgerDamaged, match="fact 501"):
        await anext(ledger.facts_after(0))
    await ledger.close()
    entries = await salvaged(state)
    assert len(entries) == 1001
    assert entries[500].lead is None
    assert sum(isinstance(entry.fact, Received) and entry.lead is not None for entry in entries) == LEADS - 2
