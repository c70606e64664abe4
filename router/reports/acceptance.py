"""How each buyer answered: by contract, by source, with its reasons. Tests are left out.

The rate is that of routing: accepted of what was answered (accepted, rejected, duplicate). A delivery that failed or is
in doubt says something of an endpoint, not of the leads.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct, field

from router.model.facts import AnyFact, Received, Reserved, Settled
from router.model.money import format_money

_REASONS_SHOWN: Final = 5
_ANSWERED: Final = ("accepted", "rejected", "duplicate")
_OUTCOMES: Final = (*_ANSWERED, "failed", "in_doubt")


class _Row(Struct):
    """What is known of one contract, or of one source's leads to it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    late: int = 0
    revenue: int = 0

    def add(self, price: int, settled: Settled | None) -> None:
        """One delivery with its last outcome, if it has one."""
        self.outcomes[settled.outcome if settled else "open"] += 1
        if settled is None:
            return
        self.late += settled.late
        if settled.outcome == "accepted":
            self.revenue += price if settled.price is None else settled.price
        elif settled.reason:
            self.reasons[settled.reason] += 1

    def plain(self) -> dict[str, Any]:
        """Numbers for people and programs."""
        answered = sum(self.outcomes[one] for one in _ANSWERED)
        return {
            "deliveries": self.outcomes.total(),
            **{one: self.outcomes[one] for one in _OUTCOMES},
            "open": self.outcomes["open"],
            "acceptance": round(self.outcomes["accepted"] / answered, 4) if answered else None,
            "late": self.late,
            "revenue": format_money(self.revenue),
        }


def acceptance(facts: Iterable[tuple[int, AnyFact]]) -> list[dict[str, Any]]:
    """Contracts by id from `Received`, `Reserved` and `Settled` facts in their order."""
    sources: dict[str, str] = {}
    reserved: dict[str, Reserved] = {}
    settled: dict[str, Settled] = {}
    for _, fact in facts:
        if isinstance(fact, Received):
            sources[fact.lead_id] = fact.source_id
        elif isinstance(fact, Reserved) and not fact.test:
            reserved[fact.delivery_id] = fact
        elif isinstance(fact, Settled) and fact.delivery_id in reserved:
            settled[fact.delivery_id] = fact
    rows: dict[tuple[str, str, str], _Row] = {}
    by_source: dict[tuple[str, str], _Row] = {}
    for delivery_id, fact in reserved.items():
        last = settled.get(delivery_id)
        rows.setdefault((fact.contract_id, fact.buyer_id, fact.lead_type), _Row()).add(fact.price, last)
        source = sources.get(fact.lead_id, "")
        by_source.setdefault((fact.contract_id, source), _Row()).add(fact.price, last)
    return [
        {
            "contract_id": contract_id,
            "buyer_id": buyer_id,
            "lead_type": lead_type,
            **row.plain(),
            "reasons": dict(row.reasons.most_common(_REASONS_SHOWN)),
            "sources": {
                source: one.plain() for (contract, source), one in sorted(by_source.items()) if contract == contract_id
            },
        }
        for (contract_id, buyer_id, lead_type), row in sorted(rows.items())
    ]
