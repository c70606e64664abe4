"""Every refusal code is enforced by the fast decision, and not only told by the explanation: a contract for each."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from router.core.bidding import Bids
from router.core.consumers import marks_of
from router.core.explain import every_refusal
from router.core.suppression import contact_mark
from router.model.codes import REFUSAL_CODES
from router.model.facts import GuardTripped, Paused, Suppressed
from router.model.lead import Consent, Lead
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE
from tests import factory
from tests.factory import NOON
from tests.property.worlds import PING, World

Question = tuple[World, Lead, Bids | None]
Before = Callable[[World], None]


def asked(
    *,
    lead: dict[str, Any] | None = None,
    before: Before = lambda _: None,
    bid: int | None = None,
    buyer: dict[str, Any] | None = None,
    lead_type: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
    **terms: Any,
) -> Callable[[], Question]:
    """One contract of these terms, what happened before, and a lead that somebody asks it about; what it bid."""

    def question() -> Question:
        contract = factory.contract("c", **terms)
        book = factory.book(factory.buyer("b", contract, **(buyer or {})), lead_type=lead_type, source=source)
        world = World(book)
        [standings] = world.live.all()
        standings.blocking(standings.board.all, world.state, world.moment())  # what it says now is remembered
        before(world)
        one = factory.lead("asked", **(lead or {}))
        world.take(one)
        return world, one, None if bid is None else world.take_bids(one, {"c": bid})

    return question


def sold(world: World) -> None:
    """One lead was sold to it, and is on its way."""
    assert world.sell(factory.lead("sold")).winners


def paused(world: World) -> None:
    """An operator paused it."""
    world.note(Paused(subject="contract", id="c", reason="trial", by="operator:alice"))


def suppressed(world: World) -> None:
    """Somebody took the person out by an e-mail address."""
    mark = contact_mark("email", str(factory.lead().fields["email"]).upper())
    world.note(Suppressed(marks={"email": mark}, by="operator:alice"))


def tripped(world: World) -> None:
    """Its guard tripped; where it has none, the breaker."""
    key, action = next(((one.key, one.action) for one in world.book.contracts["c"].guards), ("breaker", "pause"))
    fact = GuardTripped(
        contract_id="c", guard=key, metric="error_rate", action=action, value=1.0, sample=5,
        until_ns=NOON + NS_HOUR, steady_until_ns=NOON + NS_HOUR,
    )  # fmt: skip
    world.state.apply(factory.entry(fact))
    world.live.touch_contract("c")  # as the journal does


GUARD: Final = {"metric": "error_rate", "over": 20, "min_sample": 5, "trip": 0.5, "recover": 0.4}
PINGED: Final = {"endpoints": {"crm": factory.ENDPOINT | PING}}
PAID: Final = {"payout": {"solar": "9.50"}}
CONSENT: Final = Consent(given_at_ns=NOON - NS_DAY, text="yes", sellers=("Others",))
CASES: Final = {
    "contract_inactive": asked(status="draft"),
    "buyer_inactive": asked(buyer={"status": "draft"}),
    "paused": asked(before=paused),
    "source_not_allowed": asked(sources=["other"]),
    "out_of_coverage": asked(coverage={"postal_codes": ["10001"]}),
    "field_missing": asked(fields={"required": ["first_name"]}),
    "field_invalid": asked(fields={"rules": {"credit_score": {"min": 650}}}, lead={"credit_score": 600}),
    "consent_missing": asked(consent={"required": True}),
    "consent_expired": asked(consent={"required": True, "max_age": "1h"}, lead={"consent": CONSENT}),
    "consent_seller_not_named": asked(consent={"required": True, "names_seller": "Us"}, lead={"consent": CONSENT}),
    "certificate_missing": asked(consent={"required": True, "certificates": ["jornaya"]}, lead={"consent": CONSENT}),
    "criteria_failed": asked(criteria=[{"field": "credit_score", "min": 650}], lead={"credit_score": 600}),
    "lead_too_old": asked(sla={"max_lead_age": "10m"}, lead={"age_ns": NS_HOUR}),
    "too_late": asked(sla={"deliver_within": "30s"}, lead={"at_ns": NOON - NS_MINUTE}),
    "out_of_schedule": asked(schedule={"open": ["Sat 09:00-13:00"]}),
    "guard_paused": asked(sla={"guards": [GUARD | {"action": "pause"}]}, before=tripped),
    "guard_throttled": asked(
        sla={"guards": [GUARD | {"action": "throttle", "throttle_to": 0.1}]}, before=tripped
    ),
    "endpoint_unhealthy": asked(before=tripped),
    "duplicate": asked(dedup={"keys": [["phone"]], "window": "1d"}, before=sold),
    "suppressed": asked(before=suppressed),
    "below_floor": asked(lead_type={"sell": {"mode": "exclusive", "floor": "11.00"}}),
    "below_margin": asked(lead_type={"sell": {"mode": "exclusive", "margin_floor": "1.00"}}, source=PAID),
    "bid_too_low": asked(min_bid="20.00", buyer=PINGED, bid=1000),
    "no_bid": asked(buyer=PINGED),
    "balance_exhausted": asked(buyer={"wallet": {"mode": "postpay", "credit_limit": "15.00"}}, before=sold),
    "cap_reached": asked(caps=[{"per": "day", "limit": 1}], before=sold),
    "ramp_reached": asked(ramp={"start": 1, "step": 1, "every": "1d"}, go_live="2026-11-24", before=sold),
    "paced": asked(pacing="even", caps=[{"per": "day", "limit": 2}], before=sold),
    "rate_limited": asked(rate={"leads": 1, "per": "minute", "burst": 1}, before=sold),
    "concurrency_limited": asked(buyer={"max_in_flight": 1}, before=sold),
}  # fmt: skip


def test_there_is_a_case_for_every_code() -> None:
    """A new code has its case here."""
    assert CASES.keys() == set(REFUSAL_CODES)


@pytest.mark.parametrize("code", CASES)
def test_what_is_explained_is_enforced(code: str) -> None:
    """Nothing but one rule stands against the contract, what happened last included: the lead is not sold to it."""
    world, lead, bids = CASES[code]()
    [choice] = world.ask(lead, bids)
    found = every_refusal(
        world.book, world.book.contracts["c"], lead, world.state, world.moment(), mode="exclusive",
        released_at_ns=lead.received_at_ns, marks=marks_of(lead, world.state.identity.keys), bids=choice.bids,
    )  # fmt: skip
    assert list(dict.fromkeys(one.code for one in found)) == [code]
    assert not choice.winners
    assert code not in choice.blocked or choice.blocked == {code: 1}


def test_a_suppressed_number_counts_in_whatever_field_it_stands() -> None:
    """A lead type may call its second number what it likes; the value must be a number or an address, not any text."""
    more = {"fields": factory.LEAD_TYPE["fields"] | {"mobile": {"type": "phone"}, "note": {"type": "string"}}}
    number = "+15125550199"
    for field, wins in (("mobile", False), ("note", True)):
        world, lead, _ = asked(lead_type=more, lead={field: number})()
        mark = contact_mark("phone", number)
        world.note(Suppressed(marks={"phone": mark}, by="operator:alice"))
        [choice] = world.ask(lead)
        assert bool(choice.winners) is wins


def test_a_contract_that_refuses_nothing_wins() -> None:
    """The cases differ from this one by what their rule is about."""
    world, lead, _ = asked()()
    [choice] = world.ask(lead)
    assert choice.winners
