"""kill -9 in the middle of writing: whatever was acknowledged is there, and what is torn off afterwards is missed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router.ledger.protocol import LedgerBehindAnchor
from router.ledger.sqlite import SqliteLedger
from router.ledger.tables import DATABASE_FILE
from router.ledger.verify import verify

WRITE = """
import asyncio, sys
from pathlib import Path
from router.ledger.sqlite import SqliteLedger
from tests.conformance.entries import attempted, ended, received, reserved, settled

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]))
    head = (await ledger.open()).head_seq
    numbers = iter(range(head, head + 1_000_000))
    async def write():
        for n in numbers:
            await ledger.append([received(n), reserved(n)])
            seq = await ledger.append([attempted(n), settled(n), ended(n)], keep=True)
            print(seq, flush=True)
    await asyncio.gather(*(write() for _ in range(8)))

asyncio.run(main())
"""


def write_and_kill(state: Path, acknowledged: int) -> int:
    """Let a process write until it has acknowledged so many leads, kill it, and give the highest number it told."""
    with subprocess.Popen([sys.executable, "-c", WRITE, str(state)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = [int(process.stdout.readline()) for _ in range(acknowledged)]
        process.kill()
        told += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    return max(told)


async def test_every_acknowledged_fact_survives_kill_9(tmp_path: Path) -> None:
    """Three lives, each killed while writing: nothing that was told is lost, and the chain holds across all of them."""
    for acknowledged in (20, 60, 100):
        highest = write_and_kill(tmp_path, acknowledged)
        report = verify(tmp_path)
        assert report.ok, report.findings
        assert report.head_seq >= highest
        ledger = SqliteLedger(tmp_path)
        assert (await ledger.open()).head_seq == report.head_seq
        assert sum([len(part) async for part in ledger.facts_after(0)]) == report.head_seq
        await ledger.close()


def cut(log: bytes) -> bytes:
    """The last third of the log never reached the disk."""
    return log[: len(log) * 2 // 3]


def zero(log: bytes) -> bytes:
    """A page in the middle of the log came back as zeros."""
    middle = len(log) // 2
    return log[:middle] + bytes(4096) + log[middle + 4096 :]


@pytest.mark.parametrize("damage", [cut, zero, lambda log: b""])
async def test_a_log_torn_after_the_crash_is_missed(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """SQLite opens a ledger whose write-ahead log lost its tail as if nothing were missing; the anchor knows better."""
    highest = write_and_kill(tmp_path, 30)
    log = tmp_path / f"{DATABASE_FILE}-wal"
    log.write_bytes(damage(log.read_bytes()))
    with pytest.raises(LedgerBehindAnchor) as caught:
        await SqliteLedger(tmp_path).open()
    assert caught.value.anchor_seq >= highest
    assert caught.value.anchor_seq > caught.value.head_seq
    assert not verify(tmp_path).ok
