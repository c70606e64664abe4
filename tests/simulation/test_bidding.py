"""Leads that are sold by bid: who is asked, who wins at what price, and what becomes of the world meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from router.core.live import Live
from router.core.state import State
from router.engine.controls import Candidate, Controls
from router.engine.patience import REST_NS, UNANSWERED_MAX
from router.engine.proof import Proof
from router.model.delivery import HttpRequest, HttpResponse
from router.model.facts import Asked, Bidden, Decided, Reserved, Settled
from router.model.times import NS_S
from tests import factory
from tests.simulation.router_world import ACCEPTED, DOWN, HANG, REJECTED, Answer, RouterWorld, answer
from tests.simulation.test_doubts import facts

PING = {
    "url": "http://127.0.0.1:9/ping",
    "timeout": "800ms",
    "body": {"zip": "{{postal_code}}"},
    "bid": "price",
    "reference": "id",
}
POST = {"zip": "{{postal_code}}", "phone": "{{phone}}", "price": "{{price}}", "ping": "{{ping.reference}}"}
ENDPOINT = {"ping": PING, "body": POST, "in_doubt_resolves": None}
THIRTY = [{"id": "money", "per": "day", "spend": "30.00"}]
CREDIT = {"wallet": {"mode": "postpay", "credit_limit": "30.00"}}
SHARED = {"sell": {"mode": "shared", "max_copies": 2, "parallel": 2}}


def bid(price: str | None, seconds: float = 0.1, reference: str = "r1") -> tuple[float, Answer]:
    """A buyer's answer to a ping, and how long it takes."""
    return seconds, answer(body=orjson.dumps({"price": price, "id": reference}))


def asked_buyer(name: str, endpoint: dict[str, Any] | None = None, **terms: Any) -> dict[str, Any]:
    """A buyer that is asked for a bid."""
    own = terms.pop("buyer", {})
    return factory.buyer(name, factory.contract(f"c-{name}", **terms), endpoint=ENDPOINT | (endpoint or {}), **own)


def fixed_buyer(name: str, price: str = "10.00", **terms: Any) -> dict[str, Any]:
    """A buyer with a fixed price."""
    return factory.buyer(
        name, factory.contract(f"c-{name}", price=price, **terms), endpoint={"in_doubt_resolves": None}
    )


class Market:
    """Buyers that bid as told and take what they are sent, unless told otherwise; fixed ones have no bid."""

    def __init__(self, posts: dict[str, Answer] | None = None, **bids: tuple[float, Answer]) -> None:
        self.bids = bids
        self.posts = posts or {}

    def __call__(self, lane: str, _request: HttpRequest, _number: int) -> tuple[float, Answer]:
        """As a world asks its script."""
        name, pinged, _ = lane.partition(":ping")
        return self.bids[name] if pinged else (0.2, self.posts.get(name, ACCEPTED))


def world(script: Callable[..., Any], *buyers: dict[str, Any], **parts: Any) -> RouterWorld:
    """A router over these buyers."""
    return RouterWorld(factory.book(*buyers, **parts), script)


def sold(w: RouterWorld) -> list[tuple[str, int]]:
    """Who was reserved for, at what price."""
    return [(fact.contract_id, fact.price) for fact in facts(w, Reserved)]


def posts(w: RouterWorld) -> list[tuple[str, Any]]:
    """What was posted to whom; pings left out."""
    return [(lane, orjson.loads(body)) for lane, _, body in w.buyers.requests if ":ping" not in lane]


def pinged(w: RouterWorld) -> list[str]:
    """Who was asked, in order."""
    return [lane.removesuffix(":ping") for lane in w.buyers.asked() if lane.endswith(":ping")]


def test_the_highest_bid_wins_and_is_the_price_everywhere() -> None:
    """All are asked at once without personal data; the best bid is reserved, sent, billed and shown."""
    w = world(
        Market(a=bid("30.00", 0.4, "ra"), b=bid("42.50", 0.3, "rb")),
        asked_buyer("a"),
        asked_buyer("b"),
        fixed_buyer("f"),
    )

    async def story(w: RouterWorld) -> Any:
        view = await w.sell(factory.lead())
        return view, w.loop.time(), await Proof(w.engine).trace("lead-1")

    view, took_s, trace = w.play(story)
    assert (view.status, sold(w)) == ("sold", [("c-b", 4250)])
    assert took_s < 0.7  # together: 0.4 for the slower bid, 0.2 for the post
    pings = [body for lane, _, body in w.buyers.requests if ":ping" in lane]
    assert pings == [b'{"zip":"78701"}'] * 2
    assert posts(w) == [("b", {"zip": "78701", "phone": "+15125550147", "price": "42.50", "ping": "rb"})]
    assert [fact.price for fact in facts(w, Settled)] == [4250]
    kinds = [type(entry.fact) for entry in w.ledger._entries]
    assert kinds.index(Asked) < kinds.index(Bidden) < kinds.index(Decided) < kinds.index(Reserved)
    [decision] = trace["decisions"]
    assert (decision["ranking"], decision["winners"]) == (["c-b", "c-a", "c-f"], ["c-b"])
    assert {one["contract_id"]: (one["bid"], one["late"]) for one in trace["bids"]} == {
        "c-a": ("30.00", False),
        "c-b": ("42.50", False),
    }
    assert {"rule": "bid", "expected": "a bid", "actual": "42.50"} in trace["deliveries"][0]["allowed_by"]
    assert "5125550147" not in repr([entry.fact for entry in w.ledger._entries])


@pytest.mark.parametrize(
    ("given", "terms", "code", "actual"),
    [
        (bid(None), {}, "no_bid", "no amount"),
        ((0.1, answer(404, b"")), {}, "no_bid", "status 404"),
        ((0.1, answer(302, b'{"price":"50"}')), {}, "no_bid", "status 302"),
        ((0.1, DOWN), {}, "no_bid", "connect"),
        (bid("99.00", 0.9), {}, "no_bid", "no answer within 800ms"),
        (bid("19.99"), {"min_bid": "20.00"}, "bid_too_low", "19.99"),
        (bid("4.99"), {"min_bid": "20.00"}, "below_floor", "4.99"),
        (bid("6.50"), {}, "below_margin", "6.50"),
        (bid("31.00"), {"caps": THIRTY}, "cap_reached", "0.00 and 31.00 more"),
        (
            bid("30.01"),
            {"buyer": {"wallet": {"mode": "postpay", "credit_limit": "30.00"}}},
            "balance_exhausted",
            "30.00",
        ),
    ],
)
def test_who_does_not_bid_well_does_not_win(given: Any, terms: dict[str, Any], code: str, actual: str) -> None:
    """No bid, a late one, one that is too low for floor, margin or `min_bid`, one that its money does not cover."""
    parts = {
        "lead_type": {"sell": {"mode": "exclusive", "floor": "5.00", "margin_floor": "2.00"}},
        "source": {"payout": {"solar": "5.00"}},
    }
    w = world(Market(a=given), asked_buyer("a", **terms), fixed_buyer("f"), **parts)

    async def story(w: RouterWorld) -> Any:
        await w.sell(factory.lead())
        return await Proof(w.engine).trace("lead-1")

    trace = w.play(story)
    assert sold(w) == [("c-f", 1000)]
    [refusal] = trace["decisions"][0]["refusals"]
    assert (refusal["contract_id"], refusal["code"], refusal["actual"]) == ("c-a", code, actual)


def test_a_bid_that_comes_late_is_recorded_and_cannot_win() -> None:
    """The lead goes to whoever bid in time; the late bid stands in facts and trace as late."""
    w = world(Market(a=bid("99.00", 2.0), b=bid("20.00")), asked_buyer("a"), asked_buyer("b"))

    async def story(w: RouterWorld) -> Any:
        await w.sell(factory.lead())
        ended_s = w.loop.time()
        await asyncio.sleep(3)
        return ended_s, await Proof(w.engine).trace("lead-1")

    ended_s, trace = w.play(story)
    assert sold(w) == [("c-b", 2000)]
    assert ended_s == pytest.approx(1.0, abs=0.05)
    assert [(one["contract_id"], one["bid"], one["late"]) for one in trace["bids"]] == [
        ("c-a", None, False),
        ("c-b", "20.00", False),
        ("c-a", "99.00", True),
    ]
    assert [fact.late for fact in facts(w, Bidden)] == [False, True]


def test_equal_bids_are_ranked_by_the_secondary_method_then_by_id() -> None:
    """A tie goes to the lower priority number, and between equals to the first id; a fixed price ties as well."""
    tiers = {"tiers": [{"name": "main", "method": "price", "secondary": "priority"}]}
    w = world(
        Market(a=bid("10.00"), b=bid("10.00"), c=bid("10.00")),
        asked_buyer("a", priority=2), asked_buyer("c", priority=1), asked_buyer("b", priority=1),
        fixed_buyer("f", "10.00", priority=1),
        lead_type=tiers,
    )  # fmt: skip

    async def story(w: RouterWorld) -> Any:
        await w.sell(factory.lead())
        return await Proof(w.engine).trace("lead-1")

    assert w.play(story)["decisions"][0]["ranking"] == ["c-b", "c-c", "c-f", "c-a"]


def test_only_who_passes_everything_but_price_is_asked() -> None:
    """Nobody asks a contract that another rule refuses, a buyer whose wallet is empty, nor for a lead nobody covers."""
    w = world(
        Market(ok=bid("10.00")),
        asked_buyer("ok"),
        asked_buyer("far", coverage={"postal_codes": ["10001"]}),
        asked_buyer("full", caps=[{"id": "none", "per": "day", "limit": 0}]),
        asked_buyer("poor", buyer={"wallet": {"mode": "prepay"}}),
        asked_buyer("shut", status="paused"),
    )
    w.play(lambda w: w.sell(factory.lead()))
    assert (pinged(w), sold(w)) == (["ok"], [("c-ok", 1000)])


def test_what_changed_while_bids_were_awaited_is_judged() -> None:
    """Two leads ask at once for the one place under a cap: the second bid finds it taken, and a pause holds too."""
    w = world(
        Market(a=bid("30.00", 0.5), b=bid("20.00", 0.5)),
        asked_buyer("a", caps=[{"id": "one", "per": "day", "limit": 1}]),
        asked_buyer("b"),
        fixed_buyer("f", "5.00"),
    )

    async def story(w: RouterWorld) -> Any:
        await w.take(factory.lead("l1"))
        await w.take(factory.lead("l2", phone="+15125550148"))
        await asyncio.sleep(0.1)
        statuses = [(await w.engine.view(name)).status for name in ("l1", "l2")]  # type: ignore[union-attr]
        controls = Controls(w.engine, lambda: Candidate(terms=None, problems=(), secrets={}))
        await controls.pause("buyer", "b", reason="test", by="operator:alice", until_ns=None)
        for name in ("l1", "l2"):
            await w.engine.settled(name, 60)
        return statuses, await Proof(w.engine).trace("l2")

    statuses, trace = w.play(story)
    assert statuses == ["routing", "routing"]
    assert sold(w) == [("c-a", 3000), ("c-f", 500)]
    refused = {one["contract_id"]: one["code"] for one in trace["decisions"][0]["refusals"]}
    assert refused == {"c-a": "cap_reached", "c-b": "paused"}


def test_a_decline_walks_the_ranking_with_its_bids() -> None:
    """The next in rank gets the lead at the bid it made, judged again; nobody is asked a second time."""
    w = world(
        Market({"a": REJECTED, "b": REJECTED}, a=bid("30.00"), b=bid("20.00"), c=bid("15.00")),
        asked_buyer("a"), asked_buyer("b"), asked_buyer("c"), fixed_buyer("f", "17.00", status="draft"),
    )  # fmt: skip
    view = w.play(lambda w: w.sell(factory.lead()))
    assert (view.status, sold(w)) == ("sold", [("c-a", 3000), ("c-b", 2000), ("c-c", 1500)])
    assert sorted(pinged(w)) == ["a", "b", "c"]


def test_the_bid_must_still_be_covered_when_its_turn_comes() -> None:
    """Between the bids and the decline another lead took what the second's cap on money had left."""
    caps = [{"id": "money", "per": "day", "spend": "30.00"}]
    slow = Market({"a": REJECTED}, a=bid("30.00"), b=bid("20.00"))

    def script(lane: str, request: HttpRequest, number: int) -> tuple[float, Answer]:
        seconds, said = slow(lane, request, number)
        return (3.0 if lane == "a" else seconds), said

    w = world(script, asked_buyer("a", criteria=[{"field": "homeowner", "equals": True}]), asked_buyer("b", caps=caps))

    async def story(w: RouterWorld) -> Any:
        await w.take(factory.lead("first", homeowner=True))
        await asyncio.sleep(1)
        await w.sell(factory.lead("second", phone="+15125550148"))
        return await w.engine.settled("first", 60)

    view = w.play(story)
    assert (view.status, view.reason) == ("unsold", "all_declined")
    assert sold(w) == [("c-a", 3000), ("c-b", 2000)]


def test_a_crash_between_ping_and_post_sells_nothing() -> None:
    """Nothing was reserved; the next life asks anew and sells once. An answer to the first ping counts no more."""
    w = world(Market(a=bid("30.00", 0.5)), asked_buyer("a"))

    async def story(w: RouterWorld) -> Any:
        await w.take(factory.lead())
        await asyncio.sleep(0.2)
        await w.restart()
        assert not facts(w, Reserved)
        status = (await w.engine.settled("lead-1", 60)).status
        state = State(w.engine.state.identity)
        async for entries in w.ledger.facts_after(0):
            for _, entry in entries:
                state.apply(entry)
        assert state.dump() == w.engine.state.dump()
        return status

    assert w.play(story) == "sold"
    assert (pinged(w), sold(w)) == (["a", "a"], [("c-a", 3000)])


def test_a_repeat_after_a_restart_sends_the_bid_and_its_reference_again() -> None:
    """The same bytes, though the ping was made by the process before."""
    hanging = Market({"a": HANG}, a=bid("30.00", 0.1, "r77"))

    def script(lane: str, request: HttpRequest, number: int) -> tuple[float, Answer]:
        seconds, said = hanging(lane, request, number)
        return (2.0 if said is HANG else seconds), (ACCEPTED if lane == "a" and number else said)

    w = world(script, asked_buyer("a", {"idempotent": True}))

    async def story(w: RouterWorld) -> Any:
        await w.take(factory.lead())
        await asyncio.sleep(1)
        await w.restart()
        return (await w.engine.settled("lead-1", 60)).status

    assert w.play(story) == "sold"
    first, second = posts(w)
    assert first == second
    assert first[1]["ping"] == "r77"


def test_shared_copies_mix_bids_and_prices() -> None:
    """The two best buyers get a copy each: one at its bid, one at its price; the bid replaces every price."""
    w = world(
        Market(a=bid("12.00"), b=bid("3.00")),
        asked_buyer("a", price="1.00", exclusive_price="90.00"), asked_buyer("b"), fixed_buyer("f", "10.00"),
        lead_type=SHARED,
    )  # fmt: skip
    view = w.play(lambda w: w.sell(factory.lead()))
    assert (view.copies, sold(w)) == (2, [("c-a", 1200), ("c-f", 1000)])


@pytest.mark.parametrize(("alone", "mode"), [("25.01", "exclusive"), ("25.00", "exclusive"), ("24.99", "shared")])
def test_best_weighs_bids_against_prices(alone: str, mode: str) -> None:
    """A bid is the same in both arms: the two best bids together are set against one exclusive price."""
    w = world(
        Market(a=bid("13.00"), b=bid("12.00")), asked_buyer("a"), asked_buyer("b"),
        fixed_buyer("f", "8.00", exclusive_price=alone),
        lead_type={"sell": {"mode": "best", "max_copies": 2, "parallel": 2}},
    )  # fmt: skip
    w.play(lambda w: w.sell(factory.lead()))
    [decided] = facts(w, Decided)
    assert decided.mode == mode
    assert sorted(pinged(w)) == ["a", "b"]
    assert [name for name, _ in sold(w)] == (["c-f"] if mode == "exclusive" else ["c-a", "c-b"])


def test_the_margin_of_all_copies_counts_bids() -> None:
    """A payout once per lead is set against the sum of what the copies bring, bids included."""
    parts = {
        "lead_type": {"sell": SHARED["sell"] | {"margin_floor": "1.00"}},
        "source": {"payout": {"solar": "20.00"}},
    }
    w = world(Market(a=bid("10.00"), b=bid("10.99")), asked_buyer("a"), asked_buyer("b"), **parts)

    async def story(w: RouterWorld) -> Any:
        view = await w.sell(factory.lead())
        return view, await Proof(w.engine).trace("lead-1")

    view, trace = w.play(story)
    assert (view.status, view.reason, sold(w)) == ("unsold", "no_eligible_contract", [])
    assert {(one["code"], one["expected"], one["actual"]) for one in trace["decisions"][0]["refusals"]} == {
        ("below_margin", "at least 21.00 for all copies", "20.99 for 2 copies")
    }


def test_a_test_lead_asks_nobody() -> None:
    """It stands in for bids with the terms' own prices, so that it reaches the buyer's `test_url` and nothing else."""
    test_url = {"test_url": "http://127.0.0.1:9/test"}
    w = world(Market(), asked_buyer("a", test_url, price="30.00"), asked_buyer("b", test_url, price="20.00"))
    view = w.play(lambda w: w.sell(factory.lead(test=True)))
    assert (view.status, sold(w), pinged(w)) == ("sold", [("c-a", 3000)], [])
    assert posts(w)[0][1]["price"] == "30.00"


def test_explain_asks_nobody() -> None:
    """It says who would be asked: `no_bid`, actual `not_asked`; whom another rule refuses has that reason alone."""
    w = world(Market(), asked_buyer("a"), asked_buyer("far", coverage={"postal_codes": ["10001"]}), fixed_buyer("f"))

    async def story(w: RouterWorld) -> Any:
        return Proof(w.engine).explain(factory.lead())

    told = w.play(story)
    assert [(one["contract_id"], one["code"], one["actual"]) for one in told["refusals"]] == [
        ("c-a", "no_bid", "not_asked"),
        ("c-far", "out_of_coverage", "78701"),
    ]
    assert (told["winners"], w.buyers.asked()) == (["c-f"], [])


def test_an_endpoint_that_answers_no_ping_rests() -> None:
    """After five unanswered pings nobody waits for it for half a minute; then one ping tries it, and mends it."""
    market = Market(a=bid("30.00", 3.0))
    w = world(market, asked_buyer("a"), fixed_buyer("f"))
    took: list[float] = []

    async def story(w: RouterWorld) -> None:
        for number in range(UNANSWERED_MAX + 3):
            if number == UNANSWERED_MAX + 2:
                await asyncio.sleep(REST_NS / NS_S)
                market.bids["a"] = bid("30.00")
            began = w.loop.time()
            await w.sell(factory.lead(f"l{number}", phone=f"+1512555{number:04d}", at_ns=w.clock.wall_ns()))
            took.append(round(w.loop.time() - began, 1))

    w.play(story)
    assert took == [1.0] * UNANSWERED_MAX + [0.2] * 2 + [0.3]
    assert sold(w)[-2:] == [("c-f", 1000), ("c-a", 3000)]
    assert len(pinged(w)) == UNANSWERED_MAX + 1
    silent = [fact.bids[0].actual for fact in facts(w, Bidden) if not fact.late]
    assert silent[UNANSWERED_MAX] == "not asked: it left the last pings unanswered"


def test_the_wait_for_bids_ends_with_the_leads_deadline() -> None:
    """A lead that waited for a free place is asked about at the last moment; no post starts after its deadline."""
    w = world(
        Market(a=bid("30.00", 0.7)),
        asked_buyer("a", rate={"leads": 1, "per": "minute", "burst": 1}),
        lead_type={"deadline": "61200ms"},
    )

    async def story(w: RouterWorld) -> Any:
        await w.sell(factory.lead("l1"))
        return await w.sell(factory.lead("l2", phone="+15125550148", at_ns=w.clock.wall_ns() - NS_S), 100)

    view = w.play(story)
    assert (view.status, view.reason) == ("unsold", "deadline")
    assert (len(pinged(w)), sold(w)) == (2, [("c-a", 3000)])


def test_a_queued_lead_is_asked_about_when_its_turn_comes() -> None:
    """A contract that says `queue` opens: each who waits is asked about in turn, and sold by its bid."""
    hours = {"open": ["Mon-Fri 13:00-18:00"], "when_closed": "queue"}
    w = world(Market(a=bid("30.00")), asked_buyer("a", schedule=hours), lead_type={"queue": {"hold_max": "4h"}})

    async def story(w: RouterWorld) -> Any:
        for number in range(3):
            view = await w.take(factory.lead(f"l{number}", phone=f"+1512555{number:04d}"))
            assert view.status == "queued"
        await asyncio.sleep(3700)
        return [(await w.engine.view(f"l{number}")).status for number in range(3)]  # type: ignore[union-attr]

    assert w.play(story) == ["sold"] * 3
    assert [fact.lead_id for fact in facts(w, Reserved)] == ["l0", "l1", "l2"]


def test_a_throttle_counts_a_lead_once_and_keeps_the_rest_from_being_asked() -> None:
    """Half of the leads pass: only about those is the buyer asked, and the others are told why not."""
    guard = {
        "metric": "acceptance_rate", "over": 20, "min_sample": 2, "trip": 0.9, "recover": 0.95,
        "action": "throttle", "throttle_to": 0.5, "cool_down": "10m",
    }  # fmt: skip
    market = Market({"a": REJECTED}, a=bid("30.00"))
    w = world(market, asked_buyer("a", sla={"guards": [guard]}), fixed_buyer("f"))

    async def story(w: RouterWorld) -> Any:
        for number in range(10):
            await w.sell(factory.lead(f"l{number}", phone=f"+1512555{number:04d}", at_ns=w.clock.wall_ns()))
        return [await Proof(w.engine).trace(f"l{number}") for number in range(2, 10)]

    traces = w.play(story)
    assert len(pinged(w)) == 2 + 4
    refused = [
        [one["code"] for one in trace["decisions"][0]["refusals"] if one["contract_id"] == "c-a"] for trace in traces
    ]
    assert refused == [["guard_throttled"], []] * 4


def test_terms_may_change_while_bids_are_awaited() -> None:
    """The contract is gone when its bid comes: the bid buys nothing, and whoever is there gets the lead."""
    w = world(Market(a=bid("30.00", 0.5)), asked_buyer("a"), fixed_buyer("f"))
    after = factory.book(fixed_buyer("f"))

    async def story(w: RouterWorld) -> Any:
        await w.take(factory.lead())
        await asyncio.sleep(0.1)
        await w.engine.adopt(after, Live(after), {}, by="operator:alice")
        return await w.engine.settled("lead-1", 60)

    assert w.play(story).status == "sold"
    assert sold(w) == [("c-f", 1000)]


def test_a_higher_answer_price_is_not_billed() -> None:
    """The buyer's answer to the post names more than it bid: the bid is billed; a lower one is."""
    for named, billed in (("99.00", 3000), ("25.00", 2500)):
        said = HttpResponse(status=200, headers=(), body=orjson.dumps({"status": "accepted", "price": named}))
        w = world(Market({"a": said}, a=bid("30.00")), asked_buyer("a"))
        w.play(lambda w: w.sell(factory.lead()))
        assert [fact.price for fact in facts(w, Settled)] == [billed]


def test_a_stop_while_bids_are_awaited_loses_nothing() -> None:
    """The source gets its answer at once, nobody is sold to, and the next start routes the lead."""
    w = world(Market(a=bid("30.00", 0.5)), asked_buyer("a"))

    async def story(w: RouterWorld) -> Any:
        await w.take(factory.lead())
        await asyncio.sleep(0.1)
        await w.engine.drain(30)
        waited = (await w.engine.settled("lead-1", 1)).status
        await w.restart()
        return waited, (await w.engine.settled("lead-1", 60)).status

    assert w.play(story) == ("routing", "sold")
    assert sold(w) == [("c-a", 3000)]


def test_who_waits_for_bids_holds_nobody_up() -> None:
    """Fifty leads wait for a buyer that answers no ping; leads nobody is asked about are sold as ever meanwhile."""
    w = world(
        Market(a=bid("30.00", 3.0)),
        asked_buyer("a", criteria=[{"field": "homeowner", "equals": True}]),
        fixed_buyer("f"),
    )

    async def story(w: RouterWorld) -> float:
        for number in range(50):
            await w.take(factory.lead(f"w{number}", homeowner=True, phone=f"+1512555{number:04d}"))
        await w.sell(factory.lead("quick"))
        return w.loop.time()

    assert w.play(story) == pytest.approx(0.2, abs=0.01)
    assert len(pinged(w)) == 50
