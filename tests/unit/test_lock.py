"""The lock: one daemon a state directory, and a dead one leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from router.ledger.lock import LOCK_FILE, StateLock
from router.ledger.protocol import LedgerLocked
from router.ledger.sqlite import SqliteLedger

HOLD = """
import sys
from pathlib import Path
from router.ledger.lock import StateLock
lock = StateLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_is_told_which_lock_and_who_holds_it(tmp_path: Path) -> None:
    """The error names the file and the process."""
    lock = StateLock(tmp_path)
    with pytest.raises(LedgerLocked) as caught:
        StateLock(tmp_path)
    assert str(tmp_path / LOCK_FILE) in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    assert "--state" in caught.value.hint
    lock.release()
    StateLock(tmp_path).release()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    """Another process has the lock; killed without a chance to clean up, it leaves the directory free."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LedgerLocked, match=f"process {holder.pid}"):
            StateLock(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    StateLock(tmp_path).release()


async def test_a_second_ledger_on_the_directory_does_not_open(tmp_path: Path) -> None:
    """The ledger takes the lock before it touches anything, and gives it back when closed."""
    first, second = SqliteLedger(tmp_path), SqliteLedger(tmp_path)
    await first.open()
    with pytest.raises(LedgerLocked):
        await second.open()
    await second.close()
    assert first.writable
    await first.close()
    await second.open()
    await second.close()
