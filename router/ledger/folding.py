"""Snapshots while leads come: the last one and the facts since, folded by a short-lived process of its own.

A state that remembers three hundred thousand leads takes a second to be written down, in which nothing may change it:
no lead should wait for that. So somebody else does what a start would do, with a connection that only reads, and leaves
what came of it for the next one. It is the fold of a prefix of the history by the way it is made.

`python -P -m router.ledger.folding STATE`: what dedup needs remembered comes in on standard input, the number of the
fact that the new snapshot stands behind goes out on standard output. Exit 74 when it cannot be done.
"""

import gc
import os
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import msgspec

from router.clock import SystemClock
from router.core.consumers import Identity
from router.core.state import State
from router.ledger import snapshots, tables
from router.ledger.anchor import EMPTY, Head
from router.ledger.protocol import LedgerError
from router.ledger.snapshots import Snapshot

_NICENESS: Final = 10
_DISK: Final = 74
_FACTS_SLICE: Final = 2_000


def bring_up_to_date(state_dir: Path, identity: Identity, now_ns: int) -> int:
    """Store a snapshot of all facts that are durable now; the number of the last of them.

    Raises LedgerDamaged where the chain does not hold, and sqlite3.Error.
    """
    with closing(tables.connect_reader(state_dir / tables.DATABASE_FILE)) as connection:
        head = tables.read_head(connection)
        snapshot = snapshots.newest(connection, state_dir)
        state = State.trusted(snapshot.body, identity) if snapshot is not None else None
        at = EMPTY
        if state is None:
            state = State(identity)
        elif snapshot is not None:
            at = Head(snapshot.seq, snapshot.fact_hash)
        del snapshot
        while at.seq < head.seq:
            entries, at = tables.read_slice(connection, at, _FACTS_SLICE)
            for _, entry in entries:
                state.apply(entry)
    snapshots.save(state_dir, Snapshot(seq=at.seq, fact_hash=at.hash, body=state.dump()), now_ns)
    return at.seq


def main(state_dir: Path) -> int:
    """Bring the snapshot up to date; the exit code."""
    with suppress(OSError):  # serving leads is more urgent; where that may not be said, it is done all the same
        os.nice(_NICENESS)
    gc.disable()  # a state has no cycles
    identity = msgspec.json.decode(sys.stdin.buffer.read(), type=Identity)
    try:
        print(bring_up_to_date(state_dir, identity, SystemClock().wall_ns()))
    except (LedgerError, sqlite3.Error, OSError):
        return _DISK
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
