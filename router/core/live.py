"""Every board of the current Book with what its standing rules said last; told of each fact, so that it asks again.

Thrown away and made anew whenever terms change: nothing in it is state.
"""

from router.core.decide import MODES
from router.core.index import Board
from router.core.rules.standing import is_restless
from router.core.rules.static import Mode
from router.core.standings import Standings
from router.core.state import FOLD_VERSION, Identity
from router.model.facts import AnyFact, Deposited, Paused, Reserved, Resumed, Settled
from router.terms.book import Book


class Live:
    """The boards of one Book. Building one costs time in proportion to the terms; asking it does not."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.standings: dict[tuple[str, Mode], Standings] = {
            (kind, mode): Standings(Board(book, kind, mode))
            for kind, lead_type in book.lead_types.items()
            for mode in MODES[lead_type.sell.mode]
        }
        self._of_type: dict[str, list[Standings]] = {}
        for (kind, _), standings in self.standings.items():
            self._of_type.setdefault(kind, []).append(standings)
        self._kinds_of_buyer: dict[str, set[str]] = {}
        for plan in book.contracts.values():
            self._kinds_of_buyer.setdefault(plan.buyer_id, set()).add(plan.lead_type)
        #: Contracts whose rate, ramp or pacing can stop them after any sale, and buyers whose contracts share a limit.
        self._restless = {plan.id for plan in book.contracts.values() if is_restless(plan)}
        self._pooled = {buyer.id for buyer in book.buyers.values() if buyer.caps or buyer.wallet is not None}

    def modes(self, lead_type: str) -> tuple[Standings, ...]:
        """The boards a lead type is decided on; two when it sells at `best`."""
        return tuple(self._of_type[lead_type])

    def told(self, fact: AnyFact, contract_id: str, buyer_id: str, in_flight: int) -> None:
        """A fact about a contract of a buyer was applied; `in_flight` is how many deliveries are on their way to it.

        Asking again costs more than looking whether the answer can have changed: a reservation stops a contract only
        at the edge of something, and an outcome can only let a stopped one go on.
        """
        if isinstance(fact, Reserved):
            if fact.claims or contract_id in self._restless:
                self._edges(fact)
        elif isinstance(fact, Settled):
            self._recheck(contract_id)
        elif isinstance(fact, (Paused, Resumed, Deposited)):
            self.touch_contract(contract_id)
            self.touch_buyer(buyer_id)
            return
        buyer = self.book.buyers.get(buyer_id)
        if buyer is None or in_flight >= buyer.max_in_flight - 1 or buyer_id in self._pooled:
            self.touch_buyer(buyer_id)

    def _edges(self, fact: Reserved) -> None:
        plan = self.book.contracts.get(fact.contract_id)
        if plan is None or fact.contract_id in self._restless:
            self.touch_contract(fact.contract_id)
            return
        dearest = max(plan.price, plan.exclusive_price)
        for cap, claim in zip(plan.caps, fact.claims, strict=False):
            if claim.used + (1 if cap.limit is not None else dearest) > claim.limit:
                self.touch_contract(fact.contract_id)

    def _recheck(self, contract_id: str) -> None:
        """An outcome frees: only a contract that was stopped (or whose ramp looks at outcomes) can change by it."""
        plan = self.book.contracts.get(contract_id)
        for standings in self._of_type[plan.lead_type] if plan is not None else ():
            bit = 1 << standings.board.rank_of[contract_id]
            if standings.blocked & bit or contract_id in self._restless:
                standings.touch(bit)

    def touch_contract(self, contract_id: str) -> None:
        """Ask this contract again."""
        plan = self.book.contracts.get(contract_id)
        for standings in self._of_type[plan.lead_type] if plan is not None else ():
            standings.touch(1 << standings.board.rank_of[contract_id])

    def touch_buyer(self, buyer_id: str) -> None:
        """Ask all contracts of this buyer again."""
        for kind in self._kinds_of_buyer.get(buyer_id, ()):
            for standings in self._of_type[kind]:
                standings.touch(standings.board.buyer_masks.get(buyer_id, 0))

    def forget(self) -> None:
        """Ask everybody again."""
        for standings in self.standings.values():
            standings.forget()


def identity_of(book: Book) -> Identity:
    """Which fields tell a consumer under these terms, and for how long that must be remembered."""
    fields: set[str] = set()
    keep_ns = 0
    for lead_type in book.lead_types.values():
        if lead_type.dedup is not None:
            fields.update(name for key in lead_type.dedup.keys for name in key)
            keep_ns = max(keep_ns, int(lead_type.dedup.window))
    for plan in book.contracts.values():
        if plan.dedup is not None:
            fields.update(name for key in plan.dedup.keys for name in key)
            keep_ns = max(keep_ns, plan.dedup.window_ns)
    return Identity(tuple(sorted(fields)), keep_ns, FOLD_VERSION)
