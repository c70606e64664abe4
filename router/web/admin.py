"""What operators see and do. Every act is recorded in the ledger with who did it: `operator:NAME`."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Struct

from router.core.intake.refusal import FieldError, Wrong
from router.core.intake.values import Read, read_email_address, read_phone_number
from router.engine import Engine, archive
from router.engine.controls import Controls
from router.engine.feed import alert_json
from router.engine.proof import Proof
from router.engine.watch import Watch
from router.ledger.protocol import FoundLead
from router.metrics import Metrics
from router.model.lead import Contact
from router.model.money import format_money, parse_money
from router.model.times import format_instant
from router.onboarding.certifying import Certifier
from router.onboarding.placing import Placing
from router.web import events, pages
from router.web.buyers import Buyers
from router.web.exchange import (
    JSON,
    Exchange,
    bytes_answer,
    flag,
    instant_of,
    json_answer,
    read_body,
    read_small,
    require_type,
)
from router.web.findings import as_errors, difference_json, findings
from router.web.intake import Intake, Nothing, lead_answer
from router.web.leads import search_email, search_phone
from router.web.listener import Handler
from router.web.overrides import Overriding
from router.web.problems import Problem
from router.web.reports import Reports
from router.web.routes import LEAD_TYPES
from router.web.status import levels, readiness, stats

PAGE_LEADS: Final = 50
PAGE_LEADS_MAX: Final = 500
REFERENCE_LENGTH_MAX: Final = 200
_STATUSES: Final = ("routing", "queued", "sold", "unsold", "duplicate", "in_doubt", "expired", "erased")
_SEARCH: Final = ("phone", "email", "source", "status", "since", "limit", "cursor")


class Deposit(Struct, frozen=True, forbid_unknown_fields=True):
    """`{amount, reference}`: decimal text, and what tells one payment from another."""

    amount: str
    reference: str


class Suppression(Struct, frozen=True, forbid_unknown_fields=True):
    """`{phone?, email?}`: a person by either, or both."""

    phone: str | None = None
    email: str | None = None


class Behind(NamedTuple):
    """What stands behind the listeners."""

    engine: Engine
    controls: Controls
    proof: Proof
    watch: Watch
    placing: Placing
    certifier: Certifier
    metrics: Metrics
    reports: Reports


class Admin:
    """The handlers of the admin listener, those of the intake listener included."""

    def __init__(self, behind: Behind, intake: Intake, openapi: bytes) -> None:
        """`openapi` is the document as JSON."""
        self._engine = behind.engine
        self._controls = behind.controls
        self._proof = behind.proof
        self._watch = behind.watch
        self._placing = behind.placing
        self._metrics = behind.metrics
        self._reports = behind.reports
        self._buyers = Buyers(behind.placing, behind.certifier)
        self._overriding = Overriding(behind.engine, behind.controls)
        self._intake = intake
        self._openapi = openapi

    def handlers(self) -> Mapping[str, Handler]:
        """By the name in the route table."""
        return {
            **self._intake.handlers(),
            **self._buyers.handlers(),
            **self._overriding.handlers(),
            "get_lead": self.get_lead,
            "dashboard": self.dashboard,
            "docs": self.docs,
            "openapi": self.openapi,
            "readyz": self.readyz,
            "metrics": self.metrics,
            "status": self.status,
            "explain": self.explain,
            "search_leads": self.search_leads,
            "trace_lead": self.trace_lead,
            "reroute_lead": self.reroute_lead,
            "deposit": self.deposit,
            "suppress": self.suppress,
            "get_contracts": self.get_contracts,
            "get_contract": self.get_contract,
            "pause_buyer": self.pause_buyer,
            "resume_buyer": self.resume_buyer,
            "pause_source": self.pause_source,
            "resume_source": self.resume_source,
            "get_events": self.get_events,
            "get_alerts": self.get_alerts,
            "report_acceptance": self.report,
            "report_near_misses": self.report,
            "report_coverage": self.report,
            "get_terms": self.get_terms,
            "get_terms_version": self.get_terms_version,
            "reload_terms": self.reload_terms,
            "check_terms": self.check_terms,
        }

    # -- open to anybody -------------------------------------------------------------------------

    async def dashboard(self, ask: Exchange) -> web.StreamResponse:
        """`GET /`."""
        return pages.page(pages.dashboard())

    async def docs(self, ask: Exchange) -> web.StreamResponse:
        """`GET /docs`."""
        return pages.page(pages.docs(self._openapi))

    async def openapi(self, ask: Exchange) -> web.StreamResponse:
        """`GET /openapi.json`."""
        return bytes_answer(self._openapi)

    async def readyz(self, ask: Exchange) -> web.StreamResponse:
        """`GET /readyz`."""
        found = readiness(self._engine)
        return json_answer(found, status=200 if found["ready"] else 503)

    async def metrics(self, ask: Exchange) -> web.StreamResponse:
        """`GET /metrics`."""
        text = self._metrics.text(levels(self._engine, self._watch))
        return web.Response(body=text, headers={"Content-Type": self._metrics.content_type})

    # -- seeing ----------------------------------------------------------------------------------

    async def status(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/status`."""
        return json_answer(stats(self._engine, self._watch, self._metrics))

    async def explain(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/explain`."""
        kind = require_type(ask.request, LEAD_TYPES)
        body = await read_body(ask.request, self._intake.body_bytes_max)
        return json_answer(self._proof.explain(self._intake.reader.read_explained(kind, body)))

    async def get_lead(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/leads/{id}`: everything for an operator, a source's own view for a source."""
        return await (self.trace_lead(ask) if ask.principal.is_operator else self._intake.get_lead(ask))

    async def trace_lead(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/leads/{id}/trace?contract=ID`."""
        contract = ask.query(("contract",)).get("contract")
        if contract is not None and contract not in self._engine.book.contracts:
            raise Problem("not_found", "There is no such contract in the terms in force.")
        found = await self._proof.trace(ask.id, contract)
        if found is None:
            raise Problem("not_found", "There is no such lead.")
        return json_answer(found)

    async def search_leads(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/leads`."""
        query = ask.query(_SEARCH)
        if query.get("status", _STATUSES[0]) not in _STATUSES:
            raise Problem("bad_parameter", f"`status` is one of {', '.join(_STATUSES)}.")
        country = self._engine.book.router.defaults.country
        try:
            leads, cursor = await self._engine.ledger.search(
                phone=search_phone(query["phone"], country) if "phone" in query else None,
                email=search_email(query["email"]) if "email" in query else None,
                source=query.get("source"),
                status=query.get("status"),  # type: ignore[arg-type]  # one of _STATUSES
                since_ns=instant_of(query, "since"),
                cursor=query.get("cursor"),
                limit=_limit(query.get("limit")),
            )
        except ValueError as error:
            raise Problem("bad_parameter", f"`cursor`: {error}.") from None
        return json_answer({"leads": [_found(lead) for lead in leads], "next_cursor": cursor})

    async def get_contracts(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/contracts`."""
        ask.query(())
        return json_answer({"contracts": self._proof.contracts()})

    async def get_contract(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/contracts/{id}`."""
        found = self._proof.contract(ask.id)
        if found is None:
            raise Problem("not_found", "There is no such contract.")
        return json_answer(found)

    async def get_events(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/events`."""
        ask.query(())
        return await events.stream(ask.request, self._engine.feed)

    async def get_alerts(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/alerts`."""
        ask.query(())
        return json_answer({"alerts": [alert_json(told.alert, told.since_ns) for told in await self._watch.fresh()]})

    async def report(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/reports/{name}?since=`."""
        since_ns = instant_of(ask.query(("since",)), "since")
        return bytes_answer(await self._reports.make(ask.request.path.rpartition("/")[2], since_ns))

    async def get_terms(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/terms`."""
        return json_answer(self._terms())

    def _terms(self) -> dict[str, Any]:
        return {"version": self._engine.book.version, "loaded_at": format_instant(self._engine.loaded_at_ns)}

    # -- acting ----------------------------------------------------------------------------------

    async def reroute_lead(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/leads/{id}:reroute`."""
        await read_small(ask.request, Nothing, required=False)
        await self._controls.reroute(ask.id, by=ask.principal.by)
        view = await self._engine.view(ask.id)
        if view is None:
            raise Problem("not_found", "There is no such lead.")
        return json_answer(lead_answer(view))

    async def deposit(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/wallets/{buyer}:deposit`."""
        body = await read_small(ask.request, Deposit, required=True)
        try:
            amount = parse_money(body.amount)
        except ValueError as error:
            raise Problem("invalid", errors=[FieldError("amount", "invalid", str(error))]) from None
        if amount == 0 or not 0 < len(body.reference.strip()) <= REFERENCE_LENGTH_MAX:
            wrong = "amount" if amount == 0 else "reference"
            raise Problem("invalid", errors=[FieldError(wrong, "invalid", "is empty, nothing or too long")])
        balance = await self._controls.deposit(ask.id, amount, body.reference.strip(), by=ask.principal.by)
        return json_answer(
            {
                "buyer": ask.id,
                "amount": format_money(amount),
                "reference": body.reference.strip(),
                "balance": format_money(balance),
            }
        )

    async def suppress(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/suppressions`."""
        body = await read_small(ask.request, Suppression, required=True)
        country, contacts, errors = self._engine.book.router.defaults.country, dict[Contact, str](), list[FieldError]()
        readers: tuple[tuple[Contact, str | None, Read], ...] = (
            ("phone", body.phone, read_phone_number),
            ("email", body.email, read_email_address),
        )
        for contact, text, read in readers:
            try:
                value = None if text is None else read(text, country)
            except Wrong as wrong:
                errors.append(FieldError(contact, wrong.code, wrong.message))
            else:
                if value is not None:
                    contacts[contact] = str(value)
        if not errors and not contacts:
            errors.append(FieldError("phone", "required", "or `email` is needed: who is never to be sent"))
        if errors:
            raise Problem("invalid", errors=errors)
        await self._controls.suppress(contacts, by=ask.principal.by)
        return json_answer({"suppressed": list(contacts)}, status=201)

    async def pause_buyer(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/buyers/{id}:pause`."""
        return await self._intake.pause("buyer", ask)

    async def resume_buyer(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/buyers/{id}:resume`."""
        return await self._intake.resume("buyer", ask)

    async def pause_source(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/sources/{id}:pause`."""
        return await self._intake.pause("source", ask)

    async def resume_source(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/sources/{id}:resume`."""
        return await self._intake.resume("source", ask)

    async def reload_terms(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/terms:reload`: all of it or nothing."""
        await read_small(ask.request, Nothing, required=False)
        result = await self._controls.reload(by=ask.principal.by)
        bad = as_errors(result.problems)
        if bad:
            raise Problem("terms_invalid", "The terms in force stay as they are.", errors=bad)
        return json_answer({**self._terms(), "changed": result.changed, "problems": findings(result.problems)})

    async def check_terms(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/terms:check`: what a reload would find, and with `?diff=1` what it would change."""
        wanted = flag(ask.query(("diff",)), "diff")
        await read_small(ask.request, Nothing, required=False)
        candidate = await self._controls.candidate()
        found = {
            "ok": candidate.good,
            "version": self._engine.book.version,
            "problems": findings(candidate.problems),
        }
        if wanted and candidate.good:
            found["difference"] = difference_json(await self._placing.difference(candidate))
        return json_answer(found)

    async def get_terms_version(self, ask: Exchange) -> web.StreamResponse:
        """`GET /v1/terms/{version}`: the terms themselves; `current` is the version in force."""
        ask.query(())
        version = self._engine.book.version if ask.id == "current" else ask.id
        found = archive.pieces(version, self._engine.ledger)
        title = await anext(found, None)
        if title is None:
            raise Problem("not_found", "There are no terms of that version in the ledger.")
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-store"})
        if ask.request.method == "HEAD":
            return web.Response(headers=response.headers)
        await response.prepare(ask.request)
        await response.write(b'{"version":' + msgspec.json.encode(version) + b',"pieces":{' + _entry(*title))
        async for address, piece in found:
            await response.write(b"," + _entry(address, piece))
        await response.write(b"}}")
        await response.write_eof()
        return response


def _entry(address: str, piece: bytes) -> bytes:
    return msgspec.json.encode(address) + b":" + piece


def _found(lead: FoundLead) -> dict[str, Any]:
    return {
        "lead_id": lead.lead_id,
        "source_id": lead.source_id,
        "lead_type": lead.lead_type,
        "received_at": format_instant(lead.received_at_ns),
        "status": lead.status,
        "external_id": lead.external_id,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_LEADS
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= PAGE_LEADS_MAX:
        raise Problem("bad_parameter", f"`limit` is a number from 1 to {PAGE_LEADS_MAX}.")
    return int(text)
