"""Onboarding over HTTP: a buyer's record is put in place, or tried out."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from router.core.intake.refusal import FieldError
from router.onboarding.placing import Placing
from router.terms.load import STATE_PLACE, state_place
from router.web.exchange import JSON, Exchange, flag, json_answer, read_body, require_type
from router.web.findings import as_errors, difference_json, findings
from router.web.leads import parsed
from router.web.listener import Handler
from router.web.problems import Problem

#: As large as a file of the configuration may be.
RECORD_BYTES_MAX: Final = 4 * 2**20


class Buyers:
    """The handlers of `/v1/buyers/{id}` that are about its terms."""

    def __init__(self, placing: Placing) -> None:
        self._placing = placing

    def handlers(self) -> Mapping[str, Handler]:
        """By the name in the route table."""
        return {"put_buyer": self.put_buyer}

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
