"""Takes a lead, sells it, and answers for it.

The one rule of this module: decide, apply the facts, hand them to the ledger - with no `await` in between. What must
not happen before those facts are durable (the answer to the source, the first byte to a buyer) hangs on the ledger's
future. There is no compensation: if the ledger cannot take what was decided, nothing more is decided until it can, and
then the state is folded anew from what is durable.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from router.clock import Clock
from router.core.calendar import Calendar, calendar_window
from router.core.decide import Choice, choose, decided_fact, kin_of, recheck, reserve
from router.core.live import Live, identity_of
from router.core.rules.history import intake_duplicate
from router.core.rules.standing import Moment
from router.core.rules.static import Mode
from router.core.selling import End, Offer, copies_of, next_move, payout_of, payout_once
from router.core.standings import Standings
from router.core.state import Held, Identity, OpenLead, State
from router.dispatch import Desk, Finished, Job, carry
from router.engine.views import KnownRequest, LeadView, Refused
from router.engine.waiting import Waiter, WaitingRoom
from router.ledger.protocol import Ledger, LedgerBroken, LedgerError, LedgerFull
from router.model.codes import MOMENTARY
from router.model.delivery import Verdict
from router.model.facts import (
    AnyFact,
    Attempted,
    Deposited,
    Ended,
    Entry,
    Idempotency,
    Paused,
    Queued,
    Received,
    Reopened,
    Repeating,
    Reserved,
    Resumed,
    Settled,
    TermsLoaded,
)
from router.model.lead import Lead
from router.model.times import NS_S
from router.terms.book import Book
from router.terms.compile import rate_plan, stored_form
from router.terms.schema import Payout
from router.transport import Transport

log = logging.getLogger(__name__)

AUTH_FAILURES_MAX: Final = 5
RECENT_VIEWS_MAX: Final = 20_000
ORDERS_KEPT: Final = 8
_RETRY_FULL_S: Final = 5
_CRASHED: Final = Verdict(outcome="in_doubt", rule="restart", reason="crash")


class Batch:
    """Facts that belong together: applied as they are noted, written in one transaction."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.entries: list[Entry] = []
        self.jobs: list[Job] = []
        self.ended: list[str] = []


class Engine:
    """One per process. Created stopped; `start` folds the ledger and takes up what a crash left open."""

    def __init__(
        self, *, book: Book, ledger: Ledger, transport: Transport, clock: Clock, secrets: Mapping[str, str]
    ) -> None:
        self.book = book
        self.ledger = ledger
        self.clock = clock
        self.transport = transport
        self.secrets = secrets
        self.live = Live(book)
        self.state = State(identity_of(book))
        self.loaded_at_ns = 0
        self.draining = False
        self.started = False
        self.on_ended: Callable[[LeadView], None] | None = None
        self.on_attempt: Callable[[Held, Attempted], None] | None = None
        self._calendar = Calendar()
        self._steady_base_ns = 0
        self._room = WaitingRoom()
        self._gate: deque[str] = deque()
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._answering: set[str] = set()
        self._views: dict[str, LeadView] = {}
        self._source_tat: dict[str, int] = {}
        self._unwritten: deque[tuple[asyncio.Future[int], Sequence[Entry]]] = deque()
        self._orders: dict[tuple[str, str, Mode], tuple[str, ...]] = {}
        self._stale = False
        self._refolding: asyncio.Task[None] | None = None
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writable = asyncio.Event()
        ledger.on_change = self._writable.set
        self._remember_orders()

    # -- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the ledger, fold it, put the terms in force, and go on with every acknowledged lead.

        Raises what `Ledger.open` raises.
        """
        opened = await self.ledger.open()
        self.state = await self._fold(opened.snapshot, opened.snapshot_seq)
        self._steady_base_ns = max(self.clock.wall_ns(), self.state.steady_ns) - self.clock.mono_ns()
        await self.ledger.put_terms(self.book.version, stored_form(self.book))
        self.loaded_at_ns = self.clock.wall_ns()
        if self.state.terms_version != self.book.version:
            await self.write([TermsLoaded(terms_version=self.book.version, by="start")])
        self.started = True
        self._take_up()

    async def _fold(self, snapshot: bytes | None, seq: int) -> State:
        identity = identity_of(self.book)
        state = _from_snapshot(snapshot, identity)
        if state is None:
            state, seq = State(identity), 0
        async for entries in self.ledger.facts_after(seq):
            for _, entry in entries:
                state.apply(entry)
        return state

    def _take_up(self) -> None:
        """After a start or a fold: in-flight deliveries of the last life become doubts, open leads go on."""
        for delivery_id, held in list(self.state.held.items()):
            if held.status == "in_flight" and delivery_id not in self._jobs:
                self._interrupted(delivery_id, held)
        for delivery_id in list(self.state.held):
            self.watch_doubt(delivery_id)
        for lead_id in list(self.state.open):
            self._go_on(lead_id)

    def _interrupted(self, delivery_id: str, held: Held) -> None:
        """A delivery was under way when the process died: it may have been sent, unless the last word was a failure."""
        batch = self._batch()
        if held.attempts and not held.repeating and not held.doubted:
            self._note(batch, Settled(delivery_id=delivery_id, outcome="failed", reason="restart", by="restart"))
            self._commit(batch, keep=True)
            return
        plan = self.book.contracts.get(held.contract_id)
        lead = self.state.open.get(held.lead_id)
        if plan is not None and lead is not None and plan.endpoint.idempotent:
            deadline_ns = self._deadline_ns(lead)
            if batch.moment.at_ns < deadline_ns:
                self._launch(self._job(lead.lead, plan.id, delivery_id, held.price, deadline_ns, held.attempts, True))
                return
        self._note(batch, Settled(delivery_id=delivery_id, outcome="in_doubt", reason="crash", by="restart"))
        self._commit(batch, keep=True)

    def _go_on(self, lead_id: str) -> None:
        lead = self.state.open.get(lead_id)
        if lead is None or lead.status not in ("routing", "queued"):
            return
        batch = self._batch()
        if lead.deliveries:
            self._advance(batch, lead_id)
        elif not any(lead_id == waiting for waiting in self._gate):
            self._route(batch, lead_id, by="queue" if lead.status == "queued" else "restart" if lead.decided else None)
        self._commit(batch)

    async def drain(self, within_s: float) -> None:
        """Take nothing new, let what is in flight finish for so many seconds, then leave the rest to the next start."""
        self.draining = True
        if self._jobs:
            await asyncio.wait(list(self._jobs.values()), timeout=within_s)
        for task in list(self._jobs.values()):
            task.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for watchers in self._watchers.values():
            for watcher in watchers:
                if not watcher.done():
                    watcher.set_result(None)

    def snapshot(self) -> tuple[int, bytes] | None:
        """(seq, image) of the state, if everything applied is durable right now; None while something is under way."""
        if self._stale or any(not future.done() for future, _ in self._unwritten):
            return None
        return self.ledger.head_seq, self.state.dump()

    async def save_snapshot(self) -> bool:
        """Write a snapshot once a moment comes at which everything applied is durable."""
        for _ in range(100):
            taken = self.snapshot()
            if taken is not None:
                await self.ledger.save_snapshot(*taken)
                return True
            await asyncio.wait([future for future, _ in self._unwritten], timeout=1)
        return False

    @property
    def waiting_leads(self) -> int:
        """How many leads wait for a contract, or for one of `in_flight_max`."""
        return len(self._room) + len(self._gate)

    # -- taking leads ----------------------------------------------------------------------------

    def accepting(self) -> Refused | None:
        """Why no lead can be taken now, or None."""
        if self.draining or not self.started:
            return Refused(503, "draining", "the router is stopping or starting: try again shortly", 5)
        if not self.ledger.writable or self._stale:
            return Refused(503, "ledger_unavailable", "the ledger cannot be written: try again shortly", _RETRY_FULL_S)
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
        for cap in source.caps if usage is not None else ():
            if cap.limit is None or usage is None:
                continue
            window = calendar_window(cap.per, moment.at_ns, ZoneInfo(self.book.router.defaults.time_zone))
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
            await asyncio.shield(self._commit(batch))
        except LedgerFull as error:
            self._answering.discard(lead.lead_id)
            raise Refused(503, "ledger_unavailable", str(error), _RETRY_FULL_S) from error
        view = self._view(lead.lead_id)
        assert view is not None
        return view

    def _take(self, lead: Lead, idempotency: Idempotency | None) -> Batch:
        source = self.book.sources[lead.source_id]
        rate = rate_plan(source.rate)
        batch = self._batch()
        if rate is not None:
            tat = max(self._source_tat.get(lead.source_id, 0), batch.moment.steady_ns)
            self._source_tat[lead.source_id] = tat + rate.interval_ns
        twin = self._duplicate_of(lead)
        received = Received(
            lead_id=lead.lead_id,
            source_id=lead.source_id,
            lead_type=lead.lead_type,
            test=lead.test,
            duplicate_of=twin,
        )
        self._note(batch, received, lead=lead, idempotency=idempotency)
        max_age = self.book.lead_types[lead.lead_type].max_age
        if twin is not None:
            self._end(batch, lead, Ended(lead_id=lead.lead_id, status="duplicate"))
        elif max_age is not None and batch.moment.at_ns - lead.submitted_at_ns > max_age:
            self._end(batch, lead, Ended(lead_id=lead.lead_id, status="expired"))
        else:
            self._route(batch, lead.lead_id)
        return batch

    def _duplicate_of(self, lead: Lead) -> str | None:
        dedup = self.book.lead_types[lead.lead_type].dedup
        if dedup is None or lead.test:
            return None
        return intake_duplicate(dedup.keys, int(dedup.window), dedup.counts, lead, kin_of(self.state, lead))

    # -- deciding --------------------------------------------------------------------------------

    def _choose(self, lead: OpenLead, moment: Moment) -> tuple[Choice, Standings]:
        """The fast decision; for `best` the better of both modes by expected revenue."""
        one = lead.lead
        sell = self.book.lead_types[one.lead_type].sell
        once = payout_once(self._payout(one))
        answers: list[tuple[Choice, Standings]] = []
        for standings in self.live.modes(one.lead_type):
            copies, _ = copies_of(sell, standings.board.mode)
            choice = choose(
                standings,
                self.state,
                one,
                moment,
                released_at_ns=lead.released_at_ns,
                copies=copies,
                payout=once,
                offered=lead.buyers,
            )
            answers.append((choice, standings))
        return max(answers, key=lambda answer: answer[0].expected(self.state)) if len(answers) > 1 else answers[0]

    def _route(self, batch: Batch, lead_id: str, by: str | None = None) -> None:
        """Decide, reserve for the winners, or wait, or end. Nothing yields in here."""
        if len(self._jobs) + len(batch.jobs) >= self.book.router.limits.in_flight_max:
            self._gate.append(lead_id)
            return
        lead = self.state.open[lead_id]
        if by != "queue" and batch.moment.at_ns >= self._deadline_ns(lead):
            self._end(batch, lead.lead, Ended(lead_id=lead_id, status="unsold", reason="deadline"))
            return
        choice, standings = self._choose(lead, batch.moment)
        if by is None or choice.winners:
            self._note(batch, decided_fact(choice, self.state, lead.lead, by))
        if choice.winners:
            self._room.remove(lead_id)
            _, at_once = copies_of(self.book.lead_types[lead.lead.lead_type].sell, choice.board.mode)
            for place, rank in enumerate(choice.winners[:at_once]):
                self._reserve(batch, standings, rank, lead, place)
            return
        self._wait_or_end(batch, lead, choice, standings)

    def _reserve(self, batch: Batch, standings: Standings, rank: int, lead: OpenLead, place: int) -> None:
        board = standings.board
        fact = reserve(board, rank, self.state, lead.lead, batch.moment, delivery_id=self.clock.new_id(), place=place)
        self._note(batch, fact)
        deadline_ns = self._deadline_ns(lead)
        batch.jobs.append(self._job(lead.lead, fact.contract_id, fact.delivery_id, fact.price, deadline_ns))

    def _wait_or_end(self, batch: Batch, lead: OpenLead, choice: Choice, standings: Standings) -> None:
        one = lead.lead
        lead_type = self.book.lead_types[one.lead_type]
        queue = self._queueing(choice, standings) if lead_type.queue is not None else ()
        if queue and lead_type.queue is not None:
            give_up_ns = one.received_at_ns + lead_type.queue.hold_max
            if lead_type.max_age is not None:
                give_up_ns = min(give_up_ns, one.submitted_at_ns + lead_type.max_age)
            if batch.moment.at_ns < give_up_ns:
                if lead.status != "queued":
                    self._note(batch, Queued(lead_id=one.lead_id))
                self._wait(one.lead_id, queue, give_up_ns, queued=True)
                return
        momentary = self._momentary(choice)
        deadline_ns = self._deadline_ns(lead)
        if momentary and batch.moment.at_ns < deadline_ns:
            self._wait(one.lead_id, momentary, deadline_ns, queued=False)
            return
        self._room.remove(one.lead_id)
        if lead.status == "queued":
            self._end(batch, one, Ended(lead_id=one.lead_id, status="expired"))
            return
        covered = choice.covering & choice.board.live
        reason = "deadline" if momentary else "no_eligible_contract" if covered else "no_coverage"
        self._end(batch, one, Ended(lead_id=one.lead_id, status="unsold", reason=reason))

    def _momentary(self, choice: Choice) -> tuple[str, ...]:
        """The contracts whose only refusal passes by itself within moments."""
        mask = 0
        for code in MOMENTARY:
            mask |= choice.blocked.get(code, 0)
        return tuple(plan.id for rank, plan in enumerate(choice.board.plans) if mask >> rank & 1) if mask else ()

    def _queueing(self, choice: Choice, standings: Standings) -> tuple[str, ...]:
        """The contracts that say `queue` for what refuses them now, with every momentary one beside them."""
        found = []
        for code, mask in choice.blocked.items():
            for rank, plan in enumerate(choice.board.plans) if mask else ():
                if not mask >> rank & 1:
                    continue
                schedule = plan.terms.schedule
                closed = code == "out_of_schedule" and schedule is not None and schedule.when_closed == "queue"
                full = code in ("cap_reached", "ramp_reached") and plan.terms.at_cap == "queue"
                if closed or full:
                    found.append(plan.id)
        return (*found, *self._momentary(choice)) if found else ()

    def _wait(self, lead_id: str, contracts: tuple[str, ...], give_up_ns: int, *, queued: bool) -> None:
        self._room.add(Waiter(lead_id, contracts, give_up_ns, queued))
        self._at(f"lead:{lead_id}", give_up_ns, lambda: self._give_up(lead_id))
        for contract_id in contracts:
            self._arm(contract_id)

    def _arm(self, contract_id: str) -> None:
        """Wake a contract's line when what refuses it is over by itself."""
        plan = self.book.contracts.get(contract_id)
        if plan is None:
            return
        times = []
        for standings in self.live.modes(plan.lead_type):
            finding = standings.finding(standings.board.rank_of[contract_id])
            if finding is not None:
                times.append(finding.until_ns)
        if times:
            self._at(f"contract:{contract_id}", min(times), lambda: self._wake(contract_id))

    def _wake(self, contract_id: str) -> None:
        """Something changed for a contract: whoever stands in its line tries again, in order, while there is room."""
        while (waiter := self._room.first(contract_id)) is not None:
            batch = self._batch()
            self._route(batch, waiter.lead_id, by="queue" if waiter.queued else "wait")
            self._commit(batch)
            if waiter.lead_id in self._room or waiter.lead_id in self._gate:
                break

    def _give_up(self, lead_id: str) -> None:
        """A waiting lead's time is over."""
        waiter, lead = self._room.get(lead_id), self.state.open.get(lead_id)
        if waiter is None or lead is None:
            return
        if self.clock.wall_ns() < waiter.give_up_ns:
            self._at(f"lead:{lead_id}", waiter.give_up_ns, lambda: self._give_up(lead_id))
            return
        self._room.remove(lead_id)
        batch = self._batch()
        if waiter.queued:
            self._end(batch, lead.lead, Ended(lead_id=lead_id, status="expired"))
        else:
            self._end(batch, lead.lead, Ended(lead_id=lead_id, status="unsold", reason="deadline"))
        self._commit(batch, keep=True)

    # -- delivering ------------------------------------------------------------------------------

    def _job(
        self,
        lead: Lead,
        contract_id: str,
        delivery_id: str,
        price: int,
        deadline_ns: int,
        attempts: int = 0,
        doubted: bool = False,
    ) -> Job:
        return Job(
            lead=lead,
            plan=self.book.contracts[contract_id],
            delivery_id=delivery_id,
            price=price,
            deadline_ns=deadline_ns,
            attempts=attempts,
            doubted=doubted,
        )

    def _launch(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(job))
        self._jobs[job.delivery_id] = task
        task.add_done_callback(lambda done: self._landed(job, done))

    def _landed(self, job: Job, task: asyncio.Task[None]) -> None:
        self._jobs.pop(job.delivery_id, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self.failure.done():
            self.failure.set_exception(error)
        while self._gate and len(self._jobs) < self.book.router.limits.in_flight_max and not self.draining:
            lead_id = self._gate.popleft()
            lead = self.state.open.get(lead_id)
            if lead is not None:
                batch = self._batch()
                self._route(batch, lead_id, by="wait" if lead.decided else None)
                self._commit(batch)

    async def _deliver(self, job: Job) -> None:
        desk = Desk(
            transport=self.transport,
            clock=self.clock,
            secrets=self.secrets,
            intend=self._intend,
            record=lambda fact: self._record(fact),
        )
        try:
            finished = await carry(job, desk)
        except LedgerBroken:
            return  # the process is stopping; what is not known becomes a doubt at the next start
        except LedgerError:
            finished = self._unsent(job)
        self._settle(job, finished)

    def _unsent(self, job: Job) -> Finished:
        """A repeat's intent could not be written, so it was not sent: what was known before stands."""
        outcome = "in_doubt" if job.doubted else "failed"
        verdict = Verdict(outcome=outcome, rule="ledger", reason="ledger_unavailable")  # type: ignore[arg-type]
        return Finished(attempted=None, verdict=verdict, answered_at_ns=self.clock.wall_ns())

    async def _intend(self, fact: Repeating) -> None:
        batch = self._batch()
        self._note(batch, fact)
        await self._commit(batch)

    def _record(self, fact: Attempted) -> None:
        batch = self._batch()
        self._attempt(batch, fact)
        self._commit(batch, keep=True)

    def _attempt(self, batch: Batch, fact: Attempted) -> None:
        held = self.state.held.get(fact.delivery_id)
        self._note(batch, fact)
        if held is not None and self.on_attempt is not None:
            self.on_attempt(held, fact)

    def _settle(self, job: Job, finished: Finished) -> None:
        """A delivery came to its end: record it, then do what follows for the lead."""
        verdict = finished.verdict
        batch = self._batch()
        if finished.attempted is not None:
            self._attempt(batch, finished.attempted)
        self._pause_if_hopeless(batch, job.plan.id, verdict)
        self._note(batch, self._settled(job, finished))
        self._advance(batch, job.lead.lead_id)
        self._commit(batch, keep=True)
        self.watch_doubt(job.delivery_id)
        self.freed(job.plan.buyer_id)

    def _settled(self, job: Job, finished: Finished) -> Settled:
        verdict = finished.verdict
        lead = self.state.open.get(job.lead.lead_id)
        since_ns = lead.released_at_ns if lead is not None else job.lead.received_at_ns
        within = job.plan.terms.sla.deliver_within if job.plan.terms.sla is not None else None
        accepted = verdict.outcome == "accepted"
        return Settled(
            delivery_id=job.delivery_id,
            outcome=verdict.outcome,
            reason=verdict.reason,
            price=min(job.price, job.price if verdict.price is None else verdict.price) if accepted else None,
            reference=verdict.reference,
            redirect_url=verdict.redirect_url,
            late=within is not None and finished.answered_at_ns - since_ns > within,
        )

    def _pause_if_hopeless(self, batch: Batch, contract_id: str, verdict: Verdict) -> None:
        """410 once, or 401/403 five times running, pauses the contract."""
        answers = self.state.answers.get(contract_id)
        if f"contract:{contract_id}" in self.state.paused:
            return
        if verdict.pause:
            reason = "the endpoint answered 410 Gone: ask the buyer for its new address, then resume"
        elif verdict.auth_failed and answers is not None and answers.auth_failures >= AUTH_FAILURES_MAX:
            reason = f"the endpoint refused our credentials {AUTH_FAILURES_MAX} times running: renew them, then resume"
        else:
            return
        log.error("contract paused", extra={"contract_id": contract_id, "reason": reason})
        self._note(batch, Paused(subject="contract", id=contract_id, reason=reason, by="endpoint"))

    def _advance(self, batch: Batch, lead_id: str, *, exhausted: bool = False) -> None:
        """Offer the lead to the next in rank, or end it."""
        lead = self.state.open.get(lead_id)
        if lead is None:
            return
        sell = self.book.lead_types[lead.lead.lead_type].sell
        deadline_ns = self._deadline_ns(lead)
        at_ns = batch.moment.at_ns
        move = next_move(lead, sell, at_ns=at_ns, deadline_ns=deadline_ns, exhausted=exhausted or self.draining)
        if isinstance(move, Offer):
            if self._offer(batch, lead, move.copies) == move.copies:
                return
            move = next_move(lead, sell, at_ns=at_ns, deadline_ns=deadline_ns, exhausted=True)
        if isinstance(move, End) and not (self.draining and move.status == "unsold" and move.reason != "deadline"):
            self._end(batch, lead.lead, self._ended(lead, move))

    def _offer(self, batch: Batch, lead: OpenLead, copies: int) -> int:
        """Reserve for up to so many of the recorded ranking, each re-checked under the terms of this moment."""
        one = lead.lead
        standings = self._standings(one.lead_type, lead.mode)
        offered = 0
        for place, contract_id in enumerate(self._ranking(lead) if standings is not None else ()):
            plan = self.book.contracts.get(contract_id)
            if plan is None or plan.buyer_id in lead.buyers or standings is None:
                continue
            rank = recheck(
                standings.board,
                standings,
                self.state,
                one,
                batch.moment,
                contract_id=contract_id,
                released_at_ns=lead.released_at_ns,
            )
            if rank is not None:
                self._reserve(batch, standings, rank, lead, place)
                offered += 1
                if offered == copies:
                    break
        return offered

    def _standings(self, lead_type: str, mode: Mode) -> Standings | None:
        return self.live.standings.get((lead_type, mode))

    def _ranking(self, lead: OpenLead) -> tuple[str, ...]:
        if isinstance(lead.ranking, tuple):
            return lead.ranking
        order = self._orders.get((lead.terms_version, lead.lead.lead_type, lead.mode), ())
        mask = int(lead.ranking, 16)
        return tuple(order[rank] for rank in range(len(order) - 1, -1, -1) if mask >> rank & 1)

    async def adopt(self, book: Book, live: Live, secrets: Mapping[str, str], *, by: str) -> None:
        """Put other terms in force, in one step. Everything in flight ends under the terms it was sent by."""
        await self.ledger.put_terms(book.version, stored_form(book))
        same_people = identity_of(book) == identity_of(self.book)
        self.book, self.live, self.secrets = book, live, secrets
        self.loaded_at_ns = self.clock.wall_ns()
        self._remember_orders()
        await self.write([TermsLoaded(terms_version=book.version, by=by)])
        if not same_people:
            await self.refold()
        for contract_id in self._room.lines():
            self._wake(contract_id)

    def _remember_orders(self) -> None:
        """The rank order of these terms, so that a ranking recorded as a mask can be walked after a reload."""
        for (kind, mode), standings in self.live.standings.items():
            self._orders[self.book.version, kind, mode] = tuple(plan.id for plan in standings.board.plans)
        versions = list(dict.fromkeys(version for version, _, _ in self._orders))
        for version in versions[:-ORDERS_KEPT]:
            for key in [key for key in self._orders if key[0] == version]:
                del self._orders[key]

    def watch_doubt(self, delivery_id: str) -> None:
        """Where the endpoint says what a doubt comes to after a while, see to it that it does."""
        held = self.state.held.get(delivery_id)
        plan = self.book.contracts.get(held.contract_id) if held is not None else None
        if held is None or held.status != "in_doubt" or plan is None or plan.endpoint.in_doubt_resolves is None:
            return
        due_ns = held.at_ns + plan.endpoint.in_doubt_after_ns
        outcome = plan.endpoint.in_doubt_resolves
        if self.clock.wall_ns() >= due_ns:
            self.resolve(delivery_id, outcome, by="terms")
        else:
            self._at(f"doubt:{delivery_id}", due_ns, lambda: self.watch_doubt(delivery_id))

    def resolve(self, delivery_id: str, outcome: Literal["accepted", "rejected"], *, by: str) -> "asyncio.Future[int]":
        """Somebody knows what became of a delivery in doubt; the caller has seen that it is. Returns when durable.

        Rejected before the lead's `max_age`, an exclusive lead goes to the next in rank.
        """
        held = self.state.held[delivery_id]
        batch = self._batch()
        price = held.price if outcome == "accepted" else None
        self._note(batch, Settled(delivery_id=delivery_id, outcome=outcome, price=price, by=by))
        lead = self.state.open.get(held.lead_id)
        if lead is not None:
            max_age = self.book.lead_types[lead.lead.lead_type].max_age
            young = max_age is None or batch.moment.at_ns - lead.lead.submitted_at_ns < max_age
            again = outcome == "rejected" and young and lead.status == "in_doubt"
            if again:
                self._note(batch, Reopened(lead_id=held.lead_id, by=by))
            self._advance(batch, held.lead_id, exhausted=not again and lead.status != "routing")
        future = self._commit(batch, keep=True)
        self.freed(held.buyer_id)
        return future

    def reopen(self, fact: Reopened, lead: Lead) -> "asyncio.Future[int]":
        """Run an ended lead again; the caller has seen that nothing of it is in flight or in doubt."""
        batch = self._batch()
        self._note(batch, fact, lead=lead)
        self._route(batch, fact.lead_id, by=fact.by)
        return self._commit(batch)

    def freed(self, buyer_id: str) -> None:
        """A slot or some capacity of a buyer may be free again."""
        if len(self._room) and not self.draining:
            buyer = self.book.buyers.get(buyer_id)
            for contract_id in self._room.lines(one.id for one in buyer.contracts) if buyer is not None else ():
                self._wake(contract_id)

    # -- ending ----------------------------------------------------------------------------------

    def _ended(self, lead: OpenLead, move: End) -> Ended:
        return Ended(
            lead_id=lead.lead.lead_id,
            status=move.status,
            reason=move.reason,
            copies=lead.copies,
            payout=0 if lead.lead.test else payout_of(self._payout(lead.lead), lead.copies),
            redirect_url=lead.redirect_url,
        )

    def _end(self, batch: Batch, lead: Lead, fact: Ended) -> None:
        self._room.remove(fact.lead_id)
        timer = self._timers.pop(f"lead:{fact.lead_id}", None)
        if timer is not None:
            timer.cancel()
        self._note(batch, fact)
        batch.ended.append(fact.lead_id)
        view = LeadView(
            lead_id=fact.lead_id,
            source_id=lead.source_id,
            status=fact.status,
            copies=fact.copies,
            payout=fact.payout,
            reason=fact.reason,
            redirect_url=fact.redirect_url,
            ended=True,
        )
        self._views[fact.lead_id] = view
        while len(self._views) > RECENT_VIEWS_MAX:
            del self._views[next(iter(self._views))]
        if self.on_ended is not None:
            self.on_ended(view)

    def _payout(self, lead: Lead) -> Payout | None:
        source = self.book.sources.get(lead.source_id)
        return source.payout.get(lead.lead_type) if source is not None else None

    async def settled(self, lead_id: str, wait_s: float) -> LeadView:
        """Wait until a lead has ended (durably) or the time is over; how it stands then."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        while lead_id in self.state.open and not self.draining and not self._has_ended(lead_id):
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
        return view is not None and view.ended

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
            payout=0 if lead.lead.test else payout_of(self._payout(lead.lead), lead.copies),
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

    # -- repeats of a request --------------------------------------------------------------------

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

    # -- facts -----------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Now, as rules are asked about it."""
        return Moment(self.clock.wall_ns(), self._steady_base_ns + self.clock.mono_ns(), self._calendar)

    def _batch(self) -> Batch:
        return Batch(self.moment())

    def _deadline_ns(self, lead: OpenLead) -> int:
        return lead.selling_from_ns + self.book.lead_types[lead.lead.lead_type].deadline

    def _note(
        self, batch: Batch, fact: AnyFact, *, lead: Lead | None = None, idempotency: Idempotency | None = None
    ) -> None:
        """Apply a fact and put it into the batch. The only place where live state changes."""
        held = self.state.held.get(fact.delivery_id) if isinstance(fact, Settled) else None
        entry = Entry(at_ns=batch.moment.at_ns, fact=fact, lead=lead, idempotency=idempotency)
        self.state.apply(entry)
        batch.entries.append(entry)
        if isinstance(fact, Reserved):
            self.live.told(fact, fact.contract_id, fact.buyer_id, self.state.in_flight.get(fact.buyer_id, 0))
        elif held is not None:
            self.live.told(fact, held.contract_id, held.buyer_id, self.state.in_flight.get(held.buyer_id, 0))
        elif isinstance(fact, (Paused, Resumed)):
            self.live.told(fact, fact.id, fact.id, 0)
        elif isinstance(fact, Deposited):
            self.live.told(fact, "", fact.buyer_id, 0)
        elif isinstance(fact, Reopened):
            self._views.pop(fact.lead_id, None)

    def _commit(self, batch: Batch, *, keep: bool = False) -> "asyncio.Future[int]":
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
            future.add_done_callback(lambda _: self._tell(batch.ended))
        if batch.jobs:
            last.add_done_callback(lambda done: self._start(batch.jobs, done))
        return last

    def _append(self, entries: Sequence[Entry], *, keep: bool) -> "asyncio.Future[int]":
        while self._unwritten and self._unwritten[0][0].done():
            self._unwritten.popleft()
        future = self.ledger.append(entries, keep=keep)
        self._unwritten.append((future, entries))
        future.add_done_callback(self._written)
        return future

    def _written(self, future: "asyncio.Future[int]") -> None:
        error = None if future.cancelled() else future.exception()
        if error is None:
            return
        if isinstance(error, LedgerFull):
            self._lost_track()
        elif not self.failure.done():
            self.failure.set_exception(error)

    async def write(self, facts: Sequence[AnyFact]) -> None:
        """Note and make durable, for what operators do. Raises LedgerError."""
        batch = self._batch()
        for fact in facts:
            self._note(batch, fact)
        await self._commit(batch)

    def _start(self, jobs: list[Job], durable: "asyncio.Future[int]") -> None:
        if durable.cancelled() or durable.exception() is not None:
            return
        for job in jobs:
            self._launch(job)

    def _tell(self, lead_ids: list[str]) -> None:
        for lead_id in lead_ids:
            for watcher in self._watchers.pop(lead_id, ()):
                if not watcher.done():
                    watcher.set_result(None)

    def _at(self, name: str, at_ns: int, act: Callable[[], None]) -> None:
        """Do something at a wall-clock instant; the same name again moves it."""
        before = self._timers.pop(name, None)
        if before is not None:
            before.cancel()
        delay_s = min(max(0, at_ns - self.clock.wall_ns()) / NS_S, 86_400)

        def due() -> None:
            self._timers.pop(name, None)
            act()

        self._timers[name] = asyncio.get_running_loop().call_later(delay_s + 0.001, due)

    # -- when the ledger could not take what was decided -----------------------------------------

    def _lost_track(self) -> None:
        """State holds facts that are not durable: take nothing until it was folded anew from what is."""
        self._stale = True
        if self._refolding is None:
            self._refolding = asyncio.get_running_loop().create_task(self._refold())

    async def _refold(self) -> None:
        try:
            while not self.ledger.writable:
                self._writable.clear()
                await self._writable.wait()
            await self.refold()
        except LedgerError as error:
            if not self.failure.done():
                self.failure.set_exception(error)
        finally:
            self._refolding = None

    async def refold(self) -> None:
        """Fold all durable facts anew, add what is on its way, swap, and go on with every open lead."""
        seq = 0
        state = State(identity_of(self.book))
        while True:
            async for entries in self.ledger.facts_after(seq):
                for at, entry in entries:
                    state.apply(entry)
                    seq = at
            if seq == self.ledger.head_seq:
                break
        for future, unwritten in self._unwritten:
            if not future.done():
                for entry in unwritten:
                    state.apply(entry)
        self.state = state
        self.live = Live(self.book)
        self._stale = False
        log.warning("state folded anew", extra={"seq": seq})
        self._take_up()


# -- parts ---------------------------------------------------------------------------------------


def _from_snapshot(image: bytes | None, identity: Identity) -> State | None:
    """A snapshot's state, if it is one and remembers what these terms need."""
    if image is None:
        return None
    try:
        state = State.load(image)
    except msgspec.MsgspecError:
        return None
    return state if state.identity == identity else None
