"""The buyer farm: every temper does what it says, every time alike, and no personal data is kept."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from router.demo.farm import Farm
from router.demo.tempers import SANDBOX, TEMPERS, Request

LEAD = {"contact": {"FirstName": "Ana", "Phone": "5125550147"}, "Zip": "78701"}


@pytest.fixture
async def farm() -> AsyncIterator[Farm]:
    """A farm on a free port."""
    async with Farm() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that gives up after a second."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
        yield client


async def post(session: aiohttp.ClientSession, farm: Farm, path: str, **more: object) -> tuple[int, str, bytes]:
    """POST the lead as JSON -> status, content type, body; redirects are not followed."""
    options = {"json": LEAD, "allow_redirects": False, **more}
    async with session.post(farm.url + path, headers={"Idempotency-Key": "d-1"}, **options) as answer:  # type: ignore[arg-type]
        return answer.status, answer.content_type, await answer.read()


def asked(**more: object) -> Request:
    """A request as a temper sees it."""
    given = {"postal_code": "78701", "voice": "json", "turn": 0, "seen": 0} | more
    return Request(**given)  # type: ignore[arg-type]


def test_no_temper_knows_chance() -> None:
    """The same request gets the same act, from every temper."""
    for temper, (_, act) in TEMPERS.items():
        assert act(asked()) == act(asked()), temper


def test_picky_takes_some_and_always_the_same() -> None:
    """About two in three postal codes are liked."""
    taken = sum(TEMPERS["picky"][1](asked(postal_code=f"{code}")).said == "accepted" for code in range(78000, 79000))
    assert 600 < taken < 730


def test_flaky_alternates() -> None:
    """A 503 first, then yes, by turns."""
    said = [TEMPERS["flaky"][1](asked(turn=turn)).status for turn in range(4)]
    assert said == [503, 200, 503, 200]


def test_forgetful_knows_the_lead_when_it_comes_again() -> None:
    """It keeps the lead, loses the connection, and calls the repeat a duplicate."""
    assert TEMPERS["forgetful"][1](asked()).manner == "reset_after"
    assert TEMPERS["forgetful"][1](asked(seen=1)).said == "duplicate"


def test_sandbox_chooses_by_postal_code() -> None:
    """The last two digits pick the temper; any other code is accepted."""
    for ending, temper in SANDBOX.items():
        request = asked(postal_code=f"787{ending}")
        assert TEMPERS["sandbox"][1](request) == TEMPERS[temper][1](request)
    assert TEMPERS["sandbox"][1](asked(postal_code="78701")).said == "accepted"


@pytest.mark.parametrize(
    ("temper", "status", "words"),
    [
        ("accept", 200, b'"status":"accepted"'),
        ("reject", 200, b'"status":"rejected"'),
        ("duplicate", 200, b'"status":"duplicate"'),
        ("refusal-200", 200, b'"status":"rejected"'),
        ("match", 200, b"Match found"),
        ("no-match", 200, b"No match found"),
        ("post-response", 200, b"<isValidPost>true</isValidPost>"),
        ("redirect", 302, b""),
        ("moved", 308, b""),
        ("puzzle", 200, b"maybe"),
        ("busy", 429, b""),
        ("unavailable", 503, b""),
        ("broken", 500, b""),
        ("locked-out", 401, b""),
        ("gone", 410, b""),
        ("bad-request", 400, b""),
    ],
)
async def test_what_each_answers(
    farm: Farm, session: aiohttp.ClientSession, temper: str, status: int, words: bytes
) -> None:
    """Each temper's answer on the wire, and that the farm remembers it as given."""
    got = await post(session, farm, f"/buyer/{temper}")
    assert (got[0], words in got[2]) == (status, True)
    assert (farm.received[-1].status, farm.received[-1].told) == (status, True)


@pytest.mark.parametrize("temper", ["reset-before", "reset-after", "half", "forgetful"])
async def test_who_breaks_off(farm: Farm, session: aiohttp.ClientSession, temper: str) -> None:
    """Their askers see a broken connection, and the farm says that no answer was given."""
    with pytest.raises((aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
        await post(session, farm, f"/buyer/{temper}")
    assert (farm.received[-1].status, farm.received[-1].told) == (None, False)


async def test_hang_reads_and_says_nothing(farm: Farm, session: aiohttp.ClientSession) -> None:
    """The asker times out; what came is remembered all the same."""
    with pytest.raises(TimeoutError):
        await post(session, farm, "/buyer/hang", timeout=aiohttp.ClientTimeout(total=0.2))
    async with asyncio.timeout(5):
        while not farm.received:
            await asyncio.sleep(0)
    assert farm.received[0].postal_code == "78701"


async def test_wrong_type_calls_json_html(farm: Farm, session: aiohttp.ClientSession) -> None:
    """The header says HTML, the body is JSON."""
    _, content_type, body = await post(session, farm, "/buyer/wrong-type")
    assert (content_type, orjson.loads(body)["status"]) == ("text/html", "accepted")


async def test_it_answers_in_the_voice_of_the_request(farm: Farm, session: aiohttp.ClientSession) -> None:
    """XML for XML, JSON for JSON, and what `voice` asks for."""
    xml = {"json": None, "data": b"<lead><zip>78701</zip></lead>", "headers": None}
    async with session.post(
        f"{farm.url}/buyer/reject", data=xml["data"], headers={"Content-Type": "application/xml"}
    ) as answer:
        assert b"<ResponseType>Rejected</ResponseType>" in await answer.read()
    assert farm.received[-1].postal_code == "78701"
    assert (await post(session, farm, "/buyer/accept?voice=text"))[2] == b"Match found"


async def test_the_postal_code_is_found_in_form_and_query(farm: Farm, session: aiohttp.ClientSession) -> None:
    """Forms and query strings are understood like JSON."""
    async with session.post(f"{farm.url}/buyer/accept", data={"ZipCode": "10001"}):
        pass
    async with session.get(f"{farm.url}/buyer/accept?postal=10002"):
        pass
    assert [one.postal_code for one in farm.received] == ["10001", "10002"]


async def test_received_tells_what_came_and_no_more(farm: Farm, session: aiohttp.ClientSession) -> None:
    """`GET /received`: path, name, delivery id, postal code, answer; nothing else of the lead."""
    await post(session, farm, "/buyer/accept/brightroof")
    async with session.get(f"{farm.url}/received") as answer:
        body = await answer.read()
    assert orjson.loads(body) == [
        {
            "path": "/buyer/accept/brightroof",
            "name": "brightroof",
            "temper": "accept",
            "delivery_id": "d-1",
            "postal_code": "78701",
            "said": "accepted",
            "status": 200,
            "told": True,
        }
    ]
    assert b"Ana" not in body
    assert farm.counts() == {"brightroof": {"accepted": 1}}


async def test_an_unknown_temper_is_named(farm: Farm, session: aiohttp.ClientSession) -> None:
    """404 with the list of those there are; the index lists them too."""
    status, _, body = await post(session, farm, "/buyer/angelic")
    assert (status, b"flaky" in body) == (404, True)
    async with session.get(f"{farm.url}/") as answer:
        index = await answer.text()
    assert all(temper in index for temper in TEMPERS)


async def test_garbage_is_a_lead_without_postal_code(farm: Farm, session: aiohttp.ClientSession) -> None:
    """A body that cannot be read does not upset a buyer."""
    for kind in ("application/json", "application/xml", "text/plain"):
        async with session.post(f"{farm.url}/buyer/accept", data=b"\xff{<", headers={"Content-Type": kind}) as answer:
            assert answer.status == 200
    assert {one.postal_code for one in farm.received} == {""}
