"""A buyer's deliveries out of the past, with what its list may know them by."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from router.ledger.past import Past
from router.model.facts import Reserved, Settled
from router.model.times import NS_S
from router.reports.reconcile import Ours


def buyers_in(past: Past) -> list[str]:
    """Every buyer that was ever to get a lead."""
    return sorted({fact.buyer_id for _, fact in past.facts(Reserved) if isinstance(fact, Reserved) and not fact.test})


def delivered_to(past: Past, buyer_id: str, zone: ZoneInfo, since_ns: int = 0) -> Iterator[Ours]:
    """Its deliveries reserved since then, oldest first, each with its last outcome; tests are left out."""
    reserved: dict[str, tuple[int, Reserved]] = {}
    settled: dict[str, Settled] = {}
    for at_ns, fact in past.facts(Reserved, Settled, since_ns=since_ns):
        if isinstance(fact, Reserved) and fact.buyer_id == buyer_id and not fact.test:
            reserved[fact.delivery_id] = (at_ns, fact)
        elif isinstance(fact, Settled) and fact.delivery_id in reserved:
            settled[fact.delivery_id] = fact
    for delivery_id, (at_ns, fact) in reserved.items():
        last = settled.get(delivery_id)
        person = past.person(fact.lead_id)
        yield Ours(
            delivery_id=delivery_id,
            lead_id=fact.lead_id,
            contract_id=fact.contract_id,
            day=datetime.fromtimestamp(at_ns / NS_S, zone).date(),
            outcome="open" if last is None else last.outcome,
            price=fact.price if last is None or last.price is None else last.price,
            reference=None if last is None else last.reference,
            phone=person[0],
            email=person[1],
        )
