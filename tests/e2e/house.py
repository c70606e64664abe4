"""The two listeners over a real engine, in this process: real sockets in front, a script for the buyers behind."""

import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from router.clock import SystemClock
from router.daemon.serving import Serving
from router.daemon.sockets import listen
from router.engine import Engine
from router.engine.controls import Controls
from router.engine.proof import Proof
from router.engine.watch import Watch
from router.ledger.memory import MemoryLedger
from router.metrics import Metrics
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.onboarding.certifying import Certifier
from router.onboarding.placing import Placing
from router.terms.candidate import Candidate
from router.terms.check import check_buyer
from router.terms.compile import compile_book
from router.terms.load import with_buyer
from router.terms.schema import Terms
from router.transport import ScriptedTransport
from router.web.site import Behind, Site, build_site
from tests import factory

SOURCE, OTHER_SOURCE, BUYER, OTHER_BUYER = "source-token", "other-source-token", "buyer-token", "other-buyer-token"
AUDITOR, OPERATOR, ADMIN = "auditor-token", "operator-token", "admin-token"

Buyers = Callable[[str, HttpRequest], Awaitable[HttpResponse | TransportFailure]]


def digest(token: str) -> str:
    """A token as terms hold it."""
    return hashlib.sha256(token.encode()).hexdigest()


async def accepting(lane: str, request: HttpRequest) -> HttpResponse:
    """A buyer that takes everything."""
    return said({"status": "accepted"})


def said(answer: dict[str, Any], status: int = 200) -> HttpResponse:
    """A buyer's JSON answer."""
    headers = (("Content-Type", "application/json"),)
    return HttpResponse(status=status, headers=headers, body=orjson.dumps(answer))


def operators(**roles: str) -> dict[str, Any]:
    """`[operators]`: name = role; each one's token is `ROLE-token`."""
    return {name: {"token_sha256": digest(f"{role}-token"), "role": role} for name, role in roles.items()}


def house_terms(*buyers: dict[str, Any], **parts: Any) -> Terms:
    """Terms with tokens for everybody; one buyer that covers everything, unless others are given."""
    router = {
        "network": {"allow_private": ["127.0.0.0/8"], "allow_http": True},
        "operators": operators(ann="auditor", oscar="operator", ada="admin"),
    }
    source = {"token_sha256": [digest(SOURCE)], "payout": {"solar": {"amount": "4.00"}}, "wait": "5s"}
    own = {"token_sha256": [digest(BUYER)], "permissions": ["pause"]}
    buyers = buyers or (factory.buyer("bright", factory.contract("bright-tx"), **own),)
    return factory.terms(
        *buyers, router=router | parts.pop("router", {}), source=source | parts.pop("source", {}), **parts
    )


class MemoryRecords:
    """Buyers' records without a disk."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.files: set[str] = set()

    def in_file(self, buyer_id: str) -> str | None:
        """Files of the configuration that a test pretends are there."""
        return f"buyers/{buyer_id}.toml" if buyer_id in self.files else None

    def propose(self, terms: Terms, tree: object) -> Candidate:
        """As on disk, without secrets."""
        changed, problems = with_buyer(terms, tree, Path())
        if changed is None:
            return Candidate(terms=None, problems=tuple(problems), secrets={})
        buyer_id = tree["id"] if isinstance(tree, dict) else ""
        found = (*problems, *check_buyer(changed, buyer_id))
        return Candidate(terms=changed, problems=found, secrets={})

    def keep(self, buyer_id: str, record: bytes | None) -> bytes | None:
        """As on disk."""
        before = self.kept.pop(buyer_id, None)
        if record is not None:
            self.kept[buyer_id] = record
        return before


class NoReports:
    """There is no state directory here to report from; each says what was asked."""

    async def make(self, name: str, since_ns: int | None) -> bytes:
        """The question."""
        return orjson.dumps({"report": name, "since": since_ns})


class House:
    """Everything a test may look at or take hold of."""

    def __init__(self, terms: Terms, ledger: MemoryLedger, buyers: Buyers, next_terms: Callable[[], Candidate]) -> None:
        self.ledger = ledger
        self.metrics = Metrics()
        self.transport = ScriptedTransport(buyers)
        self.engine = Engine(
            book=compile_book(terms), ledger=ledger, transport=self.transport, clock=SystemClock(), secrets={}
        )
        self.controls = Controls(self.engine, factory.reader(next_terms))
        self.proof = Proof(self.engine)
        self.watch = Watch(self.engine)
        self.records = MemoryRecords()
        self.placing = Placing(self.engine, self.controls, self.records)
        behind = Behind(
            engine=self.engine,
            controls=self.controls,
            proof=self.proof,
            watch=self.watch,
            placing=self.placing,
            certifier=Certifier(self.engine),
            metrics=self.metrics,
            reports=NoReports(),
        )
        self.site: Site = build_site(behind, version="0.0.0")
        self.client = aiohttp.ClientSession()
        self.intake = ""
        self.admin = ""

    async def ask(
        self, method: str, path: str, *, token: str | None = None, admin: bool = False, **how: Any
    ) -> tuple[int, Any, Any]:
        """One request -> status, decoded JSON (or text), headers."""
        headers = dict(how.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = (self.admin if admin else self.intake) + path
        async with self.client.request(method, url, headers=headers, **how) as answer:
            body = await answer.read()
            plain = orjson.loads(body) if "json" in answer.content_type and "nd" not in answer.content_type else body
            return answer.status, plain, answer.headers

    async def give(self, lead: Any, *, token: str = SOURCE, **how: Any) -> tuple[int, Any, Any]:
        """POST /v1/leads."""
        return await self.ask("POST", "/v1/leads", token=token, json=lead, **how)

    def nothing_stored(self) -> bool:
        """Whether no lead was taken and no capacity is held."""
        return not self.engine.state.open and not self.engine.state.held and self.ledger.head_seq <= 1


LEAD: dict[str, Any] = {
    "lead_type": "solar",
    "fields": {"phone": "(512) 555-0147", "email": "ana@example.com", "postal_code": "78701"},
}


@asynccontextmanager
async def open_house(
    terms: Terms | None = None,
    *,
    buyers: Buyers = accepting,
    ledger: MemoryLedger | None = None,
    next_terms: Callable[[], Candidate] | None = None,
) -> AsyncIterator[House]:
    """A running house on free ports; leaving it closes everything."""
    terms = terms or house_terms()
    candidate = Candidate(terms=terms, problems=(), secrets={})
    house = House(terms, ledger or MemoryLedger(), buyers, next_terms or (lambda: candidate))
    servings = []
    await house.engine.start()
    for name, listener in zip(("intake", "admin"), house.site, strict=True):
        bound = listen(name, ["127.0.0.1:0"], Path(), [])
        serving = Serving(listener.handle, connections_max=100)
        await serving.start(bound)
        setattr(house, name, f"http://{bound[0].address}")
        servings.append(serving)
    try:
        yield house
    finally:
        house.engine.feed.close()
        await house.client.close()
        await house.engine.drain(1)
        for serving in servings:
            await serving.finish(1)
        await house.ledger.close()


async def raw(url: str, data: bytes) -> bytes:
    """Bytes to a listener, as they are -> everything it answers until it closes."""
    import asyncio

    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
    writer.write(data)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
