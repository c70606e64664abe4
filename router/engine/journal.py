"""State and ledger side by side: facts are applied as they are noted, and made durable a batch at a time.

This is the only place where live state changes. What may not happen before facts are durable (a delivery's first byte,
a source's answer) hangs on the future that `commit` returns. There is no compensation: if the ledger cannot take what
was applied, nothing more is decided until it can, and then the state is folded anew from what is durable.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from router.clock import Clock
from router.core.calendar import Calendar
from router.core.consumers import Identity
from router.core.guards import consequences, orphans, probing
from router.core.live import Live, identity_of
from router.core.rules.standing import Moment
from router.core.state import Held, State
from router.dispatch import Job
from router.engine import archive
from router.ledger.protocol import Ledger, LedgerError, LedgerFull
from router.model.facts import (
    AnyFact,
    Attempted,
    Certified,
    Deposited,
    Entry,
    GuardFact,
    Idempotency,
    Overridden,
    Paused,
    Reopened,
    Reserved,
    Restored,
    Resumed,
    Settled,
    TermsLoaded,
)
from router.model.lead import Lead
from router.model.times import NS_S
from router.terms.book import Book
from router.terms.steps import at_once

log = logging.getLogger(__name__)

#: How long a snapshot may wait for facts to be durable; the next one is tried when it is due.
_SNAPSHOT_PATIENCE_S: Final = 30.0
#: The wall clock was set when it moved so far against the steady one since somebody asked.
_STEP_NS: Final = NS_S // 10
#: So many facts are folded anew in one turn, at a few microseconds each.
_FOLDED_AT_ONCE: Final = 256


class Batch:
    """Facts that belong together: applied as they are noted, written in one transaction.

    `jobs` start, and those who wait for `ended` leads are told, when it is durable. `after` is told whether it is.
    """

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.entries: list[Entry] = []
        self.jobs: list[Job] = []
        self.ended: list[str] = []
        self.after: list[Callable[[bool], None]] = []


class Journal:
    """The routing state, the boards of the current terms, and the ledger behind them."""

    def __init__(self, book: Book, ledger: Ledger, clock: Clock) -> None:
        self.book = book
        self.ledger = ledger
        self.clock = clock
        self.live = Live(book)
        self.state = State(identity_of(book))
        self.loaded_at_ns = 0
        self.stale = False
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_intended: Callable[[list[Job]], None] = lambda _: None
        self.on_ended: Callable[[list[str]], None] = lambda _: None
        self.on_reopened: Callable[[str], None] = lambda _: None
        self.on_folded: Callable[[], None] = lambda: None
        self.on_decided: Callable[[int], None] = lambda _: None  # nanoseconds it took
        self.on_settled: Callable[[Held, Settled], None] = lambda _, __: None
        self.on_durable: Callable[[Sequence[Entry]], None] = lambda _: None
        self.on_guard: Callable[[GuardFact], None] = lambda _: None  # an alert, or its end
        self.on_stepped: Callable[[], None] = lambda: None  # somebody set the wall clock
        self._calendar = Calendar()
        self._steady_base_ns = 0
        self._offset_ns = 0  # of the wall clock from the steady one
        self._unwritten: deque[tuple[asyncio.Future[int], Sequence[Entry]]] = deque()
        self._refolding: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        ledger.on_change = self._writable.set

    async def open(self) -> None:
        """Open the ledger, fold it, put the terms in force. Raises what `Ledger.open` raises."""
        opened = await self.ledger.open()
        self.state = await self._fold(opened.snapshot, opened.snapshot_seq)
        wall_ns = self.clock.wall_ns()
        self._steady_base_ns = max(wall_ns, self.state.steady_ns) - self.clock.mono_ns()
        self._offset_ns = min(0, wall_ns - self.state.steady_ns)
        await archive.keep(self.book, None, self.ledger, self.clock)
        self.loaded_at_ns = self.clock.wall_ns()
        if self.state.terms_version != self.book.version:
            await self.write(
                [TermsLoaded(terms_version=self.book.version, by="start"), *orphans(self.book, self.state)]
            )

    async def adopt(self, book: Book, live: Live, *, by: str) -> None:
        """Put other terms in force, in one step.

        Where their dedup needs more of the past than the state remembers, all facts are folded anew before: nobody is
        judged by terms that do not know yet whom a contract had.
        """
        await archive.keep(book, self.book, self.ledger, self.clock)
        identity = identity_of(book)
        state = await self._caught_up(identity) if identity != self.state.identity else None
        self.book, self.live = book, live
        if state is not None:
            self.state = state
        self.loaded_at_ns = self.clock.wall_ns()
        written = self._noted([TermsLoaded(terms_version=book.version, by=by), *orphans(book, self.state)])
        if state is not None:
            self.on_folded()
        await written

    def fail(self, error: BaseException) -> None:
        """Something nobody can mend in here: the process is to stop."""
        if not self.failure.done():
            self.failure.set_exception(error)

    async def save_snapshot(self) -> bool:
        """Write a snapshot of the state as it is now, as soon as all that it holds is durable; False if that fails.

        For a stop: the state is written down at one go, which takes a second when it remembers many leads. It does
        not wait for a quiet moment: under load none comes, and facts are durable in the order they were noted.
        """
        if self.stale:
            return False
        image, seq = self.state.dump(), self.ledger.head_seq
        under_way = [future for future, _ in self._unwritten]
        if any(not future.done() for future in under_way):
            await asyncio.wait(under_way, timeout=_SNAPSHOT_PATIENCE_S)
        for future in under_way:
            if not future.done() or future.cancelled() or future.exception() is not None:
                return False
            seq = max(seq, future.result())
        await self.ledger.save_snapshot(seq, image)
        return True

    def moment(self) -> Moment:
        """Now, as rules are asked about it.

        What was remembered until some instant of the wall clock is asked anew when that clock was set.
        """
        at_ns, steady_ns = self.clock.wall_ns(), self.steady_ns()
        offset_ns = at_ns - steady_ns
        if abs(offset_ns - self._offset_ns) > _STEP_NS:
            self._offset_ns = offset_ns
            self.live.forget()
            self.on_stepped()
        return Moment(at_ns, steady_ns, self._calendar)

    def steady_ns(self) -> int:
        """The clock that never steps, across restarts too."""
        return self._steady_base_ns + self.clock.mono_ns()

    def batch(self) -> Batch:
        """An empty batch of this moment."""
        return Batch(self.moment())

    def note(
        self, batch: Batch, fact: AnyFact, *, lead: Lead | None = None, idempotency: Idempotency | None = None
    ) -> None:
        """Apply a fact and put it into the batch, with what it means for guards.

        The only place where live state changes.
        """
        held = self.state.held.get(fact.delivery_id) if isinstance(fact, (Attempted, Settled)) else None
        guarded = isinstance(fact, Reserved) and not fact.test and fact.contract_id in self.state.guards
        if guarded and isinstance(fact, Reserved):
            for begun in probing(self.book.contracts[fact.contract_id], self.state, batch.moment.steady_ns):
                self.note(batch, begun)
        entry = Entry(at_ns=batch.moment.at_ns, fact=fact, lead=lead, idempotency=idempotency)
        self.state.apply(entry)
        batch.entries.append(entry)
        if isinstance(fact, Reserved):
            self.live.told(fact, fact.contract_id, fact.buyer_id, self.state)
            if guarded:
                self.live.touch_contract(fact.contract_id)
        elif held is not None and isinstance(fact, Settled):
            self.live.told(fact, held.contract_id, held.buyer_id, self.state)
            self.on_settled(held, fact)
        elif isinstance(fact, (Paused, Resumed, Overridden, Restored)):
            self.live.told(fact, fact.id, fact.id, self.state)
        elif isinstance(fact, (Deposited, Certified)):
            self.live.told(fact, "", fact.buyer_id, self.state)
        elif isinstance(fact, Reopened):
            self.on_reopened(fact.lead_id)
        elif isinstance(fact, GuardFact):
            self.live.touch_contract(fact.contract_id)
            self.on_guard(fact)
        if held is not None:
            at_ns, steady_ns = batch.moment.at_ns, batch.moment.steady_ns
            for moved in consequences(self.book, self.state, fact, held, at_ns, steady_ns):
                self.note(batch, moved)

    def commit(self, batch: Batch, *, keep: bool = False) -> "asyncio.Future[int]":
        """Hand a batch to the ledger. Deliveries start, and waiting sources are answered, when it is durable.

        With `keep` the batch tells of what already happened: its outcomes are never dropped, while reservations in it
        wait for their own transaction, which may fail.
        """
        if not batch.entries:
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            done.set_result(self.ledger.head_seq)
            return done
        if keep:
            intents = [entry for entry in batch.entries if isinstance(entry.fact, Reserved)]
            told = [entry for entry in batch.entries if not isinstance(entry.fact, Reserved)]
            future = self._append(told, keep=True)
            last = self._append(intents, keep=False) if intents else future
        else:
            future = last = self._append(batch.entries, keep=False)
        if batch.ended:
            future.add_done_callback(lambda _: self.on_ended(batch.ended))
        if batch.jobs:
            last.add_done_callback(lambda done: self._written_intents(batch.jobs, done))
        for after in batch.after:
            last.add_done_callback(partial(_told, after))
        return last

    def _append(self, entries: Sequence[Entry], *, keep: bool) -> "asyncio.Future[int]":
        while self._unwritten and self._unwritten[0][0].done():
            self._unwritten.popleft()
        future = self.ledger.append(entries, keep=keep)
        self._unwritten.append((future, entries))
        future.add_done_callback(lambda done: self._written(done, entries))
        return future

    def _written(self, future: "asyncio.Future[int]", entries: Sequence[Entry]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is None:
            self.on_durable(entries)
            return
        if isinstance(error, LedgerFull):
            self._lost_track()
        else:
            self.fail(error)

    async def write(self, facts: Sequence[AnyFact]) -> None:
        """Note and make durable, for what operators do. Raises LedgerError."""
        await self._noted(facts)

    def _noted(self, facts: Sequence[AnyFact]) -> "asyncio.Future[int]":
        batch = self.batch()
        for fact in facts:
            self.note(batch, fact)
        return self.commit(batch)

    def _written_intents(self, jobs: list[Job], durable: "asyncio.Future[int]") -> None:
        if not durable.cancelled() and durable.exception() is None:
            self.on_intended(jobs)

    async def _fold(self, snapshot: bytes | None, seq: int) -> State:
        identity = identity_of(self.book)
        state = State.trusted(snapshot, identity) if snapshot is not None else None
        if state is None:
            state, seq = State(identity), 0
        async for entries in self.ledger.facts_after(seq):
            for _, entry in entries:
                state.apply(entry)
        return state

    def intended(self) -> set[str]:
        """Deliveries whose intent is on its way to the ledger: they start, or never were, when that is known."""
        return {
            entry.fact.delivery_id
            for future, entries in self._unwritten
            if not future.done()
            for entry in entries
            if isinstance(entry.fact, Reserved)
        }

    def _lost_track(self) -> None:
        """State holds facts that are not durable: take nothing until it was folded anew from what is."""
        self.stale = True
        if self._refolding is None:
            self._refolding = asyncio.get_running_loop().create_task(self._refold())

    async def _refold(self) -> None:
        """As soon as the ledger can be written: fold all facts anew, swap, and go on with every open lead."""
        try:
            while not self.ledger.writable:
                self._writable.clear()
                await self._writable.wait()
            state = await self._caught_up(identity_of(self.book))
            while state.identity != identity_of(self.book):  # other terms came meanwhile
                state = await self._caught_up(identity_of(self.book))
        except LedgerError as error:
            self.fail(error)
            return
        finally:
            self._refolding = None
        self.state = state
        self.live = at_once(Live.building(self.book, self.live))
        self.stale = False
        log.warning("state folded anew", extra={"seq": self.ledger.head_seq})
        self.on_folded()

    async def _caught_up(self, identity: Identity) -> State:
        """All durable facts folded, in turns with everybody else's work, and what is on its way to the ledger.

        Nothing yields after the last of them.
        """
        state, seq = State(identity), 0
        while True:
            async for entries in self.ledger.facts_after(seq):
                for seq, entry in entries:
                    state.apply(entry)
                    if not seq % _FOLDED_AT_ONCE:
                        await asyncio.sleep(0)
            if seq == self.ledger.head_seq:
                break
        for future, unwritten in self._unwritten:
            if not future.done():
                for entry in unwritten:
                    state.apply(entry)
        return state


def _told(after: Callable[[bool], None], durable: "asyncio.Future[int]") -> None:
    after(not durable.cancelled() and durable.exception() is None)
