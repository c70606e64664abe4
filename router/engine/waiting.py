"""Leads that wait for a contract: first in, first out per contract, each lead possibly behind several.

A lead waits because nobody may have it now and somebody may later: a momentary refusal (rate, pacing, concurrency)
until its deadline, or a contract that says `queue` until `hold_max`.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct


class Waiter(Struct):
    """One lead that waits. `give_up_ns`: steady clock at which it ends; `queued`: for a contract that says `queue`."""

    lead_id: str
    contracts: tuple[str, ...]
    give_up_ns: int
    queued: bool


class WaitingRoom:
    """Who waits for whom. Leads that left are skipped when their turn comes, so leaving costs nothing."""

    def __init__(self) -> None:
        self._waiters: dict[str, Waiter] = {}
        self._lines: dict[str, deque[str]] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, lead_id: str) -> bool:
        return lead_id in self._waiters

    def get(self, lead_id: str) -> Waiter | None:
        """The waiter, if that lead waits."""
        return self._waiters.get(lead_id)

    def add(self, waiter: Waiter) -> None:
        """A lead begins to wait, or now waits for other contracts too: it keeps its place in the lines it stands in."""
        before = self._waiters.get(waiter.lead_id)
        known = before.contracts if before is not None else ()
        self._waiters[waiter.lead_id] = waiter
        for contract_id in waiter.contracts:
            if contract_id not in known:
                self._lines.setdefault(contract_id, deque()).append(waiter.lead_id)

    def remove(self, lead_id: str) -> None:
        """A lead waits no more."""
        self._waiters.pop(lead_id, None)

    def first(self, contract_id: str) -> Waiter | None:
        """Who stands first in a contract's line."""
        line = self._lines.get(contract_id)
        while line:
            waiter = self._waiters.get(line[0])
            if waiter is not None and contract_id in waiter.contracts:
                return waiter
            line.popleft()
        self._lines.pop(contract_id, None)
        return None

    def lines(self, among: Iterable[str] | None = None) -> list[str]:
        """The contracts somebody waits for (of those named)."""
        if among is None:
            return list(self._lines)
        return [contract_id for contract_id in among if contract_id in self._lines]
