"""Brings one delivery to its end: render, send, classify, and what follows from the verdict.

Each attempt's intent is durable before its first byte leaves: the reservation stands for the first one, a `Repeating`
fact for every further one. What an attempt meant is decided by pure functions; this loop only sends and waits.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from router.buyers.auth import without_secrets
from router.buyers.classify import classify
from router.buyers.render import RenderContext, render
from router.clock import Clock
from router.core.delivery import Repeat, next_step
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure, Verdict
from router.model.facts import Attempted, Repeating
from router.model.lead import Lead
from router.model.times import NS_MS, NS_S
from router.terms.book import ContractPlan
from router.transport import Transport


class Job(Struct, kw_only=True):
    """One delivery on its way. `attempts` and `doubted` say what happened before, when a restart took it up again."""

    lead: Lead
    plan: ContractPlan
    delivery_id: str
    price: int
    deadline_ns: int  # wall clock: no attempt starts at or after it
    attempts: int = 0
    doubted: bool = False


class Finished(Struct, frozen=True, kw_only=True):
    """The last attempt and what the delivery came to; no attempt when none could be made."""

    attempted: Attempted | None
    verdict: Verdict
    answered_at_ns: int


class Desk(Struct, frozen=True, kw_only=True):
    """What a delivery needs of the world around it.

    `intend` returns when the fact is durable; `record` hands over an attempt that is not the last.
    """

    transport: Transport
    clock: Clock
    secrets: Mapping[str, str]
    intend: Callable[[Repeating], Awaitable[None]]
    record: Callable[[Attempted], None]


_NO_TEST_URL = Verdict(outcome="failed", rule="test_url", reason="no_test_url")


async def carry(job: Job, desk: Desk) -> Finished:
    """Attempt until the delivery is settled. Raises what `intend` raises when the ledger cannot take an intent."""
    context = RenderContext(
        lead=job.lead,
        delivery_id=job.delivery_id,
        contract_id=job.plan.id,
        price=job.price,
        accepted=accepted_fields(job.plan),
    )
    endpoint = job.plan.endpoint
    while True:
        job.attempts += 1
        if job.attempts > 1:
            await desk.intend(Repeating(delivery_id=job.delivery_id, n=job.attempts))
        request = render(endpoint, context, desk.secrets, now_s=desk.clock.wall_ns() // NS_S, test=job.lead.test)
        if request is None:
            return Finished(attempted=None, verdict=_NO_TEST_URL, answered_at_ns=desk.clock.wall_ns())
        sent_at_ns = desk.clock.wall_ns()
        answer = await desk.transport.send(job.plan.buyer_id, request)
        now_ns = desk.clock.wall_ns()
        said = classify(endpoint, answer, after_doubt=job.doubted, now_s=now_ns // NS_S)
        verdict = without_secrets(said, endpoint.auth, desk.secrets)
        attempted = _attempted(job, request, sent_at_ns, answer, verdict)
        step = next_step(
            verdict,
            attempt=job.attempts,
            attempts_max=endpoint.retry.attempts,
            backoff_ns=endpoint.retry.backoff,
            idempotent=endpoint.idempotent,
            any_doubt=job.doubted,
            now_ns=now_ns,
            deadline_ns=job.deadline_ns,
        )
        job.doubted = job.doubted or verdict.outcome == "in_doubt"
        if not isinstance(step, Repeat):
            return Finished(attempted=attempted, verdict=step.verdict, answered_at_ns=now_ns)
        desk.record(attempted)
        await asyncio.sleep(step.after_ns / NS_S)


def accepted_fields(plan: ContractPlan) -> frozenset[str]:
    """The fields a contract accepts: only these are sent."""
    fields = plan.terms.fields
    return frozenset((*fields.required, *fields.optional))


def _attempted(
    job: Job, request: HttpRequest, sent_at_ns: int, answer: HttpResponse | TransportFailure, verdict: Verdict
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
        status=answer.status if isinstance(answer, HttpResponse) else None,
        reason=verdict.reason,
        detail=failure.detail if failure is not None else verdict.sniffed,
        peer=answer.peer or None,
    )
