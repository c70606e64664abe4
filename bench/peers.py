"""Other ways to decide the same leads, each as good as its users would make it.

A peer is a function that starts it anew, with nothing sold; what it starts maps a lead to the winner's id and counts
the caps. SQLite and the naive loop find the contracts that cover a lead themselves. The rule engines know nothing of
postal codes, so they are fed those contracts, best price first, and are asked each one's criteria, opening and room in
one expression until one holds. Nobody but us records why. The engines are optional: `pip install -e '.[bench]'`.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from bench.market import NOON
from router.core.calendar import Calendar, opening
from router.core.live import identity_of
from router.core.rules.standing import Moment, standing
from router.core.rules.static import STATIC
from router.core.state import State
from router.model.lead import Lead
from router.terms.book import Book, ContractPlan
from router.terms.schema import Criterion

Decider = Callable[[Lead], str | None]
Start = Callable[[], Decider]
#: Whether a contract's expression holds for the values it names.
Holds = Callable[[str, dict[str, Any]], bool]

UNLIMITED: Final = 1 << 40


def _room(plan: ContractPlan) -> int:
    return next((cap.limit for cap in plan.caps if cap.limit is not None), UNLIMITED)


def _open(plan: ContractPlan) -> bool:
    """Whether it is open while the bench's leads come: they all come within a minute."""
    return opening(plan.hours, NOON, plan.zone).open


# -- a loop over everybody -----------------------------------------------------------------------


class Naive:
    """Every contract of the lead type, best price first, rule by rule, until one passes."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._state = State(identity_of(book))
        self._calendar = Calendar()
        self._ranked = {
            kind: sorted(plans, key=lambda plan: (-plan.exclusive_price, plan.id))
            for kind, plans in book.by_type.items()
        }

    def decide(self, lead: Lead) -> str | None:
        """The winner's id."""
        moment = Moment(lead.received_at_ns, lead.received_at_ns, self._calendar)
        for plan in self._ranked[lead.lead_type]:
            if any(next(rule(self._book, plan, lead), None) is not None for rule in STATIC):
                continue
            if next(standing(plan, self._state, moment, plan.exclusive_price), None) is None:
                self._state._usage(plan.owner).add(lead.received_at_ns, plan.price)
                return plan.id
        return None


def naive(book: Book) -> Start:
    """The readable rules, asked of every contract."""
    return lambda: Naive(book).decide


# -- SQLite --------------------------------------------------------------------------------------


class Sqlite:
    """One indexed query a lead over tables in memory, and one update that counts the cap."""

    def __init__(self, rows: list[tuple[Any, ...]], cover: Iterable[tuple[str, str, int]]) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=64)
        self._db.executescript(
            """
            PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY;
            CREATE TABLE cover(kind TEXT, key TEXT, place INTEGER, PRIMARY KEY(kind, key, place)) WITHOUT ROWID;
            CREATE TABLE contract(place INTEGER PRIMARY KEY, id TEXT, score INTEGER, bill INTEGER, owner INTEGER,
                utilities TEXT, open INTEGER, room INTEGER);
            """
        )
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO contract VALUES (?,?,?,?,?,?,?,?)", rows)
        self._db.executemany("INSERT INTO cover VALUES (?,?,?)", cover)
        self._db.execute("COMMIT")
        self._db.execute("ANALYZE")
        self._room = [(row[-1], row[0]) for row in rows]

    def anew(self) -> "Sqlite":
        """Nothing is sold."""
        self._db.executemany("UPDATE contract SET room = ? WHERE place = ?", self._room)
        return self

    def decide(self, lead: Lead) -> str | None:
        """The winner's id."""
        fields: dict[str, Any] = lead.fields
        code = fields["postal_code"]
        found = self._db.execute(
            "SELECT c.place, c.id FROM cover v JOIN contract c ON c.place = v.place"
            " WHERE v.kind = ? AND v.key IN (?, ?, ?, ?, ?, '*') AND c.room > 0 AND c.open"
            " AND c.score <= ? AND c.bill <= ? AND c.owner <= ? AND (c.utilities = '' OR instr(c.utilities, ?))"
            " ORDER BY v.place LIMIT 1",
            (
                lead.lead_type,
                code,
                f"{code[:1]}*",
                f"{code[:2]}*",
                f"{code[:3]}*",
                f"{code[:4]}*",
                fields["credit_score"],
                fields["monthly_bill"],
                int(fields["homeowner"]),
                f",{fields['utility']},",
            ),
        ).fetchone()
        if found is None:
            return None
        self._db.execute("UPDATE contract SET room = room - 1 WHERE place = ?", (found[0],))
        return str(found[1])


def sqlite(book: Book) -> Start:
    """A tuned query over tables in memory. `place` is the rank of a contract by price."""
    rows: list[tuple[Any, ...]] = []
    cover: dict[tuple[str, str], list[int]] = {}
    for place, plan in enumerate(sorted(book.contracts.values(), key=lambda plan: (-plan.exclusive_price, plan.id))):
        keys = ["*"] if plan.coverage.everywhere else []
        keys += [*plan.coverage.codes, *(f"{prefix}*" for prefix in plan.coverage.prefixes)]
        for key in keys:
            cover.setdefault((plan.lead_type, key), []).append(place)
        wants: dict[str, Any] = {node.field_ or "": node for node in plan.terms.criteria}
        rows.append((
            place,
            plan.id,
            wants["credit_score"].min if "credit_score" in wants else -1,
            wants["monthly_bill"].min if "monthly_bill" in wants else -1,
            1 if "homeowner" in wants else 0,
            f",{','.join(wants['utility'].one_of)}," if "utility" in wants else "",
            int(_open(plan)),
            _room(plan),
        ))  # fmt: skip
    tables = Sqlite(rows, ((*named, place) for named, places in sorted(cover.items()) for place in places))
    return lambda: tables.anew().decide


# -- rule engines --------------------------------------------------------------------------------


def _term(node: Criterion) -> str:
    if node.min is not None:
        return f"{node.field_} >= {node.min}"
    if node.equals is not None:
        return f"{node.field_} == {str(node.equals).lower()}"
    assert node.one_of is not None
    return f"{node.field_} in [{', '.join(repr(one) for one in node.one_of)}]"


def _expressions(book: Book) -> dict[str, str]:
    """Everything but coverage as one expression a contract, the cheapest test first."""
    return {
        plan.id: " and ".join(["open", *(["room > 0"] if plan.caps else []), *map(_term, plan.terms.criteria)])
        for plan in book.contracts.values()
    }


def zen(book: Book) -> Holds | None:
    """`zen-engine`: one compiled expression a contract. None when it is not installed."""
    try:
        import zen as engine
    except ImportError:
        return None
    compiled = {contract_id: engine.compile_expression(text) for contract_id, text in _expressions(book).items()}
    return lambda contract_id, values: bool(compiled[contract_id].evaluate(values))


def rule_engine(book: Book) -> Holds | None:
    """`rule-engine`: one rule a contract. None when it is not installed."""
    try:
        import rule_engine as engine
    except ImportError:
        return None
    compiled = {contract_id: engine.Rule(text) for contract_id, text in _expressions(book).items()}
    return lambda contract_id, values: bool(compiled[contract_id].matches(values))


class Fed:
    """A rule engine with the contracts that cover each lead, best first. It is shown only what expressions name."""

    def __init__(
        self, holds: Holds, candidates: dict[str, list[str]], is_open: dict[str, bool], room: dict[str, int]
    ) -> None:
        self._holds = holds
        self._candidates = candidates
        self._open = is_open
        self._room = room

    def decide(self, lead: Lead) -> str | None:
        """The winner's id."""
        fields = lead.fields
        values: dict[str, Any] = {
            name: fields[name] for name in ("credit_score", "homeowner", "monthly_bill", "utility")
        }
        holds, is_open, room = self._holds, self._open, self._room
        for contract_id in self._candidates[lead.lead_id]:
            values["open"] = is_open[contract_id]
            values["room"] = room[contract_id]
            if holds(contract_id, values):
                room[contract_id] -= 1
                return contract_id
        return None


def fed(holds: Holds | None, book: Book, candidates: dict[str, list[str]]) -> Start | None:
    """A rule engine, fed; None when it is not installed."""
    if holds is None:
        return None
    is_open = {plan.id: _open(plan) for plan in book.contracts.values()}
    room = {plan.id: _room(plan) for plan in book.contracts.values()}
    engine = holds
    return lambda: Fed(engine, candidates, is_open, dict(room)).decide
