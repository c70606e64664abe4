"""Every board of the current Book with what its standing rules said last; told of each fact, so that it asks again.

Thrown away and made anew whenever terms change: nothing in it is state.
"""

from router.core.decide import MODES
from router.core.index import Board
from router.core.rules.standing import is_restless
from router.core.rules.static import Mode
from router.core.standings import Standings
from router.core.state import FOLD_VERSION, Identity
from router.model.facts import AnyFact, Certified, Deposited, Overridden, Paused, Reserved, Restored, Resumed, Settled
from router.terms.book import Book, ContractPlan
from router.terms.schema import Buyer
from router.terms.steps import Steps, at_once, each


class Live:
    """The boards of one Book. Building one costs time in proportion to the terms; asking it does not."""

    def __init__(self, book: Book) -> None:
        at_once(self._build(book, None))

    @classmethod
    def building(cls, book: Book, before: "Live | None" = None) -> Steps["Live"]:
        """As `Live(book)`, in steps, and with those boards of an earlier one that nothing changed for."""
        live = cls.__new__(cls)
        yield from live._build(book, before)
        return live

    def _build(self, book: Book, before: "Live | None") -> Steps[None]:
        self.book = book
        self.standings: dict[tuple[str, Mode], Standings] = {}
        self._of_type: dict[str, list[Standings]] = {kind: [] for kind in book.lead_types}
        for kind, lead_type in book.lead_types.items():
            for mode in MODES[lead_type.sell.mode]:
                board = None if before is None else before._still_good(book, kind, mode)
                if board is None:
                    board = yield from Board.building(book, kind, mode)
                standings = self.standings[kind, mode] = Standings(board)
                self._of_type[kind].append(standings)
                yield
        self._kinds_of_buyer: dict[str, set[str]] = {}
        #: What one more lead adds to each cap of a contract at most; None where rate, ramp or pacing can stop it after
        #: any sale.
        self._steps: dict[str, tuple[int, ...] | None] = {}
        yield from each(book.contracts.values(), self._take)
        #: With so many deliveries in flight a buyer's next one is at the edge of something; contracts of buyers with a
        #: cap or a wallet share a limit, so there every one is.
        self._bears: dict[str, int] = {}
        yield from each(book.buyers.values(), self._take_buyer)

    def _still_good(self, book: Book, kind: str, mode: Mode) -> Board | None:
        """The board of a lead type if neither the type nor any contract of it is another one in that Book."""
        old, standings = self.book, self.standings.get((kind, mode))
        same = old.by_type.get(kind) is book.by_type[kind] and old.lead_types.get(kind) == book.lead_types[kind]
        return standings.board.under(book) if standings is not None and same else None

    def _take(self, plan: ContractPlan) -> None:
        self._kinds_of_buyer.setdefault(plan.buyer_id, set()).add(plan.lead_type)
        self._steps[plan.id] = None if is_restless(plan) else _steps(plan)

    def _take_buyer(self, buyer: Buyer) -> None:
        self._bears[buyer.id] = 0 if buyer.caps or buyer.wallet is not None else buyer.max_in_flight - 1

    def modes(self, lead_type: str) -> tuple[Standings, ...]:
        """The boards a lead type is decided on; two when it sells at `best`."""
        return tuple(self._of_type[lead_type])

    def told(self, fact: AnyFact, contract_id: str, buyer_id: str, in_flight: int) -> None:
        """A fact about a contract of a buyer was applied; `in_flight` is how many deliveries are on their way to it.

        Asking again costs more than looking whether the answer can have changed: a reservation stops a contract only
        at the edge of something, and an outcome can only let a stopped one go on.
        """
        if isinstance(fact, Reserved):
            steps = self._steps.get(contract_id)
            if steps is None:
                self.touch_contract(contract_id)
            else:
                for step, claim in zip(steps, fact.claims, strict=False):
                    if claim.used + step > claim.limit:
                        self.touch_contract(contract_id)
        elif isinstance(fact, Settled):
            self._recheck(contract_id)
        elif isinstance(fact, (Paused, Resumed, Overridden, Restored, Deposited, Certified)):
            self.touch_contract(contract_id)
            self.touch_buyer(buyer_id)
            return
        if in_flight >= self._bears.get(buyer_id, 0):
            self.touch_buyer(buyer_id)

    def _recheck(self, contract_id: str) -> None:
        """An outcome frees: only a contract that was stopped (or whose ramp looks at outcomes) can change by it."""
        plan = self.book.contracts.get(contract_id)
        for standings in self._of_type[plan.lead_type] if plan is not None else ():
            bit = 1 << standings.board.rank_of[contract_id]
            if standings.blocked & bit or self._steps[contract_id] is None:
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
                standings.touch(standings.board.of_buyer(buyer_id))

    def forget(self) -> None:
        """Ask everybody again."""
        for standings in self.standings.values():
            standings.forget()


def _steps(plan: ContractPlan) -> tuple[int, ...]:
    dearest = max(plan.price, plan.exclusive_price)
    return tuple(1 if cap.limit is not None else dearest for cap in plan.caps)


def identity_of(book: Book) -> Identity:
    """Which fields tell a consumer under these terms, and for how long that must be remembered."""
    return Identity(book.remembered.fields, book.remembered.keep_ns, FOLD_VERSION)
