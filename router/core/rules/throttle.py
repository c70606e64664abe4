"""`guard_throttled`: a tripped guard lets only a share of leads pass, and this one is not in it.

The one state rule that depends on how many leads came: of those for which the contract is otherwise eligible, the n-th
passes when floor(n*x) > floor((n-1)*x). So it is asked last, and the decision says whom it counted.
"""

from collections.abc import Iterator

from router.core.guards import passes, seen, stage, wanted
from router.core.outcomes import Phase
from router.core.rules.finding import Finding
from router.core.rules.standing import Moment, clock_of
from router.core.state import State
from router.model.times import format_instant
from router.terms.book import ContractPlan, GuardPlan


def throttles(plan: ContractPlan, state: State, moment: Moment) -> list[tuple[GuardPlan, Phase]]:
    """The contract's guards that throttle it now."""
    phases = state.guards.get(plan.id)
    if not phases:
        return []
    return [
        (guard, phases[guard.key])
        for guard in plan.guards
        if guard.key in phases and stage(guard, phases[guard.key], moment.steady_ns) == "throttled"
    ]


def throttle_rule(plan: ContractPlan, state: State, moment: Moment) -> Iterator[Finding]:
    """`guard_throttled` for every throttle that does not let the next lead pass; the contract is otherwise eligible."""
    for guard, phase in throttles(plan, state, moment):
        if not passes(guard, phase.turns):
            until_ns = clock_of(moment, phase.until_ns)
            expected = f"{wanted(guard)}; {shown_share(guard)} of leads until it recovers"
            actual = f"{seen(guard, phase.value, phase.sample)}, lead {phase.turns + 1} since then, "
            yield Finding("guard_throttled", expected, f"{actual}until {format_instant(until_ns)}", until_ns)


def shown_share(guard: GuardPlan) -> str:
    """The share a throttle lets pass."""
    return f"{guard.throttle_ppm / 1_000_000:.4g}"
