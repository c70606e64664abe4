"""Deliveries under way: started when their intent is durable, settled when they end, resolved when in doubt."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

from msgspec import structs

from router.core.retry_budget import RetryBudgets
from router.core.rules.history import suppressed_rule
from router.core.rules.standing import Moment, clock_of
from router.core.state import Held
from router.courier import Courier
from router.dispatch import Desk, Finished, Job, carry
from router.engine.alarms import Alarms
from router.engine.journal import Batch, Journal
from router.engine.times import deadline_of, is_young, steady_of
from router.ledger.protocol import LedgerBroken, LedgerError
from router.model.delivery import Verdict
from router.model.facts import Attempted, Paused, Reopened, Repeating, Settled
from router.model.lead import Lead
from router.terms.book import ContractPlan
from router.transport import Transport

log = logging.getLogger(__name__)

AUTH_FAILURES_MAX: Final = 5


class Advance(Protocol):
    """What follows for a lead when one of its deliveries settled."""

    def __call__(self, batch: Batch, lead_id: str, *, exhausted: bool = False) -> None:
        """Offer it to the next in rank, or end it."""


class Deliveries:
    """Every delivery in flight. `advance`, `freed` and `landed` are the seller's: what follows from an outcome."""

    def __init__(self, journal: Journal, transport: Transport, secrets: Mapping[str, str], alarms: Alarms) -> None:
        self.secrets = secrets
        self.on_attempt: Callable[[Held, Attempted], None] | None = None
        self.advance: Advance
        self.freed: Callable[[str], None]
        self.landed: Callable[[], None]
        self._journal = journal
        self.courier = Courier(transport, journal.clock)
        self._alarms = alarms
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        self._retries = RetryBudgets()
        journal.on_intended = self._intended

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, delivery_id: str) -> bool:
        return delivery_id in self._jobs

    def _intended(self, jobs: list[Job]) -> None:
        for job in jobs:
            if self._closed:
                self._never_sent(job)
            else:
                self.launch(job)

    def _never_sent(self, job: Job) -> None:
        """Reserved while we stop: nothing left, so the next start routes the lead again."""
        batch = self._journal.batch()
        self._journal.note(
            batch, Settled(delivery_id=job.delivery_id, outcome="failed", reason="restart", by="restart")
        )
        self._journal.commit(batch, keep=True)

    async def finish(self, within_s: float) -> None:
        """Let what is in flight end for so many seconds; then stop it where it stands, and start nothing more."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while self._jobs and (left_s := until_s - loop.time()) > 0:
            await asyncio.wait(list(self._jobs.values()), timeout=left_s)
        self._closed = True
        for task in list(self._jobs.values()):
            task.cancel()
        await self.courier.close()

    def interrupted(self, delivery_id: str, held: Held) -> None:
        """A delivery was under way when the process died: it may have been sent, unless the last word was a failure.

        Only the same bytes may be sent once more, and other terms may render others: then it stays in doubt.
        """
        batch = self._journal.batch()
        if held.attempts and not held.repeating and not held.doubted:
            self._journal.note(
                batch, Settled(delivery_id=delivery_id, outcome="failed", reason="restart", by="restart")
            )
            self._journal.commit(batch, keep=True)
            return
        plan = self._journal.book.contracts.get(held.contract_id)
        lead = self._journal.state.open.get(held.lead_id)
        same = held.terms_version == self._journal.book.version
        if plan is not None and lead is not None and plan.endpoint.idempotent and same:
            deadline_ns = deadline_of(lead, self._journal.book)
            if batch.moment.steady_ns < deadline_ns:
                job = self.job(lead.lead, plan.id, delivery_id, held.price, deadline_ns, held.reference)
                begun = held.attempts + (held.repeating or not held.attempts)  # the one cut short has its number too
                self.launch(structs.replace(job, attempts=begun, doubted=True))
                return
        self._journal.note(batch, Settled(delivery_id=delivery_id, outcome="in_doubt", reason="crash", by="restart"))
        self._journal.commit(batch, keep=True)

    def job(
        self,
        lead: Lead,
        contract_id: str,
        delivery_id: str,
        price: int,
        deadline_ns: int,
        reference: str | None = None,
    ) -> Job:
        """What is to be carried: the lead, under the current terms of a contract."""
        plan = self._journal.book.contracts[contract_id]
        moment = self._journal.moment()
        answer_by_ns = self._answer_by(lead, plan, moment)
        most = plan.terms.sla.max_lead_age if plan.terms.sla is not None else None
        too_old_ns = steady_of(moment, lead.submitted_at_ns + most + 1) if most is not None else None
        return Job(
            lead=lead,
            plan=plan,
            delivery_id=delivery_id,
            price=price,
            deadline_ns=deadline_ns,
            answer_by_ns=answer_by_ns,
            retry_until_ns=min((at for at in (answer_by_ns, too_old_ns) if at is not None), default=None),
            reference=reference,
        )

    def _answer_by(self, lead: Lead, plan: ContractPlan, moment: Moment) -> int | None:
        """From when on an answer is late: `deliver_within` from receipt, or from release from the queue."""
        within = plan.terms.sla.deliver_within if plan.terms.sla is not None else None
        if within is None:
            return None
        known = self._journal.state.open.get(lead.lead_id)
        return (known.released_steady_ns if known is not None else steady_of(moment, lead.received_at_ns)) + within

    def launch(self, job: Job) -> None:
        """Bring a delivery to its end from here on; its intent is durable."""
        task = asyncio.get_running_loop().create_task(self._deliver(job))
        self._jobs[job.delivery_id] = task
        task.add_done_callback(lambda done: self._landed(job, done))

    def _landed(self, job: Job, task: asyncio.Task[None]) -> None:
        self._jobs.pop(job.delivery_id, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._journal.fail(error)
        self.landed()

    async def _deliver(self, job: Job) -> None:
        desk = Desk(
            courier=self.courier,
            clock=self._journal.clock,
            steady_ns=self._journal.steady_ns,
            secrets=self.secrets,
            retries=self._retries,
            intend=self._intend,
            record=lambda fact: self._record(fact),
            suppressed=self._suppressed,
        )
        try:
            finished = await carry(job, desk)
        except LedgerBroken:
            return  # the process is stopping; what is not known becomes a doubt at the next start
        except LedgerError:
            finished = self._unsent(job)
        self._settle(job, finished)

    def _suppressed(self, lead: Lead) -> bool:
        return any(suppressed_rule(self._journal.book, lead, self._journal.state))

    def _unsent(self, job: Job) -> Finished:
        """A repeat's intent could not be written, so it was not sent: what was known before stands."""
        outcome = "in_doubt" if job.doubted else "failed"
        verdict = Verdict(outcome=outcome, rule="ledger", reason="ledger_unavailable")  # type: ignore[arg-type]
        return Finished(attempted=None, verdict=verdict, answered_at_ns=self._journal.steady_ns())

    async def _intend(self, fact: Repeating) -> None:
        batch = self._journal.batch()
        self._journal.note(batch, fact)
        await self._journal.commit(batch)

    def _record(self, fact: Attempted) -> None:
        batch = self._journal.batch()
        self._attempt(batch, fact)
        self._journal.commit(batch, keep=True)

    def _attempt(self, batch: Batch, fact: Attempted) -> None:
        held = self._journal.state.held.get(fact.delivery_id)
        self._journal.note(batch, fact)
        if held is not None and self.on_attempt is not None:
            self.on_attempt(held, fact)

    def _settle(self, job: Job, finished: Finished) -> None:
        """A delivery came to its end: record it, then do what follows for the lead."""
        verdict = finished.verdict
        batch = self._journal.batch()
        if finished.attempted is not None:
            self._attempt(batch, finished.attempted)
        self._pause_if_hopeless(batch, job.plan.id, verdict)
        self._journal.note(batch, self._settled(job, finished))
        self.advance(batch, job.lead.lead_id)
        self._journal.commit(batch, keep=True)
        self.watch_doubt(job.delivery_id)
        self.freed(job.plan.buyer_id)

    def _settled(self, job: Job, finished: Finished) -> Settled:
        verdict = finished.verdict
        accepted = verdict.outcome == "accepted"
        named = verdict.price if accepted and verdict.price is not None else job.price
        return Settled(
            delivery_id=job.delivery_id,
            outcome=verdict.outcome,
            reason=verdict.reason,
            price=min(job.price, named) if accepted else None,
            answer_price=named if named > job.price else None,
            reference=verdict.reference,
            redirect_url=verdict.redirect_url,
            late=job.answer_by_ns is not None and finished.answered_at_ns > job.answer_by_ns,
        )

    def _pause_if_hopeless(self, batch: Batch, contract_id: str, verdict: Verdict) -> None:
        """410 once, or 401/403 five times running, pauses the contract."""
        answers = self._journal.state.answers.get(contract_id)
        if f"contract:{contract_id}" in self._journal.state.paused:
            return
        if verdict.pause:
            reason = "the endpoint answered 410 Gone: ask the buyer for its new address, then resume"
        elif verdict.auth_failed and answers is not None and answers.auth_failures >= AUTH_FAILURES_MAX:
            reason = f"the endpoint refused our credentials {AUTH_FAILURES_MAX} times running: renew them, then resume"
        else:
            return
        log.error("contract paused", extra={"contract_id": contract_id, "reason": reason})
        self._journal.note(batch, Paused(subject="contract", id=contract_id, reason=reason, by="endpoint"))

    def watch_doubt(self, delivery_id: str) -> None:
        """Where the endpoint says what a doubt comes to after a while, see to it that it does."""
        held = self._journal.state.held.get(delivery_id)
        plan = self._journal.book.contracts.get(held.contract_id) if held is not None else None
        if held is None or held.status != "in_doubt" or plan is None or plan.endpoint.in_doubt_resolves is None:
            return
        due_ns = held.steady_ns + plan.endpoint.in_doubt_after_ns
        outcome, moment = plan.endpoint.in_doubt_resolves, self._journal.moment()
        if moment.steady_ns >= due_ns:
            self.resolve(delivery_id, outcome, by="terms")
        else:
            self._alarms.at(f"doubt:{delivery_id}", clock_of(moment, due_ns), lambda: self.watch_doubt(delivery_id))

    def resolve(self, delivery_id: str, outcome: Literal["accepted", "rejected"], *, by: str) -> "asyncio.Future[int]":
        """Somebody knows what became of a delivery in doubt; the caller has seen that it is. Returns when durable.

        Rejected before the lead's `max_age`, the copy it held goes to the next in rank.
        """
        held = self._journal.state.held[delivery_id]
        batch = self._journal.batch()
        price = held.price if outcome == "accepted" else None
        steady = batch.moment.steady_ns
        self._journal.note(
            batch, Settled(delivery_id=delivery_id, outcome=outcome, price=price, by=by, steady_ns=steady)
        )
        lead = self._journal.state.open.get(held.lead_id)
        if lead is not None:
            young = is_young(lead.lead, self._journal.book, batch.moment.at_ns)
            again = outcome == "rejected" and young and lead.status in ("in_doubt", "sold")
            if again:
                self._journal.note(batch, Reopened(lead_id=held.lead_id, by=by, steady_ns=steady))
            self.advance(batch, held.lead_id, exhausted=not again and lead.status != "routing")
        future = self._journal.commit(batch, keep=True)
        self.freed(held.buyer_id)
        return future
