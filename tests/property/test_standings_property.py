"""What boards remember of caps, wallets, rates and deliveries in flight is what they would say if asked anew."""

from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import given

from router.core.decide import reserve
from router.core.standings import Standings
from router.model.codes import MOMENTARY
from router.model.facts import Received, Settled
from router.model.times import NS_S
from router.terms.book import Book
from tests import factory
from tests.examples import examples
from tests.property.dice import Dice
from tests.property.worlds import World

pytestmark = pytest.mark.usefixtures("few_codes")
_EVENTS: Final = 24
_PRICES: Final = ("5.00", "20.00", "25.00")


def together(dice: Dice) -> dict[str, Any]:
    """What the contracts of a buyer have together, and each comes to the end of soon."""
    return dice.of(
        {"caps": [{"id": "m", "per": "month", "spend": dice.of("50.00", "65.00")}]},
        {"caps": [{"id": "m", "per": "day", "limit": dice.of(2, 3)}]},
        {"caps": [{"id": "m", "per": "hour", "limit": 3, "window": "rolling"}, {"per": "day", "spend": "70.00"}]},
        {"wallet": {"mode": "postpay", "credit_limit": dice.of("60.00", "40.00")}},
        {},
    ) | {"max_in_flight": dice.of(64, 2, 1)}


def alone(dice: Dice) -> dict[str, Any]:
    """What a contract has for itself."""
    return dice.of(
        {},
        {"caps": [{"per": "day", "limit": dice.of(1, 2)}]},
        {"caps": [{"per": "week", "spend": "45.00"}]},
        {"rate": {"leads": 1, "per": "minute", "burst": dice.of(1, 2)}},
        {"caps": [{"per": "total", "limit": 3}], "exclusive_price": "30.00"},
        {"pacing": "even", "caps": [{"per": "day", "limit": 8}]},
        {"schedule": {"open": ["Sat 09:00-13:00"]}},
    )


def a_book(dice: Dice) -> Book:
    """Two buyers of three contracts each, at prices far apart."""
    buyers = []
    for name in ("b0", "b1"):
        contracts = [factory.contract(f"{name}-{price}", price=price, **alone(dice)) for price in _PRICES]
        buyers.append(factory.buyer(name, *contracts, **together(dice)))
    return factory.book(*buyers)


@examples(200)
@given(st.data())
def test_what_is_remembered_is_what_would_be_said(data: st.DataObject) -> None:
    """After every reservation and outcome, of every contract: refused or not, by which code and in which words."""
    dice = Dice(data.draw)
    world = World(a_book(dice))
    flying: list[str] = []
    for number in range(_EVENTS):
        [standings] = world.live.all()
        remembered = standings.blocking(standings.board.all, world.state, world.moment())
        anew = Standings(standings.board)
        assert remembered == anew.blocking(standings.board.all, world.state, world.moment())
        for rank in range(standings.board.size):
            one, other = standings.finding(rank), anew.finding(rank)
            assert (one and one.code) == (other and other.code)
            if one is not None and one.code not in MOMENTARY:
                assert one == other
        open_ones = [rank for rank in range(standings.board.size) if not remembered >> rank & 1]
        world.now_ns += (step := dice.of(1, 20) * NS_S)
        world.steady_ns += step
        if open_ones and (not flying or dice.of(True, False)):
            lead = factory.lead(f"l{number}", at_ns=world.now_ns)
            world.note(Received(lead_id=lead.lead_id, source_id="web", lead_type="solar"), lead)
            rank = dice.of(*open_ones)
            if standings.blocking(1 << rank, world.state, world.moment()):
                continue
            flying.append(f"d{number}")
            world.note(
                reserve(
                    standings.board, rank, world.state, lead, world.moment(), delivery_id=flying[-1], place=0
                )
            )  # fmt: skip
        elif flying:
            outcome = dice.of("rejected", "accepted", "in_doubt")
            price = 100 if outcome == "accepted" and dice.of(True, False) else None
            world.note(Settled(delivery_id=flying.pop(0), outcome=outcome, price=price))
