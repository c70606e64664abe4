"""Onboarding over HTTP: a buyer's record is put in place, or tried out."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from msgspec import Struct

from router.core.intake.refusal import FieldError
from router.model.times import format_instant
from router.onboarding.certifying import Certifier, Report
from router.onboarding.placing import Placing
from router.terms.load import STATE_PLACE, state_place
from router.web.exchange import JSON, Exchange, flag, json_answer, read_body, read_small, require_type
from router.web.findings import as_errors, difference_json, findings
from router.web.leads import parsed
from router.web.listener import Handler
from router.web.problems import Problem

#: As large as a file of the configuration may be.
RECORD_BYTES_MAX: Final = 4 * 2**20


class Certify(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:certify`: one endpoint alone, and values of the test lead that somebody chose."""

    endpoint: str | None = None
    fields: dict[str, str | int | float | bool] = {}


class Buyers:
    """The handlers of `/v1/buyers/{id}` that are about its terms."""

    def __init__(self, placing: Placing, certifier: Certifier) -> None:
        self._placing = placing
        self._certifier = certifier

    def handlers(self) -> Mapping[str, Handler]:
        """By the name in the route table."""
        return {"put_buyer": self.put_buyer, "certify_buyer": self.certify_buyer}

    async def certify_buyer(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/buyers/{id}:certify`: what came of each endpoint, step by step."""
        body = await read_small(ask.request, Certify, required=False)
        reports = await self._certifier.certify(ask.id, by=ask.principal.by, endpoint=body.endpoint, fields=body.fields)
        certified = bool(reports) and all(report.passed for report in reports)
        return json_answer({"buyer_id": ask.id, "certified": certified, "endpoints": [*map(_report, reports)]})

    async def put_buyer(self, ask: Exchange) -> web.StreamResponse:
        """`PUT /v1/buyers/{id}`; `?dry_run=1` only checks and shows what would change."""
        dry_run = flag(ask.query(("dry_run",)), "dry_run")
        require_type(ask.request, (JSON,))
        tree = parsed(JSON, await read_body(ask.request, RECORD_BYTES_MAX))
        if tree.setdefault("id", ask.id) != ask.id:
            raise Problem("terms_invalid", errors=[FieldError("id", "terms", "is another one than in the address")])
        if dry_run:
            placed = await self._placing.try_out(ask.id, tree)
        else:
            placed = await self._placing.put(ask.id, tree, by=ask.principal.by)
        if placed.difference is None:
            raise Problem("terms_invalid", "Nothing changed.", errors=as_errors(placed.problems, _own(ask.id)))
        answer = {
            "buyer_id": ask.id,
            "dry_run": dry_run,
            "created": placed.created,
            **difference_json(placed.difference),
            "problems": findings(placed.problems),
        }
        return json_answer(answer, status=201 if placed.created and not dry_run else 200)


def _own(buyer_id: str) -> tuple[str, str]:
    """How findings name the record itself, before and after its id could be read."""
    return state_place(buyer_id), f"{STATE_PLACE}buyers"


def _report(report: Report) -> dict[str, Any]:
    return {
        "endpoint": report.endpoint,
        "version": report.version,
        "certified": report.passed,
        "tested": report.tried,
        "at": format_instant(report.at_ns),
        "contracts": list(report.contracts),
        "steps": [{"step": one.step, "ok": one.ok, "detail": one.detail, "mend": one.mend} for one in report.steps],
    }
