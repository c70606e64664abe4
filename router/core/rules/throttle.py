"""`guard_throttled`: a tripped guard, or the way back from a pause, lets only a share pass and not this lead.

The one state rule that depends on how many leads came: of those for which the contract is otherwise eligible, the n-th
passes when floor(n*x) > floor((n-1)*x). So it is asked last, and the decision says whom it counted.
"""

from collections.abc import Iterator

from router.core.easing import lets_pass, share_ppm
from router.core.guards import passes, seen, stage, wanted
from router.core.outcomes import Phase
from router.core.overrides import guards_hold
from router.core.rules.finding import Finding
from router.core.rules.standing import Moment, clock_of
from router.core.state import State
from router.model.times import format_duration, format_instant
from router.terms.book import ContractPlan, GuardPlan


def throttles(plan: ContractPlan, state: State, moment: Moment) -> bool:
    """Whether anything lets only a share of the contract's leads pass now."""
    easing = state.easing.get(plan.id)
    if easing is not None and easing.step(moment.at_ns) is not None:
        return True
    return bool(_throttling_guards(plan, state, moment))


def _throttling_guards(plan: ContractPlan, state: State, moment: Moment) -> list[tuple[GuardPlan, Phase]]:
    phases = state.guards.get(plan.id)
    if not phases or not guards_hold(state.overrides, plan, moment.at_ns):
        return []
    return [
        (guard, phases[guard.key])
        for guard in plan.guards
        if guard.key in phases and stage(guard, phases[guard.key], moment.steady_ns) == "throttled"
    ]


def throttle_rule(plan: ContractPlan, state: State, moment: Moment) -> Iterator[Finding]:
    """`guard_throttled` for every throttle that does not let the next lead pass; the contract is otherwise eligible."""
    for guard, phase in _throttling_guards(plan, state, moment):
        if not passes(guard, phase.turns):
            until_ns = clock_of(moment, phase.until_ns)
            expected = f"{wanted(guard)}; {shown_share(guard)} of leads until it recovers"
            actual = f"{seen(guard, phase.value, phase.sample)}, lead {phase.turns + 1} since then, "
            yield Finding("guard_throttled", expected, f"{actual}until {format_instant(until_ns)}", until_ns)
    yield from _easing_rule(plan, state, moment)


def _easing_rule(plan: ContractPlan, state: State, moment: Moment) -> Iterator[Finding]:
    easing = state.easing.get(plan.id)
    step = None if easing is None else easing.step(moment.at_ns)
    if easing is None or step is None or lets_pass(share_ppm(step), easing.turns):
        return
    expected = f"{share_ppm(step) / 1_000_000:.4g} of leads while it comes back from its pause"
    ramp = f"ramped over {format_duration(easing.over_ns)} by {easing.by}"
    actual = f"lead {easing.turns + 1} since then, {ramp}, until {format_instant(easing.until_ns)}"
    yield Finding("guard_throttled", expected, actual, easing.until_ns)


def shown_share(guard: GuardPlan) -> str:
    """The share a throttle lets pass."""
    return f"{guard.throttle_ppm / 1_000_000:.4g}"
