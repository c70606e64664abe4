"""What is taken comes back once, as it was taken; what is counted stays counted, whatever the clocks say."""

from bisect import bisect_left
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
from hypothesis import given
from msgspec.structs import replace

from router.core.bucket import Bucket
from router.core.calendar import calendar_window
from router.core.consumers import Identity
from router.core.state import State
from router.core.usage import Usage
from router.model.facts import Attempted, Decided, Entry, Idempotency, Received, Reserved, Settled, Turn
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_S
from tests import factory
from tests.examples import examples

NOON = factory.NOON
STEPS = st.sampled_from([NS_S, 20 * NS_S, NS_MINUTE, NS_HOUR, NS_DAY, 365 * NS_DAY])


@examples(300)
@given(st.data(), st.integers(1, 5))
def test_a_token_comes_back_as_it_was_taken(data: st.DataObject, interval: int) -> None:
    """Takes, spendings and releases in any order: the bucket is what it would be had those released never been."""
    bucket, now = Bucket(), 1000
    takes: list[tuple[int, int, str]] = []
    pending: list[str] = []
    for number in range(data.draw(st.integers(1, 25))):
        now += data.draw(st.integers(0, 6))
        what = data.draw(st.sampled_from(["take", "take", "spend", "release"]))
        if what == "take":
            size = interval + data.draw(st.integers(0, 1))  # terms may change the rate meanwhile
            bucket.take(f"d{number}", now, size)
            takes.append((now, size, f"d{number}"))
            pending.append(f"d{number}")
        elif pending:
            name = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            if what == "release":
                takes = [one for one in takes if one[2] != name]
            for _ in range(2):  # the second time says nothing new
                (bucket.spend if what == "spend" else bucket.give_back)(name)
        full = 0
        for at, size, _ in takes:
            full = max(full, at) + size
        assert max(bucket.full_at_ns, now) == max(full, now)
    for name in pending:
        bucket.spend(name)
    assert not bucket.takes


def test_a_token_whose_place_was_refilled_gives_nothing_back() -> None:
    """One a minute: the first is taken, a minute later the second; the first is released, and no third goes."""
    bucket = Bucket()
    bucket.take("first", NOON, NS_MINUTE)
    bucket.take("second", NOON + NS_MINUTE, NS_MINUTE)
    bucket.give_back("first")
    assert bucket.full_at_ns == NOON + 2 * NS_MINUTE
    bucket.give_back("second")
    assert bucket.full_at_ns <= NOON + NS_MINUTE


@examples(150)
@given(
    st.lists(st.tuples(STEPS, st.booleans(), st.integers(1, 300)), min_size=1, max_size=8),
    st.sampled_from(["America/New_York", "Asia/Kolkata", "Pacific/Apia"]),
)
def test_no_clock_uncounts(stays: list[tuple[int, bool, int]], name: str) -> None:
    """Hundreds of sales while the wall clock stands wrong by up to a year: put right, each old window is as full."""
    usage, zone, sold = Usage(), ZoneInfo(name), list[int]()
    for step, back, count in stays:
        at = NOON + (-step if back else step)
        for each in [*range(count), 0]:
            sold.append(at + each * NS_S)
            usage.add(at + each * NS_S, 100)
        sold.append(NOON)  # the clock is right again for one sale
        usage.add(NOON, 100)
    in_order = sorted(sold)
    for at in {NOON, *sold[:: max(1, len(sold) // 50)]}:
        for per in ("minute", "hour", "day", "week", "month"):
            window = calendar_window(per, at, zone)  # type: ignore[arg-type]
            inside = bisect_left(in_order, window.end_ns) - bisect_left(in_order, window.start_ns)
            assert usage.leads(window.start_ns, window.end_ns) == inside
            assert usage.spend(window.start_ns, window.end_ns) == 100 * inside
    assert usage.leads_total == len(sold)


def test_what_no_window_reaches_is_forgotten() -> None:
    """Memory holds weeks of sales, not all since ever."""
    usage = Usage()
    for day in range(200):
        for each in range(50):
            usage.add(NOON + day * NS_DAY + each * NS_MINUTE, 1)
    assert len(usage.at) < 50 * 50
    assert usage.leads_total == 10_000
    assert usage.leads(NOON + 167 * NS_DAY, NOON + 200 * NS_DAY) == 33 * 50


def reserved(state: State, number: int, at: int, steady: int, **more: Any) -> str:
    """A delivery of a lead of its own."""
    lead = factory.lead(f"l{number}", at_ns=at, phone=f"+1512555{number:04d}")
    fact = Received(lead_id=lead.lead_id, source_id="web", lead_type="solar", steady_ns=steady)
    state.apply(factory.entry(fact, at, lead))
    tree = {
        "delivery_id": f"d{number}", "lead_id": lead.lead_id, "contract_id": "c", "buyer_id": "b",
        "lead_type": "solar", "terms_version": "v", "rank": 0, "price": 1000, "day": "2026-11-24", "steady_ns": steady,
    }  # fmt: skip
    state.apply(factory.entry(Reserved(**(tree | more)), at))
    return f"d{number}"


@examples(100)
@given(
    st.sampled_from(["accepted", "rejected", "duplicate", "failed", "in_doubt"]),
    st.sampled_from([NS_S, NS_HOUR, NS_DAY, 40 * NS_DAY, -NS_HOUR, -NS_DAY]),
    st.integers(0, 400),
    st.booleans(),
)
def test_an_answer_counts_where_its_lead_was_reserved(outcome: Any, later: int, between: int, restart: bool) -> None:
    """The next day, after a restart, with other sales between: the reservation's own window is confirmed or freed."""
    zone, state = ZoneInfo("America/Chicago"), State(Identity())
    delivery_id = reserved(state, 0, NOON, NOON)
    for number in range(1, between + 1):
        reserved(state, number, NOON + later, NOON + abs(later) + number, price=700)
    if restart:
        state = State.load(state.dump())
    at = NOON + later + NS_S
    state.apply(factory.entry(Settled(delivery_id=delivery_id, outcome="in_doubt"), at))
    if outcome != "in_doubt":
        price = 900 if outcome == "accepted" else None
        for _ in range(2):  # the second one is about nothing that is held
            state.apply(factory.entry(Settled(delivery_id=delivery_id, outcome=outcome, price=price), at))
    stands = {"in_doubt": 1000, "accepted": 900}.get(outcome)
    for owner in ("contract:c", "buyer:b"):
        usage = state.usage[owner]
        day = calendar_window("day", NOON, zone)
        others = between if day.start_ns <= NOON + later < day.end_ns else 0
        assert usage.leads(day.start_ns, day.end_ns) == others + (stands is not None)
        assert usage.spend(day.start_ns, day.end_ns) == others * 700 + (stands or 0)
        assert usage.leads_total == between + (stands is not None)
        assert usage.spend_total == between * 700 + (stands or 0)


@examples(60)
@given(st.data())
def test_a_share_is_given_back_once(data: st.DataObject) -> None:
    """Percentage: what a tier counts as sold to each is what was reserved and not released, of its present set."""
    state = State(Identity())
    sold: dict[str, dict[str, str]] = {"one": {}, "two": {}}  # by roster: delivery -> contract
    roster = "one"
    held: list[tuple[str, str]] = []
    for number in range(data.draw(st.integers(1, 20))):
        if held and data.draw(st.booleans()):
            name, of = held.pop(data.draw(st.integers(0, len(held) - 1)))
            outcome: Any = data.draw(st.sampled_from(["accepted", "rejected", "failed"]))
            for _ in range(2):
                state.apply(factory.entry(Settled(delivery_id=name, outcome=outcome), NOON))
            if outcome != "accepted":
                sold[of].pop(name, None)
            continue
        if data.draw(st.integers(0, 5)) == 0:
            roster = {"one": "two", "two": "one"}[roster]
            sold = {"one": {}, "two": {}}
        contract = data.draw(st.sampled_from(["a", "b"]))
        lead = factory.lead(f"l{number}")
        state.apply(factory.entry(Received(lead_id=lead.lead_id, source_id="web", lead_type="solar"), NOON, lead))
        turn = Turn(
            tier="main", method="percentage", members=("a", "b"), weights=(1, 1), picked=(contract,), roster=roster
        )
        state.apply(factory.entry(Decided(lead_id=lead.lead_id, terms_version="v", turns=(turn,)), NOON))
        name = f"d{number}"
        state.apply(
            factory.entry(
                Reserved(
                    delivery_id=name, lead_id=lead.lead_id, contract_id=contract, buyer_id=contract, lead_type="solar",
                    terms_version="v", rank=0, price=1000, day="2026-11-24", steady_ns=NOON,
                ),
                NOON,
            )
        )  # fmt: skip
        sold[roster][name] = contract
        held.append((name, roster))
        rotation = state.rotations["solar/main"]
        counts = list(sold[roster].values())
        assert {one: rotation.sold.get(one, 0) for one in "ab"} == {one: counts.count(one) for one in "ab"}


def test_a_doubt_keeps_its_token_and_a_failure_to_connect_gives_it_back() -> None:
    """A rate token is spent with the first byte sent, and where nobody knows it counts as sent."""
    state = State(Identity())
    doubt = reserved(state, 0, NOON, NOON, rate_interval_ns=NS_MINUTE)
    unsent = reserved(state, 1, NOON, NOON, rate_interval_ns=NS_MINUTE)
    state.apply(factory.entry(Settled(delivery_id=doubt, outcome="in_doubt"), NOON))
    state.apply(factory.entry(Settled(delivery_id=doubt, outcome="rejected", by="operator:a"), NOON))
    assert state.rates["c"].full_at_ns == NOON + 2 * NS_MINUTE
    state.apply(
        factory.entry(
            Attempted(
                delivery_id=unsent, n=1, sent_at_ns=NOON, took_ms=1, request_sha256="", outcome="failed",
                rule="transport:connect", sent=False,
            ),
            NOON,
        )
    )  # fmt: skip
    state.apply(factory.entry(Settled(delivery_id=unsent, outcome="failed"), NOON))
    assert state.rates["c"].full_at_ns == NOON + NS_MINUTE


@examples(60)
@given(st.lists(st.tuples(st.sampled_from([NS_MINUTE, NS_HOUR]), st.sampled_from([0, NS_HOUR, 365 * NS_DAY]))))
def test_nobody_is_forgotten_because_a_clock_was_set(moves: list[tuple[int, int]]) -> None:
    """A wall clock set ahead or back takes nobody out of dedup's memory, nor a key out of that of requests."""
    state, steady = State(Identity((("phone",),), 30 * NS_DAY, 0)), NOON
    for number, (passes, off) in enumerate([(0, 0), *moves]):
        steady += passes
        lead = replace(factory.lead(f"l{number}", at_ns=steady + off), external_id=f"e{number}")
        fact = Received(lead_id=lead.lead_id, source_id="web", lead_type="solar", steady_ns=steady)
        key = Idempotency(key=f"k{number}", body_sha256=b"")
        state.apply(Entry(at_ns=steady + off, fact=fact, lead=lead, idempotency=key))
    assert [*state.consumers.seen] == [f"l{number}" for number in range(len(moves) + 1)]
    assert len(state.keys) == len(state.externals) == len(moves) + 1
