"""Snapshots beside the daemon: each is the fold of a prefix, made of the last one and the facts since."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from router.core.consumers import Identity
from router.core.state import State
from router.ledger import folding, snapshots, tables
from router.ledger.anchor import EMPTY
from router.ledger.folding import bring_up_to_date
from router.ledger.protocol import LedgerDamaged
from router.ledger.sqlite import SqliteLedger
from router.ledger.tables import DATABASE_FILE
from router.model.facts import Entry
from tests.conformance.entries import attempted, ended, received, reserved, settled

IDENTITY = Identity((("email",), ("phone",)), 10**18, 13)


def sale(n: int) -> list[Entry]:
    """A lead from its receipt to its end."""
    return [received(n, key=f"key-{n}"), reserved(n), attempted(n), settled(n), ended(n)]


def folded(state_dir: Path, identity: Identity, upto: int) -> bytes:
    """The state after the first so many facts, from the first of them on."""
    state = State(identity)
    with closing(tables.connect_reader(state_dir / DATABASE_FILE)) as connection:
        for _, entry in tables.read_slice(connection, EMPTY, upto)[0]:
            state.apply(entry)
    return state.dump()


async def test_a_snapshot_is_the_fold_of_all_facts_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger is open and written to: from nothing, from the last snapshot, and in several slices."""
    monkeypatch.setattr(folding, "_FACTS_SLICE", 3)
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    for n in range(1, 5):
        await ledger.append(sale(n))
        assert bring_up_to_date(tmp_path, IDENTITY, n) == 5 * n
        (newest, *_) = snapshots.newest_first(tmp_path)
        assert newest.seq == 5 * n
        assert newest.body == folded(tmp_path, IDENTITY, 5 * n)
    await ledger.append(sale(5))
    await ledger.close()
    opened = await ledger.open()
    assert (opened.snapshot_seq, opened.head_seq) == (20, 25)
    assert opened.snapshot == folded(tmp_path, IDENTITY, 20)
    await ledger.close()


async def test_only_facts_after_the_last_snapshot_are_read(tmp_path: Path) -> None:
    """The facts before it are not looked at again: one of them may even be unreadable."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    await ledger.append(sale(1))
    bring_up_to_date(tmp_path, IDENTITY, 1)
    await ledger.append(sale(2))
    await ledger.close()
    wanted = folded(tmp_path, IDENTITY, 10)
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as connection:
        connection.execute("UPDATE facts SET body = x'00' WHERE seq = 2")
    assert bring_up_to_date(tmp_path, IDENTITY, 2) == 10
    assert snapshots.newest_first(tmp_path)[0].body == wanted
    with pytest.raises(LedgerDamaged):
        bring_up_to_date(tmp_path, Identity((("phone",),), 10**18, 13), 3)


async def test_a_snapshot_that_cannot_be_trusted_is_not_built_on(tmp_path: Path) -> None:
    """One of another history, one that is no state, and one that remembers other fields: all facts are folded anew."""
    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    await ledger.append(sale(1))
    for n, (fact_hash, body) in enumerate(((b"?" * 32, State(IDENTITY).dump()), (None, b"no state"))):
        with closing(tables.connect_reader(tmp_path / DATABASE_FILE)) as connection:
            right = tables.hash_at(connection, 3)
        assert right is not None
        snapshots.save(tmp_path, snapshots.Snapshot(seq=3, fact_hash=fact_hash or right, body=body), n)
        assert bring_up_to_date(tmp_path, IDENTITY, n) == 5
        assert snapshots.newest_first(tmp_path)[0].body == folded(tmp_path, IDENTITY, 5)
    other = Identity((("email",),), 10**18, 13)
    bring_up_to_date(tmp_path, other, 9)
    assert snapshots.newest_first(tmp_path)[0].body == folded(tmp_path, other, 5)
    await ledger.close()


async def test_as_a_process_it_says_how_far_it_came(tmp_path: Path) -> None:
    """The number of the last fact on standard output; 74 where there is no ledger."""

    def run(state_dir: Path) -> "subprocess.CompletedProcess[bytes]":
        words = [sys.executable, "-m", "router.ledger.folding", str(state_dir)]
        return subprocess.run(words, input=msgspec.json.encode(IDENTITY), stdout=subprocess.PIPE, check=False)

    ledger = SqliteLedger(tmp_path)
    await ledger.open()
    await ledger.append(sale(1))
    assert run(tmp_path).stdout == b"5\n"
    assert snapshots.newest_first(tmp_path)[0].body == folded(tmp_path, IDENTITY, 5)
    assert run(tmp_path / "elsewhere").returncode == 74
    await ledger.close()
