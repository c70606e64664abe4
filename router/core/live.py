"""Every board of the current Book with what its standing rules said last; told of each fact, so that it asks again.

Thrown away and made anew whenever terms change, but for the boards that nothing changed for: nothing in it is state.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from router.core.areas import WHOLE, areas_of, on_boards
from router.core.consumers import Identity
from router.core.decide import MODES
from router.core.index import Board
from router.core.masks import parts
from router.core.rules.standing import balance, is_restless, rate_wait_ns
from router.core.rules.static import Mode
from router.core.standings import Standings
from router.core.state import FOLD_VERSION, State
from router.model.facts import AnyFact, Certified, Deposited, Overridden, Paused, Reserved, Restored, Resumed, Settled
from router.model.lead import Lead
from router.terms.book import Book, ContractPlan
from router.terms.schema import Buyer
from router.terms.steps import Steps, at_once

_ASKED_AT_ONCE: Final = 32
#: More minor units than any cap or wallet holds.
_ANYTHING: Final = 1 << 62


class _Known(NamedTuple):
    """What one contract is told by: the boards it is on, and what one more lead adds to each of its caps at most.

    `restless`: a ramp or pacing can stop it after any sale, and an outcome can.
    """

    standings: tuple[Standings, ...]
    plan: ContractPlan
    steps: tuple[int, ...]
    restless: bool


class _KnownBuyer(NamedTuple):
    """The boards a buyer has contracts on; what one more lead takes from its wallet at most.

    From `bears` deliveries in flight on the next one is at an edge. `shares`: its contracts have a cap or wallet
    together.
    """

    standings: tuple[Standings, ...]
    buyer: Buyer
    dearest: int
    bears: int
    shares: bool


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

    def told(self, fact: AnyFact, contract_id: str, buyer_id: str, state: State) -> None:
        """A fact about a contract of a buyer was applied to the state.

        Asking again costs more than looking whether the answer can have changed: a reservation stops somebody only at
        the edge of something, and an outcome can only let those go on who were stopped.
        """
        if isinstance(fact, Reserved):
            self._reserved(fact, state)
        elif isinstance(fact, Settled):
            self._settled(contract_id, buyer_id, state)
        elif isinstance(fact, (Paused, Resumed, Overridden, Restored, Deposited, Certified)):
            self.touch_contract(contract_id)
            self.touch_buyer(buyer_id)

    def _reserved(self, fact: Reserved, state: State) -> None:
        known, buyer = self._contract(fact.contract_id), self._buyer(fact.buyer_id)
        if known is None or buyer is None:  # these terms do not know it any more
            return
        own = known.restless or rate_wait_ns(known.plan, state, fact.steady_ns) > 0
        shared = state.in_flight.get(fact.buyer_id, 0) >= buyer.bears
        for step, claim in zip(known.steps, fact.claims, strict=False):
            if claim.used + step > claim.limit:
                if claim.owner == known.plan.owner:
                    own = True
                else:
                    shared = True
        if buyer.shares and not shared:
            left = balance(buyer.buyer, state)
            shared = left is not None and left < buyer.dearest
        if shared:
            self.touch_buyer(fact.buyer_id)
        elif own:
            self.touch_contract(fact.contract_id)

    def _settled(self, contract_id: str, buyer_id: str, state: State) -> None:
        """An outcome frees: only those who were stopped can change by it, or whose ramp looks at outcomes."""
        known, buyer = self._contract(contract_id), self._buyer(buyer_id)
        for standings in known.standings if known is not None else ():
            bit = 1 << standings.board.rank_of[contract_id]
            if known is None or known.restless or standings.blocked & bit:
                standings.touch(bit)
        if buyer is not None and (buyer.shares or state.in_flight.get(buyer_id, 0) >= buyer.bears):
            for standings in buyer.standings:
                if full := standings.full:
                    standings.touch(full & standings.board.of_buyer(buyer_id))

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
            buyer = None if plan is None else self._buyer(plan.buyer_id)
            if plan is not None and buyer is not None:
                own, of_all = _dearest((plan,)), buyer.dearest
                steps = (
                    1 if cap.limit is not None else own if cap.owner == plan.owner else of_all for cap in plan.caps
                )
                known = _Known(self.holding(plan), plan, tuple(steps), is_restless(plan))
                self._known[contract_id] = known
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
            shares = bool(buyer.caps) or buyer.wallet is not None
            known = self._buyers[buyer_id] = _KnownBuyer(
                tuple(holding.values()), buyer, _dearest(part.plans), buyer.max_in_flight - 1, shares
            )
        return known


def _dearest(plans: Iterable[ContractPlan]) -> int:
    """The most that a lead of any of these can cost, minor units; what is bid may be anything."""
    return max(max(plan.price, plan.exclusive_price) if plan.least_bid is None else _ANYTHING for plan in plans)


def identity_of(book: Book) -> Identity:
    """What tells a consumer under these terms, and for how long that must be remembered."""
    kept = book.remembered
    return Identity(kept.keys, kept.keep_ns, FOLD_VERSION, kept.scopes, kept.declined)
