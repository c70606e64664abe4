"""Access tokens: fetched once for everybody who waits, used until they end, each buyer's trouble its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from router.clock import SystemClock
from router.courier import Carried, Courier
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.model.times import NS_MS, NS_S
from router.terms.endpoint import EndpointPlan
from router.transport import ScriptedTransport
from tests.endpoints import answer, header, plan
from tests.loopback import ask

BOTH_LOOPS = True
TOKEN_URL = "https://id.example.com/token"
AUTH = {"type": "oauth2", "token_url": TOKEN_URL, "client_id": "acme", "client_secret": "secret:s"}
ENDPOINT = plan(auth=AUTH)
SECRETS = {"s": "one"}


class SteadyClock(SystemClock):
    """A steady clock that a test moves."""

    now_ns = 0

    def mono_ns(self) -> int:
        """Where the test put it."""
        return self.now_ns


class House:
    """A buyer with an authorization server. `grants` are what it answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.grants: list[Any] = [{"expires_in": 3600}]
        self.fetches: list[tuple[str, HttpRequest]] = []
        self.proofs: list[str | None] = []
        self.refused: set[str | None] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.holding: dict[int, asyncio.Event] = {}  # leads by number, answered when their event is set
        self.clock = SteadyClock()
        self.transport = ScriptedTransport(self._play)
        self.courier = Courier(self.transport, self.clock)

    async def _play(self, lane: str, request: HttpRequest) -> HttpResponse | TransportFailure:
        if request.url != TOKEN_URL:
            proof = header(request, "Authorization")
            self.proofs.append(proof)
            if (held := self.holding.get(len(self.proofs))) is not None:
                await held.wait()
            return answer('{"status":"accepted"}', 401 if proof in self.refused else 200)
        self.fetches.append((lane, request))
        number = len(self.fetches)
        await self.gate.wait()
        given = self.grants[min(number, len(self.grants)) - 1]
        return answer(orjson.dumps({"access_token": f"t{number}"} | given)) if isinstance(given, dict) else given

    async def send(
        self, lane: str = "b", *, endpoint: EndpointPlan = ENDPOINT, secrets: dict[str, str] = SECRETS, ms: int = 5000
    ) -> Carried:
        """One lead."""
        request = ask("https://crm.example.com/leads")
        return await self.courier.send(lane, endpoint, request, secrets, within_ns=ms * NS_MS)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Closed at the end."""
    made = House()
    yield made
    await made.courier.close()


def failed(carried: Carried) -> TransportFailure:
    """The failure; fails the test when there was an answer."""
    assert isinstance(carried.answer, TransportFailure), carried
    return carried.answer


async def test_a_token_serves_until_shortly_before_its_end(house: House) -> None:
    """One fetch for many leads; a new one when half a minute is left."""
    for _ in range(3):
        assert (await house.send()).token == "t1"
    house.clock.now_ns += 3570 * NS_S - 1
    await house.send()
    house.clock.now_ns += 1
    await house.send()
    assert house.proofs == ["Bearer t1"] * 4 + ["Bearer t2"]
    assert len(house.fetches) == 2


async def test_the_life_of_a_token_counts_from_its_asking(house: House) -> None:
    """A slow server does not make its token last longer than it said."""
    house.grants = [{"expires_in": 5}]
    house.gate.clear()
    task = asyncio.create_task(house.send())
    while not house.fetches:
        await asyncio.sleep(0)
    house.clock.now_ns += 4 * NS_S
    house.gate.set()
    assert (await task).token == "t1"  # who waited for it uses it
    assert (await house.send()).token == "t2"


async def test_who_waits_together_shares_one_fetch(house: House) -> None:
    """A hundred leads at once ask for one token."""
    house.gate.clear()
    tasks = [asyncio.create_task(house.send()) for _ in range(100)]
    while not house.fetches:
        await asyncio.sleep(0)
    house.gate.set()
    assert {(await task).token for task in tasks} == {"t1"}
    assert len(house.fetches) == 1


async def test_the_fetch_has_a_lane_of_its_own(house: House) -> None:
    """Its connections and look-ups are not those of the buyer's endpoints, nor anybody else's."""
    await house.send("b")
    await house.send("c")
    assert [lane for lane, _ in house.transport.sent] == ["b:token", "b", "c:token", "c"]


async def test_other_credentials_are_another_token(house: House) -> None:
    """A reload with a new secret asks anew; what was kept for the old one is not used."""
    await house.send()
    await house.send(secrets={"s": "two"})
    await house.send(endpoint=plan(auth=AUTH | {"scope": "leads"}))
    await house.send()
    assert house.proofs == ["Bearer t1", "Bearer t2", "Bearer t3", "Bearer t1"]


async def test_a_401_makes_the_token_forgotten(house: House) -> None:
    """The next lead asks for another one."""
    await house.send()
    house.refused.add("Bearer t1")
    assert (await house.send()).token_refused
    house.refused.clear()
    carried = await house.send()
    assert (carried.token, carried.token_refused) == ("t2", False)


async def test_a_late_401_does_not_take_the_new_token_along(house: House) -> None:
    """Leads that were sent with the old one hear 401 when a new one is there already: it stays."""
    await house.send()
    house.holding[2] = asyncio.Event()
    house.refused.add("Bearer t1")
    late = asyncio.create_task(house.send())
    while len(house.proofs) < 2:
        await asyncio.sleep(0)
    assert (await house.send()).token_refused
    assert (await house.send()).token == "t2"
    house.holding[2].set()
    assert (await late).token_refused
    assert (await house.send()).token == "t2"
    assert len(house.fetches) == 2


@pytest.mark.parametrize(
    ("grant", "kind"),
    [
        (TransportFailure(kind="dns", detail="not found"), "token"),
        (TransportFailure(kind="read_timeout", detail="no whole answer in time"), "token"),
        (answer("", 500), "token"),
        (answer('{"error":"invalid_scope"}', 400), "auth"),
    ],
)
async def test_no_token_no_request(house: House, grant: Any, kind: str) -> None:
    """The buyer hears nothing, so the failure is certain; the next lead asks again."""
    house.grants = [grant, {}]
    failure = failed(await house.send())
    assert (failure.kind, failure.certain, house.proofs) == (kind, True, [])
    assert "token endpoint" in failure.detail
    assert (await house.send()).token == "t2"


async def test_a_wait_is_bounded_and_the_fetch_goes_on(house: House) -> None:
    """A hung server costs each lead its own time alone; when it wakes up, its token is for who comes next."""
    house.gate.clear()
    first, second = await asyncio.gather(house.send(ms=20), house.send(ms=0))
    assert (failed(first).kind, failed(second).kind) == ("token", "token")
    assert "in time" in failed(first).detail
    house.gate.set()
    assert (await house.send()).token == "t1"
    assert len(house.fetches) == 1


async def test_who_leaves_does_not_take_the_fetch_along(house: House) -> None:
    """One of two waiters is cancelled; the other has its token."""
    house.gate.clear()
    leaving, staying = asyncio.create_task(house.send()), asyncio.create_task(house.send())
    while not house.fetches:
        await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    house.gate.set()
    assert (await staying).token == "t1"


@pytest.mark.parametrize("refusal", [answer('{"error":"invalid_client"}', 401), answer("", 400)])
async def test_a_server_that_reads_bodies_alone(house: House, refusal: HttpResponse) -> None:
    """Refused with credentials in the header it is asked once with them in the body, and that is remembered."""
    house.grants = [refusal, {}]
    assert (await house.send()).token == "t2"
    house.clock.now_ns += 3600 * NS_S
    assert (await house.send()).token == "t3"
    in_body = [b"client_secret=one" in request.body for _, request in house.fetches]
    in_header = [header(request, "Authorization") is not None for _, request in house.fetches]
    assert (in_body, in_header) == ([False, True, True], [True, False, False])


async def test_wrong_credentials_are_wrong_in_both_places(house: House) -> None:
    """The first refusal is what counts, and the header stays the place to begin with."""
    house.grants = [answer('{"error":"invalid_client"}', 401), answer("", 500), {}]
    assert failed(await house.send()).kind == "auth"
    assert (await house.send()).token == "t3"
    assert header(house.fetches[2][1], "Authorization") is not None


async def test_closing_stops_a_fetch(house: House) -> None:
    """Nobody is left waiting, and nothing is left running."""
    house.gate.clear()
    task = asyncio.create_task(house.send())
    while not house.fetches:
        await asyncio.sleep(0)
    await house.courier.close()
    assert failed(await task).kind == "token"


async def test_other_kinds_of_auth_fetch_nothing(house: House) -> None:
    """A request of theirs is sent as it is."""
    carried = await house.send(endpoint=plan())
    assert (carried.token, carried.token_refused, house.fetches) == (None, False, [])
