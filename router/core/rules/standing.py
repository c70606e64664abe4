"""Standing rules: lifecycle, schedule, capacity. They depend on the contract and its use at a moment, not on the lead.

Because the answer is the same for every lead, it is worked out once and remembered until time or an event can change
it: every refusal says until when it surely holds, every pass until when it may.
"""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from msgspec import Struct

from router.core.calendar import (
    FOREVER,
    ROLLING_NS,
    Calendar,
    Window,
    day_start,
    local_day,
    open_time,
    todays_spans,
    when_elapsed,
)
from router.core.guards import BREAKER_PLAN, all_guards, is_probed_out, seen, stage, wanted
from router.core.overrides import caps_now, day_limit_now, ends_ns, guards_hold, note
from router.core.rules.finding import Finding
from router.core.state import Answers, State
from router.core.usage import Usage
from router.model.money import format_money
from router.model.times import format_age, format_instant
from router.terms.book import CapPlan, ContractPlan, RampPlan
from router.terms.schema import Buyer

_NOTHING: Final = Usage()
_NO_ANSWERS: Final = Answers()


class Moment(Struct, frozen=True, gc=False):
    """When a question is asked. `at_ns` is the wall clock, `steady_ns` a clock that never steps; both nanoseconds."""

    at_ns: int
    steady_ns: int
    calendar: Calendar


StandingRule = Callable[[ContractPlan, State, Moment, int], Iterator[Finding]]


def standing(plan: ContractPlan, state: State, moment: Moment, price: int) -> Iterator[Finding]:
    """Every standing rule that refuses the contract now, in the order of SPEC section 3. `price` is minor units."""
    for rule in rules_for(plan):
        yield from rule(plan, state, moment, price)


def rules_for(plan: ContractPlan) -> tuple[StandingRule, ...]:
    """The standing rules that have anything to say about a contract, in order: the others are not in its terms."""
    wallet, terms = plan.buyer.wallet, plan.terms
    named: tuple[tuple[StandingRule, bool], ...] = (
        (lifecycle_rule, terms.status != "live" or plan.buyer.status != "live" or plan.go_live is not None),
        (certified_rule, plan.must_be_certified),
        (pause_rule, True),
        (schedule_rule, plan.hours is not None),
        (guard_rule, True),
        (wallet_rule, wallet is not None and wallet.mode != "none"),
        (caps_rule, bool(plan.caps)),
        (ramp_rule, plan.ramp is not None),
        (pacing_rule, terms.pacing == "even"),
        (rate_rule, plan.rate is not None),
        (concurrency_rule, True),
    )
    rules = tuple([rule for rule, speaks in named if speaks])
    return _SHARED.setdefault(rules, rules)


#: There are few combinations, and contracts by the ten thousand.
_SHARED: Final[dict[tuple[StandingRule, ...], tuple[StandingRule, ...]]] = {}


def passes_ever(plan: ContractPlan) -> bool:
    """Whether what refuses for a moment can pass: a rate of nothing, or no delivery at a time, never does."""
    return plan.buyer.max_in_flight > 0 and (plan.rate is None or plan.rate.burst > 0)


def is_restless(plan: ContractPlan) -> bool:
    """Whether any sale may change what stands against a contract: others do so only at an edge, these at any time."""
    return plan.ramp is not None or plan.terms.pacing == "even"


def lifecycle_rule(plan: ContractPlan, _state: State, moment: Moment, _price: int) -> Iterator[Finding]:
    """`contract_inactive`, `buyer_inactive` (draft, closed, before go_live) and `paused` by terms."""
    status, buyer = plan.terms.status, plan.buyer.status
    if status in ("draft", "closed"):
        yield Finding("contract_inactive", "live", status)
    elif plan.go_live is not None and moment.at_ns < (starts := day_start(plan.go_live, plan.zone)):
        yield Finding("contract_inactive", f"from {plan.go_live}", "before go_live", starts)
    if buyer in ("draft", "closed"):
        yield Finding("buyer_inactive", "live", buyer)
    if status == "paused" or buyer == "paused":
        yield Finding("paused", "live", f"{'contract' if status == 'paused' else 'buyer'} is paused in its terms")


def is_certified(plan: ContractPlan, state: State) -> bool:
    """Whether the contract's endpoint passed its certification as it is now."""
    certificate = state.certificates.get(plan.endpoint_key)
    return certificate is not None and certificate.passed_version == plan.endpoint.version


def certified_rule(plan: ContractPlan, state: State, _moment: Moment, _price: int) -> Iterator[Finding]:
    """`contract_inactive`: `onboarding.require_certified`, and the endpoint is not certified as it is now."""
    if plan.must_be_certified and not is_certified(plan, state):
        certificate = state.certificates.get(plan.endpoint_key)
        never = certificate is None or certificate.passed_version is None
        actual = "never certified" if never else "changed since it was certified"
        yield Finding("contract_inactive", f"endpoint {plan.endpoint.name} certified at its present version", actual)


def pause_rule(plan: ContractPlan, state: State, moment: Moment, _price: int) -> Iterator[Finding]:
    """`paused` by somebody, or by a built-in rule, for a while or until resumed."""
    for owner in (plan.owner, plan.buyer_owner) if state.paused else ():
        pause = state.paused.get(owner)
        if pause is not None and (pause.until_ns is None or moment.at_ns < pause.until_ns):
            until = "" if pause.until_ns is None else f" until {format_instant(pause.until_ns)}"
            actual = f"{owner} paused by {pause.by}{until}: {pause.reason}"
            yield Finding("paused", "live", actual, FOREVER if pause.until_ns is None else pause.until_ns)


def schedule_rule(plan: ContractPlan, _state: State, moment: Moment, _price: int) -> Iterator[Finding]:
    """`out_of_schedule`: the local wall time lies outside the opening hours."""
    if plan.hours is None:
        return
    now = moment.calendar.opening(plan.hours, moment.at_ns, plan.zone)
    if not now.open:
        assert plan.terms.schedule is not None
        wanted, until = ", ".join(plan.terms.schedule.open), f"until {format_instant(now.until_ns)}"
        today = local_day(moment.at_ns, plan.zone)
        if today in plan.hours.closed:
            yield Finding("out_of_schedule", f"{wanted}, not on {today}", f"{today}, {until}", now.until_ns)
        else:
            yield Finding("out_of_schedule", wanted, f"closed {until}", now.until_ns)


def guard_rule(plan: ContractPlan, state: State, moment: Moment, _price: int) -> Iterator[Finding]:
    """`guard_paused`, `endpoint_unhealthy`: a guard or the breaker tripped, or waits for its probes to be answered."""
    phases = state.guards.get(plan.id)
    hold = phases and guards_hold(state.overrides, plan, moment.at_ns)
    for guard in all_guards(plan) if phases else ():
        phase = phases.get(guard.key) if phases else None
        if phase is None or guard.action == "warn" or not (hold or guard is BREAKER_PLAN):
            continue
        at = stage(guard, phase, moment.steady_ns)
        if guard is BREAKER_PLAN:
            code = "endpoint_unhealthy"
        else:
            code = "guard_paused" if guard.action == "pause" else "guard_throttled"
        actual = seen(guard, phase.value, phase.sample)
        if at == "tripped":
            until_ns = clock_of(moment, phase.until_ns)
            yield Finding(code, wanted(guard), f"{actual}, until {format_instant(until_ns)}", until_ns)
        elif at == "probing" and is_probed_out(phase):
            probes = f"{len(phase.probes)} of {phase.probes_max} probes sent"
            yield Finding(code, wanted(guard), f"{actual}, until they are answered: {probes}")


def clock_of(moment: Moment, steady_ns: int) -> int:
    """The wall clock at an instant of the steady one, as far as one can tell now."""
    return moment.at_ns + steady_ns - moment.steady_ns


def balance(buyer: Buyer, state: State) -> int | None:
    """What a buyer's wallet can still pay, minor units: deposits and credit less what was sold to it or is held.

    None where the buyer has no wallet.
    """
    wallet = buyer.wallet
    if wallet is None or wallet.mode == "none":
        return None
    credit = int(wallet.credit_limit or 0) if wallet.mode == "postpay" else 0
    return state.deposits.get(buyer.id, 0) + credit - state.usage.get(f"buyer:{buyer.id}", _NOTHING).spend_total


def wallet_rule(plan: ContractPlan, state: State, _moment: Moment, price: int) -> Iterator[Finding]:
    """`balance_exhausted`: the buyer's balance (with its credit, when it pays later) does not cover the price."""
    left = balance(plan.buyer, state)
    if left is not None and left < price:
        yield Finding("balance_exhausted", f"at least {format_money(price)}", format_money(left))


def cap_window(cap: CapPlan, plan: ContractPlan, moment: Moment) -> Window:
    """The stretch of instants a cap counts now: a calendar window of the contract's zone, or the rolling one."""
    if cap.rolling:
        return Window("rolling", moment.at_ns - ROLLING_NS[cap.per] + 1, FOREVER)
    return moment.calendar.window(cap.per, moment.at_ns, plan.zone)


def cap_used(cap: CapPlan, usage: Usage, window: Window) -> int:
    """How much of a cap is used (confirmed and held): leads, or minor units."""
    if cap.per == "total":
        return usage.leads_total if cap.limit is not None else usage.spend_total
    if cap.limit is not None:
        return usage.leads(window.start_ns, window.end_ns)
    return usage.spend(window.start_ns, window.end_ns)


def caps_rule(plan: ContractPlan, state: State, moment: Moment, price: int) -> Iterator[Finding]:
    """`cap_reached` for every cap, the buyer's included, that has no room for one more lead at this price."""
    for cap in caps_now(state.overrides, plan, moment.at_ns):
        usage = state.usage.get(cap.owner, _NOTHING)
        window = cap_window(cap, plan, moment)
        used = cap_used(cap, usage, window)
        if cap.limit is not None:
            if used + 1 > cap.limit:
                excess = used - cap.limit
                wanted = f"at most {cap.limit} leads" + note(state.overrides, cap, moment.at_ns)
                yield _cap_finding(cap, window, usage, wanted, str(used), excess)
        elif cap.spend is not None and used + price > cap.spend:
            wanted = f"at most {format_money(cap.spend)}" + note(state.overrides, cap, moment.at_ns)
            yield _cap_finding(cap, window, usage, wanted, f"{format_money(used)} and {format_money(price)} more", 0)


def _cap_finding(cap: CapPlan, window: Window, usage: Usage, wanted: str, used: str, excess: int) -> Finding:
    until = window.end_ns
    if cap.rolling:
        oldest = usage.oldest_since(window.start_ns, excess)
        until = FOREVER if oldest is None else oldest + ROLLING_NS[cap.per]
    whose = "buyer's " if cap.owner.startswith("buyer:") else ""
    form = "rolling " if cap.rolling else ""
    return Finding("cap_reached", f"{whose}cap {cap.id}: {wanted} per {form}{cap.per}", used, until)


def ramp_limit(plan: ContractPlan, ramp: RampPlan, answers: Answers, moment: Moment) -> int:
    """The ramp's limit today: `start` and one `step` for every span of days that did not fall below acceptance."""
    begin = plan.go_live
    if begin is None:
        return ramp.start if ramp.until is None else min(ramp.start, ramp.until)
    days = (local_day(moment.at_ns, plan.zone) - begin).days
    steps = max(0, days) // ramp.every_days
    granted = steps
    if ramp.hold_below is not None and steps:
        granted -= _steps_held(begin.toordinal(), steps, ramp, answers)
    limit = ramp.start + ramp.step * granted
    return limit if ramp.until is None else min(limit, ramp.until)


def _steps_held(begin: int, steps: int, ramp: RampPlan, answers: Answers) -> int:
    """How many finished steps fell below the acceptance asked for; one without answers did not."""
    counts: dict[int, tuple[int, int]] = {}
    for day, (accepted, all_) in answers.days.items():
        step = (_ordinal(day) - begin) // ramp.every_days
        if 0 <= step < steps:
            took, answered = counts.get(step, (0, 0))
            counts[step] = (took + accepted, answered + all_)
    return sum(took / answered < (ramp.hold_below or 0) for took, answered in counts.values())


def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def ramp_rule(plan: ContractPlan, state: State, moment: Moment, _price: int) -> Iterator[Finding]:
    """`ramp_reached`: today's accepted and held leads stand at the growing limit."""
    if plan.ramp is None:
        return
    today = moment.calendar.window("day", moment.at_ns, plan.zone)
    limit = ramp_limit(plan, plan.ramp, state.answers.get(plan.id, _NO_ANSWERS), moment)
    used = state.usage.get(plan.owner, _NOTHING).leads(today.start_ns, today.end_ns)
    if used + 1 > limit:
        yield Finding("ramp_reached", f"at most {limit} today", str(used), today.end_ns)


def day_limit(plan: ContractPlan, state: State, moment: Moment) -> int | None:
    """What pacing spreads over today: the smaller of the day cap and the ramp."""
    ramped = None
    if plan.ramp is not None:
        ramped = ramp_limit(plan, plan.ramp, state.answers.get(plan.id, _NO_ANSWERS), moment)
    capped = day_limit_now(state.overrides, plan, moment.at_ns)
    return min((limit for limit in (capped, ramped) if limit is not None), default=None)


def pacing_rule(plan: ContractPlan, state: State, moment: Moment, _price: int) -> Iterator[Finding]:
    """`paced`: at most ceil(day limit x open time elapsed / open time today) so far."""
    if plan.terms.pacing != "even":
        return
    limit = day_limit(plan, state, moment)
    if limit is None:
        return
    elapsed, whole = open_time(plan.hours, moment.at_ns, plan.zone)
    today = moment.calendar.window("day", moment.at_ns, plan.zone)
    used = state.usage.get(plan.owner, _NOTHING).leads(today.start_ns, today.end_ns)
    allowed = -(-limit * elapsed // whole) if whole else 0
    if used + 1 > allowed:
        until = today.end_ns
        if used < limit and whole:
            until = when_elapsed(todays_spans(plan.hours, moment.at_ns, plan.zone), used * whole // limit + 1)
        yield Finding("paced", f"at most {allowed} of {limit} by now", str(used), until)


def rate_rule(plan: ContractPlan, state: State, moment: Moment, _price: int) -> Iterator[Finding]:
    """`rate_limited`: the token bucket is empty."""
    rate = plan.rate
    if rate is None:
        return
    if rate.burst == 0:
        yield Finding("rate_limited", "0 leads", "closed")
        return
    wait = rate_wait_ns(plan, state, moment.steady_ns)
    if wait > 0:
        assert plan.terms.rate is not None
        wanted = f"{plan.terms.rate.leads} per {plan.terms.rate.per}, burst {rate.burst}"
        yield Finding("rate_limited", wanted, f"next in {format_age(wait)}", moment.at_ns + wait)


def rate_wait_ns(plan: ContractPlan, state: State, steady_ns: int) -> int:
    """How long until a contract's rate lets the next lead go; not above 0 where it does."""
    bucket = state.rates.get(plan.id) if plan.rate is not None else None
    if bucket is None or plan.rate is None:
        return 0
    return bucket.full_at_ns - (plan.rate.burst - 1) * plan.rate.interval_ns - steady_ns


def concurrency_rule(plan: ContractPlan, state: State, _moment: Moment, _price: int) -> Iterator[Finding]:
    """`concurrency_limited`: as many deliveries are on their way to the buyer as it bears."""
    most = plan.buyer.max_in_flight
    now = state.in_flight.get(plan.buyer_id, 0)
    if now >= most:
        yield Finding("concurrency_limited", f"at most {most} in flight", str(now))


def open_until(plan: ContractPlan, state: State, moment: Moment) -> int:
    """Until when no rule that lets the contract pass now surely refuses it, if no event happens.

    Time alone closes the hours, ends an override and begins a day of which pacing has granted nothing yet. After the
    wall clock stepped back it comes to what was sold before in its future, and into windows that hold some of it: each
    of them begins with a minute.
    """
    until_ns = moment.calendar.opening(plan.hours, moment.at_ns, plan.zone).until_ns
    if state.overrides and (ends := ends_ns(state.overrides, plan, moment.at_ns)) is not None:
        until_ns = min(until_ns, ends)
    if plan.terms.pacing == "even":
        until_ns = min(until_ns, moment.calendar.window("day", moment.at_ns, plan.zone).end_ns)
    for owner in (plan.owner, plan.buyer_owner):
        usage = state.usage.get(owner)
        if usage is not None and usage.last_at() > moment.at_ns:
            ahead_ns = usage.oldest_since(moment.at_ns + 1)
            until_ns = until_ns if ahead_ns is None else min(until_ns, ahead_ns)
            until_ns = min(until_ns, moment.calendar.window("minute", moment.at_ns, plan.zone).end_ns)
    return until_ns
