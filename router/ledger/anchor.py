"""The anchor: the head of the chain, written outside the ledger file, so that a lost tail shows.

SQLite opens a ledger whose last pages were lost as if they had never been (`integrity_check` says ok). The anchor
remembers how far the facts went. Three rules make it sound:

* It is written after a commit is durable and before anybody is told of the commit. So it is never ahead of the
  facts, and whoever was told of a fact can rely on the anchor knowing it, through any crash of the process.
* It may lag. Facts ahead of the anchor are the normal result of a crash in between; facts behind it are a loss.
  Start and verify can always tell which, because the fact at the anchor's number must have the anchor's hash.
* Writing is one small `pwrite`; `fdatasync` follows off the critical path, at most `SYNC_EVERY_NS` later. Through a
  power failure the anchor can lag that much and nothing else changes: what a commit promised was synced with it.

The file has two slots written in turn, each with a checksum: a torn write leaves the one before.
"""

import os
import threading
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from router.ledger.chain import GENESIS
from router.ledger.protocol import LedgerDamaged

ANCHOR_FILE: Final = "anchor"
#: How far the anchor on the platter may be behind the one in memory.
SYNC_EVERY_NS: Final = 1_000_000_000
_SLOT_BYTES: Final = 512  # one sector
_TITLE: Final = "lead-router-anchor-1"


class Head(Struct, frozen=True):
    """The end of the chain: the last fact's number and hash."""

    seq: int
    hash: bytes


#: The head of an empty ledger.
EMPTY: Final = Head(0, GENESIS)


def read_anchor(state_dir: Path) -> Head | None:
    """The newest head the anchor knows; none if there is no anchor. Raises LedgerDamaged if no slot is readable."""
    try:
        data = (state_dir / ANCHOR_FILE).read_bytes()
    except FileNotFoundError:
        return None
    heads = [_parse(data[at : at + _SLOT_BYTES]) for at in (0, _SLOT_BYTES)]
    readable = [head for head in heads if head is not None]
    if not readable:
        raise LedgerDamaged(
            f"{state_dir / ANCHOR_FILE} is unreadable",
            hint="move it away and run `lead-router ledger verify`, which checks the history and writes a new one",
        )
    return max(readable, key=lambda head: head.seq)


def write_anchor(state_dir: Path, head: Head) -> None:
    """Put a whole new anchor in place, atomically and durable: at creation, after verify, after an accepted loss."""
    path = state_dir / ANCHOR_FILE
    fresh = path.with_name(ANCHOR_FILE + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, _slot(head) * 2)
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(path)
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Anchor:
    """An anchor held open by the one writer. `move` and `sync` may run in two threads; any OSError means: stop."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._path = state_dir / ANCHOR_FILE
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._slot = 0
        self._swap = threading.Lock()  # `sync` may put another file in place while `move` writes
        self.head = read_anchor(state_dir) or EMPTY

    def move(self, head: Head) -> None:
        """Anchor `head`, whose commit is durable. The slots take turns."""
        with self._swap:
            os.pwrite(self._fd, _slot(head), self._slot * _SLOT_BYTES)
            self._slot ^= 1
            self.head = head

    def sync(self) -> None:
        """Make what `move` wrote survive a power failure; put the file back if somebody removed or replaced it."""
        os.fdatasync(self._fd)
        if not self._in_place():
            with self._swap:
                write_anchor(self._state_dir, self.head)
                os.close(self._fd)
                self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Sync and let go of the file."""
        try:
            self.sync()
        finally:
            os.close(self._fd)

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except FileNotFoundError:
            return False


def _slot(head: Head) -> bytes:
    text = f"{_TITLE} {head.seq:020d} {head.hash.hex()}"
    return f"{text} {_checksum(text)}\n".encode().ljust(_SLOT_BYTES, b"\0")


def _parse(slot: bytes) -> Head | None:
    """A slot's head; none if it is torn or not ours."""
    words = slot.rstrip(b"\0").decode("ascii", "replace").split()
    if len(words) != 4 or words[0] != _TITLE or words[3] != _checksum(" ".join(words[:3])):
        return None
    return Head(int(words[1]), bytes.fromhex(words[2]))


def _checksum(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
