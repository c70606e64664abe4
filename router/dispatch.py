"""Brings one delivery to its end: render, send, classify, and what follows from the verdict.

Each attempt's intent is durable before its first byte leaves: the reservation stands for the first one, a `Repeating`
fact for every further one. What an attempt meant is decided by pure functions; this loop only sends and waits.

A buyer that refuses an access token with 401 is sent the lead once more with a new one. That is an attempt like every
other: it counts against `retry.attempts`, waits for `backoff` and has an intent of its own.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct, structs

from router.buyers.auth import SecretUnusableError, without_secrets
from router.buyers.classify import classify
from router.buyers.ping import for_templates
from router.buyers.render import RenderContext, render
from router.clock import Clock
from router.core.delivery import Repeat, Settle, next_step, settled
from router.core.retry_budget import RetryBudget, RetryBudgets
from router.courier import Carried, Courier
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure, Verdict
from router.model.facts import Attempted, Repeating
from router.model.lead import Lead
from router.model.times import NS_MS, NS_S
from router.terms.book import ContractPlan

log = logging.getLogger(__name__)


class Job(Struct, kw_only=True):
    """One delivery on its way. `attempts` and `doubted` say what happened before, when a restart took it up again.

    `renewed`: an access token was refused and a new one asked for.
    """

    lead: Lead
    plan: ContractPlan
    delivery_id: str
    price: int
    deadline_ns: int  # steady clock, as the next two: no attempt starts at or after it
    answer_by_ns: int | None = None  # what comes later is late
    retry_until_ns: int | None = None  # from then on the terms do not let the lead be sent
    attempts: int = 0
    doubted: bool = False
    renewed: bool = False
    reference: str | None = None  # the buyer's own, of the bid that `price` is


class Finished(Struct, frozen=True, kw_only=True):
    """The last attempt and what the delivery came to; no attempt when none could be made.

    `answered_at_ns` is of the steady clock.
    """

    attempted: Attempted | None
    verdict: Verdict
    answered_at_ns: int


class Desk(Struct, frozen=True, kw_only=True):
    """What a delivery needs of the world around it.

    `intend` returns when the fact is durable; `record` hands over an attempt that is not the last. `suppressed` says
    whether a lead's person is never to be sent, as somebody may have said since it was decided.
    """

    courier: Courier
    clock: Clock
    steady_ns: Callable[[], int]
    secrets: Mapping[str, str]
    retries: RetryBudgets
    intend: Callable[[Repeating], Awaitable[None]]
    record: Callable[[Attempted], None]
    suppressed: Callable[[Lead], bool]


#: What an attempt says whose delivery would have been tried again.
BUDGET_SPENT = "not tried again: the retry budget of this endpoint is spent"

_NEVER_SENT = Verdict(outcome="failed", rule="deadline", reason="deadline")
_SUPPRESSED = Verdict(outcome="failed", rule="suppressed", reason="suppressed")
_NO_TEST_URL = Verdict(outcome="failed", rule="test_url", reason="no_test_url")
_NOT_UNDERSTOOD = Verdict(outcome="in_doubt", rule="table:unclassified", reason="unclassified", healthy=False)


async def carry(job: Job, desk: Desk) -> Finished:
    """Attempt until the delivery is settled. Raises what `intend` raises when the ledger cannot take an intent."""
    endpoint = job.plan.endpoint
    context = RenderContext(
        lead=job.lead,
        delivery_id=job.delivery_id,
        contract_id=job.plan.id,
        price=job.price,
        ping=None if endpoint.ping is None else for_templates(job.price, job.reference),
        accepted=accepted_fields(job.plan),
    )
    known = settled(_NEVER_SENT, doubted=job.doubted)
    while True:
        job.attempts += 1
        if desk.suppressed(job.lead):
            verdict = settled(_SUPPRESSED, doubted=job.doubted)
            return Finished(attempted=None, verdict=verdict, answered_at_ns=desk.steady_ns())
        if job.attempts > 1:
            await desk.intend(Repeating(delivery_id=job.delivery_id, n=job.attempts))
        sent_at_ns, now_ns = desk.clock.wall_ns(), desk.steady_ns()
        if job.attempts == 1:
            _budget(job, desk, now_ns).first(now_ns)
        if now_ns >= job.deadline_ns:
            return Finished(attempted=None, verdict=known, answered_at_ns=now_ns)
        try:
            request = render(endpoint, context, desk.secrets, now_s=sent_at_ns // NS_S, test=job.lead.test)
            if request is None:
                return Finished(attempted=None, verdict=_NO_TEST_URL, answered_at_ns=now_ns)
            carried = await desk.courier.send(
                job.plan.buyer_id,
                endpoint,
                request,
                desk.secrets,
                within_ns=min(endpoint.timeout_ns, job.deadline_ns - now_ns),
            )
        except SecretUnusableError as error:
            return _unprovable(job, error, now_ns)
        now_ns = desk.steady_ns()
        verdict = _judged(job, carried, desk.secrets, desk.clock.wall_ns())
        step = next_step(
            verdict,
            attempt=job.attempts,
            attempts_max=endpoint.retry.attempts,
            backoff_ns=endpoint.retry.backoff,
            idempotent=endpoint.idempotent,
            any_doubt=job.doubted,
            now_ns=now_ns,
            deadline_ns=job.deadline_ns,
            retry_until_ns=job.retry_until_ns,
        )
        late = job.answer_by_ns is not None and now_ns > job.answer_by_ns
        attempted = _attempted(job, request, sent_at_ns, carried.answer, verdict, late=late, steady_ns=now_ns)
        job.doubted = job.doubted or verdict.outcome == "in_doubt"
        if isinstance(step, Repeat) and not (job.doubted or carried.token_refused or _may_retry(job, desk, now_ns)):
            step = Settle(settled(verdict, doubted=False))
            attempted = structs.replace(attempted, detail=_with(attempted.detail, BUDGET_SPENT))
        if not isinstance(step, Repeat):
            return Finished(attempted=attempted, verdict=step.verdict, answered_at_ns=now_ns)
        if carried.token_refused and verdict.auth_failed:  # stale, it seems: not yet our credentials' fault
            attempted = structs.replace(attempted, auth_failed=False)
        desk.record(attempted)
        known = settled(verdict, doubted=job.doubted)
        await asyncio.sleep(step.after_ns / NS_S)


def _budget(job: Job, desk: Desk, now_ns: int) -> RetryBudget:
    return desk.retries.of(job.plan.endpoint_key, now_ns)


def _may_retry(job: Job, desk: Desk, now_ns: int) -> bool:
    """Whether the endpoint's budget has one more retry. It bounds what an outage costs; a doubt is not its business."""
    return _budget(job, desk, now_ns).take(now_ns)


def _with(detail: str | None, more: str) -> str:
    return more if detail is None else f"{detail}; {more}"


def accepted_fields(plan: ContractPlan) -> frozenset[str]:
    """The fields a contract accepts: only these are sent."""
    fields = plan.terms.fields
    return frozenset((*fields.required, *fields.optional))


def _judged(job: Job, carried: Carried, secrets: Mapping[str, str], now_ns: int) -> Verdict:
    """What the attempt meant. However odd an answer is, it must not cost more than its own delivery."""
    endpoint = job.plan.endpoint
    try:
        said = classify(endpoint, carried.answer, after_doubt=job.doubted, now_s=now_ns // NS_S)
    except Exception as error:
        log.exception("answer_not_understood", extra={"contract_id": job.plan.id, "error": type(error).__name__})
        said = _NOT_UNDERSTOOD
    if carried.token_refused and said.auth_failed and not job.renewed:
        job.renewed = True
        said = structs.replace(said, retryable=True)
    return without_secrets(said, endpoint.auth, secrets, carried.token)


def _unprovable(job: Job, error: SecretUnusableError, now_ns: int) -> Finished:
    """A secret is missing, so nothing can be sent; what an earlier attempt may have brought about stands."""
    log.error("secret_unusable", extra={"contract_id": job.plan.id, "words": str(error), "hint": error.mend})
    verdict = Verdict(outcome="in_doubt" if job.doubted else "failed", rule="secret", reason="auth")
    return Finished(attempted=None, verdict=verdict, answered_at_ns=now_ns)


def _attempted(
    job: Job,
    request: HttpRequest,
    sent_at_ns: int,
    answer: HttpResponse | TransportFailure,
    verdict: Verdict,
    *,
    late: bool,
    steady_ns: int,
) -> Attempted:
    failure = answer if isinstance(answer, TransportFailure) else None
    return Attempted(
        delivery_id=job.delivery_id,
        n=job.attempts,
        sent_at_ns=sent_at_ns,
        took_ms=round(answer.took_ns / NS_MS, 3),
        request_sha256=hashlib.sha256(request.body).hexdigest(),
        outcome=verdict.outcome,
        rule=verdict.rule,
        sent=failure is None or not failure.certain,
        auth_failed=verdict.auth_failed,
        late=late,
        unhealthy=not verdict.healthy,
        steady_ns=steady_ns,
        status=answer.status if isinstance(answer, HttpResponse) else None,
        reason=verdict.reason,
        detail=failure.detail if failure is not None else verdict.sniffed,
        peer=answer.peer or None,
    )
