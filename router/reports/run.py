"""A report from a state directory: the past is read beside a running daemon, and reckoned in this process.

The terms are those in force, as the ledger has them; a near miss is judged by the terms of its own decision.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from router.core.index import Board
from router.core.rules.static import Mode
from router.ledger.past import Past, open_past
from router.ledger.protocol import LedgerError
from router.model.facts import Decided, Ended, Received, Reserved, Settled
from router.model.times import NS_DAY, format_instant
from router.reports.acceptance import acceptance
from router.reports.coverage import gaps, gaps_summary, overlaps, summary, territories_of
from router.reports.demand import demand_in
from router.reports.near_misses import Unsold, near_misses
from router.terms.book import Book

ROWS_MAX: Final = 500
#: Unsold leads that are judged again, the newest; a report is for talking to a buyer, not for the archive.
UNSOLD_MAX: Final = 20_000
SINCE_DAYS: Final = 30
_SALE_LOST: Final = ("unsold", "expired")


def report(name: str, state_dir: Path, *, now_ns: int, since_ns: int | None = None) -> dict[str, Any] | None:
    """The report of that name (one of REPORTS) since then (30 days); None where there is no ledger.

    Raises LedgerError when the ledger cannot be read.
    """
    start = now_ns - SINCE_DAYS * NS_DAY if since_ns is None else since_ns
    with open_past(state_dir) as past:
        if past is None:
            return None
        found = REPORTS[name](past, start)
    return {"report": name, "since": format_instant(max(0, start)), "until": format_instant(now_ns), **found}


def _acceptance(past: Past, since_ns: int) -> dict[str, Any]:
    return {"contracts": acceptance(past.facts(Received, Reserved, Settled, since_ns=since_ns))}


def _coverage(past: Past, since_ns: int) -> dict[str, Any]:
    book = _book_in_force(past)
    seen = demand_in(past, since_ns)
    covered = territories_of(book)
    found = gaps(covered, seen.spots, sorted(book.lead_types))
    tables = {kind: gaps_summary(found[kind], seen.of_type[kind], rows_max=ROWS_MAX) for kind in found}
    return {
        "terms_version": book.version,
        "contracts": summary(covered),
        "buyers_at": {str(buyers): codes for buyers, codes in overlaps([one for one in covered if one.live]).items()},
        "lead_types": tables,
        "leads": {"total": seen.total, "without_postal_code": seen.unknown, "forgotten": seen.forgotten},
    }


def _near_misses(past: Past, since_ns: int) -> dict[str, Any]:
    ended: dict[str, str] = {}
    for _, fact in past.facts(Ended, since_ns=since_ns):
        assert isinstance(fact, Ended)
        ended.pop(fact.lead_id, None)
        ended[fact.lead_id] = fact.status
    lost = [lead_id for lead_id, status in ended.items() if status in _SALE_LOST]
    looked_at = set(lost[-UNSOLD_MAX:])
    decided: dict[str, Decided] = {}
    for _, fact in past.facts(Decided, since_ns=since_ns):
        assert isinstance(fact, Decided)
        if fact.lead_id in looked_at:
            decided[fact.lead_id] = fact
    found = near_misses(_unsold(past, decided))
    return {**found, "not_looked_at": len(lost) - found["unsold"]}


def _unsold(past: Past, decided: dict[str, Decided]) -> Iterator[Unsold]:
    """Leads whose person was not forgotten, under terms that are still known, terms by terms."""
    by_terms: dict[tuple[str, Mode, str], list[Decided]] = {}
    for fact in decided.values():
        by_terms.setdefault((fact.terms_version, fact.mode, fact.area), []).append(fact)
    for (version, mode, area), facts in sorted(by_terms.items()):
        book = past.book(version)
        if book is None:
            continue
        boards: dict[str, Board] = {}
        for fact in facts:
            lead = past.lead(fact.lead_id)
            if lead is None or lead.test:
                continue
            if lead.lead_type not in boards:
                boards[lead.lead_type] = Board(book, lead.lead_type, mode, area)
            yield Unsold(lead, fact, boards[lead.lead_type])


def _book_in_force(past: Past) -> Book:
    version = past.version_in_force()
    book = None if version is None else past.book(version)
    if book is None:
        hint = "start the daemon once with a good configuration"
        raise LedgerError("the ledger knows no terms yet", hint=hint)
    return book


REPORTS: Final[dict[str, Callable[[Past, int], dict[str, Any]]]] = {
    "acceptance": _acceptance,
    "near-misses": _near_misses,
    "coverage": _coverage,
}
