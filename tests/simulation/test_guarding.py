"""Buyers that turn bad and come back: the router sees it, goes round them, tries them again, and explains each step."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from router.alerts import of_contract, outlook
from router.engine.proof import Proof
from router.model.delivery import HttpRequest
from router.model.facts import Attempted, Decided, GuardFact, GuardRecovered, GuardTripped, Reserved, TermsLoaded
from router.model.times import NS_HOUR, NS_MINUTE, NS_S
from tests import factory
from tests.simulation.router_world import ACCEPTED, HANG, ODD, REJECTED, Answer, RouterWorld, answer

PAUSE = {
    "metric": "acceptance_rate", "over": "1h", "min_sample": 5, "trip": 0.5, "recover": 0.65, "action": "pause",
    "cool_down": "10m", "probes": 3,
}  # fmt: skip
THROTTLE = {
    "metric": "acceptance_rate", "over": 20, "min_sample": 3, "trip": 0.7, "recover": 0.65, "action": "throttle",
    "throttle_to": 0.25, "cool_down": "5m", "probes": 2,
}  # fmt: skip


class Moods:
    """A script whose first buyer answers as it is told at the time; the second always accepts."""

    def __init__(self, first: Answer = ACCEPTED, seconds: float = 0.2) -> None:
        self.first = first
        self.seconds = seconds

    def __call__(self, lane: str, _request: HttpRequest, _number: int) -> tuple[float, Answer]:
        """As `Buyers` asks."""
        return (self.seconds, self.first) if lane == "first" else (0.2, ACCEPTED)


def book(*guards: dict[str, Any], lead_type: dict[str, Any] | None = None, **endpoint: Any) -> Any:
    """A first buyer that pays more, under these guards, and a second one."""
    sla = {"sla": {"guards": list(guards)}} if guards else {}
    careful = {"idempotent": False, "in_doubt_resolves": None} | endpoint
    return factory.book(
        factory.buyer("first", factory.contract("c-first", price="20.00", **sla), endpoint=careful),
        factory.buyer("second", factory.contract("c-second", price="10.00"), endpoint=careful),
        lead_type=lead_type,
    )


class Story:
    """Leads in a row, and what became of them."""

    def __init__(self, world: RouterWorld) -> None:
        self.world = world
        self.proof = Proof(world.engine)
        self.count = 0

    def lead(self) -> Any:
        """Another consumer's lead."""
        self.count += 1
        return factory.lead(f"lead-{self.count}", at_ns=self.world.clock.wall_ns(), phone=f"+1512555{self.count:04d}")

    async def sell(self, count: int = 1) -> list[str]:
        """So many leads one after the other; which buyers each was sent to."""
        sent = []
        for _ in range(count):
            before = len(self.world.buyers.requests)
            await self.world.sell(self.lead())
            sent.append("+".join(lane for lane, _, _ in self.world.buyers.requests[before:]))
        return sent

    async def refusal(self, number: int | None = None) -> dict[str, str]:
        """Why the first contract did not get a lead (the last one), from its trace."""
        trace = await self.proof.trace(f"lead-{number or self.count}", "c-first")
        assert trace is not None
        (found,) = trace["decisions"][0]["refusals"]
        return dict(found)

    def guard(self) -> dict[str, Any]:
        """The first contract's only guard, as the API shows it."""
        shown = self.proof.contract("c-first")
        assert shown is not None
        return dict(shown["guards"][0])

    def breaker(self) -> dict[str, Any]:
        """The first contract's breaker, as the API shows it."""
        shown = self.proof.contract("c-first")
        assert shown is not None
        return dict(shown["breaker"])

    def steps(self) -> list[str]:
        """What the guards did so far: guard and step."""
        return [f"{fact.guard} {type(fact).__name__}" for fact in self.facts(GuardFact)]

    def facts(self, kind: Any) -> list[Any]:
        """All facts of a kind so far."""
        return [entry.fact for entry in self.world.ledger._entries if isinstance(entry.fact, kind)]

    def alerts(self) -> list[str]:
        """The open alerts about the first contract."""
        engine = self.world.engine
        out = outlook(engine.state, engine.moment())
        return [alert.kind for alert in of_contract(engine.book.contracts["c-first"], out)]


def play(of: Any, script: Moods, story: Callable[[Story, Moods], Any]) -> None:
    """Let a story happen to a world of these terms."""
    world = RouterWorld(of, script)
    world.play(lambda w: story(Story(w), script))


def test_a_buyer_that_starts_to_refuse_is_throttled_paused_probed_and_restored() -> None:
    """Within the samples its terms declare and without anybody; each lead that was turned away can say why."""

    async def story(s: Story, moods: Moods) -> None:
        assert await s.sell(7) == ["first"] * 7
        moods.first = REJECTED
        assert set(await s.sell(4)) == {"first+second"}
        throttled = s.facts(GuardTripped)[0]
        said = (throttled.guard, throttled.value, throttled.sample)
        assert said == ("acceptance_rate/20/throttle", round(7 / 11, 6), 11)
        assert await s.sell(3) == ["second"] * 3
        refusal = await s.refusal()
        assert refusal["code"] == "guard_throttled"
        assert refusal["expected"] == "acceptance_rate at least 0.7 over the last 20; 0.25 of leads until it recovers"
        assert "acceptance_rate 0.6364 of 11, lead 3 since then, until 2026-11-24T17:05" in refusal["actual"]
        assert s.guard()["state"] == "throttled"
        assert await s.sell(9) == ["first+second"] + ["second"] * 3 + ["first+second"] + ["second"] * 3 + [
            "first+second"
        ]
        assert s.facts(GuardTripped)[1:] == []
        await s.sell(4)  # the fifteenth answer: 7 of 15
        paused = s.facts(GuardTripped)[1]
        assert (paused.guard, paused.sample) == ("acceptance_rate/1h/pause", 15)
        assert len(paused.causes) == 8
        assert "guard_tripped" in s.alerts()
        assert await s.sell() == ["second"]
        assert (await s.refusal())["code"] == "guard_paused"

        moods.first = ACCEPTED
        await asyncio.sleep(11 * 60)
        assert s.guard()["state"] == "probing"
        assert await s.sell(4) == ["first"] * 4
        assert s.steps()[2:] == [
            "acceptance_rate/20/throttle GuardProbing",
            "acceptance_rate/1h/pause GuardProbing",
            "acceptance_rate/20/throttle GuardRecovered",
            "acceptance_rate/1h/pause GuardRecovered",
        ]
        assert (s.guard()["state"], s.guard()["value"], s.guard()["sample"]) == ("closed", 1.0, 2)
        assert s.alerts() == []

    play(book(THROTTLE, PAUSE), Moods(), story)


def test_leads_at_once_send_no_more_probes_than_agreed() -> None:
    """Ten leads together when the cool-down is over: three go to the contract, seven to the next, none waits."""

    async def story(s: Story, moods: Moods) -> None:
        moods.first = REJECTED
        await s.sell(5)
        await asyncio.sleep(601)
        moods.first, moods.seconds = ACCEPTED, 3
        before = len(s.world.buyers.requests)
        leads = [s.lead() for _ in range(10)]
        for lead in leads:
            await s.world.take(lead)
        lanes = [lane for lane, _, _ in s.world.buyers.requests[before:]]
        await asyncio.sleep(1)
        lanes = [lane for lane, _, _ in s.world.buyers.requests[before:]]
        assert (lanes.count("first"), lanes.count("second")) == (3, 7)
        refusal = await s.refusal(10 + 5)
        assert refusal["actual"] == "acceptance_rate 0 of 5, until they are answered: 3 of 3 probes sent"
        assert s.guard()["probes"] == {"wanted": 3, "sent": 3, "answered": 0}
        await asyncio.sleep(3)
        assert s.guard()["state"] == "closed"
        assert await s.sell() == ["first"]

    play(book(PAUSE), Moods(), story)


def test_probes_that_are_refused_cost_another_cool_down() -> None:
    """The buyer has not mended: it is left alone for as long again."""

    async def story(s: Story, moods: Moods) -> None:
        moods.first = REJECTED
        await s.sell(5)
        await asyncio.sleep(601)
        assert await s.sell(4) == ["first+second"] * 3 + ["second"]
        assert s.guard()["state"] == "tripped"
        await asyncio.sleep(590)
        assert await s.sell() == ["second"]
        await asyncio.sleep(11)
        assert await s.sell() == ["first+second"]

    play(book(PAUSE), Moods(), story)


def test_a_changed_buyer_opens_its_breaker_instead_of_swallowing_leads() -> None:
    """Five answers nobody's rule knows are in doubt; then the next in rank gets the leads, until a probe is read."""

    async def story(s: Story, moods: Moods) -> None:
        assert await s.sell(3) == ["first"] * 3
        moods.first = ODD
        assert await s.sell(7) == ["first"] * 5 + ["second"] * 2
        refusal = await s.refusal()
        assert refusal["code"] == "endpoint_unhealthy"
        assert refusal["expected"] == "at most 4 unhealthy attempts running, and under half of 20 over 5m"
        assert "5 of 8 attempts unhealthy, until 2026-11-24T17:00:3" in refusal["actual"]
        (tripped,) = s.facts(GuardTripped)
        assert tripped.detail == "table:unclassified, status 200"
        assert len(tripped.causes) == 5
        assert "endpoint_unhealthy" in s.alerts()
        assert s.breaker()["state"] == "tripped"
        await asyncio.sleep(31)
        assert await s.sell(2) == ["first", "second"]  # the probe, in doubt
        moods.first = REJECTED  # an answer: that the terms do not please is no matter of the endpoint
        await asyncio.sleep(31)
        assert await s.sell(2) == ["first+second"] * 2
        assert s.steps()[-1] == "breaker GuardRecovered"
        assert "endpoint_unhealthy" not in s.alerts()

    play(book(), Moods(), story)


def test_an_open_breaker_never_stops_the_repeats_of_a_doubt() -> None:
    """An idempotent buyer that hangs is asked about its lead until the deadline, and nobody else gets that lead."""

    async def story(s: Story, moods: Moods) -> None:
        moods.first, moods.seconds = HANG, 1.0
        view = await s.world.sell(s.lead())
        attempts = s.facts(Attempted)
        tripped = next(
            place for place, entry in enumerate(s.world.ledger._entries) if isinstance(entry.fact, GuardTripped)
        )
        later = [e for e in s.world.ledger._entries[tripped:] if isinstance(e.fact, Attempted)]
        assert (view.status, {fact.delivery_id for fact in attempts}) == ("in_doubt", {attempts[0].delivery_id})
        assert later
        assert await s.sell() == ["second"]

    play(book(idempotent=True, retry={"backoff": "50ms"}), Moods(), story)


def test_every_stage_survives_a_crash() -> None:
    """Tripped, probing with a probe on its way, and recovered: the next process goes on where the last one stood."""

    async def story(s: Story, moods: Moods) -> None:
        moods.first = REJECTED
        await s.sell(5)
        await s.world.restart()
        s.proof = Proof(s.world.engine)
        assert s.guard()["state"] == "tripped"
        assert await s.sell() == ["second"]
        await asyncio.sleep(601)
        moods.first, moods.seconds = ACCEPTED, 4
        for lead in (s.lead(), s.lead()):
            await s.world.take(lead)
        await asyncio.sleep(1)
        await s.world.restart()  # both probes were on their way: they are in doubt, and so they failed
        s.proof = Proof(s.world.engine)
        assert s.guard()["probes"] == {"wanted": 3, "sent": 2, "answered": 2}
        moods.seconds = 0.2
        assert await s.sell(2) == ["first", "second"]
        assert s.guard()["state"] == "tripped"
        await asyncio.sleep(601)
        assert await s.sell(3) == ["first"] * 3
        await s.world.restart()
        s.proof = Proof(s.world.engine)
        assert s.guard()["state"] == "closed"

    play(book(PAUSE, in_doubt_resolves="rejected"), Moods(), story)


def test_a_clock_that_is_set_neither_frees_nor_locks_a_contract() -> None:
    """An hour ahead is no cool-down; two hours back make none longer."""

    async def story(s: Story, moods: Moods) -> None:
        moods.first = REJECTED
        await s.sell(5)
        moods.first = ACCEPTED
        s.world.clock.step(NS_HOUR)
        assert await s.sell() == ["second"]
        s.world.clock.step(-3 * NS_HOUR)
        assert await s.sell() == ["second"]
        await asyncio.sleep(601)
        assert await s.sell(3) == ["first"] * 3
        assert s.guard()["state"] == "closed"
        moods.first = REJECTED
        await s.sell(3)
        s.world.clock.step(5 * NS_HOUR)
        await s.sell(2)
        assert (s.guard()["state"], s.guard()["sample"]) == ("tripped", 5)  # all within the hour that really passed

    play(book(PAUSE), Moods(), story)


def test_a_lead_walks_to_a_throttled_contract_only_where_it_was_counted() -> None:
    """The second in rank is throttled: of the leads the first declines, those pass that passed when decided."""
    guard = THROTTLE | {"metric": "late_rate", "trip": 0.5, "recover": 0.5, "min_sample": 2, "throttle_to": 0.5}
    of = factory.book(
        factory.buyer("first", factory.contract("c-first", price="20.00")),
        factory.buyer(
            "slow", factory.contract("c-slow", price="15.00", sla={"deliver_within": "30s", "guards": [guard]})
        ),
        factory.buyer("second", factory.contract("c-second", price="10.00")),
        lead_type={"deadline": "2m"},
    )

    def script(lane: str, _request: HttpRequest, number: int) -> tuple[float, Answer]:
        return {"first": (0.1, REJECTED), "slow": (40.0 if number < 2 else 0.1, REJECTED), "second": (0.1, ACCEPTED)}[
            lane
        ]

    async def story(w: RouterWorld) -> None:
        s = Story(w)
        assert await s.sell(2) == ["first+slow+second"] * 2
        assert await s.sell(4) == ["first+second", "first+slow+second"] * 2
        counted = [fact.throttled for fact in s.facts(Decided)]
        assert counted == [()] * 2 + [("c-slow",)] * 4

    RouterWorld(of, script).play(story)


def test_a_guard_taken_out_of_the_terms_is_closed() -> None:
    """Nothing is left behind that nobody could close; put back, it counts anew."""

    async def story(s: Story, moods: Moods) -> None:
        moods.first = REJECTED
        await s.sell(5)
        with_guard, without = s.world.book, book()
        s.world.book = without
        await s.world.restart()
        recovered = s.facts(GuardRecovered)
        assert [(fact.guard, fact.by) for fact in recovered] == [("acceptance_rate/1h/pause", "terms")]
        s.world.book = with_guard
        await s.world.restart()
        assert len(s.facts(TermsLoaded)) == 3
        s.proof = Proof(s.world.engine)
        assert (s.guard()["state"], s.guard()["sample"]) == ("closed", 0)
        assert await s.sell() == ["first+second"]

    play(book(PAUSE), Moods(), story)


@pytest.mark.parametrize(
    ("action", "code", "more"),
    [
        ({"action": "pause"}, "guard_paused", ""),
        ({"action": "throttle", "throttle_to": 0.5}, "guard_throttled", "; 0.5 of leads until it recovers"),
    ],
)
def test_a_lead_that_walks_past_a_tripped_guard_says_so(action: dict[str, Any], code: str, more: str) -> None:
    """It was decided while all was well; when the first declines, the second has tripped: that stands in its trace."""
    of = factory.book(
        factory.buyer("first", factory.contract("c-first", price="20.00")),
        factory.buyer("second", factory.contract("c-second", price="15.00", sla={"guards": [PAUSE | action]})),
        factory.buyer("third", factory.contract("c-third", price="10.00")),
    )

    def script(lane: str, _request: HttpRequest, number: int) -> tuple[float, Answer]:
        return {"first": (5.0 if number == 5 else 0.1, REJECTED), "second": (0.1, REJECTED), "third": (0.1, ACCEPTED)}[
            lane
        ]

    async def story(w: RouterWorld) -> None:
        s = Story(w)
        assert await s.sell(4) == ["first+second+third"] * 4
        slow = s.lead()
        quick = s.lead()
        await w.take(quick)
        await w.take(slow)
        await w.engine.settled(slow.lead_id, 60)
        trace = await s.proof.trace(slow.lead_id)
        assert trace is not None
        assert [one["contract_id"] for one in trace["deliveries"]] == ["c-first", "c-third"]
        (line,) = [one for one in trace["history"] if one["what"] == "passed_over"]
        (refusal,) = line["refusals"]
        assert (refusal["contract_id"], refusal["code"]) == ("c-second", code)
        assert refusal["expected"] == "acceptance_rate at least 0.5 over 1h" + more
        assert refusal["actual"].startswith("acceptance_rate 0 of 5, ")
        assert "until 2026-" in refusal["actual"]

    RouterWorld(of, script).play(story)


def test_no_lead_is_queued_behind_a_guard() -> None:
    """With nobody else to have it, a lead ends at once and says so."""
    of = factory.book(factory.buyer("first", factory.contract("c-first", at_cap="queue", sla={"guards": [PAUSE]})))

    async def story(s: Story, moods: Moods) -> None:
        moods.first = REJECTED
        await s.sell(5)
        began_ns = s.world.clock.wall_ns()
        view = await s.world.sell(s.lead())
        assert (view.status, view.reason) == ("unsold", "no_eligible_contract")
        assert s.world.clock.wall_ns() - began_ns < NS_S

    play(of, Moods(), story)


def test_a_retry_is_not_sent_when_the_terms_would_not_let_it_be() -> None:
    """A busy buyer names a minute; by then the lead is too old for it, so the next in rank gets it at once."""
    busy = answer(503, b"", Retry_After="60")
    of = factory.book(
        factory.buyer("first", factory.contract("c-first", price="20.00", sla={"max_lead_age": "30s"})),
        factory.buyer("second", factory.contract("c-second", price="10.00")),
        lead_type={"deadline": "5m"},
    )

    async def story(s: Story, moods: Moods) -> None:
        moods.first = busy
        began_ns = s.world.clock.wall_ns()
        assert await s.sell() == ["first+second"]
        assert s.world.clock.wall_ns() - began_ns < NS_MINUTE
        assert len(s.facts(Reserved)) == 2

    play(of, Moods(), story)
