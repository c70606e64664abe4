"""How the bids for a lead look in its trace: who was asked when, what each said, and what came too late."""

from collections.abc import Iterable
from typing import Any

from router.model.decision import Bid
from router.model.facts import Asked, Bidden, Entry
from router.model.money import format_money
from router.model.times import format_instant


def bids_told(entries: Iterable[Entry], contract: str | None = None) -> list[dict[str, Any]]:
    """A row for each contract and time it was asked, in order, and one more for a bid that came late.

    `contract` asks about that contract alone. A row without `at` is not answered yet, or the process died over it.
    """
    rows: list[dict[str, Any]] = []
    waiting: dict[str, dict[str, Any]] = {}
    asked_at = ""
    for entry in entries:
        fact, at = entry.fact, format_instant(entry.at_ns)
        if isinstance(fact, Asked):
            asked_at = at
            waiting = {name: _row(name, asked_at) for name in fact.contracts if contract in (None, name)}
            rows += waiting.values()
        elif isinstance(fact, Bidden):
            for bid in fact.bids:
                if contract not in (None, bid.contract_id):
                    continue
                row = waiting.pop(bid.contract_id, None)
                if row is None:
                    row = _row(bid.contract_id, asked_at)
                    rows.append(row)
                row |= _answered(bid, at, late=fact.late)
    return rows


def _row(contract_id: str, asked_at: str) -> dict[str, Any]:
    return {"contract_id": contract_id, "asked_at": asked_at, "at": None, "bid": None, "late": False}


def _answered(bid: Bid, at: str, *, late: bool) -> dict[str, Any]:
    return {
        "at": at,
        "bid": None if bid.price is None else format_money(bid.price),
        "actual": bid.actual,
        "reference": bid.reference,
        "took_ms": bid.took_ms,
        "late": late,
    }


def line(fact: Asked | Bidden) -> str:
    """The same in a few words, for a lead's history."""
    if isinstance(fact, Asked):
        return f"{len(fact.contracts)} asked"
    bids = sum(1 for bid in fact.bids if bid.price is not None)
    return f"{bids} of {len(fact.bids)}" + (", too late" if fact.late else "")
