"""Carries one request to a buyer, with the access token that the endpoint's auth may want fetched before.

Fetching a token is no attempt at the buyer: it has a lane of its own, so that a dead authorization server costs the
buyer's other endpoints nothing; its failure proves that the buyer does not have the lead. One fetch at a time serves
everybody who waits for that token. A buyer's 401 makes it forgotten; whether the lead is sent again is not for here to
say.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from router.buyers.oauth2 import Credentials, Grant, Refusal, bearing, credentials, read_token, token_request
from router.clock import Clock
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.model.times import NS_S
from router.terms.endpoint import EndpointPlan
from router.transport import Transport

_UNAUTHORIZED: Final = 401
#: Tokens of former terms are dropped when there are so many.
_TOKENS_MAX: Final = 1024


class Carried(NamedTuple):
    """What came of a request, and the access token it was sent with."""

    answer: HttpResponse | TransportFailure
    token: str | None = None

    @property
    def token_refused(self) -> bool:
        """Whether the buyer said 401 to a token; a new one may be to its liking."""
        return self.token is not None and isinstance(self.answer, HttpResponse) and self.answer.status == _UNAUTHORIZED


class _Key(NamedTuple):
    lane: str
    who: Credentials


class _Held(Struct, frozen=True):
    token: str
    use_until_ns: int  # on the steady clock


class Courier:
    """Sends requests, deliveries and pings alike."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._mono_ns = clock.mono_ns
        self._held: dict[_Key, _Held] = {}
        self._in_body: set[_Key] = set()  # whose servers want the credentials there
        self._fetching: dict[_Key, asyncio.Task[Grant | Refusal]] = {}

    async def send(
        self, lane: str, plan: EndpointPlan, request: HttpRequest, secrets: Mapping[str, str], *, within_ns: int
    ) -> Carried:
        """One attempt, written at most once. Raises SecretUnusableError.

        A token is waited for at most `within_ns`; the request then has its own time-outs.
        """
        if plan.auth.type != "oauth2":
            return Carried(await self._transport.send(lane, request))
        key = _Key(lane, credentials(plan, secrets))
        token = self._known(key)
        if token is None:
            got = await self._fetched(key, plan, within_ns)
            if isinstance(got, TransportFailure):
                return Carried(got)
            token = got
        carried = Carried(await self._transport.send(lane, bearing(request, token)), token)
        held = self._held.get(key)
        if carried.token_refused and held is not None and held.token == token:
            del self._held[key]
        return carried

    async def close(self) -> None:
        """Stop fetching."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    def _known(self, key: _Key) -> str | None:
        held = self._held.get(key)
        return held.token if held is not None and self._mono_ns() < held.use_until_ns else None

    async def _fetched(self, key: _Key, plan: EndpointPlan, within_ns: int) -> str | TransportFailure:
        """A fresh token. The fetch goes on when this wait ends, for whoever comes next.

        A token that comes too late is none: no attempt may start then.
        """
        began_ns = self._mono_ns()
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.get_running_loop().create_task(self._fetch(key, plan))
            task.add_done_callback(lambda _: self._fetching.pop(key))
        await asyncio.wait([task], timeout=max(within_ns, 0) / NS_S)
        took_ns = self._mono_ns() - began_ns
        if not task.done() or task.cancelled() or took_ns > max(within_ns, 0):
            return TransportFailure(
                kind="token", detail="the token endpoint gave no token: no answer in time", took_ns=took_ns
            )
        got = task.result()
        if isinstance(got, Refusal):
            return TransportFailure(kind=got.failure.kind, detail=got.failure.detail, took_ns=took_ns)
        return got.token

    async def _fetch(self, key: _Key, plan: EndpointPlan) -> Grant | Refusal:
        got = await self._ask(key, plan)
        if isinstance(got, Refusal) and got.misplaced:
            self._in_body ^= {key}
            again = await self._ask(key, plan)
            if isinstance(again, Grant):
                return again
            self._in_body ^= {key}
        return got

    async def _ask(self, key: _Key, plan: EndpointPlan) -> Grant | Refusal:
        asked_ns = self._mono_ns()
        request = token_request(key.who, plan, in_body=key in self._in_body)
        got = read_token(await self._transport.send(f"{key.lane}:token", request))
        if isinstance(got, Grant):
            self._forget_spent()
            self._held[key] = _Held(got.token, asked_ns + got.use_ns)
        return got

    def _forget_spent(self) -> None:
        if len(self._held) >= _TOKENS_MAX:
            now_ns = self._mono_ns()
            self._held = {key: held for key, held in self._held.items() if now_ns < held.use_until_ns}
