"""Guards of a contract: what can never trip, never recover, or means nothing."""

from typing import Final

from router.model.times import parse_duration
from router.terms.book import LATENCIES_MAX, OUTCOMES_MAX
from router.terms.checks.page import Page
from router.terms.checks.values import judge_at_least, judge_positive, judge_share, shown
from router.terms.schema import Contract, Endpoint, Guard

#: The one metric that trips below its threshold.
_BELOW: Final = "acceptance_rate"
_LATENCY: Final = "latency_p95"
_SHARE: Final = "Write a share of outcomes, such as 0.5"
_DURATION: Final = 'Write a duration, such as "800ms"'


def guard_key(guard: Guard) -> str:
    """What tells the guards of a contract apart, and what one keeps while its thresholds are edited."""
    return f"{guard.metric}/{guard.over}/{guard.action}"


def judge_guards(page: Page, contract: Contract, endpoint: Endpoint | None) -> None:
    """Every guard of a contract. `endpoint` is what it is reached by, where that exists."""
    guards = contract.sla.guards if contract.sla is not None else ()
    first: dict[str, int] = {}
    for index, guard in enumerate(guards):
        place = page.at(f"sla.guards[{index}]")
        _judge_window(place, guard)
        _judge_action(place, guard)
        trip, recover = _threshold(place, guard, "trip"), _threshold(place, guard, "recover")
        if trip is not None:
            _judge_thresholds(place, guard, trip, recover)
        _judge_metric(place, guard, trip, contract, endpoint)
        other = first.setdefault(guard_key(guard), index)
        if other != index:
            message = f"guards[{other}] watches the same metric over the same window with the same action"
            place.error("metric", message, "Take one of the two out, or let them look over different windows")


def _judge_window(page: Page, guard: Guard) -> None:
    judge_at_least(page, "min_sample", guard.min_sample, 1)
    most = LATENCIES_MAX if guard.metric == _LATENCY else OUTCOMES_MAX
    if isinstance(guard.over, int):
        if not 1 <= guard.over <= most:
            mend = f'Write a count from 1 to {most}, or a duration such as "1h"'
            page.error("over", f"the last {guard.over} outcomes cannot be looked at", mend)
        elif guard.min_sample > guard.over:
            message = f"{guard.min_sample} is more than the last {guard.over} it looks at, so it can never trip"
            page.error("min_sample", message, "Lower it, or look over more")
        return
    if guard.min_sample > most:
        page.error("min_sample", f"no guard looks at more than {most} outcomes", "Lower it")
    try:
        judge_positive(page, "over", parse_duration(guard.over), "no outcome would be in it")
    except ValueError as error:
        page.error("over", str(error), 'Write a duration such as "1h", or a plain number for the last so many outcomes')


def _judge_action(page: Page, guard: Guard) -> None:
    judge_positive(page, "cool_down", guard.cool_down, "its probes would follow at once")
    judge_at_least(page, "probes", guard.probes, 1)
    share = guard.throttle_to
    if guard.action == "throttle":
        if share is None:
            page.error("throttle_to", 'is missing, and the action is "throttle"', "Write throttle_to = 0.25 or so")
        elif not 0 < share < 1:
            mend = 'Write a share between them; to let nobody pass, write action = "pause"'
            page.error("throttle_to", f"{share:g} is no share between 0 and 1, so it would not throttle", mend)
    elif share is not None:
        message = f'the action is "{guard.action}", which throttles nothing'
        page.error("throttle_to", message, 'Take it out, or write action = "throttle"')


def _threshold(page: Page, guard: Guard, key: str) -> float | None:
    """A threshold as a number of its metric's kind; None when absent or wrong."""
    value = guard.trip if key == "trip" else guard.recover
    if value is None:
        return None
    if guard.metric == _LATENCY:
        if not isinstance(value, str):
            page.error(key, f"{guard.metric} is a duration, and {value:g} has no unit", _DURATION)
            return None
        try:
            return float(parse_duration(value))
        except ValueError as error:
            page.error(key, str(error), _DURATION)
            return None
    if isinstance(value, str):
        page.error(key, f"{guard.metric} is a share, and {shown(value)} is not one", _SHARE)
        return None
    judge_share(page, key, value)
    return float(value) if 0 <= value <= 1 else None


def _judge_thresholds(page: Page, guard: Guard, trip: float, recover: float | None) -> None:
    below = guard.metric == _BELOW
    if (trip <= 0) if below else (guard.metric != _LATENCY and trip >= 1):
        side = "below" if below else "above"
        page.error("trip", f"no rate is {side} {trip:g}, so it can never trip", _SHARE)
    if guard.metric == _LATENCY and trip == 0:
        page.error("trip", "every answer takes longer than nothing, so it would never be closed", _DURATION)
    if recover is not None and ((recover < trip) if below else (recover > trip)):
        side, way = ("less", "at or above") if below else ("more", "at or below")
        message = f"{_shown(guard.recover)} is {side} than trip = {_shown(guard.trip)}, on the side where it trips"
        page.error("recover", message, f"Write it {way} trip: probes must do at least as well")


def _judge_metric(page: Page, guard: Guard, trip: float | None, contract: Contract, endpoint: Endpoint | None) -> None:
    if guard.metric == "late_rate" and (contract.sla is None or contract.sla.deliver_within is None):
        message = "nothing is ever late without sla.deliver_within, so it can never trip"
        page.error("metric", message, 'Write deliver_within = "30s" or so, or take the guard out')
    if guard.metric == "return_rate" and contract.returns is None:
        message = "this contract takes no returns, so it will never trip"
        page.warn("metric", message, "Add [contracts.returns], or take the guard out")
    if guard.metric == _LATENCY and endpoint is not None and trip is not None and trip >= endpoint.timeout:
        message = "no attempt takes longer than the endpoint's timeout, so it will never trip"
        page.warn("trip", message, "Lower it below the timeout, or watch timeout_rate")
    if guard.min_sample == 1 and guard.action != "warn" and guard.metric != "return_rate":
        page.warn("min_sample", "a single outcome can trip it", "Write min_sample = 20 or so")


def _shown(value: float | str | None) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"
