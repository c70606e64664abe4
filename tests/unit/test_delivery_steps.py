"""The state machine of a delivery: when it settles, when the same bytes go out again, and after how long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.delivery import BACKOFF_MAX_NS, BACKOFF_MIN_NS, Repeat, Settle, next_step, pause_ns
from router.model.delivery import Verdict
from router.model.times import NS_HOUR, NS_MS, NS_S

FAILED = Verdict(outcome="failed", rule="transport:connect", retryable=True)
GONE = Verdict(outcome="failed", rule="table:gone")
DOUBT = Verdict(outcome="in_doubt", rule="transport:read_timeout")


def step(verdict: Verdict, **changes: Any) -> Settle | Repeat:
    """The step after a first attempt of two, 20 s before the deadline, at an endpoint that is not idempotent."""
    usual = {
        "attempt": 1, "attempts_max": 2, "backoff_ns": 500 * NS_MS, "idempotent": False, "any_doubt": False,
        "now_ns": 0, "deadline_ns": 20 * NS_S,
    }  # fmt: skip
    return next_step(verdict, **(usual | changes))


def outcome(found: Settle | Repeat) -> str:
    """What it settled as, or `repeat`."""
    return found.verdict.outcome if isinstance(found, Settle) else "repeat"


@pytest.mark.parametrize("said", ["accepted", "rejected", "duplicate"])
@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("any_doubt", [True, False])
def test_an_answer_settles(said: Any, idempotent: bool, any_doubt: bool) -> None:
    """What the buyer said ends the delivery, whatever came before."""
    verdict = Verdict(outcome=said, rule="responses[0]")
    assert step(verdict, idempotent=idempotent, any_doubt=any_doubt) == Settle(verdict)


def test_a_failure_is_retried_while_attempts_last() -> None:
    """`attempts` counts all, the first included; what cannot be retried is not."""
    assert step(FAILED) == Repeat(500 * NS_MS)
    assert step(FAILED, attempt=2) == Settle(FAILED)
    assert step(FAILED, attempts_max=1) == Settle(FAILED)
    assert step(FAILED, attempt=2, attempts_max=3) == Repeat(NS_S)
    assert step(GONE, attempts_max=9) == Settle(GONE)


def test_no_attempt_starts_at_or_after_the_deadline() -> None:
    """The deadline bounds the start, and is not part of the time before it."""
    assert step(FAILED, now_ns=20 * NS_S - 500 * NS_MS - 1) == Repeat(500 * NS_MS)
    assert step(FAILED, now_ns=20 * NS_S - 500 * NS_MS) == Settle(FAILED)
    assert outcome(step(DOUBT, idempotent=True, now_ns=20 * NS_S)) == "in_doubt"


def test_terms_end_retries_and_never_the_question_of_a_doubt() -> None:
    """When the contract would not take the lead any more, a retry is pointless; a doubt must still be cleared up."""
    assert step(FAILED, retry_until_ns=500 * NS_MS + 1) == Repeat(500 * NS_MS)
    assert step(FAILED, retry_until_ns=500 * NS_MS) == Settle(FAILED)
    assert step(DOUBT, idempotent=True, retry_until_ns=0) == Repeat(500 * NS_MS)
    assert step(FAILED, retry_until_ns=NS_HOUR, now_ns=20 * NS_S) == Settle(FAILED)


def test_retry_after_is_honoured() -> None:
    """It lengthens the wait, never shortens it; beyond the deadline it ends the retries at once."""
    wait = Verdict(outcome="failed", rule="table:retry.on", retryable=True, retry_after_ns=3 * NS_S)
    assert step(wait) == Repeat(3 * NS_S)
    assert step(wait, backoff_ns=5 * NS_S) == Repeat(5 * NS_S)
    assert step(wait, now_ns=17 * NS_S) == Settle(wait)


def test_doubt_at_an_idempotent_endpoint_is_asked_again_until_the_deadline() -> None:
    """Whatever `attempts` says, with growing pauses."""
    assert step(DOUBT, idempotent=True, attempts_max=1) == Repeat(500 * NS_MS)
    assert step(DOUBT, idempotent=True, attempt=5, deadline_ns=NS_HOUR) == Repeat(8 * NS_S)
    assert outcome(step(DOUBT, idempotent=True, attempt=6)) == "repeat"
    assert outcome(step(DOUBT, idempotent=True, attempt=7)) == "in_doubt"


def test_doubt_elsewhere_stays() -> None:
    """Nobody sends a lead twice to a buyer that does not dedupe."""
    assert step(DOUBT, attempts_max=9) == Settle(DOUBT)


@pytest.mark.parametrize("verdict", [FAILED, GONE])
def test_a_failure_after_doubt_is_still_doubt(verdict: Verdict) -> None:
    """That the second attempt was not taken says nothing of the first: repeated while there is time, then in doubt."""
    assert outcome(step(verdict, any_doubt=True, idempotent=True, attempt=2)) == "repeat"
    settled = step(verdict, any_doubt=True, idempotent=True, attempt=2, now_ns=20 * NS_S)
    assert isinstance(settled, Settle)
    assert (settled.verdict.outcome, settled.verdict.rule, settled.verdict.retryable) == (
        "in_doubt",
        verdict.rule,
        False,
    )
    assert outcome(step(verdict, any_doubt=True)) == "in_doubt"


def test_the_pause_doubles_within_bounds() -> None:
    """Never at once, never longer than a minute unless `backoff` itself is."""
    assert [pause_ns(NS_S, attempt) // NS_S for attempt in (1, 2, 3, 4, 7, 99)] == [1, 2, 4, 8, 60, 60]
    assert pause_ns(0, 1) == BACKOFF_MIN_NS
    assert pause_ns(5 * BACKOFF_MAX_NS, 3) == 5 * BACKOFF_MAX_NS


@given(
    verdicts=st.lists(
        st.builds(
            Verdict,
            outcome=st.sampled_from(["accepted", "rejected", "duplicate", "failed", "in_doubt"]),
            rule=st.just("x"),
            retryable=st.booleans(),
            retry_after_ns=st.none() | st.integers(0, NS_HOUR),
        ),
        min_size=1,
        max_size=12,
    ),
    idempotent=st.booleans(),
    attempts_max=st.integers(1, 5),
    backoff_ns=st.integers(0, NS_HOUR),
)
def test_every_run_ends_as_it_should(
    verdicts: list[Verdict], idempotent: bool, attempts_max: int, backoff_ns: int
) -> None:
    """Over any run of verdicts: no start past the deadline, `failed` only when nothing was ever in doubt, and more than
    `attempts` requests only where a doubt is asked again at an idempotent endpoint.
    """
    now_ns, deadline_ns, doubted = 0, 20 * NS_S, False
    for attempt, verdict in enumerate(verdicts, 1):
        assert now_ns < deadline_ns
        assert attempt <= attempts_max or (doubted and idempotent)
        found = next_step(
            verdict, attempt=attempt, attempts_max=attempts_max, backoff_ns=backoff_ns, idempotent=idempotent,
            any_doubt=doubted, now_ns=now_ns, deadline_ns=deadline_ns,
        )  # fmt: skip
        doubted = doubted or verdict.outcome == "in_doubt"
        if isinstance(found, Settle):
            assert not (doubted and found.verdict.outcome == "failed")
            break
        assert found.after_ns >= BACKOFF_MIN_NS
        now_ns += found.after_ns
