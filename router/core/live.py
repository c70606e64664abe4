"""Every board of the current Book with what its standing rules said last; told of each fact, so that it asks again.

Thrown away and made anew whenever terms change, but for the boards that nothing changed for: nothing in it is state.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from router.core.areas import WHOLE, areas_of, on_boards
from router.core.decide import MODES
from router.core.index import Board
from router.core.masks import parts
from router.core.rules.standing import is_restless
from router.core.rules.static import Mode
from router.core.standings import Standings
from router.core.state import FOLD_VERSION, Identity
from router.model.facts import AnyFact, Certified, Deposited, Overridden, Paused, Reserved, Restored, Resumed, Settled
from router.model.lead import Lead
from router.terms.book import Book, ContractPlan
from router.terms.steps import Steps, at_once

_ASKED_AT_ONCE: Final = 32


class _Known(NamedTuple):
    """What one contract is told by: the boards it is on, and what one more lead adds to each of its caps at most.

    No `steps` where rate, ramp or pacing can stop it after any sale.
    """

    standings: tuple[Standings, ...]
    steps: tuple[int, ...] | None


class _KnownBuyer(NamedTuple):
    """The boards a buyer has contracts on; from so many deliveries in flight on the next one is at an edge.

    Contracts of buyers with a cap or a wallet share a limit, so there every one is.
    """

    standings: tuple[Standings, ...]
    bears: int


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
        #: Lead type -> area -> its boards, one for each mode the lead type is sold in.
        self._boards: dict[str, dict[str, tuple[Standings, ...]]] = {}
        self._holding: dict[tuple[str, tuple[str, ...]], tuple[Standings, ...]] = {}
        self._known: dict[str, _Known] = {}
        self._buyers: dict[str, _KnownBuyer] = {}
        for kind in book.lead_types:
            self._boards[kind] = yield from self._build_type(kind, None if before is None else before.like(book, kind))

    def like(self, book: Book, kind: str) -> "dict[str, tuple[Standings, ...]] | None":
        """The boards of a lead type, if the type itself is the same in another Book."""
        return self._boards.get(kind) if self.book.lead_types.get(kind) == book.lead_types[kind] else None

    def _build_type(
        self, kind: str, before: dict[str, tuple[Standings, ...]] | None
    ) -> Steps[dict[str, tuple[Standings, ...]]]:
        book = self.book
        found: dict[str, tuple[Standings, ...]] = {}
        for area, here in (yield from on_boards(book.by_type[kind])).items():
            standings: list[Standings] = []
            for place, mode in enumerate(MODES[book.lead_types[kind].sell.mode]):
                old = None if before is None or area not in before else before[area][place].board
                board = (yield from old.under(book, here)) if old is not None else None
                if board is None:
                    board = yield from Board.building(book, kind, mode, area, here)
                standings.append(Standings(board))
                yield
            found[area] = tuple(standings)
        return found

    # -- asking ----------------------------------------------------------------------------------

    def modes(self, lead: Lead) -> tuple[Standings, ...]:
        """The boards a lead is decided on: those of its area; two when its type sells at `best`."""
        boards = self._boards[lead.lead_type]
        if len(boards) == 1:
            return boards[WHOLE]
        area, country = areas_of(lead)
        return boards.get(area) or boards.get(country) or boards[WHOLE]

    def standings(self, lead: Lead, mode: Mode) -> Standings | None:
        """The board a lead is decided on in a mode; None where its type is not sold so, or not at all."""
        if lead.lead_type not in self._boards:
            return None
        return next((one for one in self.modes(lead) if one.board.mode == mode), None)

    def all(self) -> list[Standings]:
        """Every board."""
        return [one for areas in self._boards.values() for standings in areas.values() for one in standings]

    def holding(self, plan: ContractPlan) -> tuple[Standings, ...]:
        """The boards a contract is on."""
        key = plan.lead_type, plan.areas
        found = self._holding.get(key)
        if found is None:
            boards = self._boards[plan.lead_type]
            names = (name for area in plan.areas for name in boards if name.startswith(area))
            here = boards if len(boards) == 1 else dict.fromkeys(names)
            found = self._holding[key] = tuple([one for name in here for one in boards[name]])
        return found

    # -- telling ---------------------------------------------------------------------------------

    def told(self, fact: AnyFact, contract_id: str, buyer_id: str, in_flight: int) -> None:
        """A fact about a contract of a buyer was applied; `in_flight` is how many deliveries are on their way to it.

        Asking again costs more than looking whether the answer can have changed: a reservation stops a contract only
        at the edge of something, and an outcome can only let a stopped one go on.
        """
        if isinstance(fact, Reserved):
            known = self._contract(contract_id)
            if known is None or known.steps is None:
                self.touch_contract(contract_id)
            else:
                for step, claim in zip(known.steps, fact.claims, strict=False):
                    if claim.used + step > claim.limit:
                        self.touch_contract(contract_id)
        elif isinstance(fact, Settled):
            self._recheck(contract_id)
        elif isinstance(fact, (Paused, Resumed, Overridden, Restored, Deposited, Certified)):
            self.touch_contract(contract_id)
            self.touch_buyer(buyer_id)
            return
        buyer = self._buyer(buyer_id)
        if buyer is not None and in_flight >= buyer.bears:
            self.touch_buyer(buyer_id)

    def _recheck(self, contract_id: str) -> None:
        """An outcome frees: only a contract that was stopped (or whose ramp looks at outcomes) can change by it."""
        known = self._contract(contract_id)
        for standings in known.standings if known is not None else ():
            bit = 1 << standings.board.rank_of[contract_id]
            if known is None or known.steps is None or standings.blocked & bit:
                standings.touch(bit)

    def touch_contract(self, contract_id: str) -> None:
        """Ask this contract again."""
        known = self._contract(contract_id)
        for standings in known.standings if known is not None else ():
            standings.touch(1 << standings.board.rank_of[contract_id])

    def touch_buyer(self, buyer_id: str) -> None:
        """Ask all contracts of this buyer again."""
        buyer = self._buyer(buyer_id)
        for standings in buyer.standings if buyer is not None else ():
            standings.touch(standings.board.of_buyer(buyer_id))

    def unasked(self) -> Iterator[tuple[Standings, int]]:
        """Whom leads would have to ask what stands against them, a few of a board at a time."""
        for standings in self.all():
            for few in parts(standings.unasked, _ASKED_AT_ONCE):
                yield standings, few

    def forget(self) -> None:
        """Ask everybody again."""
        for standings in self.all():
            standings.forget()

    def _contract(self, contract_id: str) -> _Known | None:
        """What is to be known of a contract of these terms, from the first time that something happens to it."""
        known = self._known.get(contract_id)
        if known is None:
            plan = self.book.contracts.get(contract_id)
            if plan is not None:
                known = self._known[contract_id] = _Known(
                    self.holding(plan), None if is_restless(plan) else _steps(plan)
                )
        return known

    def _buyer(self, buyer_id: str) -> _KnownBuyer | None:
        """The same of a buyer."""
        known = self._buyers.get(buyer_id)
        if known is None:
            part = self.book.parts.get(buyer_id)
            if part is None:
                return None
            buyer = part.buyer
            holding = {id(one): one for plan in part.plans for one in self.holding(plan)}
            bears = 0 if buyer.caps or buyer.wallet is not None else buyer.max_in_flight - 1
            known = self._buyers[buyer_id] = _KnownBuyer(tuple(holding.values()), bears)
        return known


def _steps(plan: ContractPlan) -> tuple[int, ...]:
    dearest = max(plan.price, plan.exclusive_price)
    return tuple(1 if cap.limit is not None else dearest for cap in plan.caps)


def identity_of(book: Book) -> Identity:
    """Which fields tell a consumer under these terms, and for how long that must be remembered."""
    return Identity(book.remembered.fields, book.remembered.keep_ns, FOLD_VERSION)
