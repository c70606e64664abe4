"""Leads that stayed unsold although one rule only stood between them and a contract that covers them.

Each is judged again by the terms it was decided under; what depended on the moment is what was written down then. So
this is a list of the terms to talk about: a cap to raise, a field to ask for, an hour to open. Suppressed persons are
nobody's to talk about.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from router.core.explain import static_refusals
from router.core.index import Board
from router.core.masks import bits
from router.model.codes import RULES
from router.model.facts import Decided
from router.model.lead import Lead
from router.model.money import format_money

_EXAMPLES: Final = 5
_RULE_OF: Final = {code: rule for rule, codes in RULES.items() for code in codes}


class Unsold(NamedTuple):
    """A lead nobody bought, its last decision, and the board of the terms and mode of that decision."""

    lead: Lead
    decided: Decided
    board: Board


class Missed(Struct):
    """One rule of one contract. `price`: minor units a lead; `wanted`: in words, if they are known."""

    buyer_id: str
    price: int
    leads: int = 0
    wanted: str = ""
    examples: list[str] = field(default_factory=list)


class NearMisses:
    """Counts as leads go by."""

    def __init__(self) -> None:
        self.leads = 0
        self.missed: dict[tuple[str, str, str], Missed] = {}
        self.alone: Counter[str] = Counter()  # leads with a near miss, by code

    def add(self, unsold: Unsold) -> None:
        """One lead more."""
        self.leads += 1
        if "suppressed" in unsold.decided.alike:
            return
        codes: set[str] = set()
        board, lead = unsold.board, unsold.lead
        covering = board.covering(lead)
        stopped = _stopped(unsold, covering)
        for rank in bits(covering):
            plan = board.plans[rank]
            found = [(one.code, one.expected) for one in static_refusals(board.book, plan, lead, board.mode)]
            found += [(code, "") for code in stopped.get(plan.id, ())]
            if len({_RULE_OF.get(code, code) for code, _ in found}) != 1:
                continue
            code, expected = min(found)
            codes.add(code)
            price = plan.exclusive_price if board.mode == "exclusive" else plan.price
            row = self.missed.setdefault((plan.id, code, expected), Missed(plan.buyer_id, price))
            row.leads += 1
            row.wanted = row.wanted or expected or _words(unsold, plan.id, code)
            if len(row.examples) < _EXAMPLES:
                row.examples.append(lead.lead_id)
        self.alone.update(codes)

    def plain(self) -> dict[str, Any]:
        """The report: what would have brought most comes first."""
        rows = sorted(self.missed.items(), key=lambda entry: (-entry[1].leads * entry[1].price, entry[0]))
        return {
            "unsold": self.leads,
            "codes": dict(self.alone.most_common()),
            "rows": [
                {
                    "contract_id": contract_id,
                    "buyer_id": row.buyer_id,
                    "code": code,
                    "expected": row.wanted,
                    "leads": row.leads,
                    "price": format_money(row.price),
                    "worth": format_money(row.leads * row.price),
                    "examples": row.examples,
                }
                for (contract_id, code, _), row in rows
            ],
        }


def near_misses(unsold: Iterable[Unsold]) -> dict[str, Any]:
    """The report about these leads."""
    found = NearMisses()
    for one in unsold:
        found.add(one)
    return found.plain()


def _stopped(unsold: Unsold, covering: int) -> dict[str, list[str]]:
    """Of the contracts that cover the lead those that the moment refused: contract -> codes."""
    found: dict[str, list[str]] = {}
    for code, contracts in unsold.decided.blocked.items():
        if isinstance(contracts, bytes):
            names = tuple(unsold.board.ids[rank] for rank in bits(int.from_bytes(contracts, "big") & covering))
        else:
            names = contracts
        for name in names:
            found.setdefault(name, []).append(code)
    return found


def _words(unsold: Unsold, contract_id: str, code: str) -> str:
    """What a refusal of the moment wanted, where this decision has it in words; it changes with the moment."""
    details = unsold.decided.details.get(contract_id) or unsold.decided.alike.get(code)
    if details is not None:
        return details[0]
    return unsold.decided.said.get(contract_id, ("", "", ""))[1]
