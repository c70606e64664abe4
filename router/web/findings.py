"""What `check` found, for whoever asked over HTTP: as JSON, and as the errors of a problem."""

from collections.abc import Iterable
from typing import Any

from msgspec import to_builtins

from router.core.intake.refusal import FieldError
from router.model.money import format_money
from router.onboarding.placing import Difference, Replay
from router.terms.problems import Problem, errors


def findings(found: Iterable[Problem]) -> list[dict[str, str]]:
    """Every finding, with its place and the mend."""
    return [
        {"severity": at.severity, "file": at.file, "key": at.key, "message": at.message, "mend": at.mend}
        for at in found
    ]


def as_errors(found: Iterable[Problem], own: Iterable[str] = ()) -> list[FieldError]:
    """The errors among them; those in the files of `own` are named by their key alone."""
    return [
        FieldError(
            ": ".join(part for part in ("" if at.file in own else at.file, at.key) if part),
            "terms",
            ". ".join(filter(None, (at.message, at.mend))),
        )
        for at in errors(found)
    ]


def difference_json(found: Difference) -> dict[str, Any]:
    """What other terms would change; `replay` only where the last day's leads were sold again."""
    shown: dict[str, Any] = {
        "version": found.version,
        "changes": [to_builtins(change) for change in found.changes],
        "more_changes": found.more,
    }
    return shown if found.replay is None else {**shown, "replay": _replay_json(found.replay)}


def _replay_json(found: Replay) -> dict[str, Any]:
    return {
        "leads": found.leads,
        "moved": found.moved,
        "bounded": found.bounded,
        "contracts": [
            {
                "contract_id": row.contract_id,
                "leads_before": row.leads_before,
                "leads_after": row.leads_after,
                "revenue_before": format_money(row.revenue_before),
                "revenue_after": format_money(row.revenue_after),
            }
            for row in found.contracts
        ],
    }
