"""The steps of a certification, as verdicts over what was sent and what came back. Pure; `certifying` sends.

A step says whether it went well, what was seen, and what to do when it did not. `ok` is None where nothing could be
said: the step was not reached, or it only tells.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

from router.buyers.auth import SecretUnusableError
from router.buyers.ping import for_templates
from router.buyers.render import RenderContext, render, render_ping
from router.model.decision import Bid
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure, Verdict
from router.model.lead import Lead
from router.model.times import NS_MS, format_duration
from router.terms.book import ContractPlan
from router.terms.endpoint import EndpointPlan

#: An answer that takes more than this share of the timeout will one day take longer than it.
HEADROOM_SHARE: Final = 0.5
#: The stages of reaching an endpoint, in order, and which failure ends at which.
STAGES: Final = ("dns", "address", "connect", "tls", "auth", "answer")
_TAKEN: Final = ("accepted", "duplicate")
_ENDS_AT: Final = {
    "dns": "dns",
    "blocked_address": "address",
    "connect": "connect",
    "no_connection": "connect",
    "tls": "tls",
    "token": "auth",
    "auth": "auth",
}
_MENDS: Final = {
    "dns": "Correct the host of test_url, or ask the buyer whether the name is public",
    "address": "Use the buyer's public address; to test inside your own network, allow it in network.allow_private",
    "connect": "Ask the buyer whether the endpoint is up and lets us in through its firewall",
    "tls": "Ask the buyer for a certificate that the public authorities vouch for",
    "auth": "Ask the buyer for valid credentials, and write them where the secret is read from",
    "answer": "Ask the buyer why nothing that is HTTP came back, or raise the endpoint's timeout",
}


class Step(Struct, frozen=True):
    """One thing that was looked at."""

    step: str
    ok: bool | None
    detail: str
    mend: str = ""


class Post(Struct, frozen=True, kw_only=True):
    """One test lead that was posted: what was answered, and what that means."""

    answer: HttpResponse | TransportFailure
    verdict: Verdict


# -- before anything is sent ---------------------------------------------------------------------


def no_test_url(endpoint: EndpointPlan) -> Step:
    """Without a test_url nothing can be posted without selling it."""
    mend = f"Ask the buyer for a sandbox or a test flag in the URL, and set endpoints.{endpoint.name}.test_url"
    return Step("test_url", False, "the endpoint has no test_url, so nothing can be posted to it as a test", mend)


def test_lead(plan: ContractPlan, missed: Sequence[str]) -> Step:
    """Whether a lead could be made up that the contract accepts."""
    if not missed:
        return Step("test_lead", True, f"a made-up lead satisfies the terms of {plan.id}")
    mend = "Give values that do with the request's `fields`, or correct terms that contradict each other"
    return Step("test_lead", False, f"no made-up lead satisfies {plan.id}: {'; '.join(missed)}", mend)


def ping(plan: ContractPlan, bid: Bid) -> Step:
    """What the endpoint bids for the test lead: its post may need the reference of a bid."""
    asked = plan.endpoint.ping
    assert asked is not None
    if bid.price is None or bid.price < (plan.least_bid or 0):
        said = f"bids {bid.actual}" if bid.price is not None else f"no bid: {bid.actual}"
        mend = "Ask the buyer for a lead that it bids on, and certify with it (`fields`); or correct `ping.bid`"
        return Step("ping", False, said, mend)
    if bid.took_ms * NS_MS > asked.timeout_ns:
        mend = "Raise ping.timeout, or ask the buyer to answer sooner: a bid that is late cannot win"
        return Step("ping", False, f"bids {bid.actual}, and took {bid.took_ms:.0f}ms", mend)
    named = "" if bid.reference is None else ", and names it"
    return Step("ping", True, f"bids {bid.actual} in {bid.took_ms:.0f}ms{named}")


def rendered(
    plan: ContractPlan, lead: Lead, delivery_id: str, secrets: Mapping[str, str], now_s: int, bid: Bid | None = None
) -> HttpRequest | Step:
    """The request that brings the lead to the test_url, or why it cannot be made."""
    try:
        request = render(plan.endpoint, _context(plan, lead, delivery_id, bid), secrets, now_s=now_s, test=True)
    except SecretUnusableError as error:
        return Step("auth", False, str(error), error.mend)
    return request if request is not None else no_test_url(plan.endpoint)


def _context(plan: ContractPlan, lead: Lead, delivery_id: str, bid: Bid | None) -> RenderContext:
    fields = plan.terms.fields
    price = plan.price if bid is None or bid.price is None else bid.price
    return RenderContext(
        lead=lead,
        delivery_id=delivery_id,
        contract_id=plan.id,
        price=price,
        ping=None if plan.endpoint.ping is None else for_templates(price, bid.reference if bid is not None else None),
        accepted=frozenset((*fields.required, *fields.optional)),
    )


def mapping(plan: ContractPlan, lead: Lead, delivery_id: str, secrets: Mapping[str, str]) -> Step:
    """Whether every required field arrives: a request without it must be another request."""
    whole = _essence(plan, lead, delivery_id, secrets)
    accepted = plan.terms.fields
    there = [name for name in (*accepted.required, *accepted.optional) if name in lead.fields]
    arrives = {name for name in there if _essence(plan, _without(lead, (name,)), delivery_id, secrets) != whole}
    lost = [name for name in accepted.required if name in there and name not in arrives]
    if lost:
        mend = "Put them into the endpoint's body; a value table (maps) without an entry for the value leaves it out"
        return Step("mapping", False, f"{plan.id} requires {', '.join(lost)}, which the request does not carry", mend)
    asked = _asked(plan, lead, secrets)
    arrives |= {name for name in there if _asked(plan, _without(lead, (name,)), secrets) != asked}
    unsent = [name for name in accepted.optional if name in there and name not in arrives]
    said = f"; accepted and never sent: {', '.join(unsent)}" if unsent else ""
    return Step("mapping", True, f"{plan.id}: every required field arrives ({', '.join(accepted.required)}){said}")


def _without(lead: Lead, names: Iterable[str]) -> Lead:
    left_out = set(names)
    return structs.replace(lead, fields={name: one for name, one in lead.fields.items() if name not in left_out})


def bare(plan: ContractPlan, lead: Lead) -> Lead:
    """The lead without what the contract requires (but for its postal code): what a buyer should refuse."""
    return _without(lead, (name for name in plan.terms.fields.required if name != "postal_code"))


def _essence(plan: ContractPlan, lead: Lead, delivery_id: str, secrets: Mapping[str, str]) -> tuple[object, ...]:
    request = rendered(plan, lead, delivery_id, secrets, 0)
    return (request.url, request.headers, request.body) if isinstance(request, HttpRequest) else ()


def _asked(plan: ContractPlan, lead: Lead, secrets: Mapping[str, str]) -> bytes | str | None:
    """What a ping about the lead would say."""
    try:
        request = render_ping(plan.endpoint, _context(plan, lead, "", None), secrets, now_s=0)
    except SecretUnusableError:
        return None
    return None if request is None else request.body or request.url


# -- what came back ------------------------------------------------------------------------------


def reached(endpoint: EndpointPlan, post: Post) -> Iterator[Step]:
    """How far the first post came: name, address, connection, encryption, credentials, a whole answer."""
    failure = post.answer if isinstance(post.answer, TransportFailure) else None
    end = None if failure is None else _ENDS_AT.get(failure.kind, "answer")
    passed = True
    for stage in STAGES:
        if stage == end:
            assert failure is not None
            yield Step(stage, False, failure.detail, _MENDS[stage])
            passed = False
        elif not passed:
            yield Step(stage, None, "not reached")
        else:
            yield _passed(stage, endpoint, post)


def _passed(stage: str, endpoint: EndpointPlan, post: Post) -> Step:
    if stage == "tls" and (endpoint.test_url or "").startswith("http:"):
        return Step("tls", None, "plain http: nothing is encrypted")
    if stage == "auth":
        return _auth(endpoint, post)
    seen = {
        "dns": "the name was resolved, or needs no resolving",
        "address": "the address may be reached",
        "connect": f"connected to {post.answer.peer or 'the endpoint'}",
        "tls": "its certificate is valid",
        "answer": f"status {post.answer.status}" if isinstance(post.answer, HttpResponse) else "",
    }
    return Step(stage, True, seen[stage])


def _auth(endpoint: EndpointPlan, post: Post) -> Step:
    kind = endpoint.auth.type
    if post.verdict.auth_failed:
        assert isinstance(post.answer, HttpResponse)
        return Step("auth", False, f"status {post.answer.status}: our credentials were refused", _MENDS["auth"])
    if isinstance(post.answer, TransportFailure):
        return Step("auth", None, "there was no answer to tell")
    return Step("auth", True, "none is asked for" if kind == "none" else f"our {kind} credentials were not refused")


def timeout(endpoint: EndpointPlan, post: Post) -> Step:
    """How much of the timeout an answer takes."""
    took = f"{round(post.answer.took_ns / NS_MS)}ms of {format_duration(endpoint.timeout_ns)}"
    if isinstance(post.answer, TransportFailure):
        return Step("timeout", None, f"no answer to measure ({took})")
    if post.answer.took_ns > HEADROOM_SHARE * endpoint.timeout_ns:
        mend = "Raise the endpoint's timeout, or ask the buyer to answer faster: a late answer is a doubt"
        return Step("timeout", False, f"the answer took {took}: too little headroom", mend)
    return Step("timeout", True, f"the answer took {took}")


def outcome(post: Post) -> Step:
    """The test lead was taken: it is a good one, so anything else is news."""
    verdict = post.verdict
    why = f" ({verdict.reason})" if verdict.reason else ""
    said = f"{verdict.outcome} by {verdict.rule}{why}"
    if verdict.outcome in _TAKEN:
        return Step("outcome", True, said)
    mend = {
        "rejected": "Ask the buyer why it refuses a lead that satisfies its terms; give one it takes with `fields`",
        "in_doubt": "Write a response rule that this answer matches: one without a rule is never a sale",
        "failed": "Read the answer's reason: the endpoint does not take what we send",
    }[verdict.outcome]
    return Step("outcome", False, said, mend)


def responses(endpoint: EndpointPlan, posts: Mapping[str, Post]) -> Iterator[Step]:
    """Each response rule: which of our posts it matched, or that none of them provoked it."""
    matched: dict[str, list[str]] = {}
    for name, post in posts.items():
        matched.setdefault(post.verdict.rule, []).append(name)
    for rule in endpoint.rules.rules:
        by = matched.get(rule.name)
        if by:
            yield Step(rule.name, True, f"{rule.outcome}: matched the answer to {' and '.join(by)}")
        else:
            mend = "Ask the buyer for a test lead that gets this answer, and certify with it (`fields`)"
            yield Step(rule.name, None, f"{rule.outcome}: none of our posts provoked it", mend)


def repeat(endpoint: EndpointPlan, first: Post, second: Post) -> Step:
    """The same delivery once more: who dedupes says `duplicate` or `accepted`, as `idempotent` promises."""
    got, taken = second.verdict.outcome, first.verdict.outcome in _TAKEN
    if not taken:
        return Step("repeat", None, f"the same delivery again is {got}; the first was not taken, so it proves nothing")
    if endpoint.idempotent and got not in _TAKEN:
        mend = "Set idempotent = false, or ask the buyer to answer a repeated delivery_id as it did the first time"
        return Step("repeat", False, f"the same delivery again is {got}, but the endpoint is idempotent", mend)
    if not endpoint.idempotent and got == "duplicate" and first.verdict.outcome == "accepted":
        mend = "If the buyer dedupes on delivery_id, set idempotent = true: doubts then resolve themselves"
        return Step("repeat", None, "the same delivery again is a duplicate", mend)
    return Step("repeat", True if endpoint.idempotent else None, f"the same delivery again is {got}")


def refusal(post: Post) -> Step:
    """What a lead without its required fields gets; it only tells."""
    got, why = post.verdict.outcome, f" ({post.verdict.reason})" if post.verdict.reason else ""
    mend = "Ask the buyer whether it checks what it takes" if got == "accepted" else ""
    return Step("refusal", None, f"a lead without its required fields is {got} by {post.verdict.rule}{why}", mend)


def retry(endpoint: EndpointPlan, posts: Iterable[Post]) -> Step:
    """What would be sent again; and what an answer that said "later" asked for."""
    statuses = ", ".join(map(str, sorted(endpoint.retry_on))) or "nothing"
    plan = f"{statuses} would be tried again, {endpoint.retry.attempts} attempts in all"
    asked = [post.verdict.retry_after_ns for post in posts if post.verdict.retryable]
    if not asked:
        return Step("retry", None, f"{plan}; no answer asked for it")
    waits = [format_duration(wait) for wait in asked if wait is not None]
    return Step("retry", True, f"{plan}; asked to come back{' in ' + ', '.join(waits) if waits else ''}")
