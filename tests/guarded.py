"""A world whose guards act: facts of deliveries, and what the guards make of them, without ledger and network."""

from typing import Any

from router.core.guards import consequences, probing
from router.model.codes import Outcome
from router.model.facts import (
    AnyFact,
    Attempted,
    Ended,
    GuardFact,
    GuardProbing,
    GuardRecovered,
    GuardTripped,
    Reserved,
    Settled,
)
from router.model.lead import Lead
from router.model.times import NS_S
from router.terms.book import Book, ContractPlan
from tests import factory
from tests.property.worlds import World


def guarded_book(*guards: dict[str, Any], **sla: Any) -> Book:
    """One contract `c` of buyer `b` with these guards."""
    return factory.book(factory.buyer("b", factory.contract("c", sla={"guards": list(guards), **sla})))


class GuardedWorld(World):
    """As `World`; each fact about a delivery is followed by what it means for the guards, as the engine does it."""

    def note(self, fact: AnyFact, lead: Lead | None = None) -> None:
        """Apply a fact, with the guards' facts around it."""
        held = self.state.held.get(fact.delivery_id) if isinstance(fact, (Attempted, Settled)) else None
        guarded = isinstance(fact, Reserved) and not fact.test and fact.contract_id in self.state.guards
        if guarded and isinstance(fact, Reserved):
            for begun in probing(self.book.contracts[fact.contract_id], self.state, self.steady_ns):
                self.note(begun)
        super().note(fact, lead)
        if guarded and isinstance(fact, Reserved):
            self.live.touch_contract(fact.contract_id)
        if isinstance(fact, GuardFact):
            self.live.touch_contract(fact.contract_id)
        for moved in consequences(self.book, self.state, fact, held, self.now_ns, self.steady_ns):
            self.note(moved)

    def wait(self, ns: int) -> None:
        """Time passes on both clocks."""
        self.now_ns += ns
        self.steady_ns += ns

    @property
    def plan(self) -> ContractPlan:
        """The contract `c`."""
        return self.book.contracts["c"]

    def reserve(self, *, test: bool = False) -> str:
        """A lead is on its way to `c`, whoever decided that; the delivery's id."""
        self.count += 1
        self.note(
            Reserved(
                delivery_id=f"d{self.count}", lead_id=f"l{self.count}", contract_id="c", buyer_id="b",
                lead_type="solar", terms_version="v", rank=0, price=1000, day="2026-11-24", steady_ns=self.steady_ns,
                guarded=bool(self.plan.guards), test=test,
            )
        )  # fmt: skip
        return f"d{self.count}"

    def attempt(
        self, delivery_id: str, outcome: Outcome, *, took_ms: float = 100, late: bool = False, unhealthy: bool = False,
        rule: str = "responses[0]", n: int = 1, sent: bool = True,
    ) -> None:  # fmt: skip
        """An attempt ended."""
        self.note(
            Attempted(
                delivery_id=delivery_id, n=n, sent_at_ns=self.now_ns, took_ms=took_ms, request_sha256="",
                outcome=outcome, rule=rule, late=late, unhealthy=unhealthy, sent=sent, steady_ns=self.steady_ns,
            )
        )  # fmt: skip

    def answer(self, delivery_id: str, outcome: Outcome, **said: Any) -> None:
        """A delivery's only attempt ended, and the delivery with it."""
        self.attempt(delivery_id, outcome, **said)
        self.note(Settled(delivery_id=delivery_id, outcome=outcome))
        self.note(Ended(lead_id="l" + delivery_id[1:], status="sold" if outcome == "accepted" else "unsold"))

    def deliver(self, outcome: Outcome, count: int = 1, *, apart_ns: int = NS_S, **said: Any) -> None:
        """So many deliveries to `c`, one after the other, with one outcome."""
        for _ in range(count):
            self.wait(apart_ns)
            self.answer(self.reserve(), outcome, **said)

    def moves(self) -> list[GuardFact]:
        """Every step a guard took so far."""
        return [entry.fact for entry in self.entries if isinstance(entry.fact, GuardFact)]

    def steps(self) -> list[str]:
        """The same in short: `trip`, `trip again`, `probe`, `recover`."""
        words = {GuardTripped: "trip", GuardProbing: "probe", GuardRecovered: "recover"}
        return [words[type(fact)] + " again" * getattr(fact, "again", False) for fact in self.moves()]
