"""What a buyer may see of its deliveries: ids, outcomes and prices; nothing of the lead itself."""

from typing import Any, Final

from router.engine import Engine
from router.model.facts import Entry, Reserved, Settled
from router.model.money import format_money
from router.model.times import format_instant

PAGE_DELIVERIES_MAX: Final = 500


async def own_deliveries(engine: Engine, buyer_id: str, since_ns: int) -> list[dict[str, Any]]:
    """A buyer's deliveries since then, oldest first, at most `PAGE_DELIVERIES_MAX` of them."""
    found = []
    for delivery_id, lead_id in await engine.ledger.deliveries_of(buyer_id, since_ns, limit=PAGE_DELIVERIES_MAX):
        entries = [entry for _, entry in await engine.ledger.entries_of(lead_id)]
        told = delivery(delivery_id, entries)
        if told is not None:
            found.append(told)
    return found


def delivery(delivery_id: str, entries: list[Entry]) -> dict[str, Any] | None:
    """One delivery out of its lead's facts, as its buyer sees it; None when it is not among them."""
    reserved: Entry | None = None
    settled: Settled | None = None
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, Reserved) and fact.delivery_id == delivery_id:
            reserved = entry
        elif isinstance(fact, Settled) and fact.delivery_id == delivery_id:
            settled = fact
    if reserved is None or not isinstance(reserved.fact, Reserved):
        return None
    return {
        "delivery_id": delivery_id,
        "contract_id": reserved.fact.contract_id,
        "sent_at": format_instant(reserved.at_ns),
        "outcome": settled.outcome if settled is not None else None,
        "reason": settled.reason if settled is not None else None,
        "price": format_money(settled.price) if settled is not None and settled.price is not None else None,
        "reference": settled.reference if settled is not None else None,
        "late": settled.late if settled is not None else False,
        "test": reserved.fact.test,
    }
