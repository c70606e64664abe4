"""Price rules of a contract that is asked for a bid: the bid is the price, and no bid is a refusal too.

Whether anybody was asked is no rule's affair. Where a contract that nothing else refuses has no bid because nobody
asked, that is said last of all (`NOT_ASKED`): it would have been asked.
"""

from collections.abc import Iterator
from typing import Final

from router.core.rules.finding import Finding
from router.core.rules.static import Mode, price_rule
from router.model.decision import Bid
from router.model.lead import Lead
from router.model.money import format_money
from router.model.times import format_duration
from router.terms.book import Book, ContractPlan

#: What is said of a contract that passes everything but price and was not asked.
NOT_ASKED: Final = Finding("no_bid", "a bid", "not_asked")


def bid_rule(book: Book, plan: ContractPlan, lead: Lead, bid: Bid, mode: Mode) -> Iterator[Finding]:
    """`below_floor` and `below_margin` of the bid, `bid_too_low` below `min_bid`; `no_bid` when none came in time."""
    if bid.price is None:
        ping = plan.endpoint.ping
        within = f" within {format_duration(ping.timeout_ns)}" if ping is not None else ""
        yield Finding("no_bid", f"a bid{within}", bid.actual)
        return
    yield from price_rule(book, plan, lead, bid.price, mode)
    least = plan.terms.min_bid
    if least is not None and bid.price < least:
        yield Finding("bid_too_low", f"at least {format_money(least)}", format_money(bid.price))
