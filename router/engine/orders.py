"""The rank orders of terms: a ranking that was recorded as a mask is walked by the order of the terms of then."""

from typing import Final, NamedTuple

from router.core.index import by_rank, members
from router.core.live import Live
from router.core.rules.static import Mode
from router.core.state import OpenLead
from router.engine.journal import Journal
from router.terms.book import Book
from router.terms.steps import at_once

#: Of so many terms versions the orders are kept, whether a lead refers to them or not.
_KEPT: Final = 8


class Orders:
    """Contract ids by rank, the best last, of the last few terms and of those that a lead still refers to."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[_Order, tuple[str, ...]] = {}
        self.remember(journal.live)

    def ranking(self, lead: OpenLead) -> tuple[str, ...]:
        """The contracts that a lead was ranked for, best first."""
        if isinstance(lead.ranking, tuple):
            return lead.ranking
        order = self._known.get(_order_of(lead), ())
        mask = int.from_bytes(lead.ranking, "big")
        return tuple(order[rank] for rank in range(len(order) - 1, -1, -1) if mask >> rank & 1)

    def remember(self, live: Live) -> None:
        """Those of terms, before they are in force."""
        for board in (standings.board for standings in live.all()):
            self._known[_Order(live.book.version, board.lead_type, board.mode, board.area)] = board.ids
        kept = {*list(dict.fromkeys(key.version for key in self._known))[-_KEPT:]}
        kept |= {key.version for key in self._referred()}
        self._known = {key: order for key, order in self._known.items() if key.version in kept}

    def unknown(self) -> set[str]:
        """The terms versions by which an open lead was ranked and of which the order is not known in this process."""
        return {key.version for key in self._referred() if not self._known.get(key)}

    def recall(self, book: Book) -> None:
        """Those of terms that were in force before this process began."""
        for key in self._referred():
            if key.version == book.version and key.lead_type in book.lead_types:
                plans = at_once(by_rank(members(book, key.lead_type, key.area), key.mode))
                self._known[key] = tuple(plan.id for plan in plans)

    def _referred(self) -> set["_Order"]:
        """By which leads that may go on were ranked, where that is a mask with anybody in it."""
        leads = self._journal.state.open.values()
        return {_order_of(lead) for lead in leads if isinstance(lead.ranking, bytes) and any(lead.ranking)}


class _Order(NamedTuple):
    """Where a rank order holds: terms, lead type, mode, postal area."""

    version: str
    lead_type: str
    mode: Mode
    area: str


def _order_of(lead: OpenLead) -> _Order:
    return _Order(lead.terms_version, lead.lead.lead_type, lead.mode, lead.area)
