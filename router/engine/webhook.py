"""Tells the operator's own address of alerts, signed as Standard Webhooks 1.0. Routing never waits for it.

Alerts wait in a bounded line and go out one after the other, in their order, over the same guarded transport as leads.
What is not taken goes again, later and later; the id of a message is the same for the same alert, so that one that
arrives twice can be told.
"""

import asyncio
import logging
from collections import deque
from hashlib import sha256
from typing import Final

import orjson

from router.buyers.auth import Message, SecretUnusableError, prove
from router.engine.engine import Engine
from router.engine.feed import AlertTold, alert_json
from router.model.delivery import HttpRequest, HttpResponse
from router.model.times import NS_S, format_instant
from router.terms.schema import Auth

_log: Final = logging.getLogger(__name__)
#: Its connections and look-ups; no buyer's id has a colon in it.
LANE: Final = ":alerts"
WAITING_MAX: Final = 1_000
PAUSES_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
_TIMEOUT_NS: Final = 10 * NS_S
_CONNECT_TIMEOUT_NS: Final = 5 * NS_S


class Webhook:
    """Posts alerts to `[alerts] webhook` of the terms in force; without one nothing happens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[AlertTold] = deque()
        self._more = asyncio.Event()

    def tell(self, told: AlertTold) -> None:
        """An alert was raised, or is over."""
        if self._engine.book.router.alerts.webhook is None:
            return
        if len(self._waiting) >= WAITING_MAX:
            left_out = self._waiting.popleft()
            _log.error("webhook_left_out", extra={"key": left_out.alert.id, "reason": "too many alerts wait"})
        self._waiting.append(told)
        self._more.set()

    async def run(self) -> None:
        """Post what waits. Runs until cancelled."""
        while True:
            await self._more.wait()
            while self._waiting:
                await self._deliver(self._waiting.popleft())
            self._more.clear()

    async def _deliver(self, told: AlertTold) -> None:
        why = "no webhook any more"
        for pause_s in (*PAUSES_S, None):
            request = self._request(told)
            if request is None:
                return
            answer = await self._engine.transport.send(LANE, request)
            if isinstance(answer, HttpResponse) and 200 <= answer.status < 300:
                return
            why = f"status {answer.status}" if isinstance(answer, HttpResponse) else answer.kind
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        _log.error(
            "webhook_failed",
            extra={"key": told.alert.id, "reason": why, "hint": "See that alerts.webhook.url answers 2xx"},
        )

    def _request(self, told: AlertTold) -> HttpRequest | None:
        """The request as the terms in force want it; None when they want none or the secret is no key."""
        webhook = self._engine.book.router.alerts.webhook
        if webhook is None:
            return None
        now_ns = self._engine.now_ns()
        body = body_of(told, now_ns)
        auth = Auth(type="hmac", secrets=(webhook.secret,))
        try:
            proof = prove(auth, self._engine.deliveries.secrets, Message(id_of(told), now_ns // NS_S, body))
        except SecretUnusableError as error:
            _log.error("webhook_unsigned", extra={"words": str(error), "mend": error.mend})
            return None
        return HttpRequest(
            method="POST",
            url=webhook.url,
            headers=(("Content-Type", "application/json"), ("User-Agent", "lead-router"), *proof.headers),
            body=body,
            timeout_ns=_TIMEOUT_NS,
            connect_timeout_ns=_CONNECT_TIMEOUT_NS,
        )


def body_of(told: AlertTold, now_ns: int) -> bytes:
    """`{type, timestamp, data}`, as the standard has it."""
    kind = "alert.raised" if told.raised else "alert.cleared"
    data = alert_json(told.alert, told.since_ns)
    return orjson.dumps({"type": kind, "timestamp": format_instant(now_ns), "data": data})


def id_of(told: AlertTold) -> str:
    """The same for the same alert, before and after a restart."""
    text = f"{told.alert.id} {told.since_ns} {told.raised}"
    return f"alert_{sha256(text.encode()).hexdigest()[:32]}"
