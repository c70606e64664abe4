"""`:override` and `:restore`: other limits for a while, in an operator's name."""

from typing import Any, Final, Literal

from aiohttp import web
from msgspec import Struct

from router.core.intake.refusal import FieldError
from router.core.overrides import limits_of
from router.engine.controls import Controls
from router.engine.engine import Engine
from router.model.facts import Overridden
from router.model.money import parse_money
from router.model.times import format_instant
from router.terms.book import CapPlan
from router.web.exchange import Exchange, json_answer, read_small
from router.web.instants import future_ns
from router.web.listener import Handler
from router.web.problems import Problem

REASON_LENGTH_MAX: Final = 200
_LEADS_MAX: Final = 10**9
Subject = Literal["contract", "buyer"]


class Override(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:override`: a cap's id -> leads, or decimal text for one of spend."""

    reason: str
    until: str
    caps: dict[str, int | str] = {}
    guards: Literal["on", "off"] = "on"


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:restore`: none."""


class Overriding:
    """The handlers."""

    def __init__(self, engine: Engine, controls: Controls) -> None:
        self._engine = engine
        self._controls = controls

    def handlers(self) -> dict[str, Handler]:
        """By the name in the route table."""
        return {
            "override_contract": self.override_contract,
            "override_buyer": self.override_buyer,
            "restore_contract": self.restore_contract,
            "restore_buyer": self.restore_buyer,
        }

    async def override_contract(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/contracts/{id}:override`."""
        return await self._override("contract", ask)

    async def override_buyer(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/buyers/{id}:override`."""
        return await self._override("buyer", ask)

    async def restore_contract(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/contracts/{id}:restore`."""
        return await self._restore("contract", ask)

    async def restore_buyer(self, ask: Exchange) -> web.StreamResponse:
        """`POST /v1/buyers/{id}:restore`."""
        return await self._restore("buyer", ask)

    async def _override(self, subject: Subject, ask: Exchange) -> web.StreamResponse:
        body = await read_small(ask.request, Override, required=True)
        caps = {cap.id: cap for cap in self._controls.caps_of(subject, ask.id)}
        limits = {name: _limit(caps, name, given) for name, given in body.caps.items()}
        fact = Overridden(
            subject=subject,
            id=ask.id,
            reason=_reason(body.reason),
            by=ask.principal.by,
            until_ns=future_ns(body.until, "until", self._engine.now_ns()),
            caps={name: limit for name, limit in limits.items() if caps[name].spend is None},
            spends={name: limit for name, limit in limits.items() if caps[name].spend is not None},
            guards_off=body.guards == "off",
        )
        if not limits and not fact.guards_off:
            raise Problem("invalid", errors=[FieldError("caps", "missing", 'name a cap, or write "guards": "off"')])
        await self._controls.override(fact)
        return json_answer({f"{subject}_id": ask.id, **_as_json(fact)})

    async def _restore(self, subject: Subject, ask: Exchange) -> web.StreamResponse:
        await read_small(ask.request, Nothing, required=False)
        restored = await self._controls.restore(subject, ask.id, by=ask.principal.by)
        return json_answer({f"{subject}_id": ask.id, "restored": restored})


def _as_json(fact: Overridden) -> dict[str, Any]:
    """What is in force from now on."""
    return {
        "reason": fact.reason,
        "by": fact.by,
        "until": format_instant(fact.until_ns),
        "caps": limits_of(fact.caps, fact.spends),
        "guards": "off" if fact.guards_off else "on",
    }


def _reason(text: str) -> str:
    reason = text.strip()[:REASON_LENGTH_MAX]
    if not reason:
        raise Problem("invalid", errors=[FieldError("reason", "missing", "say why: it stands in what follows from it")])
    return reason


def _limit(caps: dict[str, CapPlan], name: str, given: int | str) -> int:
    """Leads or minor units, as the cap is one of. Raises Problem."""
    cap = caps.get(name)
    if cap is None:
        known = f"there are {', '.join(caps)}" if caps else "it has none"
        raise Problem("invalid", errors=[FieldError(f"caps.{name}", "unknown", f"no cap of that id: {known}")])
    try:
        if cap.spend is not None:
            return int(parse_money(given if isinstance(given, str) else ""))
        leads = int(given) if not isinstance(given, str) or given.isdecimal() else -1
    except ValueError:
        leads = -1
    if not 0 <= leads <= _LEADS_MAX:
        wanted = "leads, such as 80; 0 closes it" if cap.spend is None else 'money, such as "9000.00"'
        raise Problem(
            "invalid", errors=[FieldError(f"caps.{name}", "invalid", f"is no limit; this cap is one of {wanted}")]
        )
    return leads
