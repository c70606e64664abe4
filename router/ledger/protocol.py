"""What the rest of the router may ask of a ledger, and how a ledger says no.

Two ledgers speak this protocol: `SqliteLedger`, which is durable, and `MemoryLedger`, which runs inline for
simulation. One conformance suite holds them to the same behaviour.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from router.model.codes import LeadStatus
from router.model.facts import Entry, Words
from router.model.lead import Lead


class LedgerError(Exception):
    """The ledger says no. `str(error)` says what is the matter and where, `hint` what the operator can do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class LedgerFull(LedgerError):  # noqa: N818 - says what is the matter
    """Nothing was written, for now: the disk is full. The ledger tries again by itself; leads are to be refused."""


class LedgerBroken(LedgerError):  # noqa: N818 - says what is the matter
    """Writing failed in a way that leaves unknown what is on disk (or the ledger is closed). The process must stop."""


class LedgerLocked(LedgerError):  # noqa: N818 - says what is the matter
    """Another process works on this state directory."""


class LedgerDamaged(LedgerError):  # noqa: N818 - says what is the matter
    """What is on disk is not the history we wrote: unreadable, edited, or without its anchor."""


class LedgerBehindAnchor(LedgerDamaged):
    """Facts that were once durable are missing. `anchor_seq` was the last known, `head_seq` is the last there is."""

    def __init__(self, message: str, *, hint: str, anchor_seq: int, head_seq: int) -> None:
        super().__init__(message, hint=hint)
        self.anchor_seq = anchor_seq
        self.head_seq = head_seq


class Opened(Struct, frozen=True, kw_only=True):
    """Where a ledger stands when opened: state = `snapshot` (none: empty) + the facts after `snapshot_seq`."""

    snapshot: bytes | None
    snapshot_seq: int
    head_seq: int


class FoundLead(Struct, frozen=True, kw_only=True):
    """One row of a search. No personal data but the source's own `external_id` (none once forgotten)."""

    lead_id: str
    source_id: str
    lead_type: str
    received_at_ns: int
    status: LeadStatus
    external_id: str | None


class KnownRequest(Struct, frozen=True, kw_only=True):
    """How a repeat of a request is recognised: by its Idempotency-Key, or else by the source's external id."""

    lead_id: str
    source_id: str
    received_at_ns: int
    key: str | None
    body_sha256: bytes | None
    external_id: str | None
    answered: bool


#: Told when `writable` changed. Called on the event loop, never from a thread.
OnChange = Callable[[], None]


class Ledger(Protocol):
    """The facts, in order, and what stands beside them. All methods are for the event loop's thread."""

    #: Called whenever `writable` changed.
    on_change: OnChange | None

    @property
    def writable(self) -> bool:
        """Whether a lead may be taken now. False before `open`, while the disk is full, once broken, once closed."""

    @property
    def problem(self) -> LedgerError | None:
        """Why an open ledger is not writable: LedgerFull, or LedgerBroken, after which the process must stop."""

    @property
    def head_seq(self) -> int:
        """The sequence number of the last durable fact; 0 when there is none."""

    async def open(self) -> Opened:
        """Take the lock, check the facts against their anchor, find the newest snapshot that can be trusted.

        Raises LedgerLocked, LedgerBehindAnchor, LedgerDamaged.
        """

    def facts_after(self, seq: int) -> AsyncIterator[list[tuple[int, Entry]]]:
        """Every fact after `seq`, oldest first, in slices; a `Received` has its lead and its
        Idempotency-Key back (none once forgotten).

        Raises LedgerDamaged where the chain does not hold.
        """

    def append(self, entries: Sequence[Entry], *, keep: bool = False) -> asyncio.Future[int]:
        """Write `entries` in order, all or none; the future holds the last one's sequence number once durable.

        `keep` is for what already happened outside (attempts, outcomes, ends): while the disk is full such entries
        wait in memory and are written first, in their order, when there is room. Without it the future fails with
        LedgerFull and nothing was taken. After LedgerBroken everything fails at once.
        """

    async def entries_of(self, lead_id: str) -> list[tuple[int, Entry]]:
        """Every fact of that lead, those of its deliveries included, oldest first; empty for an unknown lead."""

    async def said(self, contract_ids: Sequence[str], board: str, seq: int) -> dict[str, Words]:
        """What each contract's standing refusal was in words at the decision `seq` on `Decided.board`."""

    async def lead(self, lead_id: str) -> Lead | None:
        """The lead; none if unknown or forgotten."""

    async def lead_of(self, delivery_id: str) -> str | None:
        """The lead id that a delivery belongs to; none if unknown."""

    async def deliveries_of(self, buyer_id: str, since_ns: int, *, limit: int = 500) -> list[tuple[str, str]]:
        """(delivery id, lead id) of a buyer's deliveries reserved since then, oldest first, at most `limit`.

        Found by the time in their ids, which are UUIDv7.
        """

    async def search(
        self,
        *,
        phone: str | None = None,
        email: str | None = None,
        source: str | None = None,
        status: LeadStatus | None = None,
        since_ns: int | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[FoundLead], str | None]:
        """Leads that match all that is given, newest first, at most `limit`, and the cursor of the next page.

        `phone` and `email` are normalised values. Raises ValueError for a cursor that we did not give out.
        """

    async def recent_leads(self, since_ns: int, *, limit: int) -> list[Lead]:
        """The latest leads received since then, at most `limit`, oldest first; forgotten ones are left out."""

    def recent_requests(self, since_ns: int) -> AsyncIterator[list[KnownRequest]]:
        """Leads received since then that had an Idempotency-Key or an external id, in slices, newest slice first."""

    async def put_terms(self, version: str, body: bytes) -> None:
        """Store terms under their content address; a version that is there already stays as it is."""

    async def terms(self, version: str) -> bytes | None:
        """The terms of that version; none if unknown. Raises LedgerDamaged if the bytes are not what was stored."""

    async def save_snapshot(self, seq: int, body: bytes) -> None:
        """Keep `body` as the state after fact `seq`, which must be durable; the last two are kept."""

    async def store_answer(self, lead_id: str, status: int, body: bytes) -> None:
        """Keep what the source was answered, for repeats. Durable on return; a second answer replaces the first."""

    async def answer(self, lead_id: str) -> tuple[int, bytes] | None:
        """The stored answer, (status, body), byte for byte; none if there is none."""

    async def forget_answers(self, before_ns: int) -> None:
        """Drop the stored answers of leads received before then."""

    async def erase(self, lead_ids: Sequence[str]) -> int:
        """Forget these leads' personal data; status becomes `erased`; the bytes are gone from our files on return.

        Returns how many had any left. Facts stay and the chain still verifies.
        """

    async def erase_before(self, before_ns: int) -> int:
        """Forget the personal data of leads received before then (retention); their status stays as it was."""

    async def close(self) -> None:
        """Write what is queued, then let go of files, threads and the lock. What cannot be written fails."""


def parse_cursor(cursor: str) -> int:
    """The number a search's cursor stands for. Raises ValueError for text that we did not give out."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise ValueError("the cursor is not one that a search gave out: start again without it")
    return int(cursor)
