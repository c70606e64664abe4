"""Replaying received leads under two sets of terms: the same decision, and only the terms make the difference."""

from typing import Any

from router.model.lead import Lead
from router.model.times import NS_DAY, NS_MINUTE
from router.onboarding.placing import compared, difference
from router.onboarding.replay import LEADS_MAX, replay
from tests import factory
from tests.factory import NOON, contract


def leads(count: int, **fields: Any) -> list[Lead]:
    """So many leads, a minute apart, each of another person."""
    return [
        factory.lead(f"l{n}", at_ns=NOON + n * NS_MINUTE, phone=f"+1512555{n:04d}", email=f"a{n}@example.com", **fields)
        for n in range(count)
    ]


def test_caps_hold_in_a_replay() -> None:
    """The first ranked takes what its cap allows, the next one the rest; prices add up."""
    book = factory.book(
        factory.buyer("a", contract("ca", price="20.00", caps=[{"per": "day", "limit": 3}])),
        factory.buyer("b", contract("cb", price="10.00")),
    )
    done = replay(book, leads(5))
    assert {id_: (sold.leads, sold.revenue) for id_, sold in done.contracts.items()} == {
        "ca": (3, 6000),
        "cb": (2, 2000),
    }
    assert done.winners["l0"] == ("ca",)
    assert done.winners["l4"] == ("cb",)


def test_duplicates_are_sold_once_and_test_leads_not_at_all() -> None:
    """Intake dedup of the terms that are tried holds in a replay; other lead types are passed over."""
    dedup = {"dedup": {"keys": [["phone"]], "window": "30d"}}
    book = factory.book(factory.buyer("a", contract("ca")), lead_type=dedup)
    twice = [factory.lead("l1"), factory.lead("l2", at_ns=NOON + 1), factory.lead("l3", test=True, at_ns=NOON + 2)]
    assert replay(book, twice).winners == {"l1": ("ca",)}
    assert replay(factory.book(lead_type={"id": "auto"}), twice).winners == {}


def test_a_contract_to_come_and_an_empty_wallet_count_as_ready() -> None:
    """The question is who would get such leads, not who could have paid yesterday."""
    book = factory.book(
        factory.buyer("a", contract("ca", go_live="2027-01-01"), wallet={"mode": "prepay"}, time_zone="America/Chicago")
    )
    assert replay(book, leads(2)).contracts["ca"].leads == 2


def test_a_contract_that_was_not_live_yet_still_ramps_from_its_day() -> None:
    """A go_live in the past stays: the ramp counts from it."""
    ramp = {"start": 1, "step": 1, "every": "1d"}
    book = factory.book(factory.buyer("a", contract("ca", go_live="2026-11-22", ramp=ramp)))
    assert replay(book, leads(9)).contracts["ca"].leads == 3


def test_shared_leads_have_several_winners() -> None:
    """As many copies as the terms sell."""
    shared = {"sell": {"mode": "shared", "max_copies": 2, "parallel": 2}}
    buyers = [factory.buyer(id_, contract(f"c{id_}")) for id_ in ("a", "b", "d")]
    assert replay(factory.book(*buyers, lead_type=shared), leads(1)).winners == {"l0": ("ca", "cb")}


def test_both_sides_are_compared() -> None:
    """Contracts that differ are listed with leads and money, and leads that would have gone elsewhere are counted."""
    old = factory.book(factory.buyer("a", contract("ca")), factory.buyer("b", contract("cb", price="9.00")))
    new = factory.book(
        factory.buyer("a", contract("ca", price="8.00")), factory.buyer("b", contract("cb", price="9.00"))
    )
    given = leads(4)
    found = difference(old, new, given).replay
    assert found is not None
    assert (found.leads, found.moved, found.bounded) == (4, 4, False)
    rows = {row.contract_id: (row.leads_before, row.leads_after, row.revenue_after) for row in found.contracts}
    assert rows == {"ca": (4, 0, 0), "cb": (0, 4, 3600)}
    same = compared(replay(old, given), replay(old, given), given)
    assert (same.moved, same.contracts) == (0, ())
    assert difference(old, new).replay is None


def test_yesterday_s_windows_are_its_own() -> None:
    """Leads over two local days fill two days' caps."""
    book = factory.book(factory.buyer("a", contract("ca", caps=[{"per": "day", "limit": 1}])))
    two_days = [
        factory.lead("l1"),
        factory.lead("l2", at_ns=NOON + NS_DAY, phone="+15125550199", email="b@example.com"),
    ]
    assert replay(book, two_days).contracts["ca"].leads == 2
    assert LEADS_MAX >= 1000
