"""What operators set for a while: overrides that end by themselves, and contracts that come back a share at a time."""

from typing import Any

from router.core.decide import Choice
from router.core.state import State
from router.model.facts import Overridden, Paused, Restored, Resumed
from router.model.times import NS_HOUR, NS_MINUTE
from tests import factory
from tests.property.worlds import World

OPERATOR = "operator:olga"
GUARD = {
    "metric": "acceptance_rate", "over": "1h", "min_sample": 2, "trip": 0.5, "recover": 0.6, "action": "pause",
    "cool_down": "1h", "probes": 1,
}  # fmt: skip


def world(**terms: Any) -> World:
    """One buyer with one contract `c` of these terms."""
    return World(factory.book(factory.buyer("b", factory.contract("c", **terms), max_in_flight=90)))


def ask(one: World, lead_id: str = "asked") -> Choice:
    """What would be decided now."""
    return one.ask(factory.lead(lead_id, at_ns=one.now_ns))[0]


def override(one: World, subject: Any = "contract", id_: str = "c", **what: Any) -> None:
    """Set it for an hour."""
    until_ns = one.now_ns + NS_HOUR
    one.note(Overridden(subject=subject, id=id_, reason="a push", by=OPERATOR, until_ns=until_ns, **what))


def test_a_higher_cap_holds_until_its_end() -> None:
    """Full at one lead; two for an hour leave room, the reservation says so, and afterwards it is full again."""
    one = world(caps=[{"id": "daily", "per": "day", "limit": 1}])
    one.sell(factory.lead("l1", phone="+15125550101"))
    assert list(ask(one).blocked) == ["cap_reached"]
    override(one, caps={"daily": 2})
    one.sell(factory.lead("l2", phone="+15125550102"))
    (held,) = [entry.fact for entry in one.entries if getattr(entry.fact, "lead_id", "") == "l2"][-1:]
    assert [(claim.used, claim.limit) for claim in held.claims] == [(2, 2)]
    assert list(ask(one).blocked) == ["cap_reached"]

    one.settle("d2", "rejected")
    assert ask(one).winners
    one.now_ns += NS_HOUR
    assert list(ask(one).blocked) == ["cap_reached"]


def test_a_lower_cap_lets_go_at_its_end() -> None:
    """A cap closed for an hour refuses until then, and not a moment longer, across a restart too."""
    one = world(caps=[{"id": "spend", "per": "day", "spend": "100.00"}])
    override(one, spends={"spend": 0})
    assert list(ask(one).blocked) == ["cap_reached"]
    one.state = State.load(one.state.dump())
    assert list(ask(one).blocked) == ["cap_reached"]
    one.now_ns += NS_HOUR - 1
    assert list(ask(one).blocked) == ["cap_reached"]
    one.now_ns += 1
    assert ask(one).winners


def test_a_buyers_override_is_one_of_all_its_contracts() -> None:
    """Its cap over all contracts, taken back before its end."""
    buyer = factory.buyer("b", factory.contract("c"), caps=[{"id": "all", "per": "day", "limit": 5}])
    one = World(factory.book(buyer))
    override(one, "buyer", "b", caps={"all": 0})
    assert list(ask(one).blocked) == ["cap_reached"]
    one.note(Restored(subject="buyer", id="b", by=OPERATOR))
    assert ask(one).winners
    assert not one.state.overrides


def test_pacing_spreads_the_cap_that_holds() -> None:
    """Half the day is over and one lead sold: of two a day that is all so far, of twenty it is not."""
    one = world(caps=[{"id": "daily", "per": "day", "limit": 2}], pacing="even")
    one.sell(factory.lead("l1", phone="+15125550101"))
    assert list(ask(one).blocked) == ["paced"]
    override(one, caps={"daily": 20})
    assert ask(one).winners


def test_a_cap_that_is_not_there_any_more_overrides_nothing() -> None:
    """Terms without the cap, or with one of money under its id, stand as they are."""
    one = world(caps=[{"id": "daily", "per": "day", "spend": "100.00"}])
    override(one, caps={"daily": 0, "gone": 0})
    assert ask(one).winners


def share(one: World, leads: int) -> list[int]:
    """Which of so many leads the contract got."""
    got = []
    for _ in range(leads):
        number = len(one.entries)
        choice = one.sell(factory.lead(f"lead-{number}", at_ns=one.now_ns, phone=f"+1512555{number:04d}"))
        got.append(len(choice.winners))
    return got


def test_a_contract_comes_back_from_its_pause_a_growing_share_at_a_time() -> None:
    """A tenth in the first tenth of the time, half in the fifth, everything from the last one on."""
    one = world()
    one.note(Paused(subject="contract", id="c", reason="storm", by=OPERATOR))
    assert list(ask(one).blocked) == ["paused"]
    one.note(Resumed(subject="contract", id="c", by=OPERATOR, ramp_ns=100 * NS_MINUTE))
    assert share(one, 20) == ([0] * 9 + [1]) * 2
    choice = ask(one)
    assert list(choice.blocked) == ["guard_throttled"]
    expected, actual = choice.details["c"]
    assert expected == "0.1 of leads while it comes back from its pause"
    assert actual.startswith("lead 21 since then, ramped over 100m by operator:olga, until ")
    one.now_ns += 40 * NS_MINUTE
    assert sum(share(one, 20)) == 10
    one.state = State.load(one.state.dump())
    one.now_ns += 50 * NS_MINUTE
    assert sum(share(one, 20)) == 20
    one.now_ns += 10 * NS_MINUTE
    counted = one.state.easing["c"].turns
    assert sum(share(one, 20)) == 20
    assert one.state.easing["c"].turns == counted
    one.note(Resumed(subject="contract", id="other", by=OPERATOR))
    assert not one.state.easing
    assert not one.state.throttled


def test_a_pause_that_ends_by_itself_ramps_too() -> None:
    """A buyer's contracts come back over the time that was said at its pause; a new pause forgets it."""
    one = world()
    until_ns = one.now_ns + NS_HOUR
    pause = Paused(
        subject="buyer", id="b", reason="storm", by=OPERATOR, until_ns=until_ns, ramp_ns=NS_HOUR, contracts=("c",)
    )
    one.note(pause)
    assert list(ask(one).blocked) == ["paused"]
    one.now_ns = until_ns
    assert list(ask(one).blocked) == ["guard_throttled"]
    one.note(Paused(subject="contract", id="c", reason="again", by=OPERATOR))
    one.note(Resumed(subject="contract", id="c", by=OPERATOR))
    assert ask(one).winners
