"""Whom dedup remembers, and by what: key sets, and whose deliveries count; what cannot count is not listed."""

import time
from typing import Any

import pytest

from router.core.consumers import Consumers, Identity, Sent, marks_of
from router.core.rules.history import dedup_rule, intake_duplicate
from router.core.state import State
from router.model.codes import Outcome
from router.model.facts import Received
from router.terms.schema import IntakeDedup
from tests import factory
from tests.factory import NOON

PHONE, EMAIL, BOTH = ("phone",), ("email",), ("phone", "email")


class Past:
    """Leads and what was sent of them, all at noon."""

    def __init__(self, *keys: tuple[str, ...], declined: bool = False) -> None:
        self.identity = Identity(keys, 10**18, scopes=("contract", "buyer", "lead_type"), declined=declined)
        self.consumers = Consumers()

    def lead(self, lead_id: str, *, duplicate: bool = False, **fields: Any) -> None:
        """Take a lead."""
        lead = factory.lead(lead_id, **fields)
        self.consumers.remember(self.identity, lead, duplicate=duplicate, at_ns=NOON, steady_ns=NOON)

    def send(self, lead_id: str, contract_id: str, buyer_id: str, *outcomes: Outcome) -> None:
        """Send it to a contract of a buyer, and hear so much about it."""
        delivery_id = f"{lead_id}-{contract_id}"
        self.consumers.send(self.identity, lead_id, delivery_id, Sent(contract_id, buyer_id, NOON, steady_ns=NOON))
        for outcome in outcomes:
            self.consumers.settle(self.identity, lead_id, delivery_id, outcome)

    def refuses(self, contract_id: str, buyer_id: str, *keys: tuple[str, ...], **terms: Any) -> bool:
        """Whether a contract refuses the next lead of the same phone and another e-mail."""
        dedup = {"keys": [[*key] for key in keys], "window": "1h"} | terms
        book = factory.book(factory.buyer(buyer_id, factory.contract(contract_id, dedup=dedup)))
        lead = factory.lead("next", email="other@example.com")
        marks = marks_of(lead, self.identity.keys)
        found = dedup_rule(book.contracts[contract_id], lead, marks, self.consumers, factory.moment(NOON))
        return any(True for _ in found)


@pytest.mark.parametrize("scope", ["contract", "buyer"])
def test_each_buyer_of_a_shared_lead_has_had_it(scope: str) -> None:
    """Two buyers took a copy: neither takes the same consumer again."""
    past = Past(PHONE)
    past.lead("shared")
    past.send("shared", "c1", "b1", "accepted")
    past.send("shared", "c2", "b2", "accepted")
    assert [past.refuses(f"c{n}", f"b{n}", PHONE, scope=scope) for n in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize(("counts", "refuses"), [("accepted", False), ("delivered", True)])
def test_what_another_buyer_took_is_not_counted(counts: str, refuses: bool) -> None:
    """One declined it and another took it, while somebody counts what was declined."""
    past = Past(PHONE, declined=True)
    past.lead("l")
    past.send("l", "c1", "b1", "rejected")
    past.send("l", "c2", "b2", "accepted")
    assert past.refuses("c1", "b1", PHONE, scope="buyer", counts=counts) is refuses
    assert past.refuses("c2", "b2", PHONE, scope="buyer", counts=counts)


def test_a_key_set_with_an_empty_part_does_not_apply() -> None:
    """Phone and e-mail together tell nobody without an e-mail."""
    lead = factory.lead(email=None)
    assert marks_of(lead, (PHONE, EMAIL, BOTH)).keys() == {PHONE}
    whole = marks_of(factory.lead(), (PHONE, EMAIL, BOTH))
    assert len(set(whole.values())) == 3
    assert whole == marks_of(factory.lead(email="ANA@example.com"), (PHONE, EMAIL, BOTH))
    past = Past(PHONE, BOTH)
    past.lead("l", email="other@example.com")
    past.send("l", "c", "b", "accepted")
    assert past.refuses("c", "b", BOTH)
    past = Past(PHONE, BOTH)
    past.lead("l", email="third@example.com")
    past.send("l", "c", "b", "accepted")
    assert not past.refuses("c", "b", BOTH)
    assert past.refuses("c", "b", BOTH, PHONE)


def test_what_cannot_count_is_not_listed() -> None:
    """Failed and declined deliveries leave nothing behind, duplicates nothing for intake, who is forgotten nothing."""
    past = Past(PHONE, EMAIL)
    past.lead("l1")
    past.send("l1", "c1", "b1", "failed")
    past.send("l1", "c2", "b2", "in_doubt", "rejected")
    assert not past.consumers.served
    past.lead("l2", duplicate=True)
    assert [len(leads) for leads in past.consumers.taken["solar"].values()] == [1, 1]
    past.send("l2", "c1", "b1", "accepted")
    past.send("l1", "c1", "b1")
    assert {len(leads) for leads in past.consumers.served.values()} == {2}
    for lead_id in ("l1", "l2"):
        past.consumers.forget(lead_id)
    assert (past.consumers.seen, past.consumers.served, past.consumers.taken) == ({}, {}, {"solar": {}})


def test_an_address_that_thousands_bring_makes_nothing_slower() -> None:
    """Twenty thousand leads of one e-mail address, refused by all who compare it: the next costs what the first did."""
    keys = (("email",), ("phone",))
    dedup = {"keys": [["email"], ["phone"]], "window": "90d", "scope": "buyer"}
    book = factory.book(factory.buyer("b", factory.contract("c", dedup=dedup)))
    past = Past(*keys)
    for number in range(20_000):
        past.lead(f"l{number}", phone=f"+1512{number:07}", email="none@example.com")
        past.send(f"l{number}", "c", "b", "rejected") if number else past.send("l0", "c", "b", "accepted")
        past.send(f"l{number}", "other", "another", "accepted")
    lead = factory.lead("next", email="none@example.com")
    began = time.thread_time()
    for _ in range(100):
        marks = marks_of(lead, keys)
        assert [*dedup_rule(book.contracts["c"], lead, marks, past.consumers, factory.moment(NOON))]
    assert time.thread_time() - began < 0.5  # a walk over all of them would take several seconds


def test_intake_finds_sold_leads_among_unsold_ones() -> None:
    """`counts = "sold"`: the last lead of the consumer that was sold, of the same lead type."""
    dedup = IntakeDedup(keys=(PHONE,), window=10**18, counts="sold")  # type: ignore[arg-type]
    state = State(Identity((PHONE,), 10**18, scopes=("lead_type",)))
    for number in range(3):
        lead = factory.lead(f"l{number}")
        state.apply(factory.entry(Received(lead_id=lead.lead_id, source_id="web", lead_type="solar"), NOON, lead))
    assert intake_duplicate(dedup, factory.lead("next"), state, NOON) is None
    state.consumers.send(state.identity, "l1", "d", Sent("c", "b", NOON))
    assert intake_duplicate(dedup, factory.lead("next"), state, NOON) is None
    state.consumers.settle(state.identity, "l1", "d", "accepted")
    assert intake_duplicate(dedup, factory.lead("next"), state, NOON) == "l1"
