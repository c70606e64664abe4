"""Somebody sets the wall clock, ahead or back, while leads wait, are sent, or are in doubt: nothing lasts otherwise."""

import asyncio
from typing import Any

import pytest

from router.model.facts import Reserved, Settled
from router.model.times import NS_DAY, NS_HOUR, NS_S
from tests import factory
from tests.simulation.router_world import ACCEPTED, HANG, RouterWorld
from tests.simulation.test_doubts import facts, script

STEPS = [-365 * NS_DAY, -NS_DAY, -NS_HOUR, -3 * NS_S, 3 * NS_S, NS_HOUR, NS_DAY, 365 * NS_DAY]
RATE = {"leads": 6, "per": "minute", "burst": 1}


def world(answer: Any = ACCEPTED, *, endpoint: dict[str, Any] | None = None, **terms: Any) -> RouterWorld:
    """One contract of one buyer."""
    lead_type = {"queue": {"hold_max": "4h"}, "max_age": None}
    buyer = factory.buyer("first", factory.contract("c", **terms), endpoint=endpoint)
    return RouterWorld(factory.book(buyer, lead_type=lead_type), script(first=answer))


async def elapsed_until_told(w: RouterWorld, number: int, step: int, after_s: float) -> tuple[str, str | None, float]:
    """A lead comes, after a while somebody sets the clock; how it ended and after how long."""
    began = w.clock.mono_ns()
    lead = factory.lead(f"lead-{number}", at_ns=w.clock.wall_ns(), phone=f"+1512555{number:04d}", email=None)
    task = asyncio.create_task(w.sell(lead, wait_s=6 * 3600))
    await asyncio.sleep(after_s)
    w.clock.step(step)
    w.engine.moment()  # somebody looks at the clock: the watch does so every few seconds
    view = await task
    return view.status, view.reason, (w.clock.mono_ns() - began) / NS_S


@pytest.mark.parametrize("step", STEPS)
def test_a_lead_waits_for_its_rate_as_long_as_ever(step: int) -> None:
    """The second of two leads gets the next token ten seconds after the first, whatever the clock says."""

    async def story(w: RouterWorld) -> Any:
        await w.sell(factory.lead("lead-1", at_ns=w.clock.wall_ns()))
        return await elapsed_until_told(w, 2, step, 2)

    status, _, seconds = world(rate=RATE).play(story)
    assert (status, round(seconds)) == ("sold", 10)


@pytest.mark.parametrize("step", STEPS)
def test_a_deadline_is_as_far_off_as_ever(step: int) -> None:
    """A lead that waits for a minute's token gives up after its 20 seconds."""

    async def story(w: RouterWorld) -> Any:
        await w.sell(factory.lead("lead-1", at_ns=w.clock.wall_ns()))
        return await elapsed_until_told(w, 2, step, 5)

    status, reason, seconds = world(rate=RATE | {"leads": 1}).play(story)
    assert (status, reason, round(seconds)) == ("unsold", "deadline", 20)


@pytest.mark.parametrize("step", STEPS)
def test_a_held_lead_is_held_as_long_as_ever(step: int) -> None:
    """A lead queued for a cap that stays full is expired after `hold_max`, four hours."""

    async def story(w: RouterWorld) -> Any:
        return await elapsed_until_told(w, 2, step, 60)

    status, _, seconds = world(caps=[{"per": "total", "limit": 0}], at_cap="queue").play(story)
    assert (status, round(seconds)) == ("expired", 4 * 3600)


@pytest.mark.parametrize("step", STEPS)
def test_an_answer_is_late_by_how_long_it_took(step: int) -> None:
    """An answer after a second is in time for `deliver_within` of ten, though the clock was set meanwhile."""

    async def story(w: RouterWorld) -> Any:
        ended = await elapsed_until_told(w, 2, step, 0.1)
        [settled] = facts(w, Settled)
        return ended[0], settled.late

    assert world(sla={"deliver_within": "10s"}).play(story) == ("sold", False)


@pytest.mark.parametrize("step", STEPS)
def test_a_doubt_is_resolved_when_its_time_is_over(step: int) -> None:
    """`in_doubt_after` of an hour is an hour."""
    terms = {"idempotent": False, "in_doubt_resolves": "accepted", "in_doubt_after": "1h"}

    async def story(w: RouterWorld) -> Any:
        view = await w.sell(factory.lead("lead-1", at_ns=w.clock.wall_ns()))
        began = w.clock.mono_ns()
        w.clock.step(step)
        w.engine.moment()
        while w.engine.state.held and w.clock.mono_ns() - began < 3 * NS_HOUR:
            await asyncio.sleep(10)
        return view.status, (w.clock.mono_ns() - began) / NS_S

    status, seconds = world(HANG, endpoint=terms).play(story)
    assert status == "in_doubt"
    assert seconds == pytest.approx(3600, abs=30)


@pytest.mark.parametrize("step", STEPS)
def test_who_was_sent_is_sent_no_second_time(step: int) -> None:
    """A clock that is set re-opens no dedup window, and put right it closes none too early."""

    async def story(w: RouterWorld) -> Any:
        found = []
        for number, by in enumerate([0, step, -step]):
            w.clock.step(by)
            lead = factory.lead(f"lead-{number}", at_ns=w.clock.wall_ns())
            found.append((await w.sell(lead)).status)
        await asyncio.sleep(31 * NS_DAY / NS_S)
        found.append((await w.sell(factory.lead("last", at_ns=w.clock.wall_ns()))).status)
        return found

    dedup = {"keys": [["phone"]], "window": "30d"}
    assert world(dedup=dedup).play(story) == ["sold", "unsold", "unsold", "sold"]


@pytest.mark.parametrize("step", STEPS)
def test_turns_go_round_as_ever(step: int) -> None:
    """Round robin: who was sold to while the clock stood wrong has its next turn when it would have had it."""

    async def story(w: RouterWorld) -> Any:
        for number, by in enumerate([step, -step, 0, 0, 0, 0]):
            w.clock.step(by)
            await w.sell(factory.lead(f"lead-{number}", at_ns=w.clock.wall_ns()))
            await asyncio.sleep(1)
        return [fact.contract_id for fact in facts(w, Reserved)]

    buyers = [factory.buyer(name, factory.contract(f"c-{name}")) for name in ("a", "b", "c")]
    lead_type = {"tiers": [{"name": "main", "method": "round_robin"}]}
    turns = RouterWorld(factory.book(*buyers, lead_type=lead_type), script()).play(story)
    assert turns == ["c-a", "c-b", "c-c"] * 2


@pytest.mark.parametrize("step", STEPS)
def test_a_full_day_stays_full(step: int) -> None:
    """Sold out today; the clock goes elsewhere and comes back, over a restart too: today is sold out."""

    async def story(w: RouterWorld) -> Any:
        found = []
        for number, by in enumerate([0, step, -step, 0]):
            w.clock.step(by)
            if number == 3:
                await w.restart()
            lead = factory.lead(f"lead-{number}", at_ns=w.clock.wall_ns())
            found.append((await w.sell(lead)).status)
        return found

    other = abs(step) >= NS_DAY
    want = ["sold", "sold" if other else "unsold", "unsold", "unsold"]
    assert world(caps=[{"per": "day", "limit": 1}]).play(story) == want


@pytest.mark.parametrize("per", ["minute", "hour"])
def test_a_window_that_comes_again_is_as_full_as_it_was(per: str) -> None:
    """Two leads filled the next window before somebody set the clock back into this one: that one begins full."""
    size = {"minute": 60, "hour": 3600}[per]

    async def story(w: RouterWorld) -> list[str]:
        async def sell(number: int) -> str:
            phone = f"+1512555{number:04d}"
            return (await w.sell(factory.lead(f"l{number}", at_ns=w.clock.wall_ns(), phone=phone, email=None))).status

        await asyncio.sleep(size + size // 3 - w.clock.wall_ns() // NS_S % size)
        ended = [await sell(1), await sell(2)]
        w.clock.step(-size * NS_S)
        ended.append(await sell(3))
        await asyncio.sleep(size - w.clock.wall_ns() // NS_S % size + 2)
        return [*ended, await sell(4)]

    cap = {"id": "few", "per": per, "limit": 2}
    assert world(caps=[cap]).play(story) == ["sold", "sold", "sold", "unsold"]
