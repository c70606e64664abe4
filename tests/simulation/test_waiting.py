"""Leads that wait: for a moment, or in the queue, until somebody may have them or their time is over."""

import asyncio
from typing import Any

import pytest

from router.core.calendar import FOREVER
from router.core.live import Live
from router.engine.controls import Controls
from router.engine.proof import Proof
from router.model.delivery import HttpRequest
from router.model.facts import Overridden, PassedOver, Reserved
from router.model.times import NS_MINUTE, NS_S
from tests import factory
from tests.simulation.router_world import ACCEPTED, REJECTED, Answer, RouterWorld
from tests.simulation.test_selling import by_buyer, facts

OPENS_AT_ONE = {"open": ["Mon-Fri 13:00-18:00"], "when_closed": "queue"}  # it is noon
HELD = {"queue": {"hold_max": "4h"}}


async def held(world: RouterWorld, count: int) -> list[str]:
    """So many leads of as many people arrive a second apart; all of them have to wait."""
    ids = []
    for number in range(count):
        lead = factory.lead(f"lead-{number}", at_ns=world.clock.wall_ns(), phone=f"+1512555{1000 + number}")
        view = await world.take(lead)
        assert view.status in ("queued", "routing")
        ids.append(lead.lead_id)
        await asyncio.sleep(1)
    return ids


def order(world: RouterWorld) -> list[str]:
    """The leads in the order in which they were reserved for somebody."""
    return [fact.lead_id for fact in facts(world, Reserved)]


@pytest.mark.parametrize(
    "moment",
    [
        {"rate": {"leads": 2, "per": "minute", "burst": 1}},
        {"pacing": "even", "caps": [{"per": "day", "limit": 300}]},
    ],
)
def test_a_released_lead_waits_for_its_moment_in_the_queue(moment: dict[str, Any]) -> None:
    """When the doors open to a rate or to pacing, who waited hours is not sent away after the first has its turn."""
    book = factory.book(factory.buyer("first", factory.contract("a", schedule=OPENS_AT_ONE, **moment)), lead_type=HELD)
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        ids = await held(w, 4)
        return [(await w.engine.settled(lead_id, 3 * 3600)).status for lead_id in ids]

    assert world.play(story) == ["sold"] * 4
    assert order(world) == [f"lead-{number}" for number in range(4)]


def test_a_queued_lead_behind_the_limit_of_deliveries_stays_queued() -> None:
    """Released while as many deliveries are under way as the process bears, it goes out when one of them lands."""
    book = factory.book(
        factory.buyer("first", factory.contract("a", schedule=OPENS_AT_ONE)),
        lead_type=HELD,
        router={"limits": {"in_flight_max": 1}},
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        ids = await held(w, 3)
        return [(await w.engine.settled(lead_id, 3 * 3600)).status for lead_id in ids]

    assert world.play(story) == ["sold"] * 3
    assert order(world) == [f"lead-{number}" for number in range(3)]


def test_a_lead_past_its_age_is_never_sold() -> None:
    """`max_age` ends a lead between two buyers, while it waits for a moment, and at its release alike."""
    closed = {"caps": [{"per": "hour", "limit": 1}], "at_cap": "queue"}
    book = factory.book(
        factory.buyer("first", factory.contract("a", price="20.00", **closed)),
        factory.buyer("second", factory.contract("b", price="10.00")),
        lead_type={"max_age": "10s", "deadline": "60s"},
    )

    def slow(lane: str, _request: Any, _number: int) -> tuple[float, Any]:
        return (4.0, REJECTED) if lane == "first" else (0.1, ACCEPTED)

    world = RouterWorld(book, slow)

    async def story(w: RouterWorld) -> tuple[str, str | None]:
        lead = factory.lead("lead-1", at_ns=w.clock.wall_ns(), age_ns=8 * NS_S)
        view = await w.sell(lead)
        return view.status, view.reason

    assert world.play(story) == ("expired", None)
    assert world.buyers.asked() == ["first"]


def test_a_moment_is_waited_for_in_either_way_of_selling() -> None:
    """At `best` the exclusive price is more than the wallet holds; as a copy the lead only has to wait a little."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract(
                "a", price="10.00", exclusive_price="90.00", rate={"leads": 6, "per": "minute", "burst": 1}
            ),
            wallet={"mode": "postpay", "credit_limit": "50.00"},
        ),
        lead_type={"sell": {"mode": "best", "max_copies": 2}},
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        first = await w.sell(factory.lead("lead-1", at_ns=w.clock.wall_ns()))
        second = await w.sell(factory.lead("lead-2", at_ns=w.clock.wall_ns()))
        return [first.status, second.status]

    assert world.play(story) == ["sold", "sold"]


def test_a_lead_nobody_will_ever_take_does_not_wait() -> None:
    """A contract that already had this person is no reason to wait for its rate, nor to hold up those behind."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract(
                "a",
                rate={"leads": 6, "per": "minute", "burst": 1},
                dedup={"keys": [["phone"]], "window": "30d"},
            ),
        ),
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[Any]:
        await w.sell(factory.lead("lead-1", at_ns=w.clock.wall_ns()))
        began = w.clock.wall_ns()
        view = await w.sell(factory.lead("lead-2", at_ns=began))
        return [view.status, view.reason, w.clock.wall_ns() - began]

    assert world.play(story) == ["unsold", "no_eligible_contract", 0]


def walked(
    *, second: dict[str, Any] | None = None, contract: dict[str, Any] | None = None, slow_s: float = 1.0
) -> RouterWorld:
    """The first in rank declines everything; the second takes it, so many seconds later."""

    def script(lane: str, _request: HttpRequest, _number: int) -> tuple[float, Answer]:
        return (0.1, REJECTED) if lane == "first" else (slow_s, ACCEPTED)

    book = factory.book(
        factory.buyer("first", factory.contract("a", price="20.00")),
        factory.buyer(
            "second",
            factory.contract("b", price="10.00", **(contract or {})),
            **({"max_in_flight": 1} if second is None else second),
        ),
    )
    return RouterWorld(book, script)


async def together(world: RouterWorld, count: int, wait_s: float = 60) -> list[tuple[str, str | None]]:
    """So many leads of as many people arrive at once; how each ends."""
    leads = [factory.lead(f"lead-{number}", phone=f"+1512555{1000 + number}") for number in range(count)]
    views = await asyncio.gather(*(world.sell(lead, wait_s) for lead in leads))
    return [(view.status, view.reason) for view in views]


def test_the_next_in_rank_is_waited_for_when_only_the_moment_is_against_it() -> None:
    """Declined by the first while the second is busy: nobody is lost, each has its turn, told once why it waited."""
    world = walked()
    assert world.play(lambda w: together(w, 4)) == [("sold", None)] * 4
    assert world.buyers.busiest["second"] == 1
    assert [fact.refusals["b"][0] for fact in facts(world, PassedOver)] == ["concurrency_limited"] * 3


def test_a_rate_is_waited_for_on_the_way_down() -> None:
    """The second takes one lead in five seconds: the fifth finds no time before its deadline."""
    world = walked(contract={"rate": {"leads": 12, "per": "minute", "burst": 1}}, second={})
    ends = world.play(lambda w: together(w, 5))
    assert sorted(ends, key=str) == [("sold", None)] * 4 + [("unsold", "deadline")]


def test_the_deadline_ends_the_wait_for_the_next_in_rank() -> None:
    """The second never gets free: the others end at their deadline, and hold nothing."""
    world = walked(slow_s=30)
    assert world.play(lambda w: together(w, 3)) == [("sold", None)] + [("unsold", "deadline")] * 2
    assert not world.engine.state.open
    assert not world.engine.state.held


def test_who_waits_for_the_next_in_rank_goes_on_after_a_restart() -> None:
    """The process dies while a lead waits on its way down: the next one walks on, and asks nobody twice."""
    world = walked(slow_s=2)

    async def story(w: RouterWorld) -> list[str]:
        for number in range(2):
            await w.take(factory.lead(f"lead-{number}", phone=f"+1512555{1000 + number}"))
        await asyncio.sleep(1)
        await w.restart()
        return [(await w.engine.settled(f"lead-{number}", 60)).status for number in range(2)]

    assert world.play(story) == ["in_doubt", "sold"]  # what was being sent holds its place until it is resolved
    assert world.buyers.asked() == ["first", "first", "second", "second"]


def test_a_shared_lead_that_has_a_copy_sold_waits_for_nobody() -> None:
    """Its answer is not kept back for one copy more: the first sells it, the busy second is passed over."""

    def script(lane: str, _request: HttpRequest, _number: int) -> tuple[float, Answer]:
        return (0.1 if lane == "first" else 10.0), ACCEPTED

    book = factory.book(
        factory.buyer("first", factory.contract("a", price="20.00", coverage={"postal_codes": ["78701"]})),
        factory.buyer("second", factory.contract("b", price="10.00"), max_in_flight=1),
        lead_type={"sell": {"mode": "shared", "max_copies": 2, "parallel": 1}},
    )
    world = RouterWorld(book, script)

    async def story(w: RouterWorld) -> tuple[str, int, float]:
        await w.take(factory.lead("elsewhere", postal_code="10001", phone="+15125550001", email="bo@example.com"))
        began = w.loop.time()
        view = await w.sell(factory.lead("lead-1"))
        return view.status, view.copies, w.loop.time() - began

    status, copies, took_s = world.play(story)
    assert (status, copies) == ("sold", 1)
    assert took_s < 1


def test_a_long_line_is_let_through_a_few_at_a_time() -> None:
    """A hundred leads waited for the doors to open: all go, first in, first out, and none of them in one long step."""
    buyer = factory.buyer("first", factory.contract("a", schedule=OPENS_AT_ONE), max_in_flight=1000)
    world = RouterWorld(factory.book(buyer, lead_type=HELD), by_buyer(first=ACCEPTED))
    steps = []

    async def story(w: RouterWorld) -> list[str]:
        ids = await held(w, 100)
        wake = w.engine.seller._wake

        def noted(contract_id: str) -> None:
            before = len(order(w))
            wake(contract_id)
            steps.append(len(order(w)) - before)

        w.engine.seller._wake = noted  # type: ignore[method-assign]
        return [(await w.engine.settled(lead_id, 3 * 3600)).status for lead_id in ids]

    assert world.play(story) == ["sold"] * 100
    assert order(world) == [f"lead-{number}" for number in range(100)]
    assert 0 < max(steps) <= 32


def test_who_waits_goes_to_a_contract_that_is_resumed() -> None:
    """Queued for one that is full, the lead may have another as soon as somebody resumes it."""
    full = factory.contract("a", caps=[{"per": "day", "limit": 0}], at_cap="queue")
    book = factory.book(factory.buyer("first", full), factory.buyer("second", factory.contract("b")), lead_type=HELD)
    world = RouterWorld(book, by_buyer(first=ACCEPTED, second=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        controls = Controls(w.engine, factory.reader(lambda: pytest.fail("nobody reads terms")))
        await controls.pause("contract", "b", reason="holiday", by="operator:ann")
        ids = await held(w, 3)
        await controls.resume("contract", "b", by="operator:ann")
        return [(await w.engine.settled(lead_id, 5)).status for lead_id in ids]

    assert world.play(story) == ["sold"] * 3


@pytest.mark.parametrize(
    "why", [{"schedule": OPENS_AT_ONE}, {"caps": [{"per": "hour", "limit": 0}], "at_cap": "queue"}]
)
def test_time_to_deliver_counts_from_the_release(why: dict[str, Any]) -> None:
    """An hour in the queue is no delay of ours: `deliver_within` begins when the lead is decided anew."""
    contract = factory.contract("a", sla={"deliver_within": "5s"}, **why)
    world = RouterWorld(factory.book(factory.buyer("first", contract), lead_type=HELD), by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> str:
        [lead_id] = await held(w, 1)
        if "caps" in why:
            more = Overridden(subject="contract", id="a", until_ns=FOREVER, caps={"hour": 1}, reason="fair", by="me")
            await asyncio.sleep(3600)
            await Controls(w.engine, factory.reader(lambda: pytest.fail("nobody reads terms"))).override(more)
        return (await w.engine.settled(lead_id, 2 * 3600)).status

    assert world.play(story) == "sold"


def test_the_decision_a_lead_ends_by_is_on_record() -> None:
    """Queued by hours, then refused by new terms; taken up again by somebody: each end has its own refusals."""
    world = RouterWorld(
        factory.book(factory.buyer("first", factory.contract("a", schedule=OPENS_AT_ONE)), lead_type=HELD),
        by_buyer(first=ACCEPTED),
    )

    async def story(w: RouterWorld) -> list[list[str]]:
        [lead_id] = await held(w, 1)
        wants = [{"field": "credit_score", "min": 650}]
        contract = factory.contract("a", schedule=OPENS_AT_ONE, criteria=wants)
        new = factory.book(factory.buyer("first", contract), lead_type=HELD)
        await w.engine.adopt(new, Live(new), {}, by="operator:ann")
        assert (await w.engine.settled(lead_id, 2 * 3600)).status == "unsold"
        await Controls(w.engine, factory.reader(lambda: pytest.fail("nobody reads terms"))).reroute(lead_id, by="me")
        decisions = (await Proof(w.engine).trace(lead_id) or {})["decisions"]
        return [[one["code"] for one in decision["refusals"]] for decision in decisions]

    first, *later = world.play(story)
    assert first == ["out_of_schedule"]
    assert len(later) == 2
    assert all("criteria_failed" in codes for codes in later)


def test_whoever_is_closed_for_good_is_not_waited_for() -> None:
    """A rate of nothing and a buyer that bears no delivery never pass: the lead ends at once, not at its deadline."""
    nothing = factory.contract("a", rate={"leads": 0, "per": "minute"})
    book = factory.book(
        factory.buyer("first", nothing), factory.buyer("second", factory.contract("b"), max_in_flight=0)
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED, second=ACCEPTED))
    view = world.play(lambda w: w.take(factory.lead()))
    assert (view.status, view.reason) == ("unsold", "no_eligible_contract")


def test_a_lead_past_its_types_age_says_so() -> None:
    """It expires, and its decision and an explanation name the rule."""
    book = factory.book(factory.buyer("first", factory.contract("a")), lead_type={"max_age": "10m"})
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> tuple[str, Any, Any]:
        old = factory.lead(age_ns=11 * NS_MINUTE)
        view = await w.take(old)
        [decision] = (await Proof(w.engine).trace(old.lead_id) or {})["decisions"]
        return view.status, decision["refusals"], Proof(w.engine).explain(old)["refusals"]

    status, recorded, explained = world.play(story)
    told = [{"contract_id": "a", "code": "lead_too_old", "expected": "less than 10m old", "actual": "11m"}]
    assert (status, recorded, explained) == ("expired", told, told)


def test_too_late_after_a_reroute_has_its_words() -> None:
    """Refused when it came out of the queue, then routed again at once: it counts from receipt again, and says so."""
    sla, full = {"deliver_within": "5s"}, {"caps": [{"per": "hour", "limit": 0}], "at_cap": "queue"}
    queueing, needing, open_ = (
        factory.book(factory.buyer("first", factory.contract("a", sla=sla, **more)), lead_type=HELD)
        for more in (full, {"criteria": [{"field": "credit_score", "min": 650}]}, {})
    )
    world = RouterWorld(queueing, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[list[dict[str, Any]]]:
        [lead_id] = await held(w, 1)
        await asyncio.sleep(59)
        for book in (needing, open_):
            await w.engine.adopt(book, Live(book), {}, by="operator:ann")
        await Controls(w.engine, factory.reader(lambda: pytest.fail("nobody reads terms"))).reroute(lead_id, by="me")
        return [one["refusals"] for one in (await Proof(w.engine).trace(lead_id) or {})["decisions"]]

    first, second, last = world.play(story)
    assert [one["code"] for one in (*first, *second)] == ["cap_reached", "criteria_failed"]
    assert last == [{"contract_id": "a", "code": "too_late", "expected": "within 5s of receipt", "actual": "1m"}]
