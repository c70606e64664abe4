"""A buyer's own list against the ledger: what one side has and the other does not.

These are the failures nobody is told of. We say accepted and they do not have it: an endpoint that answers success and
drops the lead. They have it and we say otherwise: an answer that was lost, or rules that read it wrongly. Both are
money. Findings name deliveries and lines, never a person.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import date
from typing import Final, Literal

from msgspec import Struct

from router.reports.buyer_list import Theirs

Kind = Literal["missing", "not_ours", "says_otherwise", "they_refused", "price", "twice", "doubt_absent"]

#: What each kind means, in the order in which it is told.
KINDS: Final[dict[Kind, str]] = {
    "missing": "we say accepted, they do not have it",
    "says_otherwise": "they have it, we say otherwise",
    "they_refused": "we say accepted, they say refused",
    "not_ours": "they list it, we delivered nothing that matches",
    "price": "the price differs",
    "twice": "they list one delivery twice",
    "doubt_absent": "in doubt, and they do not have it (resolve it as rejected, if their list is whole)",
}
#: Worth knowing, and no difference.
_NOTES: Final = frozenset({"doubt_absent"})


class Ours(Struct, frozen=True, kw_only=True):
    """One delivery to the buyer. `outcome` is the last one, `open` while there is none; `price` is what is billed."""

    delivery_id: str
    lead_id: str
    contract_id: str
    day: date
    outcome: str
    price: int
    reference: str | None = None
    phone: str | None = None
    email: str | None = None


class Difference(Struct, frozen=True, kw_only=True):
    """One finding. `line` is that of the list; prices are minor units."""

    kind: Kind
    line: int | None = None
    delivery_id: str | None = None
    lead_id: str | None = None
    contract_id: str | None = None
    day: date | None = None
    ours: str | None = None
    price_ours: int | None = None
    price_theirs: int | None = None


class Reconciliation(Struct, frozen=True, kw_only=True):
    """The comparison. `agreed`: deliveries both sides have, at one price; totals are minor units of what each has."""

    deliveries: int
    rows: int
    agreed: int
    total_ours: int
    total_theirs: int
    differences: tuple[Difference, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        found = Counter(one.kind for one in self.differences)
        return {kind: found[kind] for kind in KINDS}

    @property
    def differ(self) -> bool:
        """Whether the two sides say different things."""
        return any(one.kind not in _NOTES for one in self.differences)


def reconcile(ours: Sequence[Ours], theirs: Sequence[Theirs], days: tuple[date, date] | None) -> Reconciliation:
    """Compare. `days`: those the list is whole for, the last one included; none: all of our deliveries."""
    index = _Index(ours)
    differences: list[Difference] = []
    rows_of: dict[str, list[Theirs]] = defaultdict(list)
    refused: set[str] = set()
    taken: set[str] = set()
    agreed = 0
    for row in sorted(theirs, key=lambda row: (not row.ids, row.line)):  # what is named by an id is found first
        one = index.find(row, taken)
        if one is None:
            if row.has:
                differences.append(Difference(kind="not_ours", line=row.line, price_theirs=row.price))
            continue
        taken.add(one.delivery_id)
        if row.has:
            rows_of[one.delivery_id].append(row)
        else:
            refused.add(one.delivery_id)
            if one.outcome == "accepted":
                differences.append(_difference("they_refused", one, row))
    for one in ours:
        rows = rows_of.get(one.delivery_id, [])
        differences += [_difference("twice", one, row) for row in rows[1:]]
        if rows:
            found = _compared(one, rows[0])
            differences += found
            agreed += not found
        elif one.delivery_id not in refused and _inside(one.day, days):
            differences += _absent(one)
    within = [one for one in ours if _inside(one.day, days) or one.delivery_id in rows_of]
    return Reconciliation(
        deliveries=len(within),
        rows=len(theirs),
        agreed=agreed,
        total_ours=sum(one.price for one in within if one.outcome == "accepted"),
        total_theirs=sum(row.price or 0 for row in theirs if row.has),
        differences=tuple(sorted(differences, key=_place)),
    )


def _place(one: Difference) -> tuple[int, int, str]:
    return list(KINDS).index(one.kind), one.line or 0, one.delivery_id or ""


class _Index:
    """Deliveries by everything a list may know them by."""

    def __init__(self, ours: Iterable[Ours]) -> None:
        self._by_id: dict[str, list[Ours]] = defaultdict(list)
        self._by_phone: dict[str, list[Ours]] = defaultdict(list)
        self._by_email: dict[str, list[Ours]] = defaultdict(list)
        for one in ours:
            for key in {one.delivery_id.lower(), one.lead_id.lower(), (one.reference or "").lower()} - {""}:
                self._by_id[key].append(one)
            if one.phone is not None:
                self._by_phone[one.phone].append(one)
            if one.email is not None:
                self._by_email[one.email].append(one)

    def find(self, row: Theirs, taken: Set[str]) -> Ours | None:
        """The delivery a row is about: by an id, else by both phone and e-mail, else by either; the likeliest."""
        by_id = [one for key in row.ids for one in self._by_id.get(key.lower(), ())]
        phones = [one for phone in row.phones for one in self._by_phone.get(phone, ())]
        emails = [one for email in row.emails for one in self._by_email.get(email, ())]
        both = [one for one in phones if one in emails]
        candidates = by_id or both or [*phones, *emails]

        def unlikely(one: Ours) -> tuple[bool, int, bool, str]:
            apart = abs((one.day - row.day).days) if row.day is not None else 0
            return one.delivery_id in taken, apart, (one.outcome == "accepted") != row.has, one.delivery_id

        return min(candidates, key=unlikely, default=None)


def _inside(day: date, days: tuple[date, date] | None) -> bool:
    return days is None or days[0] <= day <= days[1]


def _compared(one: Ours, row: Theirs) -> list[Difference]:
    if one.outcome != "accepted":
        return [_difference("says_otherwise", one, row)]
    if row.price is not None and row.price != one.price:
        return [_difference("price", one, row)]
    return []


def _absent(one: Ours) -> list[Difference]:
    if one.outcome == "accepted":
        return [_difference("missing", one, None)]
    return [_difference("doubt_absent", one, None)] if one.outcome == "in_doubt" else []


def _difference(kind: Kind, one: Ours, row: Theirs | None) -> Difference:
    return Difference(
        kind=kind,
        line=None if row is None else row.line,
        delivery_id=one.delivery_id,
        lead_id=one.lead_id,
        contract_id=one.contract_id,
        day=one.day,
        ours=one.outcome,
        price_ours=one.price,
        price_theirs=None if row is None else row.price,
    )
