"""What sources and buyers may do: give leads, ask for them, resolve their own doubts.

A lead is durable before its answer. `Taking` is the same for a single lead and for a line of a batch, so both give the
same answers. Repeats are recognised in three steps: a request still being worked on (here), a key or external id that
a lead was taken with (the engine), a stored answer (the ledger).
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Literal

import orjson
from aiohttp import web
from msgspec import Struct

from router.core.intake.refusal import FieldError
from router.engine import Engine, LeadView
from router.engine.controls import Controls, Subject
from router.ledger.protocol import LedgerError
from router.model.facts import Idempotency
from router.model.lead import Lead
from router.model.money import format_money
from router.model.sizes import parse_size
from router.model.times import NS_DAY, NS_S
from router.terms.book import ContractPlan
from router.terms.schema import Source
from router.web import idempotency
from router.web.auth import Who
from router.web.batch import answer_batch
from router.web.deliveries import own_deliveries
from router.web.exchange import Exchange, bytes_answer, instant_of, json_answer, read_body, read_small, require_type
from router.web.instants import future_ns, ramp_ns
from router.web.leads import LeadReader
from router.web.listener import Handler
from router.web.problems import Problem
from router.web.routes import LEAD_TYPES, NDJSON_TYPES

_log: Final = logging.getLogger("router.web")
#: A repeat of a request that is still being worked on is told to come back after this.
IN_FLIGHT_RETRY_S: Final = 1.0
REASON_LENGTH_MAX: Final = 200
_UNFINISHED: Final = frozenset({"routing", "queued"})


def answer_status(status: str) -> int:
    """The HTTP status of an answer about a lead: 202 while it is on its way, 201 once it has ended, 200 erased."""
    return 202 if status in _UNFINISHED else 200 if status == "erased" else 201


def lead_answer(view: LeadView) -> dict[str, Any]:
    """A lead as its source sees it; `payout` is decimal text."""
    return {
        "lead_id": view.lead_id,
        "status": view.status,
        "copies": view.copies,
        "payout": format_money(view.payout),
        "reason": view.reason,
        "redirect_url": view.redirect_url,
    }


class Taken(Struct, frozen=True):
    """The answer to a lead: HTTP status and JSON bytes. `replayed`: it is the stored answer of an earlier request."""

    status: int
    body: bytes
    lead_id: str
    replayed: bool = False


class Terms(Struct, frozen=True):
    """How one source's leads are taken on this request: content type, and how long to wait for the sale."""

    source: Source
    kind: str
    wait_s: float


class Taking:
    """Takes leads, each once."""

    def __init__(self, engine: Engine, reader: LeadReader) -> None:
        self._engine = engine
        self._reader = reader
        self._running: dict[tuple[str, str], bytes] = {}  # (source, key) -> SHA-256 of the body being worked on
        self._not_durable: dict[tuple[str, str], asyncio.Future[None]] = {}  # (source, external id) being taken

    async def take(self, terms: Terms, body: bytes, key: str | None) -> Taken:
        """Take the lead in `body`, or answer for it again. Raises Problem, Refused, LedgerError: nothing was taken."""
        if key is None:
            return await self._take_new(terms, body, None)
        digest = sha256(body).digest()
        slot = terms.source.id, key
        running = self._running.get(slot)
        if running is not None:
            raise _in_use() if running == digest else _reused()
        self._running[slot] = digest
        try:
            return await self._take_keyed(terms, body, Idempotency(key=key, body_sha256=digest))
        finally:
            del self._running[slot]

    async def _take_keyed(self, terms: Terms, body: bytes, keyed: Idempotency) -> Taken:
        known = self._engine.known_key(terms.source.id, keyed.key)
        if known is None:
            return await self._take_new(terms, body, keyed)
        if known.body_sha256 != keyed.body_sha256:
            raise _reused()
        stored = await self._engine.stored_answer(known.lead_id)
        if stored is not None:
            return Taken(stored[0], stored[1], known.lead_id, replayed=True)
        taken = _taken(await self._view(known.lead_id))
        await self._remember(taken)
        return taken

    async def _take_new(self, terms: Terms, body: bytes, keyed: Idempotency | None) -> Taken:
        lead = self._reader.read(terms.source, terms.kind, body)
        known = await self._known(lead) if keyed is None else None
        if known is not None:
            return _taken(await self._view(known))
        try:
            view = await self._submit(lead, keyed)
            if terms.wait_s > 0 and not view.ended:
                view = await self._engine.settled(lead.lead_id, terms.wait_s)
            taken = _taken(view)
            if keyed is not None:
                await self._remember(taken)
            return taken
        finally:
            self._engine.answered(lead.lead_id)

    async def _known(self, lead: Lead) -> str | None:
        """The id of the lead that this source sent with this external id before; once it is durable."""
        if lead.external_id is None:
            return None
        while (taking := self._not_durable.get((lead.source_id, lead.external_id))) is not None:
            await asyncio.wait([taking])
        return self._engine.known_external_id(lead.source_id, lead.external_id)

    async def _submit(self, lead: Lead, keyed: Idempotency | None) -> LeadView:
        """Hand a lead to the engine; nothing yields before it has seen it. Raises Refused."""
        if lead.external_id is None:
            return await self._engine.submit(lead, idempotency=keyed)
        slot = lead.source_id, lead.external_id
        durable = self._not_durable.setdefault(slot, asyncio.get_running_loop().create_future())
        try:
            return await self._engine.submit(lead, idempotency=keyed)
        finally:
            if self._not_durable.pop(slot, None) is not None:
                durable.set_result(None)

    async def _view(self, lead_id: str) -> LeadView:
        view = await self._engine.view(lead_id)
        if view is None:
            raise Problem("not_found", "That lead is not known any more.")
        return view

    async def _remember(self, taken: Taken) -> None:
        """Store the answer for repeats. If that fails the lead is taken all the same: the answer goes out."""
        try:
            await self._engine.remember_answer(taken.lead_id, taken.status, taken.body)
        except LedgerError as error:
            _log.warning("answer_not_stored", extra={"lead_id": taken.lead_id, "error": type(error).__name__})


def _taken(view: LeadView) -> Taken:
    return Taken(answer_status(view.status), orjson.dumps(lead_answer(view)), view.lead_id)


def _in_use() -> Problem:
    return Problem(
        "idempotency_key_in_use",
        "The first request with this Idempotency-Key is still being worked on.",
        retry_after_s=IN_FLIGHT_RETRY_S,
    )


def _reused() -> Problem:
    return Problem("idempotency_key_reused", "This Idempotency-Key came with another body before; use a new one.")


class Pause(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:pause`. `ramp`: over how long leads come back when `until` is over."""

    reason: str = ""
    until: str | None = None
    ramp: str | None = None


class Resume(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:resume`. `ramp`: over how long leads come back."""

    ramp: str | None = None


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a call that needs none."""


class Resolve(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:resolve`."""

    outcome: Literal["accepted", "rejected"]


class Intake:
    """The handlers that both listeners serve."""

    def __init__(self, engine: Engine, controls: Controls) -> None:
        self._engine = engine
        self._controls = controls
        self.reader = LeadReader(engine)
        self._taking = Taking(engine, self.reader)

    @property
    def body_bytes_max(self) -> int:
        """How large a lead may be under the terms in force."""
        return _size(self._engine.book.router.server.body_max)

    def handlers(self) -> Mapping[str, Handler]:
        """By the name in the route table."""
        return {
            "post_lead": self.post_lead,
            "post_batch": self.post_batch,
            "get_lead": self.get_lead,
            "get_deliveries": self.get_deliveries,
            "resolve_delivery": self.resolve_delivery,
            "pause_contract": self.pause_contract,
            "resume_contract": self.resume_contract,
            "healthz": self.healthz,
        }

    async def post_lead(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/leads`."""
        request = ask.request
        source = self._source(ask)
        terms = Terms(source, require_type(request, LEAD_TYPES), _wait_s(request, source))
        key = _key(request, source)
        if key is None and (refuse := self._engine.accepting()) is not None:
            raise refuse
        taken = await self._taking.take(terms, await read_body(request, self.body_bytes_max), key)
        headers = {"Location": f"/v1/leads/{taken.lead_id}"}
        if taken.replayed:
            headers["Idempotent-Replayed"] = "true"
        return bytes_answer(taken.body, status=taken.status, headers=headers)

    async def post_batch(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/leads:batch`."""
        request = ask.request
        source = self._source(ask)
        require_type(request, NDJSON_TYPES)
        if (refuse := self._engine.accepting()) is not None:
            raise refuse
        key = _key(request, source)
        terms = Terms(source, "application/json", _wait_s(request, source))

        async def take(number: int, line: bytes) -> tuple[int, bytes]:
            """One line, with a key of its own: no single request can send one with a line break in it."""
            taken = await self._taking.take(terms, line, None if key is None else f"{key}\n{number}")
            return taken.status, taken.body

        return await answer_batch(request, take, line_bytes_max=self.body_bytes_max)

    async def get_lead(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/leads/{id}`: the source's own."""
        ask.query(())
        view = await self._engine.view(ask.id)
        if view is None or view.source_id != ask.principal.id:
            raise Problem("not_found", "There is no such lead of this source.")
        return json_answer(lead_answer(view))

    async def get_deliveries(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/deliveries?since=`: the buyer's own."""
        since_ns = instant_of(ask.query(("since",)), "since")
        if since_ns is None:
            since_ns = self._engine.now_ns() - NS_DAY
        return json_answer({"deliveries": await own_deliveries(self._engine, ask.principal.id, since_ns)})

    async def resolve_delivery(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/deliveries/{id}:resolve`: a buyer its own, an operator any."""
        body = await read_small(ask.request, Resolve, required=True)
        who = ask.principal
        buyer_id = None if who.is_operator else who.id
        await self._controls.resolve(ask.id, body.outcome, by=who.by, buyer_id=buyer_id)
        return json_answer({"delivery_id": ask.id, "outcome": body.outcome})

    async def pause_contract(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/contracts/{id}:pause`."""
        return await self.pause("contract", ask)

    async def resume_contract(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/contracts/{id}:resume`."""
        return await self.resume("contract", ask)

    async def healthz(self, ask: Exchange) -> web.StreamResponse:
        """`GET /healthz`."""
        return json_answer({"status": "ok"})

    async def pause(self, subject: Subject, ask: Exchange) -> web.StreamResponse:
        """Pause what the path names, on behalf of whoever asks."""
        self._may_pause(subject, ask)
        body = await read_small(ask.request, Pause, required=False)
        until_ns = None if body.until is None else future_ns(body.until, "until", self._engine.now_ns())
        over_ns = _ramp_ns(subject, body.ramp)
        if over_ns and until_ns is None:
            raise _no_ramp("needs an `until` after which leads come back; else give it to `:resume`")
        reason = body.reason.strip()[:REASON_LENGTH_MAX] or "paused by hand"
        await self._controls.pause(
            subject, ask.id, reason=reason, until_ns=until_ns, ramp_ns=over_ns, by=ask.principal.by
        )
        answer = {f"{subject}_id": ask.id, "paused": True, "reason": reason, "until": body.until}
        return json_answer(answer | ({"ramp": body.ramp} if over_ns else {}))

    async def resume(self, subject: Subject, ask: Exchange) -> web.StreamResponse:
        """Take back a pause, on behalf of whoever asks."""
        self._may_pause(subject, ask)
        body = await read_small(ask.request, Resume, required=False)
        self._may_resume(subject, ask)
        over_ns = _ramp_ns(subject, body.ramp)
        resumed = await self._controls.resume(subject, ask.id, ramp_ns=over_ns, by=ask.principal.by)
        answer = {f"{subject}_id": ask.id, "paused": False, "resumed": resumed}
        return json_answer(answer | ({"ramp": body.ramp} if over_ns and resumed else {}))

    def _may_pause(self, subject: Subject, ask: Exchange) -> None:
        """A buyer may pause its own contracts, where its terms permit it; others it cannot see. Raises Problem."""
        book, who = self._engine.book, ask.principal
        if who.is_operator:
            return
        if subject != "contract" or not _is_of(book.contracts.get(ask.id), who.id):
            raise Problem("not_found", f"There is no such {subject}.")
        if "pause" not in book.buyers[who.id].permissions:
            raise Problem("forbidden", 'This buyer\'s terms do not hold permissions = ["pause"].')

    def _may_resume(self, subject: Subject, ask: Exchange) -> None:
        """A buyer takes back its own pauses only: what we paused, we resume. Raises Problem."""
        pause = self._engine.state.paused.get(f"{subject}:{ask.id}")
        if ask.principal.who is Who.BUYER and pause is not None and pause.by != ask.principal.by:
            raise Problem("forbidden", "This contract was not paused by its buyer; ask the operator.")

    def _source(self, ask: Exchange) -> Source:
        return self._engine.book.sources[ask.principal.id]


_size: Final = lru_cache(maxsize=4)(parse_size)


def _is_of(plan: ContractPlan | None, buyer_id: str) -> bool:
    return plan is not None and plan.buyer_id == buyer_id


def _ramp_ns(subject: Subject, text: str | None) -> int:
    over_ns = ramp_ns(text)
    if over_ns and subject == "source":
        raise _no_ramp("a source sends what it has: only contracts and buyers come back a share at a time")
    return over_ns


def _no_ramp(why: str) -> Problem:
    return Problem("invalid", errors=[FieldError("ramp", "invalid", why)])


def _key(request: web.BaseRequest, source: Source) -> str | None:
    return idempotency.parse_key(
        request.headers.getall("Idempotency-Key", ()), required=source.idempotency == "required"
    )


def _wait_s(request: web.BaseRequest, source: Source) -> float:
    """How long the answer may wait for the sale: what `Prefer` says, else the source's `reply` and `wait`."""
    lines = request.headers.getall("Prefer", ())
    preferred = idempotency.preferred_wait_s(lines) if lines else None
    if preferred is not None:
        return preferred
    return source.wait / NS_S if source.reply == "final" else 0.0
