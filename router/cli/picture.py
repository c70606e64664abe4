"""A trace as a picture of the way a lead took, read from top to bottom; and an explanation as a table.

Pure: the JSON of the API in, lines of text out. Nothing here is left out silently: what is cut is counted.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from router.cli.screen import columns, paint

RANKED_SHOWN_MAX: Final = 5
REFUSED_SHOWN_MAX: Final = 12
EXPLAINED_SHOWN_MAX: Final = 500
_ID_SHOWN: Final = 12
_TEXT_SHOWN_MAX: Final = 60
#: What a rule wanted and saw is ours, and its end says until when.
WORDS_SHOWN_MAX: Final = 200
_MOODS: Final = {
    "accepted": "good",
    "sold": "good",
    "in_doubt": "doubt",
    "routing": "doubt",
    "queued": "doubt",
    "duplicate": "doubt",
    "in_flight": "doubt",
}
_RAIL: Final = "│"

Json = Mapping[str, Any]


class _Pen:
    """Paints, or does not."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, text: str, kind: str) -> str:
        return paint(text, kind, on=self._on)


def way(trace: Json, *, colour: bool = False) -> list[str]:
    """A trace (SPEC shape) -> the lead's way: received, decisions, deliveries with their attempts, end."""
    pen = _Pen(colour)
    lines = [f"lead {trace.get('lead_id')}", "", f"● received   {_received(trace)}"]
    about = _about(trace)
    if about:
        lines.append(f"{_RAIL}            {about}")
    for step in sorted(_steps(trace), key=lambda step: step[0]):
        lines += [_RAIL, *step[1](pen)]
    return [*lines, _RAIL, _end(trace, pen)]


def _steps(trace: Json) -> Iterable[tuple[str, Callable[[_Pen], list[str]]]]:
    """Decisions and deliveries with their instants (RFC 3339 in UTC, so text order is time order)."""
    for decision in trace.get("decisions") or ():
        yield str(decision.get("decided_at") or ""), partial(_decision, decision)
    for delivery in trace.get("deliveries") or ():
        yield str(delivery.get("reserved_at") or "9"), partial(_delivery, delivery)


def explanation(decision: Json) -> list[str]:
    """A decision about a lead that was not sent -> who would get it, who comes next, and why the others would not."""
    twin = decision.get("duplicate_of")
    said = [f"It would be taken as a duplicate of {twin}, and go to nobody. If it were none:"] if twin else []
    return [*said, *_decision(decision, _Pen(on=False), refused_max=EXPLAINED_SHOWN_MAX)]


def _received(trace: Json) -> str:
    parts = (_clock(trace.get("received_at")), "from", trace.get("source_id"))
    return " ".join(str(part) for part in parts if part)


def _about(trace: Json) -> str:
    parts = [trace.get("lead_type"), trace.get("postal_code")]
    if trace.get("test"):
        parts.append("a test: sent to test addresses only")
    if trace.get("duplicate_of"):
        parts.append(f"a duplicate of {trace['duplicate_of']}")
    return ", ".join(str(part) for part in parts if part)


def _end(trace: Json, pen: _Pen) -> str:
    status = str(trace.get("status"))
    buyers = [str(one.get("buyer_id")) for one in trace.get("deliveries") or () if one.get("outcome") == "accepted"]
    sold = f" to {', '.join(buyers)}" if buyers else ""
    why = f": {trace['reason']}" if trace.get("reason") else ""
    return f"■ {pen(status, _MOODS.get(status, 'bad'))}{sold}{why}"


def _clock(instant: object) -> str | None:
    """`2026-11-23T17:00:00.012Z` -> `17:00:00.012`."""
    return str(instant).partition("T")[2].rstrip("Z") if instant else None


def _decision(decision: Json, pen: _Pen, *, refused_max: int = REFUSED_SHOWN_MAX) -> list[str]:
    ranking = [str(one) for one in decision.get("ranking") or ()]
    winners = {str(one) for one in decision.get("winners") or ()}
    refusals = decision.get("refusals") or ()
    refused = {str(one.get("contract_id")) for one in refusals}
    version = str(decision.get("terms_version") or "")[:_ID_SHOWN]
    said = f"{len(ranking)} eligible, {len(refused)} refused"
    again = f", again, for {decision['by']}" if decision.get("by") else ""
    lines = [f"◆ decided    {_clock(decision.get('decided_at')) or ''} {said}, by terms {version}{again}"]
    for place, contract in enumerate(ranking[:RANKED_SHOWN_MAX], start=1):
        mark = pen("winner", "good") if contract in winners else "eligible"
        lines.append(f"{_RAIL}  {place:>2}. {contract:<24} {mark}")
    if len(ranking) > RANKED_SHOWN_MAX:
        lines.append(f"{_RAIL}      and {len(ranking) - RANKED_SHOWN_MAX} more, ranked below")
    return [*lines, *_refusals(refusals, refused_max), *_uncounted(decision)]


def _refusals(refusals: Iterable[Json], shown_max: int) -> list[str]:
    """A line for each refusal: contract, code, what was expected, what was there."""
    told = list(refusals)
    rows = [("✗", str(one.get("contract_id")), str(one.get("code")), _comparison(one)) for one in told[:shown_max]]
    lines = columns(rows, indent=f"{_RAIL}   ")
    if len(told) > shown_max:
        rest = Counter(str(one.get("code")) for one in told[shown_max:])
        lines.append(f"{_RAIL}   ✗  and {_tally(rest)}")
    return lines


def _comparison(one: Json) -> str:
    expected, actual = (_plain(one.get(side), WORDS_SHOWN_MAX) for side in ("expected", "actual"))
    if expected and actual:
        return f"wants {expected}; it is {actual}"
    return f"wants {expected}" if expected else actual


def _uncounted(decision: Json) -> list[str]:
    """The contracts a trace gives as counts: those that do not cover the lead."""
    others = sum((decision.get("others") or {}).values())
    return [f"{_RAIL}   ✗  {others} more, which do not cover this lead"] if others else []


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {code}" for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _delivery(delivery: Json, pen: _Pen) -> list[str]:
    outcome = str(delivery.get("outcome") or delivery.get("state"))
    price = f" at {delivery['price']}" if delivery.get("price") else ""
    lines = [
        f"▶ delivery   to {delivery.get('contract_id')} of {delivery.get('buyer_id')}{price}",
        f"{_RAIL}            {delivery.get('delivery_id')}",
    ]
    rows = [
        (str(one.get("rule")), _plain(one.get("expected")), _plain(one.get("actual")))
        for one in delivery.get("allowed_by") or ()
    ]
    lines += columns(rows, indent=f"{_RAIL}   ✓ ")
    for number, attempt in enumerate(delivery.get("attempts") or (), start=1):
        lines.append(f"{_RAIL}   → {_attempt(number, attempt)}")
    return [*lines, f"{_RAIL}   = {pen(outcome, _MOODS.get(outcome, 'bad'))}{_remarks(delivery)}"]


def _remarks(delivery: Json) -> str:
    said = f": {_plain(delivery['reason'])}" if delivery.get("reason") else ""
    late = ", late" if delivery.get("late") else ""
    by = f", said {delivery['resolved_by']}" if delivery.get("resolved_by") else ""
    return said + late + by


def _attempt(number: int, attempt: Json) -> str:
    took = f"{float(attempt['took_ms']):.0f} ms" if attempt.get("took_ms") is not None else ""
    status = f"status {attempt['status']}" if attempt.get("status") else "no answer"
    parts = (
        f"attempt {number}",
        _clock(attempt.get("at")),
        took,
        status,
        attempt.get("outcome"),
        attempt.get("detail"),
    )
    return "  ".join(_plain(part) for part in parts if part)


def _plain(value: object, most: int = _TEXT_SHOWN_MAX) -> str:
    """A text of the API made safe for a terminal: no control characters (a buyer wrote some of it), and not endless."""
    text = "" if value is None else str(value)
    text = "".join(" " if unicodedata.category(char).startswith("C") else char for char in text)
    return text if len(text) <= most else text[: most - 1] + "…"
