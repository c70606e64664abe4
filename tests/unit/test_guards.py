"""What trips a guard, what closes it, and what it says: verdicts over outcomes small enough to count by hand."""

from typing import Any

import pytest

from router.core.guards import BREAKER_PLAN, Reading, passes, read, recovers, stage, trips
from router.core.outcomes import ACCEPTED, ATTEMPT, RETURNED, Outcomes
from router.core.rules.standing import standing
from router.core.rules.throttle import throttle_rule
from router.core.state import State
from router.model.codes import Outcome
from router.model.facts import Decided, GuardRecovered, GuardTripped, Received, Settled
from router.model.times import NS_HOUR, NS_MINUTE, NS_S
from router.terms.book import OUTCOMES_MAX, GuardPlan
from tests import factory
from tests.guarded import GuardedWorld, guarded_book

PAUSE = {
    "metric": "acceptance_rate", "over": "1h", "min_sample": 4, "trip": 0.5, "recover": 0.65, "action": "pause",
    "cool_down": "30m", "probes": 3,
}  # fmt: skip


def guard(**terms: Any) -> GuardPlan:
    """One guard, compiled."""
    (plan,) = guarded_book({"min_sample": 1, "trip": 0.5} | terms, deliver_within="30s").contracts["c"].guards
    return plan


def world(*guards: dict[str, Any], **sla: Any) -> GuardedWorld:
    """A world with the one contract `c` under these guards."""
    return GuardedWorld(guarded_book(*guards, **sla))


def codes(of: GuardedWorld) -> list[str]:
    """The codes that stand against the contract now."""
    return [finding.code for finding in standing(of.plan, of.state, of.moment(), 1000)]


@pytest.mark.parametrize(
    ("metric", "outcomes", "value", "sample"),
    [
        ("acceptance_rate", [("accepted", {}), ("rejected", {}), ("duplicate", {}), ("accepted", {})], 0.5, 4),
        ("acceptance_rate", [("failed", {}), ("in_doubt", {}), ("accepted", {})], 1.0, 1),
        ("error_rate", [("accepted", {}), ("rejected", {}), ("failed", {}), ("in_doubt", {})], 0.5, 4),
        (
            "timeout_rate",
            [("in_doubt", {"rule": "transport:read_timeout"}), ("in_doubt", {}), ("accepted", {})],
            1 / 3,
            3,
        ),
        ("late_rate", [("accepted", {"late": True}), ("rejected", {"late": True}), ("failed", {})], 2 / 3, 3),
        ("latency_p95", [("accepted", {"took_ms": 10.0 * each}) for each in range(1, 21)], 190.0, 20),
        ("latency_p95", [("accepted", {"took_ms": 7}), ("failed", {"took_ms": 900, "sent": False})], 7.0, 1),
        ("return_rate", [("accepted", {}), ("rejected", {})], 0.0, 1),
    ],
)
def test_each_metric_counts_what_it_says(
    metric: str, outcomes: list[tuple[Outcome, dict[str, Any]]], value: float, sample: int
) -> None:
    """Answers judge the terms; errors, time-outs and late ones are over all attempts; the 95th percentile is a rank."""
    trip = "1s" if metric == "latency_p95" else 0.999 if metric != "acceptance_rate" else 0.001
    one = world({"metric": metric, "over": "1h", "min_sample": 1000, "trip": trip}, deliver_within="30s")
    for outcome, said in outcomes:
        one.deliver(outcome, **said)
    reading = read(one.plan.guards[0], one.state.outcomes["c"], None, one.steady_ns)
    assert reading is not None
    assert reading == Reading(pytest.approx(value), sample)


def test_returns_are_counted_over_what_was_accepted() -> None:
    """A sample of `RETURNED` is all that a fact of a return has to leave behind; it is no outcome of its own."""
    outcomes = Outcomes()
    for number in range(10):
        outcomes.add(number, ATTEMPT | ACCEPTED, f"d{number}", 0, guarded=True)
    for number in (7, 8):
        outcomes.add(20, RETURNED, f"d{number}", -1, guarded=True)
    assert read(guard(metric="return_rate", over="1h"), outcomes, None, 30) == Reading(0.2, 10)
    assert read(guard(metric="return_rate", over=4), outcomes, None, 30) == Reading(0.5, 4)
    assert trips(guard(metric="return_rate", over=4, trip=0.4, min_sample=4), Reading(0.5, 4))


@pytest.mark.parametrize(
    ("terms", "value", "sample", "tripped"),
    [
        ({"metric": "acceptance_rate", "over": "1h", "min_sample": 20}, 0.49, 20, True),
        ({"metric": "acceptance_rate", "over": "1h", "min_sample": 20}, 0.49, 19, False),
        ({"metric": "acceptance_rate", "over": "1h", "min_sample": 20}, 0.5, 20, False),
        ({"metric": "error_rate", "over": "1h", "min_sample": 20}, 0.5, 20, False),
        ({"metric": "error_rate", "over": "1h", "min_sample": 20}, 0.51, 20, True),
        ({"metric": "error_rate", "over": "1h", "min_sample": 20, "trip": 0.3}, 0.1 + 0.2, 20, False),
        ({"metric": "latency_p95", "over": "1h", "min_sample": 2, "trip": "800ms"}, 800.0, 2, False),
        ({"metric": "latency_p95", "over": "1h", "min_sample": 2, "trip": "800ms"}, 800.1, 2, True),
    ],
)
def test_it_trips_beyond_and_never_at_its_threshold(
    terms: dict[str, Any], value: float, sample: int, tripped: bool
) -> None:
    """Acceptance below, everything else above, and nothing below the sample it declares."""
    assert trips(guard(**terms), Reading(value, sample)) is tripped


@pytest.mark.parametrize(
    ("terms", "value", "closes"),
    [
        ({"metric": "acceptance_rate", "over": 9, "recover": 0.65}, 2 / 3, True),
        ({"metric": "acceptance_rate", "over": 9, "recover": 0.65}, 0.5, False),
        ({"metric": "acceptance_rate", "over": 9}, 0.5, True),
        ({"metric": "error_rate", "over": 9, "recover": 0.1}, 0.1, True),
        ({"metric": "error_rate", "over": 9, "recover": 0.1}, 1 / 3, False),
        ({"metric": "latency_p95", "over": 9, "trip": "2s", "recover": "1s"}, 1000.0, True),
        ({"metric": "latency_p95", "over": 9, "trip": "2s", "recover": "1s"}, 1500.0, False),
    ],
)
def test_probes_must_reach_recover(terms: dict[str, Any], value: float, closes: bool) -> None:
    """Hysteresis: what does not trip does not yet close. Without `recover` it is `trip`."""
    assert recovers(guard(**terms), Reading(value, 3)) is closes


def test_the_breaker_trips_by_rate_or_by_row() -> None:
    """Half of at least twenty, or five running."""
    assert trips(BREAKER_PLAN, Reading(0.5, 20))
    assert not trips(BREAKER_PLAN, Reading(0.5, 19))
    assert not trips(BREAKER_PLAN, Reading(0.49, 100))
    assert not trips(BREAKER_PLAN, Reading(1.0, 4), running=4)
    assert trips(BREAKER_PLAN, Reading(1.0, 5), running=5)


def test_windows_are_half_open_and_counts_are_of_the_newest() -> None:
    """An outcome an hour old is out of the hour; the last three are the last three."""
    one = world({"metric": "error_rate", "over": "1h", "min_sample": 1000, "trip": 0.5},
                {"metric": "error_rate", "over": 3, "min_sample": 3, "trip": 0.9, "action": "warn"})  # fmt: skip
    hour, last = one.plan.guards
    one.deliver("failed", 2)
    one.deliver("accepted", 2, apart_ns=10 * NS_S)
    outcomes = one.state.outcomes["c"]
    assert read(hour, outcomes, None, one.steady_ns) == Reading(0.5, 4)
    assert read(last, outcomes, None, one.steady_ns) == Reading(pytest.approx(1 / 3), 3)
    first_ns = outcomes.at[0]
    assert read(hour, outcomes, None, first_ns + NS_HOUR - 1) == Reading(0.5, 4)
    assert read(hour, outcomes, None, first_ns + NS_HOUR) == Reading(pytest.approx(1 / 3), 3)
    assert read(hour, outcomes, None, first_ns + 2 * NS_HOUR) is None


def test_a_pause_trips_within_its_sample_and_says_why() -> None:
    """The fourth answer makes a sample; the fact names who spoke against it, the refusal what and until when."""
    one = world(PAUSE)
    one.deliver("accepted")
    one.deliver("rejected", 2)
    assert one.moves() == []
    one.deliver("duplicate")
    (tripped,) = one.moves()
    assert isinstance(tripped, GuardTripped)
    assert (tripped.metric, tripped.value, tripped.sample) == ("acceptance_rate", 0.25, 4)
    assert tripped.causes == ("d2", "d3", "d4")
    (finding,) = standing(one.plan, one.state, one.moment(), 1000)
    assert finding.code == "guard_paused"
    assert finding.expected == "acceptance_rate at least 0.5 over 1h"
    assert finding.actual == "acceptance_rate 0.25 of 4, until 2026-11-24T17:30:04.000Z"
    assert finding.until_ns == one.now_ns + 30 * NS_MINUTE


def test_probes_pass_one_by_one_and_no_more() -> None:
    """After the cool-down three leads pass and a fourth does not; when all three are answered well it closes anew."""
    one = world(PAUSE)
    one.deliver("rejected", 4)
    one.wait(30 * NS_MINUTE - 1)
    assert codes(one) == ["guard_paused"]
    one.wait(1)
    probes = []
    for _ in range(3):
        assert codes(one) == []
        probes.append(one.reserve())
    (waiting,) = standing(one.plan, one.state, one.moment(), 1000)
    assert (waiting.code, "3 of 3 probes sent" in waiting.actual) == ("guard_paused", True)
    for probe, outcome in zip(probes, ["accepted", "rejected", "accepted"], strict=True):
        assert one.steps() == ["trip", "probe"]
        one.answer(probe, outcome)  # type: ignore[arg-type]
    assert one.steps() == ["trip", "probe", "recover"]
    last = one.moves()[-1]
    assert isinstance(last, GuardRecovered)
    assert (last.causes, last.sample) == (tuple(probes), 3)
    assert codes(one) == []
    one.deliver("rejected", 3)
    assert one.steps() == ["trip", "probe", "recover"]  # the old refusals are forgotten
    one.deliver("rejected")
    assert one.steps()[-1] == "trip"


@pytest.mark.parametrize("outcome", ["in_doubt", "rejected", "failed"])
def test_probes_that_fall_short_cost_another_cool_down(outcome: Outcome) -> None:
    """A probe in doubt, or one that failed, is no acceptance. A doubt resolved later changes no verdict."""
    one = world(PAUSE)
    one.deliver("rejected", 4)
    one.wait(30 * NS_MINUTE)
    probes = [one.reserve() for _ in range(3)]
    one.answer(probes[0], "accepted")
    one.answer(probes[1], outcome)
    one.answer(probes[2], outcome)
    assert one.steps() == ["trip", "probe", "trip again"]
    assert one.moves()[-1].causes == tuple(probes[1:])  # type: ignore[union-attr]
    assert codes(one) == ["guard_paused"]
    if outcome == "in_doubt":
        one.note(Settled(delivery_id=probes[1], outcome="accepted", by="operator:a", steady_ns=one.steady_ns))
        assert codes(one) == ["guard_paused"]
    one.wait(30 * NS_MINUTE)
    one.deliver("accepted", 3)
    assert one.steps() == ["trip", "probe", "trip again", "probe", "recover"]


def test_a_probe_that_never_left_is_none() -> None:
    """A process that stops before it sends proves nothing about the buyer: another lead is the probe."""
    one = world(PAUSE)
    one.deliver("rejected", 4)
    one.wait(30 * NS_MINUTE)
    probes = [one.reserve() for _ in range(3)]
    one.note(Settled(delivery_id=probes[0], outcome="failed", reason="restart", by="restart"))
    assert codes(one) == []
    one.reserve()
    assert codes(one) == ["guard_paused"]


@pytest.mark.parametrize(
    ("metric", "trip", "bad", "good"),
    [
        ("error_rate", 0.5, {"outcome": "failed"}, {"outcome": "rejected"}),
        ("timeout_rate", 0.5, {"outcome": "in_doubt", "rule": "transport:read_timeout"}, {"outcome": "failed"}),
        ("late_rate", 0.5, {"outcome": "accepted", "late": True}, {"outcome": "accepted"}),
        ("latency_p95", "1s", {"outcome": "accepted", "took_ms": 1001}, {"outcome": "rejected", "took_ms": 900}),
    ],
)
def test_every_metric_trips_probes_and_recovers(metric: str, trip: Any, bad: Any, good: Any) -> None:
    """The same way for all of them, down to a first set of probes that does not do."""
    one = world(PAUSE | {"metric": metric, "trip": trip, "recover": trip}, deliver_within="30s")
    one.deliver(**bad, count=4)
    assert one.steps() == ["trip"]
    one.wait(30 * NS_MINUTE)
    one.deliver(**bad, count=3)
    assert one.steps() == ["trip", "probe", "trip again"]
    one.wait(30 * NS_MINUTE)
    one.deliver(**good, count=3)
    assert one.steps() == ["trip", "probe", "trip again", "probe", "recover"]


def test_a_probe_without_an_answer_has_no_latency() -> None:
    """However quickly it fell into doubt; the fact repeats what was measured before."""
    one = world(PAUSE | {"metric": "latency_p95", "trip": "1s", "recover": "1s"})
    one.deliver("accepted", 4, took_ms=2000)
    one.wait(30 * NS_MINUTE)
    one.deliver("accepted", 2, took_ms=1)
    one.deliver("in_doubt", took_ms=1)
    last = one.moves()[-1]
    assert isinstance(last, GuardTripped)
    assert (one.steps()[-1], last.value, last.causes) == ("trip again", 2000, ("d7",))


def test_a_probe_that_would_not_trip_may_still_fall_short() -> None:
    """Between `recover` and `trip`: it is named as the cause of the next cool-down."""
    one = world(PAUSE | {"metric": "latency_p95", "trip": "1s", "recover": "500ms"})
    one.deliver("accepted", 4, took_ms=2000)
    one.wait(30 * NS_MINUTE)
    one.deliver("accepted", 2, took_ms=1)
    one.deliver("accepted", took_ms=700)
    last = one.moves()[-1]
    assert isinstance(last, GuardTripped)
    assert (one.steps()[-1], last.value, last.causes) == ("trip again", 700, ("d7",))


def test_a_warning_turns_nobody_away() -> None:
    """It trips, is seen, and closes with the next leads after its cool-down."""
    one = world(PAUSE | {"action": "warn"})
    one.deliver("rejected", 4)
    assert codes(one) == []
    assert stage(one.plan.guards[0], one.state.guards["c"]["acceptance_rate/1h/warn"], one.steady_ns) == "tripped"
    one.deliver("accepted", 5)
    assert one.steps() == ["trip"]
    one.wait(30 * NS_MINUTE)
    one.deliver("accepted", 3)
    assert one.steps() == ["trip", "probe", "recover"]


def test_a_throttle_lets_a_share_pass() -> None:
    """At a quarter the fourth, eighth and twelfth lead pass; at 0.4 the third, fifth, eighth, tenth."""
    quarter = guard(metric="error_rate", over=9, action="throttle", throttle_to=0.25)
    assert [n for n in range(1, 13) if passes(quarter, n - 1)] == [4, 8, 12]
    other = guard(metric="error_rate", over=9, action="throttle", throttle_to=0.4)
    assert [n for n in range(1, 11) if passes(other, n - 1)] == [3, 5, 8, 10]
    thin = guard(metric="error_rate", over=9, action="throttle", throttle_to=0.29)
    assert sum(passes(thin, n) for n in range(100)) == 29


def test_a_throttle_says_which_lead_it_counted() -> None:
    """The refusal names metric, value, sample, the number of the lead and the end."""
    one = world(PAUSE | {"action": "throttle", "throttle_to": 0.25})
    one.deliver("rejected", 4)
    assert codes(one) == []
    (finding,) = throttle_rule(one.plan, one.state, one.moment())
    assert finding.code == "guard_throttled"
    assert finding.expected == "acceptance_rate at least 0.5 over 1h; 0.25 of leads until it recovers"
    assert finding.actual == "acceptance_rate 0 of 4, lead 1 since then, until 2026-11-24T17:30:04.000Z"


def test_a_throttle_counts_on_over_its_cool_downs() -> None:
    """Probes that fall short begin another cool-down, not another count; a guard that closed begins at one."""
    one = world(PAUSE | {"action": "throttle", "throttle_to": 0.25, "probes": 1})
    one.deliver("rejected", 4)
    phases = one.state.guards["c"]
    for number in range(3):
        one.note(Decided(lead_id=f"x{number}", terms_version="v", throttled=("c",)))
    one.note(Received(lead_id="y", source_id="web", lead_type="solar"), factory.lead("y"))
    one.note(Decided(lead_id="y", terms_version="v", throttled=("c",)))
    assert (phases["acceptance_rate/1h/throttle"].turns, one.state.open["y"].throttled) == (1, ("c",))
    one.wait(30 * NS_MINUTE)
    one.deliver("rejected")
    assert (one.steps()[-1], phases["acceptance_rate/1h/throttle"].turns) == ("trip again", 1)
    one.wait(30 * NS_MINUTE)
    one.deliver("accepted")
    one.deliver("rejected", 4)
    assert (one.steps()[-1], phases["acceptance_rate/1h/throttle"].turns) == ("trip", 0)


def test_what_terms_assume_of_a_doubt_is_no_answer() -> None:
    """An operator's or the buyer's word counts; `in_doubt_resolves` does not."""
    one = world(PAUSE)
    doubts = [one.reserve() for _ in range(8)]
    for doubt in doubts:
        one.attempt(doubt, "in_doubt")
        one.note(Settled(delivery_id=doubt, outcome="in_doubt"))
    for doubt in doubts[:4]:
        one.note(Settled(delivery_id=doubt, outcome="rejected", by="terms", steady_ns=one.steady_ns))
    assert one.steps() == []
    for doubt in doubts[4:]:
        one.note(Settled(delivery_id=doubt, outcome="rejected", by="buyer:b", steady_ns=one.steady_ns))
    assert one.steps() == ["trip"]


def test_test_leads_prove_nothing() -> None:
    """They are sent to another address: neither sample nor probe."""
    one = world(PAUSE)
    for _ in range(9):
        one.answer(one.reserve(test=True), "rejected", unhealthy=True)
    assert (one.moves(), one.state.outcomes) == ([], {})


def test_five_sick_attempts_running_open_the_breaker() -> None:
    """A healthy one in between starts the count anew. Half a minute later one probe decides."""
    one = world()
    one.deliver("in_doubt", 4, unhealthy=True, rule="table:server_error")
    one.deliver("rejected")
    one.deliver("in_doubt", 4, unhealthy=True, rule="table:unclassified")
    assert one.steps() == []
    one.deliver("in_doubt", unhealthy=True, rule="table:unclassified")
    (tripped,) = one.moves()
    assert isinstance(tripped, GuardTripped)
    assert (tripped.guard, tripped.detail, len(tripped.causes)) == ("breaker", "table:unclassified", 9)
    assert codes(one) == ["endpoint_unhealthy"]
    one.wait(30 * NS_S)
    assert codes(one) == []
    probe = one.reserve()
    assert codes(one) == ["endpoint_unhealthy"]
    one.answer(probe, "failed", unhealthy=True)
    assert one.steps() == ["trip", "probe", "trip again"]
    one.wait(30 * NS_S)
    one.deliver("rejected")
    assert (one.steps()[-1], codes(one)) == ("recover", [])
    one.deliver("in_doubt", 4, unhealthy=True)
    assert one.steps()[-1] == "recover"


def test_half_of_twenty_opens_the_breaker_and_five_minutes_forget() -> None:
    """Ten of twenty, spread so that never five run; the same ones six minutes apart do not."""
    slow = world()
    for _ in range(30):
        slow.deliver("failed", unhealthy=True, apart_ns=30 * NS_S)
        slow.deliver("accepted", apart_ns=30 * NS_S)
    assert slow.steps() == []
    quick = world()
    for _ in range(9):
        quick.deliver("failed", unhealthy=True)
        quick.deliver("accepted")
    quick.deliver("failed", unhealthy=True)
    assert quick.steps() == []
    quick.deliver("accepted")
    assert quick.steps() == ["trip"]


def test_a_wall_clock_that_steps_moves_no_cool_down() -> None:
    """The cool-down runs on the steady clock; its end is told by the wall clock of now."""
    one = world(PAUSE)
    one.deliver("rejected", 4)
    one.now_ns -= 2 * NS_HOUR
    (finding,) = standing(one.plan, one.state, one.moment(), 1000)
    assert finding.until_ns == one.now_ns + 30 * NS_MINUTE
    one.wait(30 * NS_MINUTE)
    assert codes(one) == []
    other = world(PAUSE)
    other.deliver("rejected", 4)
    other.now_ns += NS_HOUR
    assert codes(other) == ["guard_paused"]


def test_every_stage_survives_a_restart() -> None:
    """Tripped, probing and closed again: what is loaded is what was dumped, and goes on the same way."""
    one = world(PAUSE)
    for step in (
        lambda: one.deliver("rejected", 4),
        lambda: one.wait(30 * NS_MINUTE),
        lambda: one.deliver("accepted", 2),
        lambda: one.reserve(),
    ):
        step()
        again = State.load(one.state.dump())
        assert again.dump() == one.state.dump()
        one.state = again
    one.answer("d7", "accepted")
    assert one.steps() == ["trip", "probe", "recover"]


def test_what_is_kept_is_bounded() -> None:
    """A contract without guards keeps the breaker's minutes, one with guards as many as a guard may look at."""
    plain = world()
    plain.deliver("accepted", 2000, apart_ns=NS_S)
    assert len(plain.state.outcomes["c"].at) <= 601
    assert not any(plain.state.outcomes["c"].ids)
    outcomes = Outcomes()
    for number in range(OUTCOMES_MAX + 5000):
        outcomes.add(number, ATTEMPT | ACCEPTED, f"d{number}", 0, guarded=True)
    assert OUTCOMES_MAX <= len(outcomes.at) == len(outcomes.bits) == len(outcomes.took_us) <= OUTCOMES_MAX + 1000
    assert len(outcomes.ids) <= 100
    assert (outcomes.total, outcomes.named(0)[-1][0]) == (OUTCOMES_MAX + 5000, f"d{OUTCOMES_MAX + 4999}")
    reading = read(guard(metric="error_rate", over="30d"), outcomes, None, OUTCOMES_MAX + 5000)
    assert reading == Reading(0.0, OUTCOMES_MAX)
