"""What happens to a lead, from receipt to end, whatever its buyers do."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from router.core import areas
from router.engine import Refused
from router.engine.controls import Controls
from router.engine.proof import Proof
from router.model.delivery import HttpRequest
from router.model.facts import Attempted, Ended, PassedOver, Reserved, Settled
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_S
from router.terms.candidate import Candidate
from tests import factory
from tests.simulation.router_world import (
    ACCEPTED,
    BUSY,
    DOWN,
    DUPLICATE,
    HANG,
    ODD,
    REJECTED,
    Answer,
    RouterWorld,
    answer,
)

IDEMPOTENT = {"idempotent": True}
CAREFUL = {"idempotent": False, "in_doubt_resolves": None}
SHARED = {"sell": {"mode": "shared", "max_copies": 2, "parallel": 2}}


def by_buyer(**answers: Answer | list[Answer]) -> Callable[[str, HttpRequest, int], tuple[float, Answer]]:
    """A script: each buyer gives its answer, or its list of answers in turn (the last one again and again)."""

    def script(lane: str, _request: HttpRequest, number: int) -> tuple[float, Answer]:
        given = answers[lane]
        one = given[min(number, len(given) - 1)] if isinstance(given, list) else given
        return (5.0 if one is HANG else 0.2), one

    return script


def two(endpoint: dict[str, Any] | None = None, **lead_type: Any) -> Any:
    """Two buyers, the first pays more."""
    return factory.book(
        factory.buyer("first", factory.contract("c-first", price="20.00"), endpoint=CAREFUL | (endpoint or {})),
        factory.buyer("second", factory.contract("c-second", price="10.00"), endpoint=CAREFUL),
        lead_type=lead_type,
    )


def facts(world: RouterWorld, kind: type) -> list[Any]:
    """All facts of a kind so far."""
    return [entry.fact for entry in world.ledger._entries if isinstance(entry.fact, kind)]


@pytest.mark.parametrize(
    ("given", "endpoint", "status", "asked"),
    [
        (ACCEPTED, None, "sold", ["first"]),
        (REJECTED, None, "sold", ["first", "second"]),
        (DUPLICATE, None, "sold", ["first", "second"]),
        (DOWN, None, "sold", ["first", "first", "second"]),
        (BUSY, None, "sold", ["first", "first", "second"]),
        (answer(401, b""), None, "sold", ["first", "second"]),
        (answer(404, b""), None, "sold", ["first", "second"]),
        (answer(422, b""), None, "sold", ["first", "second"]),
        (answer(307, b"", Location="http://elsewhere"), None, "sold", ["first", "second"]),
        (HANG, None, "in_doubt", ["first"]),
        (ODD, None, "in_doubt", ["first"]),
        (answer(500, b""), None, "in_doubt", ["first"]),
        (answer(302, b""), None, "in_doubt", ["first"]),
        ([HANG, ACCEPTED], IDEMPOTENT, "sold", ["first", "first"]),
        ([HANG, DUPLICATE], IDEMPOTENT, "sold", ["first", "first"]),
        ([HANG, REJECTED], IDEMPOTENT, "sold", ["first", "first", "second"]),
        ([BUSY, ACCEPTED], None, "sold", ["first", "first"]),
    ],
)
def test_an_exclusive_lead_reaches_one_buyer_at_a_time(
    given: Answer | list[Answer], endpoint: dict[str, Any] | None, status: str, asked: list[str]
) -> None:
    """Each answer has the outcome and the follow-up of SPEC section 4; the second buyer is asked only when the first
    certainly has not got the lead."""
    world = RouterWorld(two(endpoint), by_buyer(first=given, second=ACCEPTED))
    view = world.play(lambda w: w.sell(factory.lead()))
    assert (view.status, world.buyers.asked()) == (status, asked)
    bodies = {delivery: body for _, delivery, body in world.buyers.requests}
    assert all(bodies[delivery] == body for _, delivery, body in world.buyers.requests)


def test_an_idempotent_doubt_is_repeated_until_the_deadline_and_stays_a_doubt() -> None:
    """Nobody else gets the lead, however often the first buyer stays silent."""
    world = RouterWorld(two(IDEMPOTENT), by_buyer(first=HANG, second=ACCEPTED))
    view = world.play(lambda w: w.sell(factory.lead()))
    assert view.status == "in_doubt"
    assert set(world.buyers.asked()) == {"first"}
    assert len(world.buyers.asked()) > 2
    starts = [fact.sent_at_ns for fact in facts(world, Attempted)]
    assert max(starts) < factory.NOON + 20_000_000_000


@pytest.mark.parametrize(("after_s", "asked"), [(10, ["first", "first"]), (60, ["first", "second"])])
def test_a_busy_buyer_that_names_an_hour_is_believed(after_s: int, asked: list[str]) -> None:
    """A `Retry-After` date without a `Date` beside it counts by our clock; one beyond the deadline ends the retries."""
    then = format_datetime(datetime.fromtimestamp(factory.NOON // NS_S + after_s, UTC), usegmt=True)
    busy = answer(503, b"", Retry_After=then)
    world = RouterWorld(two(), by_buyer(first=[busy, ACCEPTED], second=ACCEPTED))
    view = world.play(lambda w: w.sell(factory.lead()))
    assert (view.status, world.buyers.asked()) == ("sold", asked)
    starts = [fact.sent_at_ns for fact in facts(world, Attempted)]
    assert starts[1] >= factory.NOON + 10 * NS_S if after_s == 10 else starts[1] < factory.NOON + 2 * NS_S


def test_a_secret_that_a_buyer_repeats_stands_in_no_fact() -> None:
    """What is kept of an answer is what the buyer said without what we sent it to know us by."""
    said = answer(body=b'{"status":"rejected","reason":"Bearer hush-hush is not welcome"}')
    world = RouterWorld(
        two({"auth": {"type": "bearer", "token": "secret:key"}}), by_buyer(first=[BUSY, said], second=REJECTED)
    )
    world.secrets = {"key": "hush-hush"}
    world.play(lambda w: w.sell(factory.lead()))
    assert [fact.reason for fact in facts(world, Settled)] == ["Bearer [secret] is not welcome", "no"]
    assert not any("hush-hush" in str(entry.fact) for entry in world.ledger._entries)


def test_shared_copies_go_to_distinct_buyers_and_a_freed_slot_to_the_next() -> None:
    """Two copies at most; the rejected one goes to the third buyer; payout is once per lead."""
    book = factory.book(
        *(factory.buyer(f"b{n}", factory.contract(f"c{n}", price=f"{20 - n}.00")) for n in range(4)),
        lead_type=SHARED,
        source={"payout": {"solar": "3.00"}},
    )
    world = RouterWorld(book, by_buyer(b0=REJECTED, b1=ACCEPTED, b2=ACCEPTED, b3=ACCEPTED))
    view = world.play(lambda w: w.sell(factory.lead()))
    assert (view.status, view.copies, view.payout) == ("sold", 2, 300)
    assert world.buyers.asked() == ["b0", "b1", "b2"]


def test_a_buyer_that_declined_through_one_contract_is_not_asked_through_another() -> None:
    """Two contracts of one buyer never both get a lead, nor does the second when the first was declined."""
    book = factory.book(
        factory.buyer("first", factory.contract("a", price="20.00"), factory.contract("b", price="19.00")),
        factory.buyer("second", factory.contract("c", price="10.00")),
    )
    world = RouterWorld(book, by_buyer(first=REJECTED, second=REJECTED))
    view = world.play(lambda w: w.sell(factory.lead()))
    assert (view.status, view.reason, world.buyers.asked()) == ("unsold", "all_declined", ["first", "second"])


def test_reasons_of_unsold_leads() -> None:
    """Nobody covers the code; somebody does but refuses."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract(
                "a", coverage={"postal_codes": ["787*"]}, criteria=[{"field": "credit_score", "min": 600}]
            ),
        )
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        far = await w.sell(factory.lead("far", postal_code="10001"))
        assert (far.status, far.reason) == ("unsold", "no_coverage")
        poor = await w.sell(factory.lead("poor", phone="+15125550148", credit_score=500))
        assert (poor.status, poor.reason) == ("unsold", "no_eligible_contract")

    world.play(story)
    assert world.buyers.asked() == []


def test_caps_hold_under_concurrency_and_a_rejection_gives_its_place_back() -> None:
    """Ten leads at once against a cap of three: three are sold, and the one rejected first is replaced."""
    book = factory.book(
        factory.buyer("first", factory.contract("a", caps=[{"id": "daily", "per": "day", "limit": 3}]), max_in_flight=9)
    )
    world = RouterWorld(book, by_buyer(first=[REJECTED, ACCEPTED]))

    async def story(w: RouterWorld) -> list[str]:
        for n in range(10):
            await w.take(factory.lead(f"lead-{n}", phone=f"+1512555014{n}"))
        early = [(await w.engine.settled(f"lead-{n}", 60)).status for n in range(10)]
        late = await w.sell(factory.lead("late", phone="+15125550199"))
        later = await w.sell(factory.lead("later", phone="+15125550198"))
        return [*early, late.status, later.status]

    statuses = world.play(story)
    assert statuses.count("sold") == 3
    assert statuses[-2:] == ["sold", "unsold"]
    usage = world.engine.state.usage["contract:a"]
    assert usage.leads_total == 3


def test_concurrency_is_waited_for_and_never_exceeded() -> None:
    """Six leads for a buyer that bears two at a time: all are sold, never three at once."""
    book = factory.book(factory.buyer("first", factory.contract("a"), max_in_flight=2))
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        for n in range(6):
            await w.take(factory.lead(f"lead-{n}", phone=f"+1512555014{n}"))
        for n in range(6):
            assert (await w.engine.settled(f"lead-{n}", 60)).status == "sold"

    world.play(story)
    assert world.buyers.busiest == {"first": 2}


def test_a_rate_is_waited_for_until_the_deadline() -> None:
    """One lead in ten seconds, deadline twenty: the third lead waits in vain and says so."""
    book = factory.book(factory.buyer("first", factory.contract("a", rate={"leads": 6, "per": "minute", "burst": 1})))
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[tuple[str, str | None]]:
        for n in range(4):
            await w.take(factory.lead(f"lead-{n}", phone=f"+1512555014{n}"))
        views = [await w.engine.settled(f"lead-{n}", 60) for n in range(4)]
        return [(view.status, view.reason) for view in views]

    assert world.play(story) == [("sold", None), ("sold", None), ("unsold", "deadline"), ("unsold", "deadline")]


def test_a_queued_lead_is_released_when_the_doors_open() -> None:
    """Closed with `queue`: the lead waits, goes out at the opening, and later ones in the order they came."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract("a", schedule={"open": ["Mon-Fri 13:00-18:00"], "when_closed": "queue"}),
            time_zone="America/New_York",
        ),
        lead_type={"queue": {"hold_max": "4h"}},
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        for n in range(3):
            assert (await w.take(factory.lead(f"lead-{n}", phone=f"+1512555014{n}"))).status == "queued"
        for n in range(3):
            assert (await w.engine.settled(f"lead-{n}", 7200)).status == "sold"

    world.play(story)
    opened = [fact.lead_id for fact in facts(world, Reserved)]
    assert opened == ["lead-0", "lead-1", "lead-2"]
    assert all(fact.sent_at_ns >= factory.NOON + NS_HOUR for fact in facts(world, Attempted))


def test_a_queued_lead_expires() -> None:
    """Past `hold_max` it is expired, and nobody got it."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract("a", schedule={"open": ["Mon-Fri 13:00-18:00"], "when_closed": "queue"}),
            time_zone="America/New_York",
        ),
        lead_type={"queue": {"hold_max": "30m"}},
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> str:
        return str((await w.sell(factory.lead(), 7200)).status)

    assert world.play(story) == "expired"
    assert world.buyers.asked() == []


def test_intake_duplicates_are_taken_and_not_sold() -> None:
    """The same consumer within the window ends `duplicate`; one of another phone and e-mail does not."""
    book = factory.book(
        factory.buyer("first", factory.contract("a")),
        lead_type={"dedup": {"keys": [["phone"], ["email"]], "window": "30d"}},
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        same = [factory.lead("one"), factory.lead("two", phone="+15125550148")]
        other = factory.lead("three", phone="+15125550149", email="bo@example.com")
        return [(await w.sell(lead)).status for lead in (*same, other)]

    assert world.play(story) == ["sold", "duplicate", "sold"]


@pytest.mark.parametrize(
    ("script", "endpoint", "status", "asked"),
    [
        (HANG, None, "in_doubt", ["first"]),
        ([HANG, ACCEPTED], IDEMPOTENT, "sold", ["first", "first"]),
    ],
)
def test_a_crash_while_sending_is_a_doubt(
    script: Any, endpoint: dict[str, Any] | None, status: str, asked: list[str]
) -> None:
    """After a restart a delivery that was under way is in doubt; an idempotent buyer is asked again, nobody else is."""
    world = RouterWorld(two(endpoint), by_buyer(first=script, second=ACCEPTED))

    async def story(w: RouterWorld) -> str:
        await w.take(factory.lead())
        await asyncio.sleep(1)
        await w.restart()
        return str((await w.engine.settled("lead-1", 60)).status)

    assert world.play(story) == status
    assert world.buyers.asked() == asked


def test_other_bytes_are_never_sent_under_the_same_key() -> None:
    """The terms changed while the process was down, and would render another body: the doubt stays, nothing is sent."""
    world = RouterWorld(two(IDEMPOTENT), by_buyer(first=[HANG, ACCEPTED], second=ACCEPTED))

    async def story(w: RouterWorld) -> str:
        await w.take(factory.lead())
        await asyncio.sleep(1)
        w.book = two(IDEMPOTENT | {"body": {"postal": "{{postal_code}}"}})
        await w.restart()
        return str((await w.engine.settled("lead-1", 60)).status)

    assert world.play(story) == "in_doubt"
    assert world.buyers.asked() == ["first"]


def test_a_crash_between_attempts_routes_again() -> None:
    """The last word was a certain failure: nothing was taken, and the lead goes on after the restart."""
    world = RouterWorld(
        two({"retry": {"attempts": 3, "backoff": "5s", "on": [503]}}), by_buyer(first=[DOWN, ACCEPTED], second=ACCEPTED)
    )

    async def story(w: RouterWorld) -> str:
        await w.take(factory.lead())
        await asyncio.sleep(1)
        await w.restart()
        return str((await w.engine.settled("lead-1", 60)).status)

    assert world.play(story) == "sold"
    assert world.buyers.asked() == ["first", "first"]
    assert len({delivery for _, delivery, _ in world.buyers.requests}) == 2


def test_an_operator_resolves_a_doubt_once() -> None:
    """Rejected: the next in rank gets it. A second word is a conflict."""
    world = RouterWorld(two(), by_buyer(first=HANG, second=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        assert (await w.sell(factory.lead())).status == "in_doubt"
        controls = Controls(w.engine, factory.reader(lambda: Candidate(terms=None, problems=(), secrets={})))
        doubt = facts(w, Reserved)[0].delivery_id
        with pytest.raises(Refused) as other:
            await controls.resolve(doubt, "rejected", by="buyer:second", buyer_id="second")
        assert other.value.status == 404
        await controls.resolve(doubt, "rejected", by="operator:alice")
        assert (await w.engine.settled("lead-1", 60)).status == "sold"
        with pytest.raises(Refused) as again:
            await controls.resolve(doubt, "accepted", by="operator:alice")
        assert again.value.status == 409

    world.play(story)
    assert world.buyers.asked() == ["first", "second"]


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("boards", [("one", "one"), ("one", "by area"), ("by area", "one"), ("by area", "by area")])
def test_a_ranking_is_walked_after_a_restart(
    edited: bool, boards: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next in rank is the next in the order of then, by other terms or on other boards than those of now."""
    contracts = {name: factory.contract(name, price=price) for name, price in (("first", "30.00"), ("second", "20.00"))}
    other = factory.buyer("third", factory.contract("third", price="10.00"))
    elsewhere = factory.buyer("away", factory.contract("away", price="25.00", coverage={"postal_codes": ["10001"]}))
    before = factory.book(*(factory.buyer(name, tree) for name, tree in contracts.items()), other, elsewhere)
    contracts["second"]["price"] = "5.00"
    after = factory.book(*(factory.buyer(name, tree) for name, tree in contracts.items()), other, elsewhere)
    world = RouterWorld(before, by_buyer(first=HANG, second=ACCEPTED, third=ACCEPTED))
    whole_max = {"one": areas.WHOLE_MAX, "by area": 0}

    async def story(w: RouterWorld) -> Any:
        assert (await w.sell(factory.lead())).status == "in_doubt"
        w.book = after if edited else before
        monkeypatch.setattr(areas, "WHOLE_MAX", whole_max[boards[1]])
        await w.restart()
        await w.engine.resolve(facts(w, Reserved)[0].delivery_id, "rejected", by="operator:alice")
        assert (await w.engine.settled("lead-1", 60)).status == "sold"
        return await Proof(w.engine).trace("lead-1")

    monkeypatch.setattr(areas, "WHOLE_MAX", whole_max[boards[0]])
    trace = world.play(story)
    assert world.buyers.asked() == ["first", "second"]
    assert trace["decisions"][0]["ranking"] == ["first", "second", "third"]
    assert trace["decisions"][0]["others"] == {"out_of_coverage": 1}


def test_a_doubt_resolves_itself_where_the_endpoint_says_so() -> None:
    """After `in_doubt_after` the doubt becomes what `in_doubt_resolves` says, even across a restart."""
    world = RouterWorld(
        two({"in_doubt_resolves": "accepted", "in_doubt_after": "6h"}), by_buyer(first=HANG, second=ACCEPTED)
    )

    async def story(w: RouterWorld) -> str:
        assert (await w.sell(factory.lead())).status == "in_doubt"
        await w.restart()
        await asyncio.sleep(7 * 3600)
        view = await w.engine.view("lead-1")
        assert view is not None
        return str(view.status)

    assert world.play(story) == "sold"
    assert [fact.by for fact in facts(world, Settled)] == [None, "terms"]


def test_reroute() -> None:
    """An unsold lead can be run again once somebody may have it; a sold exclusive one cannot."""
    book = factory.book(factory.buyer("first", factory.contract("a")))
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        controls = Controls(w.engine, factory.reader(lambda: Candidate(terms=None, problems=(), secrets={})))
        await controls.pause("contract", "a", reason="trial", by="operator:alice")
        assert (await w.sell(factory.lead())).status == "unsold"
        assert await controls.resume("contract", "a", by="operator:alice")
        await controls.reroute("lead-1", by="operator:alice")
        assert (await w.engine.settled("lead-1", 60)).status == "sold"
        with pytest.raises(Refused) as refused:
            await controls.reroute("lead-1", by="operator:alice")
        assert refused.value.code == "already_sold"
        with pytest.raises(Refused):
            await controls.reroute("nobody", by="operator:alice")
        await w.restart()
        again = await w.engine.view("lead-1")
        assert again is not None
        assert again.status == "sold"

    world.play(story)


def test_a_gone_endpoint_pauses_its_contract_and_five_refused_credentials_do() -> None:
    """410 once; 401 five times running."""
    book = factory.book(
        factory.buyer("gone", factory.contract("a", price="30.00")),
        factory.buyer("locked", factory.contract("b", price="20.00")),
    )
    world = RouterWorld(book, by_buyer(gone=answer(410, b""), locked=answer(401, b"")))

    async def story(w: RouterWorld) -> None:
        for n in range(7):
            await w.sell(factory.lead(f"lead-{n}", phone=f"+1512555014{n}"))

    world.play(story)
    assert world.buyers.asked() == ["gone"] + ["locked"] * 5
    assert set(world.engine.state.paused) == {"contract:a", "contract:b"}


def test_a_full_disk_takes_nothing_loses_nothing_and_recovers() -> None:
    """Leads are refused with 503, outcomes in flight are still recorded, and routing goes on by itself."""
    book = factory.book(factory.buyer("first", factory.contract("a", caps=[{"id": "daily", "per": "day", "limit": 2}])))
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        await w.take(factory.lead("before"))
        await asyncio.sleep(0.1)
        w.ledger.fill_disk()
        for n in range(3):
            with pytest.raises(Refused) as refused:
                await w.take(factory.lead(f"refused-{n}", phone="+15125550148"))
            assert refused.value.status == 503
        await asyncio.sleep(1)
        w.ledger.make_room()
        await asyncio.sleep(1)
        assert (await w.engine.settled("before", 60)).status == "sold"
        assert (await w.sell(factory.lead("after", phone="+15125550149"))).status == "sold"
        over = await w.sell(factory.lead("over", phone="+15125550150"))
        assert (over.status, over.reason) == ("unsold", "no_eligible_contract")

    world.play(story)
    assert world.buyers.asked() == ["first", "first"]


def test_terms_are_swapped_whole_and_counts_stay() -> None:
    """A reload changes prices and caps at once; what was sold today still counts."""
    before = two()
    world = RouterWorld(before, by_buyer(first=ACCEPTED, second=ACCEPTED))
    after = factory.terms(
        factory.buyer("first", factory.contract("c-first", caps=[{"id": "daily", "per": "day", "limit": 1}])),
        factory.buyer("second", factory.contract("c-second", price="5.00")),
    )

    async def story(w: RouterWorld) -> None:
        await w.sell(factory.lead("one"))
        controls = Controls(w.engine, factory.reader(lambda: Candidate(terms=after, problems=(), secrets={})))
        result = await controls.reload(by="operator:alice")
        assert result.changed
        await w.sell(factory.lead("two", phone="+15125550148"))
        trace = await Proof(w.engine).trace("one")
        assert trace is not None
        assert trace["deliveries"][0]["terms_version"] == before.version
        assert trace["deliveries"][0]["price"] == "20.00"

    world.play(story)
    assert world.buyers.asked() == ["first", "second"]


def test_a_lead_that_comes_while_terms_are_put_down_walks_its_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    """New terms are in force before they are durable, which a slow disk draws out; the next in rank is known."""
    world = RouterWorld(two(), by_buyer(first=REJECTED, second=ACCEPTED))
    after = factory.terms(
        factory.buyer("first", factory.contract("c-first", price="21.00")),
        factory.buyer("second", factory.contract("c-second", price="20.00")),
    )

    async def story(w: RouterWorld) -> None:
        noted = w.engine.journal._noted

        async def slowly(written: "asyncio.Future[int]") -> int:
            await asyncio.sleep(30)
            return await written

        monkeypatch.setattr(w.engine.journal, "_noted", lambda facts: asyncio.ensure_future(slowly(noted(facts))))
        controls = Controls(w.engine, factory.reader(lambda: Candidate(terms=after, problems=(), secrets={})))
        before, reload = w.engine.book, asyncio.ensure_future(controls.reload(by="operator:alice"))
        while w.engine.book is before:
            await asyncio.sleep(0.01)
        assert (await w.sell(factory.lead(), wait_s=5)).status == "sold"
        assert not reload.done()
        await reload

    world.play(story)
    assert world.buyers.asked() == ["first", "second"]


def test_a_trace_tells_everything() -> None:
    """Refusals with expected and actual, ranking, what allowed the winner, attempts, in one answer."""
    book = factory.book(
        factory.buyer("near", factory.contract("a", caps=[{"id": "daily", "per": "day", "limit": 50}])),
        factory.buyer("picky", factory.contract("b", criteria=[{"field": "credit_score", "min": 650}], price="30.00")),
        factory.buyer("far", factory.contract("c", coverage={"postal_codes": ["10001"]}, price="40.00")),
    )
    world = RouterWorld(book, by_buyer(near=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        await w.sell(factory.lead(credit_score=600))
        proof = Proof(w.engine)
        trace = await proof.trace("lead-1")
        assert trace is not None
        (decision,) = trace["decisions"]
        assert decision["refusals"] == [
            {
                "contract_id": "b",
                "code": "criteria_failed",
                "expected": "credit_score >= 650",
                "actual": "credit_score 600",
            }
        ]
        assert decision["ranking"] == decision["winners"] == ["a"]
        assert decision["others"] == {"out_of_coverage": 1}
        (delivery,) = trace["deliveries"]
        assert delivery["outcome"] == "accepted"
        assert {"rule": "cap", "expected": "cap daily: at most 50", "actual": "1 of 50 in 2026-11-24"} in delivery[
            "allowed_by"
        ]
        assert len(delivery["attempts"]) == 1
        alone = await proof.trace("lead-1", "c")
        assert alone is not None
        assert [one["code"] for one in alone["decisions"][0]["refusals"]] == ["out_of_coverage"]
        explained = proof.explain(factory.lead("what-if", credit_score=600))
        assert explained["winners"] == ["a"]
        assert {one["contract_id"] for one in explained["refusals"]} == {"b", "c"}

    world.play(story)
    assert len(facts(world, Ended)) == 1


def test_a_trace_of_a_delivery_under_way_has_no_outcome_yet() -> None:
    """Its outcome is null and its state says why; a doubt is an outcome that may yet change."""
    world = RouterWorld(two(), by_buyer(first=HANG, second=ACCEPTED))

    async def story(w: RouterWorld) -> list[tuple[Any, Any]]:
        proof = Proof(w.engine)
        await w.take(factory.lead())
        seen = []
        for wait_s in (1, 20):
            await asyncio.sleep(wait_s)
            trace = await proof.trace("lead-1")
            assert trace is not None
            seen += [(one["outcome"], one["state"]) for one in trace["deliveries"]]
        await w.engine.resolve(trace["deliveries"][0]["delivery_id"], "accepted", by="operator:test")
        trace = await proof.trace("lead-1")
        assert trace is not None
        return [*seen, *((one["outcome"], one["state"]) for one in trace["deliveries"])]

    assert world.play(story) == [(None, "in_flight"), ("in_doubt", "in_doubt"), ("accepted", "settled")]


def test_a_trace_says_what_was_wanted_and_seen_of_age_and_history_too() -> None:
    """What refused by the lead's time or by its consumer's history is not known later; the decision keeps it."""
    again = {"keys": [["phone"]], "window": "90d"}
    book = factory.book(
        factory.buyer("once", factory.contract("a", dedup=again)),
        factory.buyer("young", factory.contract("b", price="90.00", sla={"max_lead_age": "10m"})),
    )
    world = RouterWorld(book, by_buyer(once=ACCEPTED, young=REJECTED))

    async def story(w: RouterWorld) -> None:
        await w.sell(factory.lead("first"))
        late = factory.lead("second", age_ns=2 * NS_HOUR)
        assert (await w.sell(late)).reason == "no_eligible_contract"
        trace = await Proof(w.engine).trace("second")
        assert trace is not None
        refusals = {one["contract_id"]: one for one in trace["decisions"][0]["refusals"]}
        assert refusals["a"]["code"] == "duplicate"
        assert refusals["a"]["expected"] == "not sent to this contract within 90d"
        assert refusals["a"]["actual"].startswith("accepted ")
        assert refusals["b"]["code"] == "lead_too_old"
        assert refusals["b"]["expected"] == "at most 10m old"
        assert refusals["b"]["actual"] != ""

    world.play(story)


def test_a_test_lead_takes_nothing() -> None:
    """It goes to `test_url` only, uses no capacity and is never billed."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract("a", caps=[{"id": "daily", "per": "day", "limit": 1}]),
            endpoint={"test_url": "http://127.0.0.1:9/test"},
        )
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> None:
        for n in range(2):
            view = await w.sell(factory.lead(f"trial-{n}", test=True))
            assert (view.status, view.payout) == ("sold", 0)
        assert (await w.sell(factory.lead("real"))).status == "sold"

    world.play(story)
    assert "contract:a" in world.engine.state.usage
    assert world.engine.state.usage["contract:a"].leads_total == 1


def test_days_pass_and_the_cap_opens_again() -> None:
    """A day cap turns over at the contract's own midnight."""
    book = factory.book(
        factory.buyer(
            "first",
            factory.contract("a", caps=[{"id": "daily", "per": "day", "limit": 1}]),
            time_zone="America/Los_Angeles",
        )
    )
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        statuses = []
        for n in range(4):
            at_ns = w.clock.wall_ns()
            statuses.append((await w.sell(factory.lead(f"lead-{n}", at_ns=at_ns, phone=f"+1512555014{n}"))).status)
            await asyncio.sleep((NS_DAY // 3 + NS_MINUTE) / 1e9)
        return statuses

    # noon, 20:01, 04:02 (01:02 in Los Angeles) and 12:03 in New York
    assert world.play(story) == ["sold", "unsold", "sold", "unsold"]


def test_a_prepaid_buyer_gets_leads_while_it_has_money() -> None:
    """Two leads for the deposit of two; a payment is booked once; after the next one it goes on."""
    book = factory.book(factory.buyer("first", factory.contract("a"), wallet={"mode": "prepay"}))
    world = RouterWorld(book, by_buyer(first=ACCEPTED))

    async def story(w: RouterWorld) -> list[str]:
        controls = Controls(w.engine, factory.reader(lambda: Candidate(terms=None, problems=(), secrets={})))
        assert await controls.deposit("first", 2500, "p-1", by="operator:alice") == 2500
        with pytest.raises(Refused) as again:
            await controls.deposit("first", 2500, "p-1", by="operator:alice")
        assert again.value.code == "already_booked"
        statuses = [(await w.sell(factory.lead(f"lead-{n}", phone=f"+1512555014{n}"))).status for n in range(3)]
        assert await controls.deposit("first", 500, "p-2", by="operator:alice") == 1000
        await w.restart()
        return [*map(str, statuses), str((await w.sell(factory.lead("late", phone="+15125550199"))).status)]

    assert world.play(story) == ["sold", "sold", "unsold", "sold"]


def test_a_source_with_a_cap_of_nothing_is_closed() -> None:
    """`limit = 0` lets no lead of a source in, the first one neither."""
    buyer = factory.buyer("first", factory.contract("c"))
    book = factory.book(buyer, source={"caps": [{"per": "day", "limit": 0}]})

    async def story(w: RouterWorld) -> None:
        with pytest.raises(Refused, match="cap per day"):
            await w.take(factory.lead("lead-1", at_ns=w.clock.wall_ns()))

    RouterWorld(book, by_buyer(first=ACCEPTED)).play(story)


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"sla": {"deliver_within": "100ms"}}, "too_late"),
        ({"dedup": {"keys": [["phone"]], "window": "1d", "scope": "buyer"}}, "duplicate"),
    ],
)
def test_who_is_passed_over_for_the_lead_is_told_why(terms: dict[str, Any], code: str) -> None:
    """The first buyer declines; meanwhile the second may not have this lead any more, by a rule about the lead."""
    world = RouterWorld(
        factory.book(
            factory.buyer("first", factory.contract("c-first", price="20.00")),
            factory.buyer("second", factory.contract("c-second", price="10.00", **terms)),
            lead_type={"dedup": None},
        ),
        by_buyer(first=REJECTED, second=ACCEPTED),
    )

    async def story(w: RouterWorld) -> list[str]:
        ids = ["l1", "l2"]
        for lead_id in ids:
            await w.take(factory.lead(lead_id, at_ns=w.clock.wall_ns()))
        return [(await w.engine.settled(lead_id, 60)).status for lead_id in ids]

    ended = world.play(story)
    passed = [fact.refusals["c-second"][0] for fact in facts(world, PassedOver)]
    assert passed == ([code] * 2 if code == "too_late" else [code])
    assert ended == (["unsold"] * 2 if code == "too_late" else ["sold", "unsold"])


@pytest.mark.parametrize(
    ("answers", "asked", "status"),
    [
        ({"b0": REJECTED, "b1": ACCEPTED, "b2": ACCEPTED}, ["b0"], "unsold"),
        ({"b0": ACCEPTED, "b1": REJECTED, "b2": ACCEPTED}, ["b0", "b1", "b2"], "sold"),
        ({"b0": HANG, "b1": REJECTED, "b2": ACCEPTED}, ["b0", "b1", "b2"], "sold"),
    ],
)
def test_copies_that_cannot_make_up_for_the_payout_are_not_sold(
    answers: dict[str, Answer], asked: list[str], status: str
) -> None:
    """12.00 are paid for the lead, 1.00 is to be kept: without the best of three buyers the others bring 11.00.

    Once a copy is sold, or may be, the payout is due, and every other copy makes up for some of it.
    """
    world = RouterWorld(
        factory.book(
            *(
                factory.buyer(f"b{n}", factory.contract(f"c{n}", price=f"{7 - n}.00"), endpoint=CAREFUL)
                for n in range(3)
            ),
            lead_type={"sell": {"mode": "shared", "max_copies": 3, "parallel": 1, "margin_floor": "1.00"}},
            source={"payout": {"solar": "12.00"}},
        ),
        by_buyer(**answers),
    )
    view = world.play(lambda w: w.sell(factory.lead()))
    assert (world.buyers.asked(), view.status) == (asked, status)
    if status == "unsold":
        (passed,) = facts(world, PassedOver)
        assert passed.refusals == dict.fromkeys(
            ("c1", "c2"), ("below_margin", "at least 13.00 for all copies", "11.00 for 2 copies")
        )


def test_copies_that_make_up_for_the_payout_together_in_a_moment_are_waited_for() -> None:
    """The best buyer declines, and the second's rate is used up: the third alone brings too little, both do not."""
    rate = {"leads": 12, "per": "minute", "burst": 1}
    world = RouterWorld(
        factory.book(
            factory.buyer(
                "b0", factory.contract("c0", price="8.00", criteria=[{"field": "homeowner", "equals": True}])
            ),
            factory.buyer("b1", factory.contract("c1", price="7.00", rate=rate)),
            factory.buyer("b2", factory.contract("c2", price="6.00")),
            lead_type={"sell": {"mode": "shared", "max_copies": 2, "parallel": 1, "margin_floor": "1.00"}},
            source={"payout": {"solar": "12.00"}},
        ),
        by_buyer(b0=REJECTED, b1=ACCEPTED, b2=ACCEPTED),
    )

    async def story(w: RouterWorld) -> tuple[str, int]:
        await w.take(factory.lead("l1", homeowner=True))
        await w.take(factory.lead("l2", phone="+15125550148", email=None))
        view = await w.engine.settled("l1", 60)
        return view.status, view.copies

    assert world.play(story) == ("sold", 2)
