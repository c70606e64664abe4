"""Puts a buyer's record in force: judged like a file, durable in the state directory, then live in one step.

A record that is refused changes nothing. What would change can be asked before: in words, in numbers, and by selling
the last day's leads once more under both.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from router.engine import Engine, Refused
from router.engine.controls import Controls
from router.engine.slices import Slices
from router.ledger.protocol import LedgerError
from router.model.lead import Lead
from router.model.times import NS_DAY
from router.onboarding.changes import Change, changes
from router.onboarding.replay import LEADS_MAX, Replayed, Sold, replay
from router.terms.book import Book
from router.terms.candidate import Candidate
from router.terms.compile import compiling
from router.terms.load import STATE_PLACE
from router.terms.problems import Problem
from router.terms.schema import Terms

CHANGES_MAX: Final = 1_000
_RETRY_S: Final = 5
_NOTHING: Final = Sold()


class Records(Protocol):
    """Where buyers' records are kept; called away from the loop."""

    def in_file(self, buyer_id: str) -> str | None:
        """The configuration's own file that bears this buyer's name, if there is one."""

    def propose(self, terms: Terms, tree: object) -> Candidate:
        """These terms with the buyer of `tree` in place, judged; with the secrets it refers to."""

    def keep(self, buyer_id: str, record: bytes | None) -> bytes | None:
        """Put a record in place durably (none: take it away); returns what stood there. Raises OSError."""


class Moved(Struct, frozen=True, kw_only=True):
    """One contract's leads of the last day, before and after; money is minor units."""

    contract_id: str
    leads_before: int
    leads_after: int
    revenue_before: int
    revenue_after: int


class Replay(Struct, frozen=True, kw_only=True):
    """The last day's leads sold under both terms: how many there were, and how many others would have got."""

    leads: int
    moved: int
    contracts: tuple[Moved, ...]
    bounded: bool  # only the latest `LEADS_MAX` were looked at


class Difference(Struct, frozen=True, kw_only=True):
    """What other terms would bring. `more` counts the changes that are left out."""

    version: str
    changes: tuple[Change, ...]
    more: int = 0
    replay: Replay | None = None


class Placed(Struct, frozen=True, kw_only=True):
    """What came of a record: with an error among the problems nothing changed."""

    problems: tuple[Problem, ...]
    created: bool = False
    difference: Difference | None = None

    @property
    def good(self) -> bool:
        """Whether the record can be in force."""
        return self.difference is not None


def difference(old: Book, new: Book, leads: list[Lead] | None = None) -> Difference:
    """Changes between two Books; with leads, who would have got them."""
    found = changes(old, new)
    shown = tuple(islice(found, CHANGES_MAX))
    return Difference(
        version=new.version,
        changes=shown,
        more=sum(1 for _ in found),
        replay=None if leads is None else compared(replay(old, leads), replay(new, leads), leads),
    )


def compared(before: Replayed, after: Replayed, leads: list[Lead]) -> Replay:
    """Both sides of a replay, contract by contract where they differ."""
    ids = sorted({*before.contracts, *after.contracts})
    rows = [(id_, before.contracts.get(id_, _NOTHING), after.contracts.get(id_, _NOTHING)) for id_ in ids]
    sold = {*before.winners, *after.winners}
    return Replay(
        leads=len(leads),
        moved=sum(before.winners.get(id_) != after.winners.get(id_) for id_ in sold),
        contracts=tuple(
            Moved(
                contract_id=id_,
                leads_before=was.leads,
                leads_after=is_.leads,
                revenue_before=was.revenue,
                revenue_after=is_.revenue,
            )
            for id_, was, is_ in rows
            if was != is_
        ),
        bounded=len(leads) >= LEADS_MAX,
    )


class Placing:
    """Takes buyers' records for the running engine."""

    def __init__(self, engine: Engine, controls: Controls, records: Records) -> None:
        self._engine = engine
        self._controls = controls
        self._records = records

    async def try_out(self, buyer_id: str, tree: Mapping[str, Any]) -> Placed:
        """What `put` would find and change; nothing does. Raises Refused (409)."""
        candidate = await self._candidate(buyer_id, tree)
        if not candidate.good or candidate.terms is None:
            return Placed(problems=candidate.problems)
        created = buyer_id not in self._engine.book.buyers
        return Placed(problems=candidate.problems, created=created, difference=await self.difference(candidate))

    async def difference(self, candidate: Candidate) -> Difference:
        """What good terms would bring, the last day's leads sold under both; away from the loop."""
        assert candidate.terms is not None, "only good terms can be compared"
        old = self._engine.book
        new = await Slices(self._engine.clock).run(compiling(candidate.terms, old, candidate.read))
        leads = await self._engine.ledger.recent_leads(self._engine.now_ns() - NS_DAY, limit=LEADS_MAX)
        return await asyncio.to_thread(difference, old, new, leads)

    async def put(self, buyer_id: str, tree: Mapping[str, Any], *, by: str) -> Placed:
        """Judge the record, keep it, put it in force. Raises Refused (409, 503), LedgerError: nothing changed."""
        async with self._controls.changing:
            candidate = await self._candidate(buyer_id, tree)
            if not candidate.good:
                return Placed(problems=candidate.problems)
            old = self._engine.book
            kept = await self._keep(buyer_id, msgspec.json.format(msgspec.json.encode(tree), indent=2))
            try:
                await self._controls.adopt(candidate, by=by)
            except LedgerError:
                await self._keep(buyer_id, kept)
                raise
            found = await asyncio.to_thread(difference, old, self._engine.book)
        return Placed(problems=candidate.problems, created=buyer_id not in old.buyers, difference=found)

    async def _candidate(self, buyer_id: str, tree: Mapping[str, Any]) -> Candidate:
        terms = self._engine.book.terms
        place = terms.places.get(f"buyer:{buyer_id}", STATE_PLACE)
        file = await asyncio.to_thread(self._records.in_file, buyer_id) if place.startswith(STATE_PLACE) else place
        if file is not None:
            raise Refused(409, "buyer_in_file", f"the buyer stands in {file}: change it there and reload")
        candidate = await asyncio.to_thread(self._records.propose, terms, tree)
        secrets = {**self._engine.deliveries.secrets, **candidate.secrets}
        return msgspec.structs.replace(candidate, secrets=secrets)

    async def _keep(self, buyer_id: str, record: bytes | None) -> bytes | None:
        try:
            return await asyncio.to_thread(self._records.keep, buyer_id, record)
        except OSError as error:
            why = f"the buyer's record cannot be written: {error.strerror}"
            raise Refused(503, "ledger_unavailable", why, _RETRY_S) from error
