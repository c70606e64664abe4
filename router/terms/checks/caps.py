"""Caps and rates: of sources, buyers and contracts alike."""

from collections.abc import Sequence

from router.terms.checks.page import Page
from router.terms.checks.values import judge_at_least, judge_id, shown
from router.terms.schema import Cap, Rate


def cap_id(cap: Cap) -> str:
    """The cap's id, or the one it gets: `day`, `month-spend`, `hour-rolling`."""
    return cap.id or f"{cap.per}{'-spend' * (cap.spend is not None)}{'-rolling' * (cap.window == 'rolling')}"


def judge_caps(page: Page, caps: Sequence[Cap]) -> None:
    """Each cap limits one thing and can be told from the others."""
    first: dict[str, int] = {}
    for index, cap in enumerate(caps):
        key = f"caps[{index}]"
        _judge_cap(page, key, cap)
        other = first.setdefault(cap_id(cap), index)
        if other != index:
            message = f"caps[{other}] has the id {shown(cap_id(cap))} too, and each cap counts for itself"
            page.error(f"{key}.id", message, "Give it an id of its own, or take one of the two out")


def _judge_cap(page: Page, key: str, cap: Cap) -> None:
    if cap.id is not None:
        judge_id(page, f"{key}.id", cap.id)
    if cap.limit is None and cap.spend is None:
        page.error(key, "this cap limits nothing", 'Write limit = 50 (leads) or spend = "900.00" (money)')
    if cap.limit is not None and cap.spend is not None:
        page.error(key, "one cap cannot limit leads and money at once", "Make two caps of it, one with each")
    if cap.limit is not None and cap.limit < 0:
        page.error(f"{key}.limit", f"{cap.limit} leads is less than none", "0 is closed; no limit at all: no cap")
    if cap.per == "total" and cap.window == "rolling":
        page.error(f"{key}.window", "a total is over all time and cannot roll", 'Take window = "rolling" out')


def judge_rate(page: Page, rate: Rate | None) -> None:
    """A token bucket needs room for one token at least."""
    if rate is None:
        return
    judge_at_least(page, "rate.leads", rate.leads, 0)
    judge_at_least(page, "rate.burst", rate.burst, 1)
