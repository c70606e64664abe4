"""Alerts and events over real sockets: what an operator is told, and how."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from router.model.delivery import HttpRequest, HttpResponse
from router.model.facts import Certified
from router.web import events
from tests.e2e.house import AUDITOR, BUYER, LEAD, OPERATOR, House, open_house, said


async def gone(lane: str, request: HttpRequest) -> HttpResponse:
    """A buyer whose endpoint is no more."""
    return said({}, 410)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A running house with accepting buyers."""
    async with open_house() as opened:
        yield opened


async def test_open_alerts_say_what_to_do() -> None:
    """Kind, subject, since, what happened and the mend; counted in status and metrics; gone with their cause."""
    async with open_house(buyers=gone) as house:
        await certify_all(house)
        assert (await house.ask("GET", "/v1/alerts", token=AUDITOR, admin=True))[1] == {"alerts": []}
        await house.give(LEAD)
        (alert,) = (await house.ask("GET", "/v1/alerts", token=AUDITOR, admin=True))[1]["alerts"]
        assert alert.keys() == {"id", "kind", "subject", "since", "message", "mend"}
        assert (alert["kind"], alert["subject"]) == ("endpoint_paused", "contract:bright-tx")
        assert "410" in alert["message"]
        status = (await house.ask("GET", "/v1/status", token=AUDITOR, admin=True))[1]
        assert status["alerts"] == {"endpoint_paused": 1}
        text = (await house.ask("GET", "/metrics", admin=True))[1].decode()
        assert 'lead_router_alerts_open{kind="endpoint_paused"} 1.0' in text
        await house.ask("POST", "/v1/contracts/bright-tx:resume", token=OPERATOR, admin=True)
        assert (await house.ask("GET", "/v1/alerts", token=AUDITOR, admin=True))[1] == {"alerts": []}


async def certify_all(house: House) -> None:
    """Its one endpoint is certified as it is, so that this is no alert."""
    version = house.engine.book.contracts["bright-tx"].endpoint.version
    await house.engine.write([Certified(buyer_id="bright", endpoint="crm", version=version, passed=True, by="test")])


class Stream:
    """Server-sent events as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> tuple[str, Any, str]:
        """The next event: name, data, id; comments are passed over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            while True:
                line = (await self._answer.content.readline()).decode().rstrip("\n")
                if not line and fields:
                    return fields["event"], orjson.loads(fields["data"]), fields["id"]
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value

    async def until(self, name: str) -> tuple[Any, str]:
        """The next event of that name: data, id."""
        while True:
            told, data, id_ = await self.next()
            if told == name:
                return data, id_

    async def rest(self) -> bytes:
        """What comes until the end."""
        async with asyncio.timeout(10):
            return (await self._answer.content.read()).strip()

    async def comment(self) -> str:
        """The next comment."""
        async with asyncio.timeout(10):
            while not (line := await self._answer.content.readline()).startswith(b":"):
                assert line
            return line.decode()


@asynccontextmanager
async def listen(house: House, **headers: str) -> AsyncIterator[Stream]:
    """The stream, once it is open."""
    sent = {"Authorization": f"Bearer {AUDITOR}", **headers}
    async with house.client.get(house.admin + "/v1/events", headers=sent) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        stream = Stream(answer)
        assert "events from here on" in await stream.comment()
        yield stream


async def test_events_tell_decisions_outcomes_and_pauses(house: House) -> None:
    """In order, with ids to go on from; nothing of the lead itself."""
    async with listen(house) as stream:
        lead_id = (await house.give(LEAD))[1]["lead_id"]
        decision, first_id = await stream.until("decision")
        assert (decision["lead_id"], decision["winners"]) == (lead_id, ["bright-tx"])
        outcome, _ = await stream.until("outcome")
        assert (outcome["lead_id"], outcome["outcome"], outcome["buyer_id"]) == (lead_id, "accepted", "bright")
        await house.ask("POST", "/v1/contracts/bright-tx:pause", token=OPERATOR, admin=True, json={"reason": "holiday"})
        paused, _ = await stream.until("paused")
        assert (paused["subject"], paused["by"]) == ("contract:bright-tx", "operator:oscar")
    async with listen(house, **{"Last-Event-ID": first_id}) as again:
        assert [(await again.next())[0] for _ in range(2)] == ["outcome", "paused"]
    told = orjson.dumps([decision, outcome, paused]).decode()
    assert not [value for value in ("5550147", "555-0147", "ana@example.com", '"78701"') if value in told]


async def test_alerts_are_events_too() -> None:
    """Raised and cleared, in the shape of `GET /v1/alerts`."""
    async with open_house(buyers=gone) as house:
        await certify_all(house)
        async with listen(house) as stream:
            await house.give(LEAD)
            await house.watch.look()
            raised, _ = await stream.until("alert")
        assert (raised["state"], raised["kind"]) == ("raised", "endpoint_paused")
        assert raised["mend"]


async def test_a_stream_ends_when_the_router_stops(house: House) -> None:
    """With a comment that says so, and a whole answer."""
    async with listen(house) as stream:
        house.engine.feed.close()
        assert "the router is stopping" in await stream.comment()
        assert await stream.rest() == b""


async def test_a_listener_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is free for somebody else after a while, whatever its socket does."""

    class Stuck:
        async def write(self, text: bytes) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(events, "READ_WITHIN_S", 0.01)
    with pytest.raises(ConnectionError):
        await events._write(Stuck(), b"")  # type: ignore[arg-type]


async def test_who_may_listen(house: House) -> None:
    """Operators; and no more of them than are borne."""
    assert (await house.ask("GET", "/v1/events", token=BUYER, admin=True))[0] == 403
    assert (await house.ask("GET", "/v1/alerts", token=BUYER, admin=True))[0] == 403
    assert (await house.ask("GET", "/v1/events?x=1", token=AUDITOR, admin=True))[0] == 400
    async with house.client.head(house.admin + "/v1/events", headers={"Authorization": f"Bearer {AUDITOR}"}) as head:
        assert head.status == 200
    while house.engine.feed.listen() is not None:
        pass
    status, problem, headers = await house.ask("GET", "/v1/events", token=AUDITOR, admin=True)
    assert (status, problem["code"]) == (503, "overloaded")
    assert headers["Retry-After"]
