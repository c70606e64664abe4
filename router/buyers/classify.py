"""An answer, or none, -> what it means for the delivery (SPEC section 4).

The endpoint's own rules come first, on every complete answer whatever its status. Only when none holds does the table
below speak, and it never says `accepted`: a status alone is no sale. `failed` is said only where it is certain that the
buyer did not take the lead; everything else is `in_doubt`.

What the specification leaves open is decided here:

* An answer longer than 64 KiB, packed or not, is not complete: no rule is tried on a part of it, it is in doubt
  (`truncated`), unless its status alone says that the lead was not taken: one that `retry.on` lists.
* A rule that gives `failed` makes the attempt retryable only where `retry.on` lists the status too.
* For the breaker a rule that gives accepted, rejected or duplicate is a working endpoint, whatever the status; a rule
  that gives failed or in_doubt is judged by its status. A status in `retry.on` below 500 (a 429) is an endpoint that
  works and says wait. Redirects without a rule count against it like other answers nobody classified.
* A `Retry-After` date is measured against the answer's own `Date`, so that a buyer's wrong clock does not matter; an
  answer without one is measured against our clock.
"""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from router.buyers.coding import decoded
from router.model.codes import Outcome
from router.model.delivery import CERTAIN_FAILURES, HttpResponse, TransportFailure, Verdict
from router.model.times import NS_DAY, NS_S
from router.terms.answers import Reading, amount, cleaned, link
from router.terms.endpoint import EndpointPlan
from router.terms.paths import first
from router.terms.responses import Rule

_RETRY_AFTER_MAX_NS: Final = NS_DAY
_SERVER_ERROR: Final = 500


class _Row(NamedTuple):
    """What a status means when no rule of the endpoint holds."""

    statuses: range | tuple[int, ...]
    outcome: Outcome
    reason: str
    healthy: bool = False
    pause: bool = False
    auth_failed: bool = False


#: The first row that holds the status decides; statuses in `retry.on` never get here.
_TABLE: Final = (
    _Row((401, 403), "failed", "auth", healthy=True, auth_failed=True),
    _Row((404, 405), "failed", "gone"),
    _Row((410,), "failed", "gone", healthy=True, pause=True),
    _Row(range(400, 500), "failed", "contract"),
    _Row((301, 307, 308), "failed", "redirect"),
    _Row((302, 303), "in_doubt", "redirect"),
    _Row(range(500, 600), "in_doubt", "server_error"),
    _Row(range(200, 300), "in_doubt", "unclassified"),
)
_OTHER: Final = _Row((), "in_doubt", "unexpected_status")
_BY_STATUS: Final = {status: row for row in reversed(_TABLE) for status in row.statuses}


def classify(
    plan: EndpointPlan, answer: HttpResponse | TransportFailure, *, after_doubt: bool, now_s: int | None = None
) -> Verdict:
    """What one attempt means. `after_doubt`: an earlier attempt of the same delivery was in doubt.

    `now_s`: when the answer came, seconds since 1970 UTC, for a `Retry-After` date in an answer without a `Date`.
    """
    if isinstance(answer, TransportFailure):
        return _without_answer(answer)
    answer = decoded(answer)
    reading = Reading(answer.status, answer.headers, answer.body)
    if answer.truncated:
        if answer.status in plan.retry_on:
            return _by_table(plan, reading, now_s)
        return Verdict(outcome="in_doubt", rule="table:truncated", reason="truncated", healthy=False)
    rule = plan.rules.match(reading)
    if rule is not None:
        return _by_rule(plan, rule, reading, after_doubt, now_s)
    return _by_table(plan, reading, now_s)


def _without_answer(failure: TransportFailure) -> Verdict:
    certain, refused = failure.kind in CERTAIN_FAILURES, failure.kind == "auth"
    return Verdict(
        outcome="failed" if certain else "in_doubt",
        rule=f"transport:{failure.kind}",
        reason=failure.kind,
        retryable=certain and not refused,
        healthy=refused or failure.kind == "crash",  # as a 401; ours, not the endpoint's
        auth_failed=refused,
    )


def _by_rule(plan: EndpointPlan, rule: Rule, reading: Reading, after_doubt: bool, now_s: int | None) -> Verdict:
    outcome: Outcome = "accepted" if rule.outcome == "duplicate" and after_doubt else rule.outcome
    answered = outcome in ("accepted", "rejected", "duplicate")
    return Verdict(
        outcome=outcome,
        rule=rule.name,
        reason=cleaned(first(rule.reason, reading)),
        price=amount(first(rule.price, reading)),
        reference=cleaned(first(rule.reference, reading)),
        redirect_url=link(first(rule.redirect_url, reading)),
        retry_after_ns=None if answered else _retry_after_ns(reading, now_s),
        retryable=outcome == "failed" and reading.status in plan.retry_on,
        healthy=answered or reading.status < _SERVER_ERROR,
        sniffed=reading.sniffed,
    )


def _by_table(plan: EndpointPlan, reading: Reading, now_s: int | None) -> Verdict:
    status = reading.status
    if status in plan.retry_on:
        return Verdict(
            outcome="failed",
            rule="table:retry.on",
            reason="unavailable",
            retry_after_ns=_retry_after_ns(reading, now_s),
            retryable=True,
            healthy=status < _SERVER_ERROR,
            sniffed=reading.sniffed,
        )
    row = _BY_STATUS.get(status, _OTHER)
    return Verdict(
        outcome=row.outcome,
        rule=f"table:{row.reason}",
        reason=row.reason,
        retry_after_ns=_retry_after_ns(reading, now_s),
        healthy=row.healthy,
        pause=row.pause,
        auth_failed=row.auth_failed,
        sniffed=reading.sniffed,
    )


def _retry_after_ns(reading: Reading, now_s: int | None) -> int | None:
    """How long the answer asks us to wait, at most a day; None when it does not say, or not in a way one can read."""
    text = (reading.header("retry-after") or "").strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]) * NS_S, _RETRY_AFTER_MAX_NS) if len(text) <= 9 else _RETRY_AFTER_MAX_NS
    until, said_s = _instant_s(text), _instant_s(reading.header("date"))
    since = now_s if said_s is None else said_s
    if until is None or since is None:
        return None
    return max(0, min((until - since) * NS_S, _RETRY_AFTER_MAX_NS))


def _instant_s(text: str | None) -> int | None:
    """An HTTP date -> seconds since 1970 UTC."""
    try:
        moment = parsedate_to_datetime(text or "")
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
