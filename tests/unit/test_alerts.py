"""Alerts are verdicts: from terms, state and a moment, without any memory of their own."""

from typing import Any

import pytest
from msgspec import structs

from router import alerts
from router.alerts import Alert, Kind, of_buyer, of_contract, outlook
from router.core.consumers import Identity
from router.core.state import Answers, State
from router.core.usage import Usage
from router.model.facts import Deposited, GuardRecovered, GuardTripped, Paused, Reserved, Resumed, Settled
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_S
from router.terms.book import Book
from tests import factory
from tests.factory import NOON, contract, entry

OWNER = "contract:c"


def house(endpoint: dict[str, Any] | None = None, *, buyer: dict[str, Any] | None = None, **terms: Any) -> Book:
    """One buyer `b` with one contract `c`; its doubts stay until somebody resolves them."""
    careful = {"in_doubt_resolves": None} | (endpoint or {})
    return factory.book(factory.buyer("b", contract("c", **terms), endpoint=careful, **(buyer or {})))


def said(book: Book, state: State, at_ns: int = NOON) -> dict[str, Alert]:
    """Every alert about contract and buyer, by kind and detail."""
    out = outlook(state, factory.moment(at_ns))
    plan = book.contracts["c"]
    found = [*of_contract(plan, out), *of_buyer(plan.buyer, [plan], out)]
    return {alert.kind + (f":{alert.detail}" if alert.detail else ""): alert for alert in found}


def reserved(number: int, at_ns: int = NOON, price: int = 1000) -> Any:
    """The intent to send lead `number`."""
    fact = Reserved(
        delivery_id=f"d{number}",
        lead_id=f"l{number}",
        contract_id="c",
        buyer_id="b",
        lead_type="solar",
        terms_version="",
        rank=0,
        price=price,
        day="2026-11-24",
        steady_ns=at_ns,
    )
    return entry(fact, at_ns)


def folded(*entries: Any) -> State:
    """The state after these facts."""
    state = State(Identity())
    for one in entries:
        state.apply(one)
    return state


def settled(number: int, outcome: str, at_ns: int = NOON, **more: Any) -> Any:
    """What came of lead `number`."""
    return entry(Settled(delivery_id=f"d{number}", outcome=outcome, **more), at_ns)  # type: ignore[arg-type]


def delivered(*outcomes: str, **more: Any) -> State:
    """The state after deliveries that ended so."""
    facts = [one for n, outcome in enumerate(outcomes) for one in (reserved(n), settled(n, outcome, **more))]
    return folded(*facts)


def test_a_quiet_router_says_nothing() -> None:
    """Fresh terms and a fresh state are no trouble."""
    assert said(house(caps=[{"per": "day", "limit": 10}]), State(Identity())) == {}


def test_a_pause_by_the_router_is_an_alert_and_one_by_hand_is_not() -> None:
    """Whoever paused it knows; what paused itself needs somebody."""
    by_us = Paused(subject="contract", id="c", reason="410", by="endpoint")
    alert = said(house(), folded(entry(by_us)))["endpoint_paused"]
    assert (alert.subject, alert.since_ns) == (OWNER, NOON)
    assert "lead-router resume c" in alert.mend
    by_hand = Paused(subject="contract", id="c", reason="holiday", by="operator:ann")
    assert said(house(), folded(entry(by_hand))) == {}
    assert said(house(), folded(entry(by_us), entry(Resumed(subject="contract", id="c", by="operator:ann")))) == {}


def test_silent_failures() -> None:
    """Three in ten of the last deliveries without a real answer are said; rejections are answers."""
    trouble = delivered(*["accepted"] * 7, "failed", "failed", "in_doubt")
    assert "2 failed and 1 are in doubt" in said(house(), trouble)["silent_failures"].message
    assert "silent_failures" not in said(house(), delivered(*["accepted"] * 8, "failed", "in_doubt"))
    assert "silent_failures" not in said(house(), delivered(*["rejected"] * 10))
    assert "silent_failures" not in said(house(), delivered(*["failed"] * 9))


def test_failures_are_over_when_good_outcomes_follow_or_somebody_resumed() -> None:
    """Only the last twenty count, and whoever resumes has looked at them."""
    better = delivered(*["failed"] * 10, *["accepted"] * 20)
    assert "silent_failures" not in said(house(), better)
    trouble = delivered(*["failed"] * 10)
    trouble.apply(entry(Resumed(subject="contract", id="c", by="operator:ann")))
    assert "silent_failures" not in said(house(), trouble)


def test_a_doubt_is_counted_once_however_it_is_resolved() -> None:
    """Resolving is no new outcome, and our own restart is no failure of the buyer's."""
    state = delivered("in_doubt")
    state.apply(settled(0, "accepted", by="operator:ann"))
    assert state.answers["c"].outcomes == "i"
    state = folded(reserved(1), settled(1, "failed", by="restart"))
    assert state.answers.get("c", Answers()).outcomes == ""


def test_guards_that_tripped_and_the_breaker() -> None:
    """From the trip until it is closed, each guard by itself; the breaker says what was answered last."""
    guard = {"metric": "acceptance_rate", "over": "1h", "min_sample": 20, "trip": 0.5, "action": "throttle"}
    book = house(sla={"guards": [guard | {"throttle_to": 0.25}]})
    trip = GuardTripped(
        contract_id="c", guard="acceptance_rate/1h/throttle", metric="acceptance_rate", action="throttle", value=0.4,
        sample=20, until_ns=NOON + NS_HOUR, steady_until_ns=NOON + NS_HOUR, causes=("d1",),
    )  # fmt: skip
    sick = structs.replace(trip, guard="breaker", metric="endpoint", action="pause", detail="table:unclassified")
    found = said(book, folded(entry(trip), entry(sick)))
    throttled = found["guard_tripped:acceptance_rate/1h/throttle"]
    assert throttled.message.startswith("a guard throttles the contract: acceptance_rate 0.4 of 20; wanted: ")
    assert "until 2026-11-24T18:00:00.000Z, then it is probed" in throttled.message
    broken = found["endpoint_unhealthy"]
    assert "8 of 20 attempts unhealthy" in broken.message
    assert "(last: table:unclassified)" in broken.message
    assert "response rule" in broken.mend
    later = said(book, folded(entry(trip), entry(sick)), NOON + NS_HOUR)
    assert "it is being probed" in later["endpoint_unhealthy"].message
    closed = GuardRecovered(contract_id="c", guard="breaker", metric="endpoint")
    assert "endpoint_unhealthy" not in said(book, folded(entry(sick), entry(closed)))


def test_doubts_that_age() -> None:
    """After an hour, unless the terms resolve them."""
    state = delivered("in_doubt")
    late = NOON + NS_HOUR
    assert "doubt_ageing" not in said(house(), state, late - NS_S)
    alert = said(house(), state, late)["doubt_ageing"]
    assert alert.since_ns == late
    assert "lead-router resolve" in alert.mend
    assert "doubt_ageing" not in said(house({"in_doubt_resolves": "rejected"}), state, late)


def test_caps_nearly_full() -> None:
    """From nine in ten on, of windows of a day or longer, held ones included; 0 is closed, not full."""
    caps = [{"id": "daily", "per": "day", "limit": 10}, {"per": "hour", "limit": 10}, {"per": "week", "limit": 0}]
    assert "cap_nearly_full:daily" not in said(house(caps=caps), folded(*map(reserved, range(8))))
    found = said(house(caps=caps), folded(*map(reserved, range(9))))
    assert [key for key in found if key.startswith("cap")] == ["cap_nearly_full:daily"]
    assert "9 leads of 10" in found["cap_nearly_full:daily"].message
    tomorrow = NOON + NS_DAY
    assert "cap_nearly_full:daily" not in said(house(caps=caps), folded(*map(reserved, range(9))), tomorrow)


def test_caps_of_money_and_of_the_buyer() -> None:
    """Spend is shown as money; a buyer's cap is the buyer's alert, said once."""
    book = house(buyer={"caps": [{"id": "monthly", "per": "month", "spend": "100.00"}]})
    found = said(book, folded(*map(reserved, range(9))))
    assert found["cap_nearly_full:monthly"].subject == "buyer:b"
    assert "90.00 of spend of 100.00" in found["cap_nearly_full:monthly"].message


def test_a_low_balance() -> None:
    """It pays for fewer than ten more leads, or for less than a day like the last."""
    prepaid = house(buyer={"wallet": {"mode": "prepay"}})
    paid = entry(Deposited(buyer_id="b", amount=20_000, reference="r", by="operator:ann"))
    assert "balance_low" not in said(prepaid, folded(paid))
    assert "pays for 9 more leads" in said(prepaid, folded(paid, *map(reserved, range(11))))["balance_low"].message
    busy = [reserved(n, price=100) for n in range(101)]
    assert "balance_low" in said(prepaid, folded(paid, *busy))
    assert "balance_low" not in said(house(), folded())


def test_a_price_above_the_reserved_one() -> None:
    """It is told for a day after the last one, with what is billed."""
    state = delivered("accepted", "accepted", price=1000, answer_price=1500)
    alert = said(house(), state)["price_above_reserved"]
    assert "2 answers named a higher price than was reserved, the last 15.00 instead of 10.00" in alert.message
    assert "price_above_reserved" not in said(house(), state, NOON + NS_DAY)


def sales(*days_and_counts: tuple[int, int], before: int = NOON) -> Usage:
    """Sales in the hour before noon, so many on each of these days ago."""
    usage = Usage()
    for day, count in sorted(days_and_counts, reverse=True):
        for n in range(count):
            usage.add(before - day * NS_DAY - NS_HOUR + (n + 1) * NS_MINUTE, 1000)
    return usage


@pytest.mark.parametrize(
    ("usage", "quiet"),
    [
        (sales((3, 10), (2, 10), (1, 10), (4, 1)), True),  # four days of history: the last three
        (sales((3, 10), (2, 9), (1, 10), (4, 1)), False),  # one of them had fewer
        (sales((2, 50), (1, 50)), False),  # too young to have a rhythm
        (sales((8, 10), (7, 10), (1, 10)), True),  # a week: yesterday and this weekday
        (sales((8, 10), (1, 50)), False),  # a weekday on which it is always quiet
        (sales((15, 1), (14, 10), (7, 10)), True),  # two weeks: this weekday twice
        (sales((15, 1), (14, 10), (7, 10), (0, 1)), False),  # it took one
    ],
)
def test_a_buyer_gone_quiet_against_its_own_rhythm(usage: Usage, quiet: bool) -> None:
    """Nothing now, where on every day compared with at least ten stood."""
    assert (alerts.fallen_quiet(usage, NOON) is not None) == quiet
    state = State(Identity(), usage={"buyer:b": usage})
    found = said(house(), state)
    assert ("buyer_quiet" in found) == quiet
    if quiet:
        assert found["buyer_quiet"].since_ns == usage.last_at()
        assert "nothing in the last 1h, and at least 10 leads" in found["buyer_quiet"].message


def test_silence_with_a_known_cause_is_no_news() -> None:
    """A buyer that is paused, closed or full is quiet because its terms say so."""
    usage = sales((15, 1), (14, 10), (7, 10))
    paused = State(Identity(), usage={"buyer:b": usage})
    paused.apply(entry(Paused(subject="buyer", id="b", reason="holiday", by="operator:ann")))
    assert "buyer_quiet" not in said(house(), paused)
    assert "buyer_quiet" not in said(
        house(caps=[{"per": "day", "limit": 0}]), State(Identity(), usage={"buyer:b": usage})
    )


def test_a_slow_rhythm_is_compared_over_longer_spans() -> None:
    """Four leads an hour are too few for one hour; six hours without any are not."""
    usage = Usage()
    for day in (15, 14, 7):
        for n in range(24):
            usage.add(NOON - day * NS_DAY - 6 * NS_HOUR + n * 15 * NS_MINUTE, 1000)
    assert alerts.fallen_quiet(usage, NOON) == (3 * NS_HOUR, 12)


def test_the_clock_and_the_ledger() -> None:
    """Both are about the router, and say what to do."""
    jump = alerts.clock_jumped(-25 * NS_MINUTE - 3, NOON)
    assert (jump.id, jump.message) == ("clock_jumped:router", "the wall clock went back by 25m")
    full = alerts.ledger_unwritable("no room", "make room on the disk")
    assert full.mend == "Make room on the disk"


def test_every_kind_has_its_words() -> None:
    """Ids tell kinds, subjects and details apart."""
    alert = Alert(kind="cap_nearly_full", subject=OWNER, detail="daily", message="m", mend="d")
    assert alert.id == "cap_nearly_full:contract:c:daily"
    assert alert.kind in Kind.__args__  # type: ignore[attr-defined]


def test_endpoints_that_are_not_certified_are_one_alert() -> None:
    """However many there are; it names the first ones and says whether leads depend on it."""
    names = [f"b{n}/crm" for n in range(12)]
    alert = alerts.not_certified(names, required=True)
    assert alert.subject == "router"
    assert "12 endpoints" in alert.message
    assert "get no leads" in alert.message
    assert "b10/crm" not in alert.message
    assert "get no leads" not in alerts.not_certified(names, required=False).message
    book = house()
    out = outlook(State(Identity()), factory.moment())
    assert list(alerts.uncertified(book.contracts.values(), out)) == ["b/crm"]
    draft = house(status="draft")
    assert list(alerts.uncertified(draft.contracts.values(), out)) == []
