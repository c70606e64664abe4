"""What SPEC section 4 says of every temper: the outcome, how many attempts, and what they were about.

A doubt at an idempotent endpoint is asked about again until the deadline, so a row says separately what comes of it
there where that differs.
"""

from typing import Final, NamedTuple

from router.demo.tempers import TEMPERS
from router.model.codes import Outcome

#: As many as there is time for: the first, and at least one more.
MANY: Final = 0


class Row(NamedTuple):
    """The end of a delivery. `reason` is ours where the buyer gave none; `code` is the postal code it depends on."""

    outcome: Outcome
    attempts: int
    reason: str | None = None
    price: int | None = None  # billed, minor units


class Case(NamedTuple):
    """One temper: what comes of it at an endpoint that is not idempotent, and at one that is."""

    temper: str
    plain: Row
    idempotent: Row
    code: str | None = None  # of the lead, where the temper goes by it
    timeout: str = "5s"


RESERVED: Final = 2000
SOLD: Final = Row("accepted", 1, None, RESERVED)
DECLINED: Final = Row("rejected", 1, "not today")


def doubt(reason: str) -> tuple[Row, Row]:
    """Nobody can know: asked again where the buyer can tell a repeat, left alone elsewhere."""
    return Row("in_doubt", 1, reason), Row("in_doubt", MANY, reason)


def same(row: Row) -> tuple[Row, Row]:
    """What is certain does not depend on the buyer's memory."""
    return row, row


SHORT: Final = "250ms"
AUTH: Final = same(Row("failed", 1, "auth"))
GONE: Final = same(Row("failed", 1, "gone"))
CONTRACT: Final = same(Row("failed", 1, "contract"))
MOVED: Final = same(Row("failed", 1, "redirect"))
TURNED_AWAY: Final = same(Row("failed", 2, "unavailable"))
UNCLASSIFIED: Final = doubt("unclassified")
LOST: Final = doubt("connection_lost")
SILENT: Final = doubt("read_timeout")
UNREADABLE: Final = doubt("bad_answer")
TOO_LONG: Final = doubt("truncated")
BROKEN: Final = doubt("server_error")

CASES: Final = (
    Case("accept", *same(SOLD)),
    Case("reject", *same(DECLINED)),
    Case("picky", *same(SOLD), code="78708"),
    Case("picky", *same(Row("rejected", 1, "score too low")), code="78703"),
    Case("local", *same(SOLD), code="78704"),
    Case("local", *same(Row("rejected", 1, "postal code not served")), code="78705"),
    Case("slow", *same(SOLD)),
    Case("flaky", *same(Row("accepted", 2, None, RESERVED))),
    Case("duplicate", *same(Row("duplicate", 1))),
    Case("forgetful", LOST[0], Row("accepted", 2, None, RESERVED)),
    Case("wavering", LOST[0], Row("rejected", 2, "on second thoughts")),
    Case("lossy", *same(SOLD)),
    Case("hang", *SILENT, timeout=SHORT),
    Case("reset-before", *LOST),
    Case("reset-after", *LOST),
    Case("half", *LOST),
    Case("drip", *SILENT, timeout=SHORT),
    Case("drip-head", *SILENT, timeout=SHORT),
    Case("endless", *TOO_LONG),
    Case("endless-head", *UNREADABLE),
    Case("flood", *TOO_LONG),
    Case("bomb", *TOO_LONG),
    Case("continues", *UNREADABLE),
    Case("twice", *same(SOLD)),
    Case("not-http", *UNREADABLE),
    Case("bad-chunk", *UNREADABLE),
    Case("bad-length", *UNREADABLE),
    Case("refusal-200", *same(Row("rejected", 1))),
    Case("wrong-type", *same(SOLD)),
    Case("match", *same(SOLD)),
    Case("no-match", *same(Row("rejected", 1))),
    Case("post-response", *same(SOLD)),
    Case("redirect", *doubt("redirect")),
    Case("moved", *MOVED),
    Case("puzzle", *UNCLASSIFIED),
    Case("empty", *UNCLASSIFIED),
    Case("echo", *same(Row("rejected", 1, "Bearer [secret]"))),
    Case("lower-price", *same(Row("accepted", 1, None, 100))),
    Case("higher-price", *same(SOLD)),
    Case("odd-price", *same(SOLD)),
    Case("fault", *UNCLASSIFIED),
    Case("busy", *TURNED_AWAY),
    Case("storm", *same(Row("failed", 1, "unavailable"))),
    Case("unavailable", *TURNED_AWAY),
    Case("broken", *BROKEN),
    Case("locked-out", *AUTH),
    Case("gone", *GONE),
    Case("bad-request", *CONTRACT),
    Case("bid", *UNCLASSIFIED),
    Case("late-bid", *UNCLASSIFIED),
    Case("odd-bid", *UNCLASSIFIED),
    Case("no-bid", *UNCLASSIFIED),
    Case("sandbox", *same(DECLINED), code="78790"),
    Case("sandbox", *same(SOLD), code="78706"),
    Case("201", *UNCLASSIFIED),
    Case("204", *UNCLASSIFIED),
    Case("301", *MOVED),
    Case("302", *doubt("redirect")),
    Case("303", *doubt("redirect")),
    Case("307", *MOVED),
    Case("308", *MOVED),
    Case("401", *AUTH),
    Case("403", *AUTH),
    Case("404", *GONE),
    Case("405", *GONE),
    Case("408", *CONTRACT),
    Case("410", *GONE),
    Case("422", *CONTRACT),
    Case("429", *TURNED_AWAY),
    Case("500", *BROKEN),
    Case("502", *BROKEN),
    Case("503", *TURNED_AWAY),
    Case("504", *BROKEN),
)
assert {case.temper for case in CASES} == TEMPERS.keys(), "every temper has its row"
