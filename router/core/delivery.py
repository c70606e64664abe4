"""The state machine of a delivery: after each attempt, is it settled, or are the same bytes sent once more?

Two kinds of repeat look alike and are not. A *retry* follows an attempt that certainly was not taken; `attempts` bounds
it. A *repeat in doubt* asks an idempotent endpoint again what became of an attempt that may have been taken; nothing
but the deadline bounds it, because until it is answered nobody else may have the lead.

Once an attempt was in doubt, a later one that certainly failed proves nothing about the first: the delivery stays in
doubt. Only an answer (accepted, rejected, duplicate) ends it.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from router.model.delivery import Verdict
from router.model.facts import AnyFact, Attempted, Contradicted, Settled
from router.model.times import NS_MINUTE, NS_MS

#: A repeat never follows at once and never waits longer than this by itself, whatever `backoff` says.
BACKOFF_MIN_NS: Final = 50 * NS_MS
BACKOFF_MAX_NS: Final = NS_MINUTE
_DOUBLINGS_MAX: Final = 20


class Settle(Struct, frozen=True):
    """The delivery has come to its outcome: that of `verdict`."""

    verdict: Verdict


class Repeat(Struct, frozen=True):
    """The same bytes once more, `after_ns` from now."""

    after_ns: int


def next_step(
    verdict: Verdict,
    *,
    attempt: int,
    attempts_max: int,
    backoff_ns: int,
    idempotent: bool,
    any_doubt: bool,
    now_ns: int,
    deadline_ns: int,
    retry_until_ns: int | None = None,
) -> Settle | Repeat:
    """What follows from the verdict on attempt number `attempt` (the first is 1, all count against `attempts_max`).

    `any_doubt`: an earlier attempt of this delivery was in doubt. `now_ns` and `deadline_ns` are read off one clock; no
    attempt starts at or after the deadline. From `retry_until_ns` on the contract's terms do not let the lead be sent
    any more: that ends retries, not the question what became of a doubt.
    """
    assert attempt >= 1
    if verdict.outcome not in ("failed", "in_doubt"):
        return Settle(verdict)
    doubt = any_doubt or verdict.outcome == "in_doubt"
    may_repeat = idempotent if doubt else verdict.retryable and attempt < attempts_max
    wait_ns = max(pause_ns(backoff_ns, attempt), verdict.retry_after_ns or 0)
    until_ns = deadline_ns if doubt or retry_until_ns is None else min(deadline_ns, retry_until_ns)
    if may_repeat and now_ns + wait_ns < until_ns:
        return Repeat(wait_ns)
    return Settle(settled(verdict, doubted=doubt))


def settled(verdict: Verdict, *, doubted: bool) -> Verdict:
    """What a delivery comes to when no attempt follows the last one: a failure proves nothing about a doubt before."""
    return msgspec.structs.replace(verdict, outcome="in_doubt", retryable=False) if doubted else verdict


def pause_ns(backoff_ns: int, attempt: int) -> int:
    """The wait after attempt number `attempt`: `backoff`, doubled by each attempt, between 50 ms and a minute."""
    doubled = backoff_ns << min(attempt - 1, _DOUBLINGS_MAX)
    return max(BACKOFF_MIN_NS, min(doubled, max(BACKOFF_MAX_NS, backoff_ns)))


def contradicts(told: Sequence[AnyFact], outcome: Literal["accepted", "rejected"], by: str) -> bool:
    """Whether a word on a delivery is against what its doubt was resolved as, and news from whoever says it.

    `told` are all facts of the delivery, in order; the last `Settled` is what it came to. Where there never was a doubt
    the buyer's own answer decided: whoever thinks otherwise returns the lead.
    """
    settled = [fact for fact in told if isinstance(fact, Settled)]
    doubted = any(isinstance(fact, Attempted | Settled) and fact.outcome == "in_doubt" for fact in told)
    if not settled or not doubted or (settled[-1].outcome == "accepted") == (outcome == "accepted"):
        return False
    return not any(isinstance(fact, Contradicted) and (fact.outcome, fact.by) == (outcome, by) for fact in told)
