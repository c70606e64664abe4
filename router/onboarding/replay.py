"""Who would have got leads that were really received, under one set of terms and under another.

Both sides run the same decision over the same leads with an empty past, and every buyer is taken to accept at once: so
what differs comes from the terms alone. Guards, wallets, earlier use of caps and what buyers really answered are left
out. A contract whose `go_live` is still to come counts as if it had come, one to be certified as certified, and one
that is asked for a bid bids its price.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, structs

from router.core.bidding import stand_ins
from router.core.calendar import Calendar, day_start
from router.core.decide import Choice, choose, decided_fact, reserve
from router.core.live import Live, identity_of
from router.core.rules.history import intake_duplicate
from router.core.rules.standing import Moment
from router.core.selling import copies_of, payout_once
from router.core.standings import Standings
from router.core.state import State
from router.model.facts import AnyFact, Entry, Received, Reserved, Settled
from router.model.lead import Lead
from router.terms.book import Book, ContractPlan

#: So many of the latest leads are replayed at most.
LEADS_MAX: Final = 5_000


class Sold(Struct):
    """What a contract would have had: leads, and their prices in minor units."""

    leads: int = 0
    revenue: int = 0


class Replayed(Struct, frozen=True):
    """One side: what each contract would have had, and who would have got each lead."""

    contracts: dict[str, Sold]
    winners: dict[str, tuple[str, ...]]


def replay(book: Book, leads: Sequence[Lead]) -> Replayed:
    """Sell these leads, oldest first, under these terms. Test leads and types the terms do not know are passed over."""
    kinds = {lead.lead_type for lead in leads} & set(book.lead_types)
    run = _Run(_of_kinds(book, kinds, leads))
    for lead in leads:
        if not lead.test and lead.lead_type in kinds:
            run.sell(lead)
    return Replayed(run.contracts, run.winners)


def _of_kinds(book: Book, kinds: set[str], leads: Sequence[Lead]) -> Book:
    """The part of a Book that these leads can reach, live and certified already, with money in every wallet."""
    end_ns = leads[-1].received_at_ns if leads else 0
    plans = {plan.id: _ready(plan, end_ns) for plan in book.contracts.values() if plan.lead_type in kinds}
    return structs.replace(
        book,
        terms=structs.replace(book.terms, lead_types={kind: book.lead_types[kind] for kind in sorted(kinds)}),
        contracts=plans,
        by_type={kind: tuple(plan for plan in plans.values() if plan.lead_type == kind) for kind in kinds},
    )


def _ready(plan: ContractPlan, end_ns: int) -> ContractPlan:
    coming = plan.go_live is not None and day_start(plan.go_live, plan.zone) > end_ns
    if not coming and plan.buyer.wallet is None and not plan.must_be_certified:
        return plan
    buyer = structs.replace(plan.buyer, wallet=None)
    return structs.replace(plan, buyer=buyer, go_live=None if coming else plan.go_live, must_be_certified=False)


class _Run:
    """One pass over the leads."""

    def __init__(self, book: Book) -> None:
        self.contracts: dict[str, Sold] = {}
        self.winners: dict[str, tuple[str, ...]] = {}
        self._book = book
        self._live = Live(book)
        self._state = State(identity_of(book))
        self._calendar = Calendar()
        self._number = 0

    def sell(self, lead: Lead) -> None:
        moment = Moment(lead.received_at_ns, lead.received_at_ns, self._calendar)
        twin = self._duplicate(lead)
        received = Received(lead_id=lead.lead_id, source_id=lead.source_id, lead_type=lead.lead_type, duplicate_of=twin)
        self._apply(received, moment, lead)
        if twin is not None:
            return
        choice, standings = self._choose(lead, moment)
        self._apply(decided_fact(choice, standings, lead), moment)
        self.winners[lead.lead_id] = tuple(self._take(lead, choice, rank, moment) for rank in choice.winners)
        self._state.open.pop(lead.lead_id, None)

    def _duplicate(self, lead: Lead) -> str | None:
        dedup = self._book.lead_types[lead.lead_type].dedup
        if dedup is None:
            return None
        return intake_duplicate(dedup, lead, self._state, lead.received_at_ns)

    def _choose(self, lead: Lead, moment: Moment) -> tuple[Choice, Standings]:
        sell = self._book.lead_types[lead.lead_type].sell
        source = self._book.sources.get(lead.source_id)
        once = payout_once(source.payout.get(lead.lead_type) if source is not None else None)
        found = []
        for standings in self._live.modes(lead):
            copies, _ = copies_of(sell, standings.board.mode)
            choice = choose(
                standings,
                self._state,
                lead,
                moment,
                released_at_ns=lead.received_at_ns,
                copies=copies,
                payout=once,
                bids=stand_ins(standings.board) if standings.board.pinged else None,
            )
            found.append((choice, standings))
        return max(found, key=lambda one: one[0].expected(self._state))

    def _take(self, lead: Lead, choice: Choice, rank: int, moment: Moment) -> str:
        """Reserve and accept."""
        self._number += 1
        name = f"replayed-{self._number}"
        fact = reserve(choice.board, rank, self._state, lead, moment, delivery_id=name, place=0, bids=choice.bids)
        self._apply(fact, moment)
        self._apply(Settled(delivery_id=name, outcome="accepted", price=fact.price), moment, about=fact)
        sold = self.contracts.setdefault(fact.contract_id, Sold())
        sold.leads += 1
        sold.revenue += fact.price
        return fact.contract_id

    def _apply(self, fact: AnyFact, moment: Moment, lead: Lead | None = None, about: Reserved | None = None) -> None:
        self._state.apply(Entry(at_ns=moment.at_ns, fact=fact, lead=lead))
        reserved = fact if isinstance(fact, Reserved) else about
        if reserved is not None:
            self._live.told(fact, reserved.contract_id, reserved.buyer_id, self._state)
