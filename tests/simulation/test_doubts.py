"""What becomes of doubts and of answers that come late: who may resolve them, and who is next under which terms."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from router.engine.controls import Controls
from router.engine.proof import Proof
from router.engine.views import Refused
from router.model.delivery import HttpRequest
from router.model.facts import Attempted, Contradicted, Repeating, Reserved, Settled
from router.model.times import NS_HOUR, NS_S
from router.terms.candidate import Candidate
from tests import factory
from tests.simulation.router_world import ACCEPTED, DOWN, HANG, REJECTED, Answer, RouterWorld, answer
from tests.simulation.test_snapshots import slow_disk

SHARED = {"sell": {"mode": "shared", "max_copies": 2, "parallel": 2}}
PRICES = {"first": "20.00", "second": "10.00", "third": "5.00"}
OWN = {"idempotent": False, "in_doubt_resolves": None}


def trees(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Three buyers, the first pays most; `first={...}` changes its contract, `endpoint` of it its endpoint."""
    found = []
    for name, price in PRICES.items():
        terms = changed.get(name, {})
        endpoint = OWN | terms.get("endpoint_keys", {})
        more = {key: value for key, value in terms.items() if key != "endpoint_keys"}
        found.append(factory.buyer(name, factory.contract(f"c-{name}", **({"price": price} | more)), endpoint=endpoint))
    return found


def world(script: Callable[..., Any], *, lead_type: dict[str, Any] | None = None, **changed: Any) -> RouterWorld:
    """A router over these three."""
    return RouterWorld(factory.book(*trees(**changed), lead_type=lead_type), script)


def script(**answers: Answer) -> Callable[[str, HttpRequest, int], tuple[float, Answer]]:
    """Each buyer gives its answer; who is not named accepts."""

    def say(lane: str, _request: HttpRequest, _number: int) -> tuple[float, Answer]:
        given = answers.get(lane, ACCEPTED)
        return (5.0 if given is HANG else 0.2), given

    return say


def facts(w: RouterWorld, kind: type) -> list[Any]:
    """All facts of a kind so far."""
    return [entry.fact for entry in w.ledger._entries if isinstance(entry.fact, kind)]


def controls(w: RouterWorld, *buyers: dict[str, Any], **parts: Any) -> Controls:
    """What operators may do; a reload reads these buyers."""
    terms = factory.terms(*buyers, **parts) if buyers else None
    return Controls(w.engine, factory.reader(lambda: Candidate(terms=terms, problems=(), secrets={})))


def doubtful(w: RouterWorld) -> str:
    """The delivery in doubt."""
    [one] = [fact.delivery_id for fact in facts(w, Settled) if fact.outcome == "in_doubt"]
    return str(one)


@pytest.mark.parametrize(("given", "status"), [(ACCEPTED, "sold"), (REJECTED, "unsold")])
def test_a_late_answer_counts_as_what_it_says_and_is_marked(given: Answer, status: str) -> None:
    """After `deliver_within`, inside the timeout: sold or not as the buyer says, `late` in fact and trace."""

    def slowly(_lane: str, _request: HttpRequest, _number: int) -> tuple[float, Answer]:
        return 3.0, given

    book = factory.book(factory.buyer("b", factory.contract("c", sla={"deliver_within": "2s"}), endpoint=OWN))
    w = RouterWorld(book, slowly)

    async def story(w: RouterWorld) -> Any:
        view = await w.sell(factory.lead())
        return view.status, await Proof(w.engine).trace("lead-1")

    said, trace = w.play(story)
    assert said == status
    [settled] = facts(w, Settled)
    assert (settled.outcome, settled.late) == ("accepted" if given is ACCEPTED else "rejected", True)
    assert trace["deliveries"][0]["late"] is True


def test_the_next_in_rank_is_judged_under_the_terms_of_that_moment() -> None:
    """A doubt is rejected after a reload: the second does not cover the lead any more, a new one was never ranked."""
    w = world(script(first=HANG))
    newcomer = factory.buyer("newcomer", factory.contract("c-newcomer", price="99.00"), endpoint=OWN)
    after = [*trees(second={"coverage": {"postal_codes": ["10001"]}}), newcomer]

    async def story(w: RouterWorld) -> str:
        assert (await w.sell(factory.lead())).status == "in_doubt"
        operator = controls(w, *after)
        assert (await operator.reload(by="operator:alice")).changed
        await operator.resolve(doubtful(w), "rejected", by="buyer:first", buyer_id="first")
        return (await w.engine.settled("lead-1", 60)).status

    assert w.play(story) == "sold"
    assert w.buyers.asked() == ["first", "third"]
    assert facts(w, Reserved)[-1].terms_version == w.engine.book.version


@pytest.mark.parametrize(("age_ns", "asked"), [(22 * NS_HOUR, ["first", "second"]), (24 * NS_HOUR, ["first"])])
def test_who_was_too_long_in_doubt_is_not_sold_any_more(age_ns: int, asked: list[str]) -> None:
    """Resolved as rejected the lead goes on only while it is younger than `max_age`."""
    w = world(script(first=HANG), lead_type={"max_age": "24h"})

    async def story(w: RouterWorld) -> str:
        lead = factory.lead(age_ns=age_ns - NS_HOUR)
        assert (await w.sell(lead)).status == "in_doubt"
        await asyncio.sleep(3600)
        await controls(w).resolve(doubtful(w), "rejected", by="operator:alice")
        return (await w.engine.settled("lead-1", 60)).status

    assert w.play(story) == ("sold" if len(asked) == 2 else "unsold")
    assert w.buyers.asked() == asked


@pytest.mark.parametrize(
    ("outcome", "asked", "copies"),
    [("rejected", ["first", "second", "third"], 2), ("accepted", ["first", "second"], 2)],
)
def test_the_copy_a_doubt_held_is_free_when_it_was_none(outcome: Any, asked: list[str], copies: int) -> None:
    """A shared lead is sold as soon as one copy is; the doubtful copy goes to the next in rank when it is rejected."""
    w = world(script(first=HANG), lead_type=SHARED)

    async def story(w: RouterWorld) -> Any:
        view = await w.sell(factory.lead())
        assert (view.status, view.copies) == ("sold", 1)
        await controls(w).resolve(doubtful(w), outcome, by="operator:alice")
        return await w.engine.settled("lead-1", 60)

    view = w.play(story)
    assert (view.status, view.copies, w.buyers.asked()) == ("sold", copies, asked)
    assert not w.engine.state.open


def test_terms_that_say_what_doubts_come_to_reach_the_doubts_there_are() -> None:
    """`in_doubt_resolves` written after the fact resolves an older doubt when its time is over, without a restart."""
    w = world(script(first=HANG))
    decided = trees(first={"endpoint_keys": {"in_doubt_resolves": "rejected", "in_doubt_after": "2h"}})

    async def story(w: RouterWorld) -> str:
        assert (await w.sell(factory.lead())).status == "in_doubt"
        assert (await controls(w, *decided).reload(by="operator:alice")).changed
        await asyncio.sleep(3 * 3600)
        return (await w.engine.settled("lead-1", 60)).status

    assert w.play(story) == "sold"
    assert facts(w, Settled)[1].by == "terms"
    assert w.buyers.asked() == ["first", "second"]


def test_a_doubt_resolved_as_accepted_is_billed_as_reserved_and_keeps_its_place() -> None:
    """By its terms after a while; the cap it held stays used."""
    w = world(
        script(first=HANG),
        first={
            "endpoint_keys": {"in_doubt_resolves": "accepted", "in_doubt_after": "1h"},
            "caps": [{"id": "daily", "per": "day", "limit": 1}],
        },
    )

    async def story(w: RouterWorld) -> None:
        assert (await w.sell(factory.lead())).status == "in_doubt"
        await asyncio.sleep(3700)
        assert (await w.engine.settled("lead-1", 60)).status == "sold"
        await w.sell(factory.lead("lead-2", at_ns=w.clock.wall_ns(), phone="+15125550199"))

    w.play(story)
    assert [(fact.outcome, fact.price, fact.by) for fact in facts(w, Settled)[:2]] == [
        ("in_doubt", None, None),
        ("accepted", 2000, "terms"),
    ]
    assert w.buyers.asked() == ["first", "second"]


def test_a_lead_type_that_is_gone_ends_its_leads_and_stops_nothing() -> None:
    """Terms without the lead type: a lead in flight ends as its buyer says, a rejected doubt is offered to nobody."""
    w = world(script(first=HANG, third=REJECTED))
    other = {"id": "roofing"}
    gone = factory.buyer("elsewhere", factory.contract("c-elsewhere", lead_type="roofing"), endpoint=OWN)

    async def story(w: RouterWorld) -> list[str]:
        await w.sell(factory.lead())
        await w.take(factory.lead("flying", phone="+15125550199", at_ns=w.clock.wall_ns()))
        await asyncio.sleep(1)
        operator = controls(w, gone, lead_type=other)
        assert (await operator.reload(by="operator:alice")).changed
        flying = await w.engine.settled("flying", 60)
        await operator.resolve(facts(w, Settled)[0].delivery_id, "rejected", by="operator:alice")
        return [flying.status, (await w.engine.settled("lead-1", 60)).status]

    assert w.play(story) == ["in_doubt", "unsold"]
    assert set(w.buyers.asked()) == {"first"}


def test_no_attempt_starts_after_the_deadline_however_slow_the_disk_is() -> None:
    """The intent was durable too late: nothing is sent, and nothing was taken."""
    w = world(script())

    async def story(w: RouterWorld) -> Any:
        slow_disk(w, 25)
        await w.take(factory.lead())
        return await w.engine.settled("lead-1", 300)

    view = w.play(story)
    assert (view.status, view.reason, w.buyers.asked()) == ("unsold", "deadline", [])
    assert [(fact.outcome, fact.reason) for fact in facts(w, Settled)] == [("failed", "deadline")]
    assert not w.engine.state.in_flight["first"]


def test_no_repeat_starts_after_the_deadline_however_slow_the_disk_is() -> None:
    """The intent to repeat was durable too late: what was known before stands, a doubt stays a doubt."""
    w = world(script(first=answer(500, b"")), first={"endpoint_keys": {"idempotent": True, "retry": {"backoff": "8s"}}})

    async def story(w: RouterWorld) -> Any:
        slow_disk(w, 9)
        return await w.sell(factory.lead(), 300)

    view = w.play(story)
    assert (view.status, w.buyers.asked()) == ("in_doubt", ["first"])
    assert [fact.outcome for fact in facts(w, Settled)] == ["in_doubt"]
    assert len(facts(w, Attempted)) == 1
    assert max(fact.sent_at_ns for fact in facts(w, Attempted)) < factory.NOON + 20 * NS_S


def test_a_word_against_what_was_resolved_is_put_on_record_once() -> None:
    """The operator said rejected, the buyer says it has the lead: 409, nothing changes, and the trace shows it."""
    w = world(script(first=HANG))

    async def story(w: RouterWorld) -> Any:
        await w.sell(factory.lead())
        doubt = doubtful(w)
        await controls(w).resolve(doubt, "rejected", by="operator:alice")
        await w.engine.settled("lead-1", 60)
        before = w.engine.state.dump()
        for outcome, by in (("rejected", "buyer:first"), ("accepted", "buyer:first"), ("accepted", "buyer:first")):
            with pytest.raises(Refused) as refused:
                await controls(w).resolve(doubt, outcome, by=by, buyer_id="first")  # type: ignore[arg-type]
            assert (refused.value.status, refused.value.code) == (409, "already_settled")
        assert w.engine.state.dump() == before
        return await Proof(w.engine).trace("lead-1")

    trace = w.play(story)
    assert [(one.outcome, one.by) for one in facts(w, Contradicted)] == [("accepted", "buyer:first")]
    first, second = trace["deliveries"]
    assert [(one["outcome"], one["by"]) for one in first["contradicted"]] == [("accepted", "buyer:first")]
    assert (first["outcome"], second["outcome"], second["contradicted"]) == ("rejected", "accepted", [])
    assert "contradicted" in [line["what"] for line in trace["history"]]


def test_who_never_was_in_doubt_is_not_contradicted() -> None:
    """The buyer itself accepted: another word later is 409 and no fact; leads are given back as returns."""
    w = world(script())

    async def story(w: RouterWorld) -> None:
        await w.sell(factory.lead())
        [delivery_id] = [fact.delivery_id for fact in facts(w, Settled)]
        with pytest.raises(Refused):
            await controls(w).resolve(delivery_id, "rejected", by="buyer:first", buyer_id="first")

    w.play(story)
    assert facts(w, Contradicted) == []


@pytest.mark.parametrize("kills", [1, 3])
def test_however_often_the_process_dies_between_attempts_the_bytes_and_the_id_are_the_same(kills: int) -> None:
    """A doubt at an idempotent buyer, the process dead while it waits to ask again and while it asks: one body, one
    id, although everything in it that could change with time or process is in it.
    """
    body = {
        "id": "{{delivery_id}}", "lead": "{{lead_id}}", "at": "{{received_at}}", "price": "{{price}}",
        "source": "{{source_id}}", "contract": "{{contract_id}}", "zip": "{{postal_code}}", "phone": "{{phone}}",
    }  # fmt: skip
    keys = {"idempotent": True, "body": body, "retry": {"backoff": "2s"}}

    def play(lane: str, _request: HttpRequest, number: int) -> tuple[float, Answer]:
        return (0.2, ACCEPTED) if lane != "first" or number > kills else (0.5, answer(500, b""))

    w = world(play, first={"endpoint_keys": keys}, lead_type={"deadline": "60s"})

    async def story(w: RouterWorld) -> str:
        await w.take(factory.lead())
        for number in range(kills):
            await asyncio.sleep(1.0 if number % 2 == 0 else 0.2)  # while it waits; while it asks
            await w.restart()
        return (await w.engine.settled("lead-1", 60)).status

    assert w.play(story) == "sold"
    assert set(w.buyers.asked()) == {"first"}
    assert len(w.buyers.requests) > kills
    assert len(set(w.buyers.requests)) == 1
    assert len(facts(w, Reserved)) == 1
    assert len(facts(w, Repeating)) == len(w.buyers.requests) - 1  # each has an intent of its own


def test_an_attempt_that_a_crash_cut_short_keeps_its_number() -> None:
    """It may have been sent and nobody recorded it, twice: the next one is the third, each with its own intent."""

    def play(_lane: str, _request: HttpRequest, number: int) -> tuple[float, Answer]:
        return (3.0, HANG) if number < 2 else (0.2, ACCEPTED)

    w = world(play, first={"endpoint_keys": {"idempotent": True}})

    async def story(w: RouterWorld) -> Any:
        await w.take(factory.lead())
        for _ in range(2):
            await asyncio.sleep(1)
            await w.restart()
        await w.engine.settled("lead-1", 60)
        return await Proof(w.engine).trace("lead-1")

    trace = w.play(story)
    assert w.buyers.asked() == ["first"] * 3
    assert [fact.n for fact in facts(w, Repeating)] == [2, 3]
    [delivery] = trace["deliveries"]
    assert [(one["n"], one["outcome"]) for one in delivery["attempts"]] == [(3, "accepted")]


def test_what_a_crash_cut_short_stays_a_doubt_whatever_fails_after_it() -> None:
    """It may have been taken. Asked again the buyer is down, and the process dies once more: nobody else is asked."""

    def play(_lane: str, _request: HttpRequest, number: int) -> tuple[float, Answer]:
        return (3.0, HANG) if number == 0 else (0.1, DOWN)

    w = world(play, first={"endpoint_keys": {"idempotent": True, "retry": {"backoff": "9s"}}})

    async def story(w: RouterWorld) -> str:
        await w.take(factory.lead())
        for _ in range(2):
            await asyncio.sleep(1)
            await w.restart()
        return (await w.engine.settled("lead-1", 60)).status

    assert w.play(story) == "in_doubt"
    assert w.buyers.asked()[:2] == ["first", "first"]
    assert set(w.buyers.asked()) == {"first"}
    assert len(facts(w, Reserved)) == 1
