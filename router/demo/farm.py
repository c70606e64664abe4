"""The buyer farm: one loopback server that plays buyers of every temper, deterministically, and remembers who asked.

`/buyer/TEMPER` is a buyer; `/buyer/TEMPER/NAME` one of that temper with a name and a memory of its own, so that one
temper can stand for many. The URL's query says how it speaks and how its temper changes (see `voices`, `courses`);
`POST /turn/NAME/TEMPER` changes it at once. `GET /received` tells what came: path, name, delivery id, postal code,
what was answered. No other field is ever kept.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Final, cast

import orjson
from aiohttp import web
from msgspec import Struct, structs, to_builtins

from router.demo import courses
from router.demo.doors import Door
from router.demo.manners import Stage
from router.demo.memory import Memory
from router.demo.reading import Fields, basic, fields_of, kind_of, postal_code_of, presented
from router.demo.tempers import TEMPERS, Act, Request, say
from router.demo.voices import VOICES, Said, Voice
from router.model.times import NS_MS, NS_S

RECEIVED_MAX: Final = 200_000
BODY_MAX_BYTES: Final = 256 * 1024
BUYERS_MAX: Final = 10_000
_UNREAD: Final = "reset-before"
NO_DOORS: Final[Mapping[str, Door]] = MappingProxyType({})


class Received(Struct, frozen=True, kw_only=True):
    """One request that came. `status` is None where no complete answer was given; `told` says it was fully sent.

    It stands here from when it was read on. `read` says whether its body was; `at_ms` counts from the farm's start.
    """

    path: str
    name: str
    temper: str
    delivery_id: str
    postal_code: str
    said: Said
    status: int | None
    told: bool
    read: bool = True
    at_ms: int = 0

    @property
    def could_have(self) -> bool:
        """Whether this buyer could have the lead for all that somebody outside it knows."""
        return self.read and self.said in ("accepted", "silent")


class Farm:
    """A running farm. Use `async with Farm() as farm:`, then `farm.url`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        heard: Callable[[Received], None] | None = None,
        voices: Mapping[str, Voice] = VOICES,
        doors: Mapping[str, Door] = NO_DOORS,
    ):
        """`port` 0 takes a free one; `heard` is called with each request when it has been dealt with.

        `doors` are what buyers of these voices insist on.
        """
        self._host, self._port = host, port
        self._heard = heard
        self._voices = voices
        self._doors = doors
        self._tokens: dict[str, int] = {}  # until when each lives
        self._began_ns = time.monotonic_ns()
        self._buyers: dict[str, Memory] = {}
        self._numbers = count(1)
        self._stopping = asyncio.Event()
        self.received: list[Received] = []
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        app.router.add_get("/", self._index)
        app.router.add_get("/received", self._list)
        app.router.add_get("/received/{delivery_id}", self._list)
        app.router.add_post("/turn/{name}/{temper}", self._turn)
        app.router.add_post("/token/{voice}", self._token)
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

    def of(self, delivery_id: str) -> list[Received]:
        """What came under a delivery's id, in the order it came."""
        return [one for one in self.received if one.delivery_id == delivery_id]

    def named(self, name: str) -> list[Received]:
        """What came to a buyer, in the order it came."""
        return [one for one in self.received if one.name == name]

    async def _index(self, _: web.Request) -> web.Response:
        lines = [f"/buyer/{temper:<14} {what}" for temper, (what, _) in TEMPERS.items()]
        return web.Response(text="\n".join([*lines, "/received", "/turn/NAME/TEMPER", ""]))

    async def _list(self, request: web.Request) -> web.Response:
        wanted = request.match_info.get("delivery_id")
        found = self.received if wanted is None else self.of(wanted)
        told = [to_builtins(one) | {"could_have": one.could_have} for one in found]
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    async def _turn(self, request: web.Request) -> web.Response:
        """Another temper for a named buyer from now on, or for a while; `usual` takes it back."""
        memory = self._memory(request.match_info["name"])
        temper = request.match_info["temper"]
        if temper == "usual":
            memory.disenchant()
            return web.Response(text="as its URL says\n")
        try:
            lasts = courses.while_of(request.query.get("for", ""))
            memory.enchant(courses.known_temper(temper), lasts, self._now_ns())
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(text=f"{temper} from now on\n")

    def _memory(self, name: str) -> Memory:
        memory = self._buyers.get(name)
        if memory is None:
            if len(self._buyers) >= BUYERS_MAX:
                self._buyers.clear()
            memory = self._buyers[name] = Memory()
        return memory

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._began_ns

    async def _buyer(self, request: web.Request) -> web.StreamResponse:
        temper = request.match_info["temper"]
        try:
            course = courses.course_of(temper, request.query.items())
        except ValueError as error:
            return web.Response(status=404, text=f"{error}\n")
        name = request.match_info.get("name", temper)
        memory, now_ns = self._memory(name), self._now_ns()
        met = partial(memory.temper, course, turn=(turn := memory.next_turn(course, now_ns)), now_ns=now_ns)
        kind, query = kind_of(request.content_type), list(request.query.items())
        read = met(postal_code=postal_code_of(fields_of(kind, query, b""))) != _UNREAD
        fields = fields_of(kind, query, await request.read() if read else b"")
        postal_code = postal_code_of(fields)
        delivery_id = request.headers.get("Idempotency-Key", "").strip('"')
        asked = Request(
            postal_code=postal_code,
            voice=self._voices.get(request.query.get("voice", ""), self._voices["xml" if kind == "xml" else "json"]),
            turn=turn,
            seen=memory.met(delivery_id),
            price=request.query.get("price", ""),
            echo=presented(request.headers.items(), request.query_string),
        )
        temper = met(postal_code=postal_code)
        act = TEMPERS[temper][1](asked)
        door = self._doors.get(request.query.get("voice", ""))
        if door is not None:
            act = self._at_the_door(door, request, memory, asked, fields, act)
        came = Received(
            path=request.path,
            name=name,
            temper=temper,
            delivery_id=delivery_id,
            postal_code=postal_code,
            said=act.said,
            status=None,
            told=False,
            read=read,
            at_ms=now_ns // NS_MS,
        )
        return await self._perform(request, act, came)

    def _at_the_door(
        self, door: Door, request: web.Request, memory: Memory, asked: Request, fields: Fields, act: Act
    ) -> Act:
        """What becomes of an answer where the buyer's API insists on something; a broken buyer insists on nothing."""
        if act.manner != "answer" or act.said not in ("accepted", "rejected", "duplicate", "bid"):
            return act
        living = frozenset(token for token, until_ns in self._tokens.items() if until_ns > self._now_ns())
        if door.stranger(request.headers, living):
            return say(asked, "unknown")
        lacking = door.lacks(kind_of(request.content_type), fields, ping=act.said == "bid")
        if lacking is not None:
            return say(asked, "rejected", lacking)
        if act.said == "accepted" and memory.had(list(door.marks(fields))):
            return say(asked, "duplicate", "we have it")
        return act

    async def _token(self, request: web.Request) -> web.Response:
        """OAuth 2 client credentials of a buyer's API."""
        door = self._doors.get(request.match_info["voice"])
        if door is None or door.token is None:
            return web.json_response({"error": "no API of that name gives tokens"}, status=404)
        user, password = basic(request.headers.get("Authorization", ""))
        if not door.token.grants({name: str(text) for name, text in (await request.post()).items()}, user, password):
            return web.json_response({"error": "invalid_client"}, status=401)
        now_ns, lasts_ns = self._now_ns(), door.token.lasts_ns
        self._tokens = {token: until_ns for token, until_ns in self._tokens.items() if until_ns > now_ns}
        token = f"farm-token-{next(self._numbers)}"
        self._tokens[token] = now_ns + lasts_ns
        told = {"access_token": token, "token_type": "Bearer", "expires_in": lasts_ns // NS_S}
        return web.json_response(told)

    async def _perform(self, request: web.Request, act: Act, came: Received) -> web.StreamResponse:
        place = self._remember(came)
        stage = Stage(request, self._stopping)
        try:
            response = await stage.perform(act)
            if stage.told:
                came = structs.replace(came, status=act.status, told=True)
                if place is not None:
                    self.received[place] = came
            return response
        finally:  # also when the asker has gone and this handler is cancelled
            if self._heard is not None:
                self._heard(came)

    def _remember(self, came: Received) -> int | None:
        """From now on it is known that this request came; its place, unless there is no room."""
        if len(self.received) >= RECEIVED_MAX:
            return None
        self.received.append(came)
        return len(self.received) - 1
