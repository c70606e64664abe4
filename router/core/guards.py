"""Guards and the breaker, one mechanism: when does a contract's guard trip, and when is it closed again? Pure verdicts.

Every guard goes the same way. It is closed while its metric keeps to `trip`. Beyond it, it is tripped (and warns,
throttles or pauses) until its cool-down is over; then `probes` leads pass, and only they. When all are answered it
closes and counts anew if they reached `recover`, else it is tripped for another cool-down. The breaker is the guard
every contract has: its metric is the endpoint's health, its cool-down half a minute, its probe one.

Each step is a fact, noted in the batch of what brought it about, so it holds before the next decision. Only the end of
a cool-down is no fact of its own: it is a matter of time, and `GuardProbing` is noted with the first lead that passes.

A fact that says a delivery was returned makes `return_rate` work when its fold adds a sample of `RETURNED` to the
contract's outcomes and `consequences` answers it with `_trips`, as it answers an attempt.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from router.core.easing import lets_pass
from router.core.outcomes import (
    ACCEPTED,
    ATTEMPT,
    BREAKER,
    BREAKER_NS,
    DECLINED,
    DOUBTFUL,
    ERROR,
    LATE,
    RETURNED,
    TIMEOUT,
    UNHEALTHY,
    UNMEASURED,
    Outcomes,
    Phase,
    Probe,
)
from router.core.state import Held, State, resolves_a_doubt
from router.model.facts import AnyFact, Attempted, GuardFact, GuardProbing, GuardRecovered, GuardTripped, Settled
from router.model.times import NS_S, format_duration
from router.terms.book import LATENCIES_MAX, Book, ContractPlan, GuardPlan

#: The guard every contract has (SPEC section 4): half of at least 20 attempts in 5 minutes, or 5 running.
BREAKER_PLAN: Final = GuardPlan(
    key=BREAKER,
    metric="endpoint",
    over_ns=BREAKER_NS,
    min_sample=20,
    trip=0.5,
    recover=0.0,
    action="pause",
    cool_down_ns=30 * NS_S,
    probes=1,
)
RUNNING_MAX: Final = 5
#: A fact names at most so many deliveries.
CAUSES_MAX: Final = 20
_P95: Final = 0.95
_TOLERANCE: Final = 1e-9

Stage = Literal["closed", "tripped", "throttled", "probing"]


class Metric(NamedTuple):
    """A share: of the samples with a `counted` bit those with a `hit` bit. `below`: falling short of `trip` trips."""

    counted: int
    hit: int
    below: bool = False

    @property
    def against(self) -> int:
        """The bits of the samples that speak against the contract."""
        return DECLINED if self.below else self.hit


METRICS: Final[dict[str, Metric]] = {
    "acceptance_rate": Metric(ACCEPTED | DECLINED, ACCEPTED, below=True),
    "error_rate": Metric(ATTEMPT, ERROR),
    "timeout_rate": Metric(ATTEMPT, TIMEOUT),
    "late_rate": Metric(ATTEMPT, LATE),
    "return_rate": Metric(ACCEPTED, RETURNED),
    BREAKER_PLAN.metric: Metric(ATTEMPT, UNHEALTHY),
}
LATENCY: Final = "latency_p95"

_PLAIN, _HIT, _BESIDE = b".x+"


class _Marks(NamedTuple):
    """How a metric reads sample bytes: counted ones as `.` or `x` (a hit), hits that are not counted as `+`."""

    table: bytes
    passed_over: bytes


def _marks_of(metric: Metric) -> _Marks:
    def mark(bits: int) -> int:
        if bits & metric.counted:
            return _HIT if bits & metric.hit else _PLAIN
        return _BESIDE

    table = bytes(mark(bits) for bits in range(256))
    return _Marks(table, bytes(bits for bits in range(256) if not bits & (metric.counted | metric.hit)))


_MARKS: Final = {name: _marks_of(metric) for name, metric in METRICS.items()}


class Reading(NamedTuple):
    """What a guard's metric says: its value (a share, or milliseconds), and of how many outcomes."""

    value: float
    sample: int


def all_guards(plan: ContractPlan) -> tuple[GuardPlan, ...]:
    """A contract's guards, its breaker last."""
    return (*plan.guards, BREAKER_PLAN)


# -- reading -------------------------------------------------------------------------------------


def read(guard: GuardPlan, outcomes: Outcomes | None, phase: Phase | None, steady_ns: int) -> Reading | None:
    """The guard's metric over its window, since it last closed; None while there is nothing to read."""
    if outcomes is None:
        return None
    start = outcomes.start(*_window(guard, phase, steady_ns))
    if guard.metric == LATENCY:
        start = max(start, len(outcomes.took_us) - LATENCIES_MAX)
        measured = [took_us for took_us in outcomes.took_us[start:] if took_us != UNMEASURED]
        return _latency(measured[-(guard.last or 0) :])
    marks = outcomes.bits[start:].translate(_MARKS[guard.metric].table, _MARKS[guard.metric].passed_over)
    if guard.last is not None:
        marks = _newest(marks, guard.last)
    sample = len(marks) - marks.count(_BESIDE)
    hits = len(marks) - marks.count(_PLAIN)
    return Reading(min(1.0, hits / sample), sample) if sample else None


def _window(guard: GuardPlan, phase: Phase | None, steady_ns: int) -> tuple[int, int | None]:
    since_ns = steady_ns - guard.over_ns if guard.over_ns is not None else None
    return (phase.start if phase is not None else 0), since_ns


def _newest(marks: bytearray, count: int) -> bytearray:
    """The marks from the `count`-th last counted one on."""
    if _BESIDE not in marks:
        return marks[-count:]
    place = len(marks)
    while count and place:
        place -= 1
        count -= marks[place] != _BESIDE
    return marks[place:]


def _latency(took_us: Sequence[int]) -> Reading | None:
    """The nearest-rank 95th percentile, milliseconds."""
    if not took_us:
        return None
    ranked = sorted(took_us)
    return Reading(ranked[math.ceil(_P95 * len(ranked)) - 1] / 1000, len(ranked))


def _read_probes(guard: GuardPlan, probes: Iterable[Probe]) -> Reading:
    """The guard's metric over its probes alone: all of them are counted, and one in doubt counts against it."""
    found = list(probes)
    if guard.metric == LATENCY:
        slowest = _latency([probe.took_us for probe in found])
        unmeasured = slowest is None or any(map(_is_unmeasured, found))
        return Reading(math.inf if unmeasured or slowest is None else slowest.value, len(found))
    hits = sum(1 for probe in found if probe.bits & METRICS[guard.metric].hit)
    return Reading(hits / len(found), len(found))


def _is_unmeasured(probe: Probe) -> bool:
    return probe.bits == DOUBTFUL or probe.took_us == UNMEASURED


def _fell_short(guard: GuardPlan, probe: Probe) -> bool:
    """Whether a probe is one of those that kept its guard from closing."""
    if guard.metric == LATENCY:
        return _is_unmeasured(probe) or probe.took_us > guard.recover * 1000
    return bool(probe.bits & METRICS[guard.metric].hit) is not _is_below(guard)


# -- verdicts ------------------------------------------------------------------------------------


def trips(guard: GuardPlan, reading: Reading | None, running: int = 0) -> bool:
    """Whether a closed guard trips on what it reads. `running`: unhealthy attempts in a row, for the breaker."""
    if guard.key == BREAKER and running >= RUNNING_MAX:
        return True
    if reading is None or reading.sample < guard.min_sample:
        return False
    if guard.key == BREAKER:
        return reading.value >= guard.trip
    return _beyond(guard, reading.value, guard.trip)


def recovers(guard: GuardPlan, reading: Reading) -> bool:
    """Whether what the probes came to closes the guard."""
    return not _beyond(guard, reading.value, guard.recover)


def _beyond(guard: GuardPlan, value: float, threshold: float) -> bool:
    """On the wrong side of a threshold. A share is a quotient: what equals the threshold must not miss it by a bit."""
    return value < threshold - _TOLERANCE if _is_below(guard) else value > threshold + _TOLERANCE


def _is_below(guard: GuardPlan) -> bool:
    return guard.metric in METRICS and METRICS[guard.metric].below


def stage(guard: GuardPlan, phase: Phase | None, steady_ns: int) -> Stage:
    """What a guard is at, at a moment: a tripped one whose cool-down is over is probing, whoever noticed."""
    if phase is None or phase.state == "closed":
        return "closed"
    if phase.state == "probing" or steady_ns >= phase.until_ns:
        return "probing"
    return "throttled" if guard.action == "throttle" else "tripped"


def is_probed_out(phase: Phase) -> bool:
    """Whether a probing guard lets nobody more pass for now."""
    return phase.state == "probing" and len(phase.probes) >= phase.probes_max


def passes(guard: GuardPlan, turns: int) -> bool:
    """Whether a throttle lets the next lead pass after it counted so many."""
    return lets_pass(guard.throttle_ppm, turns)


# -- facts ---------------------------------------------------------------------------------------


def consequences(
    book: Book, state: State, fact: AnyFact, held: Held | None, at_ns: int, steady_ns: int
) -> Sequence[GuardFact]:
    """What follows for the guards of a contract from a fact about one of its deliveries that was just applied.

    `held` is the delivery as it stood before. A test lead proves nothing.
    """
    if held is None or held.test:
        return ()
    plan = book.contracts.get(held.contract_id)
    if plan is None:
        return ()
    if isinstance(fact, Attempted):
        return _trips(plan, state, at_ns, steady_ns, detail=_detail(fact))
    if isinstance(fact, Settled):
        answered = _answered(plan, state, at_ns, steady_ns)
        return [*answered, *_trips(plan, state, at_ns, steady_ns)] if resolves_a_doubt(held, fact) else answered
    return ()


def probing(plan: ContractPlan, state: State, steady_ns: int) -> list[GuardProbing]:
    """A lead is about to be reserved for the contract: which of its guards' cool-downs end with it."""
    phases = state.guards.get(plan.id, {})
    return [
        GuardProbing(contract_id=plan.id, guard=guard.key, metric=guard.metric, probes=guard.probes)
        for guard in all_guards(plan)
        if (phase := phases.get(guard.key)) is not None
        and phase.state == "tripped"
        and stage(guard, phase, steady_ns) == "probing"
    ]


def orphans(book: Book, state: State) -> list[GuardRecovered]:
    """Guards that stand tripped and are not in the terms any more: nothing would ever close them."""
    found = []
    for contract_id, phases in state.guards.items():
        plan = book.contracts.get(contract_id)
        known = {guard.key for guard in all_guards(plan)} if plan is not None else set()
        found += [
            GuardRecovered(contract_id=contract_id, guard=key, metric=key.partition("/")[0], by="terms")
            for key, phase in phases.items()
            if phase.state != "closed" and key not in known
        ]
    return found


def _trips(plan: ContractPlan, state: State, at_ns: int, steady_ns: int, detail: str | None = None) -> list[GuardFact]:
    outcomes = state.outcomes.get(plan.id)
    if outcomes is None:
        return []
    sick = outcomes.unhealthy_at_ns and outcomes.unhealthy_at_ns > steady_ns - BREAKER_NS
    guards = all_guards(plan) if sick else plan.guards
    if not guards:
        return []
    phases = state.guards.get(plan.id, {})
    found: list[GuardFact] = []
    for guard in guards:
        phase = phases.get(guard.key)
        if phase is not None and phase.state != "closed":
            continue
        reading = read(guard, outcomes, phase, steady_ns)
        if reading is not None and trips(guard, reading, outcomes.running):
            causes = _causes(guard, outcomes, phase, steady_ns)
            found.append(_tripped(plan, guard, reading, causes, at_ns, steady_ns, detail=detail))
    return found


def _answered(plan: ContractPlan, state: State, at_ns: int, steady_ns: int) -> list[GuardFact]:
    """Verdicts on the guards whose probes are all back."""
    phases = state.guards.get(plan.id)
    found: list[GuardFact] = []
    for guard in all_guards(plan) if phases else ():
        phase = phases.get(guard.key) if phases else None
        if phase is None or not phase.answered:
            continue
        reading = _read_probes(guard, phase.probes.values())
        if recovers(guard, reading):
            found.append(
                GuardRecovered(
                    contract_id=plan.id,
                    guard=guard.key,
                    metric=guard.metric,
                    value=reading.value,
                    sample=reading.sample,
                    causes=tuple(phase.probes)[:CAUSES_MAX],
                )
            )
            continue
        if math.isinf(reading.value):
            reading = reading._replace(value=phase.value)
        causes = tuple(id_ for id_, probe in phase.probes.items() if _fell_short(guard, probe))
        found.append(_tripped(plan, guard, reading, causes, at_ns, steady_ns, again=True))
    return found


def _tripped(
    plan: ContractPlan,
    guard: GuardPlan,
    reading: Reading,
    causes: tuple[str, ...],
    at_ns: int,
    steady_ns: int,
    *,
    again: bool = False,
    detail: str | None = None,
) -> GuardTripped:
    return GuardTripped(
        contract_id=plan.id,
        guard=guard.key,
        metric=guard.metric,
        action=guard.action,
        value=round(reading.value, 6),
        sample=reading.sample,
        until_ns=at_ns + guard.cool_down_ns,
        steady_until_ns=steady_ns + guard.cool_down_ns,
        causes=causes[-CAUSES_MAX:],
        again=again,
        detail=detail if guard.key == BREAKER else None,
    )


def _causes(guard: GuardPlan, outcomes: Outcomes, phase: Phase | None, steady_ns: int) -> tuple[str, ...]:
    rows = outcomes.named(outcomes.start(*_window(guard, phase, steady_ns)))
    found = dict.fromkeys(id_ for id_, bits, took_us in rows if _speaks_against(guard, bits, took_us))
    return tuple(found)[-min(CAUSES_MAX, guard.last or CAUSES_MAX) :]


def _speaks_against(guard: GuardPlan, bits: int, took_us: int) -> bool:
    if guard.metric == LATENCY:
        return took_us > guard.trip * 1000
    return bool(bits & METRICS[guard.metric].against)


def _detail(fact: Attempted) -> str:
    """What the last attempt was classified by: never what a buyer said."""
    return fact.rule if fact.status is None else f"{fact.rule}, status {fact.status}"


# -- words ---------------------------------------------------------------------------------------


def wanted(guard: GuardPlan) -> str:
    """What a guard wants, as a refusal's `expected`."""
    if guard.key == BREAKER:
        return f"at most {RUNNING_MAX - 1} unhealthy attempts running, and under half of {guard.min_sample} over 5m"
    side = "at least" if _is_below(guard) else "at most"
    over = f"the last {guard.last}" if guard.last is not None else format_duration(guard.over_ns or 0)
    return f"{guard.metric} {side} {shown(guard, guard.trip)} over {over}"


def seen(guard: GuardPlan, value: float, sample: int) -> str:
    """What a guard read, as a refusal's `actual`."""
    if guard.key == BREAKER:
        return f"{round(value * sample)} of {sample} attempts unhealthy"
    return f"{guard.metric} {shown(guard, value)} of {sample}"


def shown(guard: GuardPlan, value: float) -> str:
    """A metric's value in words."""
    return f"{value:.0f}ms" if guard.metric == LATENCY else f"{value:.4g}"
