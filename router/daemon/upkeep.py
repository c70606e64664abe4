"""What goes on by itself while the daemon runs: snapshots, retention, questions ahead, and the watchdog's food."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from router.clock import Clock
from router.core.consumers import Identity
from router.core.live import identity_of
from router.daemon.systemd import Notifier
from router.engine import Engine
from router.engine.slices import Slices
from router.ledger.protocol import LedgerError
from router.ledger.sqlite import SqliteLedger
from router.model.times import NS_DAY, NS_S

_log: Final = logging.getLogger(__name__)
_HOUSEKEEPING_S: Final = 3600.0
_ASK_AHEAD_S: Final = 0.2
_FOLD_WITHIN_S: Final = 1800.0
_FOLD_HINT: Final = "the next start reads more facts; run `lead-router ledger verify`, and look at disk and memory"
#: A commit that has run this long, or a delivery this much longer than its own limits, does not move any more.
COMMIT_STUCK_S: Final = 30.0
DELIVERY_SLACK_S: Final = 60.0


async def keep_snapshots(engine: Engine, state_dir: Path) -> None:
    """Have a snapshot made every `ledger.snapshot_every`, so that a start reads few facts. Runs until cancelled."""
    saved_seq = engine.ledger.head_seq
    while True:
        await asyncio.sleep(engine.book.router.ledger.snapshot_every / NS_S)
        if engine.ledger.head_seq == saved_seq:
            continue
        try:
            saved_seq = await _fold_beside(state_dir, identity_of(engine.book))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            _log.warning("snapshot_not_saved", extra={"error": type(error).__name__, "hint": _FOLD_HINT})


async def _fold_beside(state_dir: Path, identity: Identity) -> int:
    """A snapshot by a process of its own; the number of the last fact in it. Raises what subprocess has against it."""
    child = await asyncio.to_thread(_start_folding, state_dir)
    try:
        told = msgspec.json.encode(identity)
        said, _ = await asyncio.to_thread(child.communicate, told, _FOLD_WITHIN_S)
    finally:
        if child.poll() is None:
            child.kill()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return int(said)


def _start_folding(state_dir: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", "router.ledger.folding", str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


async def keep_house(engine: Engine) -> None:
    """Forget what is past its time: answers after 7 days, people after `ledger.retention_pii`. Runs until cancelled."""
    while True:
        now_ns = engine.surely_ns()
        try:
            await engine.ledger.forget_answers(now_ns - 7 * NS_DAY)
            count = await engine.ledger.erase_before(now_ns - engine.book.router.ledger.retention_pii)
            if count:
                _log.info("forgotten", extra={"count": count, "reason": "retention_pii"})
        except LedgerError as error:
            _log.warning("not_forgotten", extra={"error": type(error).__name__, "hint": error.hint})
        await asyncio.sleep(_HOUSEKEEPING_S)


async def ask_ahead(engine: Engine, clock: Clock) -> None:
    """After a start, other terms or an hour that turned over ask every contract what stands against it.

    Else the first lead that reaches it would have to wait for that. Runs until cancelled.
    """
    while True:
        slices, live = Slices(clock), engine.live
        for standings, few in live.unasked():
            if engine.live is not live:
                break
            standings.blocking(few, engine.state, engine.moment())
            await slices.rest()
        await asyncio.sleep(_ASK_AHEAD_S)


async def feed_watchdog(engine: Engine, clock: Clock, notifier: Notifier) -> None:
    """Feed systemd's watchdog while the loop, the writer and the deliveries all move. Runs until cancelled."""
    if notifier.watchdog_s is None:
        return
    pulse = Pulse(engine, clock)
    while True:
        stuck = pulse.stuck()
        if stuck is None:
            notifier.alive()
        else:
            _log.error("stuck", extra={"reason": stuck})
        await asyncio.sleep(notifier.watchdog_s / 3)


class Pulse:
    """Whether the daemon moves. It remembers since when it sees each delivery, on the steady clock."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._seen_ns: dict[str, int] = {}

    def stuck(self) -> str | None:
        """What does not move, in words; None when all does. That it is asked at all says that the loop moves."""
        now_ns = self._clock.mono_ns()
        ledger = self._engine.ledger
        began_ns = ledger.busy_since_ns if isinstance(ledger, SqliteLedger) else None
        if began_ns is not None and now_ns - began_ns > COMMIT_STUCK_S * NS_S:
            return "the writer: a commit does not come to its end"
        return self._stuck_delivery(now_ns)

    def _stuck_delivery(self, now_ns: int) -> str | None:
        held = {name: one for name, one in self._engine.state.held.items() if one.status == "in_flight"}
        self._seen_ns = {name: self._seen_ns.get(name, now_ns) for name in held}
        for name, one in held.items():
            if now_ns - self._seen_ns[name] > self._longest_ns(one.contract_id):
                return f"delivery {name} is long past every limit of its endpoint"
        return None

    def _longest_ns(self, contract_id: str) -> int:
        """How long a delivery can take at most: to the deadline, one more timeout, and some slack."""
        book = self._engine.book
        plan = book.contracts.get(contract_id)
        slack_ns = int(DELIVERY_SLACK_S * NS_S)
        if plan is None:
            return slack_ns + max((kind.deadline for kind in book.lead_types.values()), default=0)
        return slack_ns + book.lead_types[plan.lead_type].deadline + plan.endpoint.timeout_ns
