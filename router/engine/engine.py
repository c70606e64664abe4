"""The engine's door: takes leads, answers for them, starts and stops. It puts the parts together and decides nothing.

`journal` holds state and ledger, `deliveries` what is in flight, `seller` what happens to a lead next.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Literal
from zoneinfo import ZoneInfo

from router.clock import Clock
from router.core.calendar import calendar_window
from router.core.live import Live
from router.core.rules.history import intake_duplicate
from router.core.rules.standing import Moment
from router.core.selling import payout_of
from router.core.state import Held, State
from router.engine import archive
from router.engine.alarms import Alarms
from router.engine.asking import Asker
from router.engine.deliveries import Deliveries
from router.engine.feed import Feed
from router.engine.journal import Batch, Journal
from router.engine.orders import Orders
from router.engine.seller import Seller
from router.engine.slices import Slices
from router.engine.times import steady_of
from router.engine.views import KnownRequest, LeadView, Refused
from router.ledger.protocol import Ledger, LedgerFull
from router.model.facts import AnyFact, Attempted, Ended, Idempotency, Received, Reopened
from router.model.lead import Lead
from router.model.times import NS_S
from router.terms.book import Book
from router.terms.plans import rate_plan
from router.terms.steps import Steps, at_once
from router.transport import Transport

RECENT_VIEWS_MAX: Final = 20_000
_RETRY_FULL_S: Final = 5
_UNWRITABLE: Final = "the ledger cannot be written: try again shortly"


class Engine:
    """One per process. Created stopped; `start` folds the ledger and takes up what a crash left open."""

    def __init__(
        self, *, book: Book, ledger: Ledger, transport: Transport, clock: Clock, secrets: Mapping[str, str]
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self.transport = transport
        self.draining = False
        self.started = False
        self.on_ended: Callable[[LeadView], None] | None = None
        alarms = Alarms(clock)
        self.journal = Journal(book, ledger, clock)
        self.deliveries = Deliveries(self.journal, transport, secrets, alarms)
        self.asker = Asker(self.journal, self.deliveries)
        self.orders = Orders(self.journal)
        self.seller = Seller(self.journal, self.deliveries, self.asker, alarms, self.orders)
        self.journal.on_ended = self._tell
        self.journal.on_reopened = self._lead_reopened
        self.journal.on_folded = self._take_up
        self.seller.on_end = self._lead_ended
        self.feed = Feed(clock.wall_ns())
        self.journal.on_durable = self.feed.take
        self.journal.on_stepped = self._clock_was_set
        self._alarms = alarms
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._answering: set[str] = set()
        self._views: dict[str, LeadView] = {}
        self._ending: set[str] = set()  # ended, and the ledger does not have it yet
        self._source_tat: dict[str, int] = {}

    # -- what it is made of ----------------------------------------------------------------------

    @property
    def book(self) -> Book:
        """The terms in force."""
        return self.journal.book

    @property
    def state(self) -> State:
        """The routing state; only facts change it."""
        return self.journal.state

    @property
    def live(self) -> Live:
        """The boards of the terms in force."""
        return self.journal.live

    @property
    def failure(self) -> "asyncio.Future[None]":
        """Fails when something happened that nobody can mend in here: the process is to stop."""
        return self.journal.failure

    @property
    def loaded_at_ns(self) -> int:
        """When the terms in force were put there."""
        return self.journal.loaded_at_ns

    @property
    def waiting_leads(self) -> int:
        """How many leads wait for a contract, or for one of `in_flight_max`."""
        return len(self.seller)

    @property
    def on_attempt(self) -> Callable[[Held, Attempted], None] | None:
        """Called with every attempt that ended."""
        return self.deliveries.on_attempt

    @on_attempt.setter
    def on_attempt(self, told: Callable[[Held, Attempted], None] | None) -> None:
        self.deliveries.on_attempt = told

    def moment(self) -> Moment:
        """Now, as rules are asked about it."""
        return self.journal.moment()

    # -- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the ledger, fold it, put the terms in force, and go on with every acknowledged lead.

        Raises what `Ledger.open` raises.
        """
        await self.journal.open()
        await self._recall_orders()
        self.started = True
        self._take_up()

    async def _recall_orders(self) -> None:
        """Leads that were ranked under other terms than these go on in that order."""
        for version in sorted(self.orders.unknown()):
            book = await archive.fetch(version, self.book, self.ledger, self.clock)
            if book is not None:
                self.orders.recall(book)

    def _take_up(self) -> None:
        """After a start or a fold: in-flight deliveries of the last life become doubts, open leads go on."""
        self.feed.know(self.state.held)
        coming = self.journal.intended()
        for delivery_id, held in list(self.state.held.items()):
            if held.status == "in_flight" and delivery_id not in self.deliveries and delivery_id not in coming:
                self.deliveries.interrupted(delivery_id, held)
        for delivery_id in list(self.state.held):
            self.deliveries.watch_doubt(delivery_id)
        for lead_id in list(self.state.open):
            self.seller.go_on(lead_id)

    def _clock_was_set(self) -> None:
        """Who waits for an instant of the wall clock looks at it again, after whoever noticed is done."""
        asyncio.get_running_loop().call_soon(self._look_again)

    def _look_again(self) -> None:
        if not self.draining:
            at_once(self._looking_again())

    def _looking_again(self) -> Steps[None]:
        """Leads that wait and deliveries in doubt, in steps."""
        yield from self.seller.waking()
        for delivery_id in list(self.state.held):
            self.deliveries.watch_doubt(delivery_id)
            yield

    async def drain(self, within_s: float) -> None:
        """Take nothing new, let what is in flight finish for so many seconds, then leave the rest to the next start."""
        self.draining = self.seller.draining = True
        await self.asker.close()
        await self.deliveries.finish(within_s)
        self._alarms.drop_all()
        for watchers in self._watchers.values():
            for watcher in watchers:
                if not watcher.done():
                    watcher.set_result(None)

    async def adopt(self, book: Book, live: Live, secrets: Mapping[str, str], *, by: str) -> None:
        """Put other terms in force, in one step. Everything in flight ends under the terms it was sent by."""
        self.deliveries.secrets = secrets
        self.orders.remember(live)
        await self.journal.adopt(book, live, by=by)
        await Slices(self.clock).run(self._looking_again())

    async def write(self, facts: list[AnyFact]) -> None:
        """Note and make durable, for what operators do; who waits looks again. Raises LedgerError."""
        await self.journal.write(facts)
        await Slices(self.clock).run(self.seller.waking())

    async def save_snapshot(self) -> bool:
        """Write a snapshot of the state as it is now; whether it could be written."""
        return await self.journal.save_snapshot()

    def resolve(self, delivery_id: str, outcome: Literal["accepted", "rejected"], *, by: str) -> "asyncio.Future[int]":
        """As `Deliveries.resolve`."""
        return self.deliveries.resolve(delivery_id, outcome, by=by)

    def reopen(self, fact: Reopened, lead: Lead) -> "asyncio.Future[int]":
        """As `Seller.reopen`."""
        return self.seller.reopen(fact, lead)

    # -- taking leads ----------------------------------------------------------------------------

    def accepting(self) -> Refused | None:
        """Why no lead can be taken now, or None."""
        if self.draining or not self.started:
            return Refused(503, "draining", "the router is stopping or starting: try again shortly", 5)
        if not self.ledger.writable or self.journal.stale:
            return Refused(503, "ledger_unavailable", _UNWRITABLE, _RETRY_FULL_S)
        if len(self.state.open) >= self.book.router.limits.queue_max:
            return Refused(503, "overloaded", "as many leads are held as limits.queue_max allows", 1)
        return None

    def source_refusal(self, source_id: str) -> Refused | None:
        """Why this source may not send a lead now (its pause, caps, rate), or None."""
        source = self.book.sources[source_id]
        moment = self.moment()
        pause = self.state.paused.get(f"source:{source_id}")
        if source.status == "paused" or (
            pause is not None and (pause.until_ns is None or moment.at_ns < pause.until_ns)
        ):
            return Refused(403, "source_paused", "this source is paused")
        usage = self.state.usage.get(f"source:{source_id}")
        for cap in source.caps:
            if cap.limit is None:
                continue
            window = calendar_window(cap.per, moment.at_ns, ZoneInfo(self.book.router.defaults.time_zone))
            used = 0
            if usage is not None:
                used = usage.leads_total if cap.per == "total" else usage.leads(window.start_ns, window.end_ns)
            if used >= cap.limit:
                wait_s = min(86_400, max(1, -(-(window.end_ns - moment.at_ns) // NS_S)))
                return Refused(429, "source_cap_reached", f"the source's cap per {cap.per} is reached", wait_s)
        rate = rate_plan(source.rate)
        if rate is not None:
            if not rate.burst:
                return Refused(429, "source_rate_limited", "the source's rate is closed", 3600)
            wait_ns = self._source_tat.get(source_id, 0) - (rate.burst - 1) * rate.interval_ns - moment.steady_ns
            if wait_ns > 0:
                return Refused(429, "source_rate_limited", "the source sends faster than its rate", -(-wait_ns // NS_S))
        return None

    async def submit(self, lead: Lead, *, idempotency: Idempotency | None = None) -> LeadView:
        """Take a valid lead; returns when it is durable. Raises Refused, and then nothing was taken.

        The lead goes on by itself whatever happens to the caller: what follows hangs on the ledger, not on this task.
        """
        refused = self.accepting() or self.source_refusal(lead.source_id)
        if refused is not None:
            raise refused
        batch = self._take(lead, idempotency)
        self._answering.add(lead.lead_id)
        try:
            await asyncio.shield(self.journal.commit(batch))
        except LedgerFull as error:
            self._answering.discard(lead.lead_id)
            raise Refused(503, "ledger_unavailable", _UNWRITABLE, _RETRY_FULL_S) from error
        view = self._view(lead.lead_id)
        assert view is not None
        return view

    def _take(self, lead: Lead, idempotency: Idempotency | None) -> Batch:
        source = self.book.sources[lead.source_id]
        rate = rate_plan(source.rate)
        batch = self.journal.batch()
        if rate is not None:
            tat = max(self._source_tat.get(lead.source_id, 0), batch.moment.steady_ns)
            self._source_tat[lead.source_id] = tat + rate.interval_ns
        twin = self.duplicate_of(lead, batch.moment)
        received = Received(
            lead_id=lead.lead_id,
            source_id=lead.source_id,
            lead_type=lead.lead_type,
            test=lead.test,
            duplicate_of=twin,
            steady_ns=steady_of(batch.moment, lead.received_at_ns),
        )
        self.journal.note(batch, received, lead=lead, idempotency=idempotency)
        if twin is not None:
            self.seller.end(batch, lead, Ended(lead_id=lead.lead_id, status="duplicate"))
        else:
            self.seller.route(batch, lead.lead_id)
        return batch

    def duplicate_of(self, lead: Lead, moment: Moment) -> str | None:
        """The earlier lead that makes this one a duplicate at intake, or None."""
        dedup = self.book.lead_types[lead.lead_type].dedup
        if dedup is None or lead.test:
            return None
        return intake_duplicate(dedup, lead, self.state, moment.steady_ns)

    async def settled(self, lead_id: str, wait_s: float) -> LeadView:
        """Wait until a lead has ended (durably) or the time is over; how it stands then."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        while not self.draining and not self._has_ended(lead_id):
            watcher = loop.create_future()
            self._watchers.setdefault(lead_id, []).append(watcher)
            try:
                await asyncio.wait_for(watcher, until_s - loop.time())
            except TimeoutError:
                self._watchers.get(lead_id, [watcher]).remove(watcher)
                break
        found = await self.view(lead_id)
        assert found is not None
        return found

    def _has_ended(self, lead_id: str) -> bool:
        view = self._view(lead_id)
        return lead_id not in self._ending and (view is None or view.ended)

    def _view(self, lead_id: str) -> LeadView | None:
        known = self._views.get(lead_id)
        if known is not None:
            return known
        lead = self.state.open.get(lead_id)
        if lead is None:
            return None
        return LeadView(
            lead_id=lead_id,
            source_id=lead.lead.source_id,
            status="sold" if lead.copies else lead.status,
            copies=lead.copies,
            payout=0 if lead.lead.test else payout_of(self.seller.payout(lead.lead), lead.copies),
            redirect_url=lead.redirect_url,
            ended=lead.status not in ("routing", "queued"),
        )

    async def view(self, lead_id: str) -> LeadView | None:
        """How a lead stands, wherever that is known from; None for an unknown one."""
        known = self._view(lead_id)
        return known if known is not None else await self._view_of_old(lead_id)

    async def _view_of_old(self, lead_id: str) -> LeadView | None:
        source_id = None
        ended: Ended | None = None
        erased = False
        for _, entry in await self.ledger.entries_of(lead_id):
            if isinstance(entry.fact, Received):
                source_id, erased = entry.fact.source_id, entry.lead is None
            elif isinstance(entry.fact, Ended):
                ended = entry.fact
        if source_id is None or ended is None:
            return None
        return LeadView(
            lead_id=lead_id,
            source_id=source_id,
            status="erased" if erased else ended.status,
            copies=ended.copies,
            payout=ended.payout,
            reason=ended.reason,
            redirect_url=ended.redirect_url,
            ended=True,
        )

    def known_key(self, source_id: str, key: str) -> KnownRequest | None:
        """The lead already taken under this Idempotency-Key of this source."""
        known = self.state.keys.get(f"{source_id}\0{key}")
        if known is None:
            return None
        return KnownRequest(known.lead_id, known.body_sha256, known.lead_id in self._answering)

    def known_external_id(self, source_id: str, external_id: str) -> str | None:
        """The lead already taken under this external id of this source."""
        known = self.state.externals.get(f"{source_id}\0{external_id}")
        return known.lead_id if known is not None else None

    def answered(self, lead_id: str) -> None:
        """The first answer about a lead was given (or nobody is there to take it)."""
        self._answering.discard(lead_id)

    async def remember_answer(self, lead_id: str, status: int, body: bytes) -> None:
        """Keep the answer given under an Idempotency-Key, byte for byte, for repeats."""
        await self.ledger.store_answer(lead_id, status, body)

    async def stored_answer(self, lead_id: str) -> tuple[int, bytes] | None:
        """(status, body) that was kept, or None."""
        return await self.ledger.answer(lead_id)

    def new_lead_id(self) -> str:
        """A fresh id, rising with time."""
        return self.clock.new_id()

    def now_ns(self) -> int:
        """The wall clock."""
        return self.clock.wall_ns()

    def surely_ns(self) -> int:
        """The earlier of both clocks: what is old by this is old, though somebody sets the wall clock ahead."""
        return min(self.clock.wall_ns(), self.journal.steady_ns())

    def _tell(self, lead_ids: list[str]) -> None:
        self._ending.difference_update(lead_ids)
        for lead_id in lead_ids:
            for watcher in self._watchers.pop(lead_id, ()):
                if not watcher.done():
                    watcher.set_result(None)

    def _lead_reopened(self, lead_id: str) -> None:
        self._views.pop(lead_id, None)

    def _lead_ended(self, view: LeadView) -> None:
        self._views[view.lead_id] = view
        self._ending.add(view.lead_id)
        while len(self._views) > RECENT_VIEWS_MAX:
            del self._views[next(iter(self._views))]
        if self.on_ended is not None:
            self.on_ended(view)
