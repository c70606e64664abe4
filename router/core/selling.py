"""What happens next to a lead that is being sold: offer it to more, wait, or end. Pure: the caller acts.

Exclusive is shared with one copy and one delivery at a time. A delivery in doubt holds its copy: an exclusive lead goes
to nobody else while the first buyer could have it.
"""

from typing import NamedTuple

from router.core.state import OpenLead
from router.model.codes import LeadStatus, UnsoldReason
from router.terms.schema import Payout, Sell


class Offer(NamedTuple):
    """Offer the lead to up to so many more of its ranking, best first."""

    copies: int


class Wait(NamedTuple):
    """Deliveries are in flight: their outcome decides."""


class End(NamedTuple):
    """Nothing more will happen by itself."""

    status: LeadStatus
    reason: UnsoldReason | None = None


def next_move(
    lead: OpenLead, sell: Sell, *, now_ns: int, deadline_ns: int, exhausted: bool = False, too_old: bool = False
) -> Offer | Wait | End:
    """What to do now. `exhausted`: nobody in the ranking who may have it is left; `too_old`: past its `max_age`.

    Both instants are of the steady clock.
    """
    outcomes = list(lead.deliveries.values())
    in_flight = outcomes.count(None)
    doubts = outcomes.count("in_doubt")
    most, at_once = copies_of(sell, lead.mode)
    room = min(most - lead.copies - in_flight - doubts, at_once - in_flight)
    late = now_ns >= deadline_ns
    if room > 0 and not exhausted and not late and not too_old:
        return Offer(room)
    if in_flight:
        return Wait()
    if lead.copies:
        return End("sold")
    if doubts:
        return End("in_doubt")
    if too_old and not exhausted:
        return End("expired")
    if late and not exhausted:
        return End("unsold", "deadline")
    return End("unsold", "all_declined" if outcomes else "no_eligible_contract")


def copies_of(sell: Sell, mode: str) -> tuple[int, int]:
    """(copies at most, deliveries in flight at once) in a mode."""
    return (1, 1) if mode == "exclusive" else (max(1, sell.max_copies), max(1, sell.parallel))


def payout_of(payout: Payout | None, copies: int) -> int:
    """What the source is paid for a lead that ended with so many sold copies, minor units."""
    if payout is None or not copies:
        return 0
    return int(payout.amount) * (copies if payout.per == "sold_copy" else 1)


def payout_once(payout: Payout | None) -> int:
    """What the source is paid once for the whole lead if it sells, minor units; 0 when it is paid by the copy."""
    return int(payout.amount) if payout is not None and payout.per == "accepted_lead" else 0
