"""The buyer farm: every temper does what it says, every time alike, and no personal data is kept."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from router.demo import manners
from router.demo.farm import Farm
from router.demo.own_voices import read_voices
from router.demo.tempers import SANDBOX, TEMPERS, Request
from router.demo.voices import VOICES

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
    given = {"postal_code": "78701", "voice": VOICES["json"], "turn": 0, "seen": 0} | more
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
        ("307", 307, b""),
        ("405", 405, b""),
        ("empty", 200, b""),
        ("lower-price", 200, b'"price":"1.00"'),
        ("higher-price?price=99", 200, b'"price":"99"'),
        ("accept?price=12.50", 200, b'"price":"12.50"'),
        ("higher-price?voice=xml", 200, b"<Price>100000.00</Price>"),
        ("bid", 200, b'"ping_id":"ping-0"'),
        ("no-bid", 200, b'"price":null'),
        ("flood", 200, b'"status":"accepted"'),
    ],
)
async def test_what_each_answers(
    farm: Farm, session: aiohttp.ClientSession, temper: str, status: int, words: bytes
) -> None:
    """Each temper's answer on the wire, and that the farm remembers it as given."""
    got = await post(session, farm, f"/buyer/{temper}")
    assert (got[0], words in got[2]) == (status, True)
    assert (farm.received[-1].status, farm.received[-1].told) == (status, True)


BREAK_OFF = ["reset-before", "reset-after", "half", "forgetful", "wavering", "not-http", "bad-chunk", "bad-length"]


@pytest.mark.parametrize("temper", BREAK_OFF)
async def test_who_breaks_off(farm: Farm, session: aiohttp.ClientSession, temper: str) -> None:
    """Their askers see a broken connection, and the farm says that no answer was given."""
    with pytest.raises(aiohttp.ClientError):
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
            "read": True,
            "at_ms": farm.received[0].at_ms,
            "could_have": True,
        }
    ]
    async with session.get(f"{farm.url}/received/d-2") as answer:
        assert orjson.loads(await answer.read()) == []
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


@pytest.mark.parametrize(
    ("temper", "could"),
    [("accept", True), ("reject", False), ("503", False), ("500", True), ("302", True), ("308", False), ("bid", False)],
)
async def test_who_could_have_the_lead(farm: Farm, session: aiohttp.ClientSession, temper: str, could: bool) -> None:
    """Whoever read it and did not refuse; who dropped the connection before reading cannot."""
    await post(session, farm, f"/buyer/{temper}")
    with pytest.raises(aiohttp.ClientError):
        await post(session, farm, "/buyer/reset-before")
    assert [one.could_have for one in farm.of("d-1")] == [could, False]


async def test_an_outage_and_the_recovery_from_it_can_be_rehearsed(farm: Farm, session: aiohttp.ClientSession) -> None:
    """Two are taken, the next three meet another temper, then all is as before."""
    path = "/buyer/accept/crm?after=2&then=unavailable&for=3"
    assert [(await post(session, farm, path))[0] for _ in range(7)] == [200, 200, 503, 503, 503, 200, 200]
    assert [one.temper for one in farm.received[1:3]] == ["accept", "unavailable"]


async def test_a_postal_code_chooses_a_temper(farm: Farm, session: aiohttp.ClientSession) -> None:
    """`at` names whole codes and beginnings; the lead's own code decides, not the address's words."""
    for at, status in [("78701:500", 500), ("787*:503", 503), ("10001:500", 200)]:
        assert (await post(session, farm, f"/buyer/accept?at={at}"))[0] == status
    assert {one.postal_code for one in farm.received} == {"78701"}


async def test_a_buyer_is_turned_by_hand_and_back(farm: Farm, session: aiohttp.ClientSession) -> None:
    """`POST /turn/NAME/TEMPER` counts at once and for as long as it says; `usual` ends it."""
    for turn, statuses in [
        ("500?for=2", [500, 500, 200]),
        ("503", [503, 503]),
        ("usual", [200]),
        ("410?for=1h", [410]),
    ]:
        async with session.post(f"{farm.url}/turn/crm/{turn}") as answer:
            assert answer.status == 200
        assert [(await post(session, farm, "/buyer/accept/crm"))[0] for _ in statuses] == statuses
    assert (await post(session, farm, "/buyer/accept/other"))[0] == 200
    async with session.post(f"{farm.url}/turn/crm/angelic") as answer:
        assert (answer.status, "flaky" in await answer.text()) == (400, True)


@pytest.mark.parametrize("words", ["then=angelic", "after=2", "after=x&then=hang", "then=hang&for=soon", "at=78701:x"])
async def test_words_that_make_no_sense_are_answered_with_what_does(
    farm: Farm, session: aiohttp.ClientSession, words: str
) -> None:
    """404 with the mend, so that no rehearsal goes on with another temper than was meant."""
    status, _, body = await post(session, farm, f"/buyer/accept?{words}")
    assert (status, bool(body), farm.received) == (404, True, [])


async def test_a_bomb_is_small_and_unpacks_to_much(farm: Farm, session: aiohttp.ClientSession) -> None:
    """Less than 64 KiB on the wire, gzip, far more inside."""
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        _, _, body = await post(plain, farm, "/buyer/bomb")
    assert len(body) < 64 * 1024
    assert len(zlib.decompress(body, wbits=31)) > 32 * 1024 * 1024


@pytest.mark.parametrize("temper", ["endless", "endless-head", "continues", "drip", "drip-head"])
async def test_nothing_is_without_end(
    farm: Farm, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, temper: str
) -> None:
    """Whatever a buyer does, the farm ends it: after so many bytes, or so much time."""
    monkeypatch.setattr(manners, "ANSWER_MAX_BYTES", 128 * 1024)
    monkeypatch.setattr(manners, "ANSWER_MAX_S", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(farm.url.rpartition(":")[2]))
    writer.write(f"POST /buyer/{temper} HTTP/1.1\r\nHost: farm\r\nContent-Length: 0\r\n\r\n".encode())
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            got = len(await reader.read(-1))
            assert 0 < got < 256 * 1024
    writer.close()
    assert [one.status for one in farm.received] == [None]


async def test_echo_says_what_it_was_told(farm: Farm, session: aiohttp.ClientSession) -> None:
    """The credentials of header and query come back, as a careless buyer's error page would say them."""
    async with session.post(
        f"{farm.url}/buyer/echo?key=hush", json=LEAD, headers={"Authorization": "Bearer hush-hush"}
    ) as answer:
        said = (await answer.json())["reason"]
    assert "Bearer hush-hush" in said
    assert "key=hush" in said


OWN = """
[ridgeline.accepted]
content_type = "text/html"
body = "SUCCESS|77120"
headers = { X-Took = "yes" }
[ridgeline.rejected]
status = 422
body = "REJECT|zip"
"""


def own(tmp_path: Path, text: str) -> Path:
    """A file of voices."""
    path = tmp_path / "voices.toml"
    path.write_text(text, "utf-8")
    return path


async def test_a_buyer_speaks_in_its_own_words(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """Answers from a file, a duplicate without one being a rejection; the farm's own voices stay."""
    async with Farm(voices=read_voices(own(tmp_path, OWN)).voices) as farm:
        assert await post(session, farm, "/buyer/accept?voice=ridgeline") == (200, "text/html", b"SUCCESS|77120")
        assert (await post(session, farm, "/buyer/duplicate?voice=ridgeline"))[::2] == (422, b"REJECT|zip")
        assert (await post(session, farm, "/buyer/accept?voice=text"))[2] == b"Match found"


@pytest.mark.parametrize(
    ("text", "words"),
    [("[a", "end of document"), ('[a.accepted]\nbody = "x"', "rejected"), ("[a.maybe]\n", "maybe"), ("b = 1", "b")],
)
def test_voices_that_cannot_be_read_say_why(tmp_path: Path, text: str, words: str) -> None:
    """Each fault of the file is named."""
    with pytest.raises(ValueError, match=words):
        read_voices(own(tmp_path, text))


API = """
[crm.asks]
format = "json"
headers = { X-Key = "let-me-in" }
token = { client_id = "us", client_secret = "hush", scope = "leads", lasts = "10m" }
fields = ["contact.phone"]
ping_fields = ["zip"]
person = [["contact.phone"], ["contact.email"]]
[crm.accepted]
status = 201
body = "taken"
[crm.rejected]
status = 422
body = "no: {reason}"
[crm.duplicate]
status = 409
body = "had it"
[crm.failed]
body = "ERROR: {reason}"
[crm.bid]
body = "{price}"
[crm.no_bid]
body = "0"
"""


async def test_a_buyers_api_insists_on_what_it_says(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """Who asks, in which format, with which fields, about nobody twice; each no in its own words."""
    voices, doors = read_voices(own(tmp_path, API))
    async with Farm(voices=voices, doors=doors) as farm:

        async def token(**form: str) -> tuple[int, Any]:
            async with session.post(f"{farm.url}/token/crm", data=form) as answer:
                return answer.status, await answer.json()

        async def say(path: str, **how: Any) -> tuple[int, str]:
            async with session.post(farm.url + path, **how) as answer:
                return answer.status, await answer.text()

        asked = {"grant_type": "client_credentials", "client_id": "us", "client_secret": "hush"}
        assert (await token(**asked))[0] == 401
        status, granted = await token(**asked, scope="leads")
        assert (status, granted["token_type"], granted["expires_in"]) == (200, "Bearer", 600)
        known = {"X-Key": "let-me-in", "Authorization": f"Bearer {granted['access_token']}"}
        post, lead = "/buyer/accept/crm?voice=crm", {"contact": {"phone": "1", "email": "a"}, "zip": "78701"}
        assert await say(post, json=lead) == (401, "")
        assert await say(post, json=lead, headers={**known, "X-Key": "guess"}) == (401, "")
        assert await say(post, json=lead, headers={**known, "Authorization": "Bearer guess"}) == (401, "")
        assert await say(post, data={"contact.phone": "1"}, headers=known) == (422, "no: format")
        assert await say(post, json={"contact": {"phone": None}}, headers=known) == (422, "no: contact.phone")
        assert await say(post, json=lead, headers=known) == (201, "taken")
        assert await say(post, json=lead, headers=known) == (409, "had it")
        assert await say(post, json={"contact": {"phone": "2", "email": "a"}}, headers=known) == (409, "had it")
        assert await say("/buyer/fault/crm?voice=crm", json=lead, headers=known) == (
            200, "ERROR: our fault, please try again",
        )  # fmt: skip
        ping = {"json": {"zip": "78701"}, "headers": known}
        assert await say("/buyer/bid/crm?voice=crm&price=38.50", **ping) == (200, "38.50")
        assert await say("/buyer/bid/crm?voice=crm", json={}, headers=known) == (422, "no: zip")
        assert await say("/buyer/no-bid/crm?voice=crm", **ping) == (200, "0")
        assert [one.said for one in farm.named("crm")].count("accepted") == 1
        assert "@" not in repr(farm.received)
