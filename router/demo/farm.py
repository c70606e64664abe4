"""The buyer farm: one loopback server that plays buyers of every temper, deterministically, and remembers who asked.

`/buyer/TEMPER` is a buyer; `/buyer/TEMPER/NAME` one of that temper with a name and a memory of its own, so that one
temper can stand for many. `?voice=VOICE` says how it speaks (see `voices`); without it, XML for XML and JSON else.
`GET /received` tells what came: path, name, delivery id, postal code, what was answered. No other field is ever kept.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal, cast
from urllib.parse import parse_qsl

import orjson
from aiohttp import web
from lxml import etree
from msgspec import Struct, to_builtins

from router.demo.tempers import HANG_S, TEMPERS, Act, Request
from router.demo.voices import VOICES, Said

RECEIVED_MAX: Final = 200_000
BODY_MAX_BYTES: Final = 256 * 1024
_POSTAL_NAME: Final = re.compile(r"zip|postal|post_?code", re.IGNORECASE)
_HALF_MISSING_BYTES: Final = 100


class Received(Struct, frozen=True, kw_only=True):
    """One request that came. `status` is None where no complete answer was given; `told` says it was fully sent."""

    path: str
    name: str
    temper: str
    delivery_id: str
    postal_code: str
    said: Said
    status: int | None
    told: bool


class Farm:
    """A running farm. Use `async with Farm() as farm:`, then `farm.url`."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, heard: Callable[[Received], None] | None = None):
        """`port` 0 takes a free one; `heard` is called with each request when it has been dealt with."""
        self._host, self._port = host, port
        self._heard = heard
        self._turns: Counter[str] = Counter()
        self._deliveries: Counter[tuple[str, str]] = Counter()
        self._stopping = asyncio.Event()
        self.received: list[Received] = []
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        app.router.add_get("/", self._index)
        app.router.add_get("/received", self._list)
        for path in ("/buyer/{temper}", "/buyer/{temper}/{name}"):
            app.router.add_route("*", path, self._buyer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)

    async def __aenter__(self) -> "Farm":
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = cast(int, self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:PORT`."""
        return f"http://{self._host}:{self._port}"

    def counts(self) -> dict[str, Counter[str]]:
        """For each buyer's name: how many requests got which answer."""
        table: dict[str, Counter[str]] = {}
        for one in self.received:
            table.setdefault(one.name, Counter())[one.said] += 1
        return table

    async def _index(self, _: web.Request) -> web.Response:
        lines = [f"/buyer/{temper:<14} {what}" for temper, (what, _) in TEMPERS.items()]
        return web.Response(text="\n".join([*lines, "/received", ""]))

    async def _list(self, _: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(to_builtins(self.received)), content_type="application/json")

    async def _buyer(self, request: web.Request) -> web.StreamResponse:
        temper = request.match_info["temper"]
        if temper not in TEMPERS:
            return web.Response(status=404, text=f"no such temper; one of: {', '.join(TEMPERS)}\n")
        name = request.match_info.get("name", temper)
        delivery_id = request.headers.get("Idempotency-Key", "").strip('"')
        body = b"" if temper == "reset-before" else await request.read()
        fields = _fields(request, body)
        seen = Request(
            postal_code=_postal_code(fields),
            voice=_voice(request),
            turn=self._turns[name],
            seen=self._deliveries[name, delivery_id],
        )
        act = TEMPERS[temper][1](seen)
        self._turns[name] += 1
        self._deliveries[name, delivery_id] += 1
        told = False
        try:
            response = await self._perform(request, act)
            told = act.manner == "answer"
        finally:  # also when the asker has gone and this handler is cancelled
            self._remember(
                Received(
                    path=request.path,
                    name=name,
                    temper=temper,
                    delivery_id=delivery_id,
                    postal_code=seen.postal_code,
                    said=act.said,
                    status=act.status if act.manner == "answer" else None,
                    told=told,
                )
            )
        return response

    def _remember(self, one: Received) -> None:
        if len(self.received) < RECEIVED_MAX:
            self.received.append(one)
        if self._heard is not None:
            self._heard(one)

    async def _perform(self, request: web.Request, act: Act) -> web.StreamResponse:
        """Do what the temper says; returns only after the answer has been written."""
        if act.manner == "hang":
            await self._wait(HANG_S)
            return _dropped(request)
        if act.manner in ("reset_before", "reset_after"):
            return _dropped(request)
        if act.pause_s:
            await self._wait(act.pause_s)
        headers = dict(act.headers) | {"Content-Type": act.content_type}
        length = len(act.body) + (_HALF_MISSING_BYTES if act.manner == "half" else 0)
        response = web.StreamResponse(status=act.status, headers=headers)
        response.content_length = length
        await response.prepare(request)
        await response.write(act.body)
        if act.manner == "half":
            return _dropped(request, response)
        await response.write_eof()
        return response

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the farm stops first."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _dropped(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection under the asker: at once, or after what was written has left."""
    if request.transport is not None:
        if response is None:
            request.transport.abort()
        else:
            request.transport.close()
    return response or web.Response()


def _voice(request: web.Request) -> str:
    asked = request.query.get("voice", "")
    if asked in VOICES:
        return asked
    return "xml" if _kind(request) == "xml" else "json"


def _kind(request: web.Request) -> Literal["json", "xml", "form"]:
    if "xml" in request.content_type:
        return "xml"
    return "json" if "json" in request.content_type else "form"


def _fields(request: web.Request, body: bytes) -> list[tuple[str, str]]:
    """Every leaf of the body and the query, as (name, text); an unreadable body has none."""
    found = list(request.query.items())
    try:
        match _kind(request):
            case "xml":
                parser = etree.XMLParser(resolve_entities=False, no_network=True)
                found += [(_local_name(leaf.tag), leaf.text or "") for leaf in etree.fromstring(body, parser).iter()]
            case "json":
                found += _leaves("", orjson.loads(body))
            case "form":
                found += parse_qsl(body.decode("utf-8", "replace"))
    except (ValueError, etree.XMLSyntaxError):
        return found
    return found


def _local_name(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _leaves(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in _leaves(key, part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in _leaves(name, part)]
    return [(name, str(value))]


def _postal_code(fields: list[tuple[str, str]]) -> str:
    """The first leaf whose name speaks of a postal code; empty where there is none."""
    return next((text for name, text in fields if _POSTAL_NAME.search(name)), "")
