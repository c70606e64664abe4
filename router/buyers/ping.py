"""What the answer to a ping bids. Only a complete 2xx answer with an amount in it is a bid."""

from collections.abc import Mapping

from msgspec import Struct

from router.buyers.coding import decoded
from router.model.delivery import HttpResponse, TransportFailure
from router.model.money import format_money
from router.terms.answers import Reading, amount, cleaned
from router.terms.endpoint import PingPlan
from router.terms.paths import first


class PingAnswer(Struct, frozen=True):
    """`bid` in minor units, or None and in `actual` why there is none: what a `no_bid` refusal says it saw.

    `silent`: no whole answer, or a server error; a working endpoint that does not want the lead says something else.
    """

    bid: int | None
    reference: str | None
    actual: str
    silent: bool = False


def for_templates(bid: int, reference: str | None) -> Mapping[str, str]:
    """What `{{ping.*}}` gives in the post that follows a bid of so many minor units."""
    return {"bid": format_money(bid)} | ({} if reference is None else {"reference": reference})


def read_bid(ping: PingPlan, answer: HttpResponse | TransportFailure) -> PingAnswer:
    """An answer to a ping -> its bid, rounded down to minor units. Whether it came in time is for the caller to say."""
    if isinstance(answer, TransportFailure):
        return PingAnswer(None, None, answer.kind, silent=True)
    if not 200 <= answer.status <= 299:
        return PingAnswer(None, None, f"status {answer.status}", silent=answer.status >= 500)
    answer = decoded(answer)
    if answer.truncated:
        return PingAnswer(None, None, "truncated")
    reading = Reading(answer.status, answer.headers, answer.body)
    bid = amount(first(ping.bid, reading))
    return PingAnswer(bid, cleaned(first(ping.reference, reading)), "no amount" if bid is None else format_money(bid))
