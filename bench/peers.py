"""Other people's rule engines on the same leads, each given what it does not do itself.

`zen-engine` and `rule-engine` know nothing of postal codes, caps or schedules, so they are fed only the candidates that
cover the lead and are open, best price first, and asked for each contract's criteria until one holds. Nobody asks them
to reserve or to leave a trace. Both are optional: `pip install -e '.[bench]'`.
"""

from collections.abc import Callable
from typing import Any

from router.model.lead import Lead
from router.terms.book import Book
from router.terms.schema import Criterion

#: A lead and its open candidates, best first -> the winner.
Judge = Callable[[dict[str, Any], list[str]], str | None]


def _term(node: Criterion) -> str:
    if node.min is not None:
        return f"{node.field_} >= {node.min}"
    if node.equals is not None:
        return f"{node.field_} == {str(node.equals).lower()}"
    assert node.one_of is not None
    return f"{node.field_} in [{', '.join(repr(one) for one in node.one_of)}]"


def _expressions(book: Book) -> dict[str, str]:
    return {plan.id: " and ".join(map(_term, plan.terms.criteria)) for plan in book.contracts.values()}


def zen(book: Book) -> Judge | None:
    """`zen-engine`: one compiled expression a contract. None when it is not installed."""
    try:
        import zen as engine
    except ImportError:
        return None
    compiled = {
        contract_id: engine.compile_expression(text) if text else None
        for contract_id, text in _expressions(book).items()
    }

    def judge(fields: dict[str, Any], candidates: list[str]) -> str | None:
        for contract_id in candidates:
            expression = compiled[contract_id]
            if expression is None or expression.evaluate(fields):
                return contract_id
        return None

    return judge


def rule_engine(book: Book) -> Judge | None:
    """`rule-engine`: one rule a contract. None when it is not installed."""
    try:
        import rule_engine as engine
    except ImportError:
        return None
    compiled = {contract_id: engine.Rule(text) if text else None for contract_id, text in _expressions(book).items()}

    def judge(fields: dict[str, Any], candidates: list[str]) -> str | None:
        for contract_id in candidates:
            rule = compiled[contract_id]
            if rule is None or rule.matches(fields):
                return contract_id
        return None

    return judge


class Fed:
    """A judge with the candidates of each lead prepared beforehand."""

    def __init__(self, judge: Judge, candidates: dict[str, list[str]]) -> None:
        self._judge = judge
        self._candidates = candidates

    def decide(self, lead: Lead) -> str | None:
        """The winner among the prepared candidates."""
        return self._judge(lead.fields, self._candidates[lead.lead_id])
