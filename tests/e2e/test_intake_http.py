"""The intake listener over real sockets and a real engine: what sources and buyers are promised in SPEC section 5."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
from msgspec import structs

from router.core.intake.body import DEPTH_MAX
from router.ledger.memory import MemoryLedger
from router.model.delivery import HttpRequest, HttpResponse
from router.model.facts import Entry
from tests import factory
from tests.e2e.house import (
    BUYER,
    LEAD,
    OPERATOR,
    OTHER_BUYER,
    SOURCE,
    House,
    accepting,
    digest,
    house_terms,
    open_house,
    raw,
    said,
)

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ANSWER = {"lead_id", "status", "copies", "payout", "reason", "redirect_url"}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house whose one buyer takes everything."""
    async with open_house() as opened:
        yield opened


class Gate:
    """Buyers that answer only when told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = asyncio.Event()

    async def __call__(self, lane: str, request: HttpRequest) -> HttpResponse:
        """Wait, then accept."""
        self.asked.set()
        await self.open.wait()
        return said({"status": "accepted"})


# -- answers -------------------------------------------------------------------------------------


async def test_a_sold_lead_is_answered_as_promised(house: House) -> None:
    """201, exactly the six members, payout as decimal text; the lead can be asked for under its id."""
    status, body, headers = await house.give(LEAD)
    assert status == 201
    assert body.keys() == ANSWER
    lead_id = body.pop("lead_id")
    assert body == {"status": "sold", "copies": 1, "payout": "4.00", "reason": None, "redirect_url": None}
    assert headers["Content-Type"] == "application/json"
    assert headers["Location"] == f"/v1/leads/{lead_id}"
    status, again, _ = await house.ask("GET", f"/v1/leads/{lead_id}", token=SOURCE)
    assert (status, again) == (200, {"lead_id": lead_id, **body})


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (orjson.dumps({"phone": "5125550147", "postal_code": "78701"}), JSON),
        (b"phone=%28512%29+555-0147&postal_code=78701&first_name=Zo%C3%AB", FORM),
        (b"lead_type=solar&postal_code=78701", {"Content-Type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}),
        (b'{"postal_code": "78701"}', {"Content-Type": "application/json; charset=utf-8"}),
    ],
)
async def test_flat_and_form_bodies_are_taken(house: House, body: bytes, headers: dict[str, str]) -> None:
    """A flat JSON object and a form, whatever the case of the content type."""
    assert (await house.ask("POST", "/v1/leads", token=SOURCE, data=body, headers=headers))[0] == 201


async def test_unsold_says_why() -> None:
    """A lead that nobody covers: 201, unsold, no_coverage, and nothing is paid."""
    terms = house_terms(factory.buyer("bright", factory.contract("c", coverage={"postal_codes": ["10001"]})))
    async with open_house(terms) as house:
        status, body, _ = await house.give(LEAD)
        assert (status, body["status"], body["reason"], body["payout"]) == (201, "unsold", "no_coverage", "0.00")


async def test_declined_by_all_says_so() -> None:
    """A buyer that says no: all_declined."""

    async def rejecting(lane: str, request: HttpRequest) -> HttpResponse:
        return said({"status": "rejected", "reason": "full"})

    async with open_house(buyers=rejecting) as house:
        _, body, _ = await house.give(LEAD)
        assert (body["status"], body["reason"]) == ("unsold", "all_declined")


async def test_a_duplicate_is_taken_and_sent_to_nobody() -> None:
    """An intake duplicate: 201, status duplicate."""
    terms = house_terms(lead_type={"dedup": {"keys": [["phone"]], "window": "30d"}})
    async with open_house(terms) as house:
        _, first, _ = await house.give(LEAD)
        status, body, _ = await house.give(LEAD)
        assert (status, body["status"]) == (201, "duplicate")
        asked = {**LEAD, "source_id": "web"}
        _, explained, _ = await house.ask("POST", "/v1/explain", token=OPERATOR, admin=True, json=asked)
        assert explained["duplicate_of"] == first["lead_id"]
        assert len(house.transport.sent) == 1


async def test_an_answer_that_does_not_come_in_time_is_202_and_can_be_asked_for() -> None:
    """When the wait ends first: 202 routing; later GET says sold. `Prefer` overrides the source's reply both ways."""
    gate = Gate()
    async with open_house(buyers=gate) as house:
        status, body, _ = await house.give(LEAD, headers={"Prefer": "respond-async"})
        assert (status, body["status"], body["payout"]) == (202, "routing", "0.00")
        status, waited, _ = await house.give(LEAD | {"external_id": "2"}, headers={"Prefer": "wait=0"})
        assert (status, waited["status"]) == (202, "routing")
        gate.open.set()
        await house.engine.settled(body["lead_id"], 5)
        assert (await house.ask("GET", f"/v1/leads/{body['lead_id']}", token=SOURCE))[1]["status"] == "sold"


async def test_prefer_wait_makes_an_asynchronous_source_wait() -> None:
    """reply = "accepted" answers when durable; with `Prefer: wait` it waits for the sale."""
    gate = Gate()
    async with open_house(house_terms(source={"reply": "accepted"}), buyers=gate) as house:
        assert (await house.give(LEAD))[0] == 202
        gate.open.set()
        status, body, _ = await house.give(LEAD, headers={"Prefer": "wait=5"})
        assert (status, body["status"]) == (201, "sold")


async def test_a_sources_own_leads_only(house: House) -> None:
    """Another source's lead, a made-up id and a buyer's token: 404 and 403."""
    lead_id = (await house.give(LEAD))[1]["lead_id"]
    assert (await house.ask("GET", "/v1/leads/none", token=SOURCE))[0] == 404
    house.engine._views[lead_id] = structs.replace(house.engine._views[lead_id], source_id="somebody-else")
    assert (await house.ask("GET", f"/v1/leads/{lead_id}", token=SOURCE))[0] == 404
    assert (await house.ask("GET", f"/v1/leads/{lead_id}", token=BUYER))[0] == 403


# -- bad input -----------------------------------------------------------------------------------

DEEP = b"[" * 100_000 + b"]" * 100_000
BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, ""),
    (b"nonsense", 400, ""),
    (b'{"fields": ', 400, ""),
    (b"\xff\xfe{}", 400, ""),
    (b'{"fields": {"first_name": "\xc3\x28", "postal_code": "78701"}}', 400, ""),
    (b'{"fields": {"first_name": "\\ud800", "postal_code": "78701"}}', 400, ""),
    (b'{"fields": {"postal_code": NaN}}', 400, ""),
    (DEEP[:60_000], 400, ""),
    (b"[" * 30_000 + b"]" * 30_000, 400, ""),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, ""),
    (b'{"x":' + b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1) + b"}", 400, ""),
    (b"[]", 422, ""),
    (b"null", 422, ""),
    (b'"text"', 422, ""),
    (b"{}", 422, "postal_code"),
    (b'{"fields": []}', 422, "fields"),
    (b'{"fields": {"postal_code": 78701}}', 422, "fields.postal_code"),
    (b'{"fields": {"postal_code": "7870"}}', 422, "fields.postal_code"),
    (b'{"fields": {"postal_code": "78701", "phone": "12"}}', 422, "fields.phone"),
    (b'{"fields": {"postal_code": "78701", "email": "nobody"}}', 422, "fields.email"),
    (b'{"fields": {"postal_code": "78701", "credit_score": "many"}}', 422, "fields.credit_score"),
    (b'{"fields": {"postal_code": "78701", "homeowner": "perhaps"}}', 422, "fields.homeowner"),
    (b'{"fields": {"postal_code": "78701", "birth_date": "2001-02-30"}}', 422, "fields.birth_date"),
    (b'{"fields": {"postal_code": "78701", "no_such_field": 1}}', 422, "fields.no_such_field"),
    (b'{"fields": {"postal_code": "78701"}, "no_such_key": 1}', 422, "no_such_key"),
    (b'{"fields": {"postal_code": "78701", "first_name": {}}}', 422, "fields.first_name"),
    (b'{"fields": {"postal_code": "78701", "first_name": "a\\u0000b"}}', 422, "fields.first_name"),
    (b'{"fields": {"postal_code": "78701", "first_name": "a\\u001bb"}}', 422, "fields.first_name"),
    (b'{"fields": {"postal_code": "78701", "postal_code": "78702"}}', 422, "fields.postal_code"),
    (b'{"fields": {"postal_code": "78701"}, "fields": {"postal_code": "78702"}}', 422, "fields"),
    (b'{"fields": {"postal_code": "78701"}, "lead_type": "submarines"}', 422, "lead_type"),
    (b'{"fields": {"postal_code": "78701"}, "lead_type": 7}', 422, "lead_type"),
    (b'{"fields": {"postal_code": "78701"}, "submitted_at": "yesterday"}', 422, "submitted_at"),
    (b'{"fields": {"postal_code": "78701"}, "test": "perhaps"}', 422, "test"),
    (b'{"fields": {"postal_code": "78701"}, "consent": {"given_at": "never"}}', 422, "consent.given_at"),
]


@pytest.mark.parametrize(("body", "status", "field"), BAD_BODIES, ids=[str(n) for n in range(len(BAD_BODIES))])
async def test_a_bad_body_is_refused_and_nothing_is_kept(house: House, body: bytes, status: int, field: str) -> None:
    """Each gets its status as problem+json that names the field; nothing is stored or reserved; the process goes on."""
    seen, problem, headers = await house.ask("POST", "/v1/leads", token=SOURCE, data=body, headers=JSON)
    assert seen == problem["status"] == status
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["type"]
    assert problem["title"]
    assert problem["code"]
    if field:
        assert any(error["field"].endswith(field) for error in problem["errors"]), problem["errors"]
    assert house.nothing_stored()
    assert (await house.give(LEAD))[0] == 201


async def test_nesting_of_a_hundred_thousand_is_400() -> None:
    """Also where the body limit would let it through."""
    router = {"server": {"body_max": "1MiB"}}
    async with open_house(house_terms(router=router)) as house:
        for body in (DEEP, b'{"ignored":' + DEEP + b"}"):
            status, problem, _ = await house.ask("POST", "/v1/leads", token=SOURCE, data=body, headers=JSON)
            assert (status, problem["code"]) == (400, "too_deep")
        assert house.nothing_stored()


async def test_values_are_never_repeated(house: House) -> None:
    """A 422 names the fields and says nothing of what stood in them."""
    fields = {"phone": "555-SECRET", "email": "secret@", "postal_code": "SECRET", "first_name": {"x": "SECRET"}}
    status, problem, _ = await house.give({"fields": fields})
    assert status == 422
    assert "secret" not in str(problem).lower()
    assert len(problem["errors"]) == 4


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/xml"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/x-ndjson"}, 415),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
async def test_other_content_types_are_415(house: House, headers: dict[str, str], status: int) -> None:
    """Nothing is guessed and nothing is unpacked; the answer names what is taken."""
    how = {"data": orjson.dumps(LEAD), "headers": headers, "skip_auto_headers": ["Content-Type"]}
    seen, problem, _ = await house.ask("POST", "/v1/leads", token=SOURCE, **how)
    assert (seen, problem["code"]) == (415, "unsupported_media_type")
    assert house.nothing_stored()


async def test_a_body_over_the_limit_is_413_before_it_is_read(house: House) -> None:
    """A Content-Length over the limit is refused although no byte of the body was sent; chunked, once it is over."""
    head = f"POST /v1/leads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SOURCE}\r\nContent-Type: application/json\r\n"
    answer = await raw(house.intake, f"{head}Content-Length: 65537\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    status, problem, _ = await house.ask("POST", "/v1/leads", token=SOURCE, data=chunks(), headers=JSON)
    assert (status, problem["code"]) == (413, "too_large")
    assert house.nothing_stored()


async def test_a_body_without_a_length_is_411(house: House) -> None:
    """Neither Content-Length nor chunked."""
    head = f"POST /v1/leads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SOURCE}\r\nContent-Type: application/json\r\n"
    answer = await raw(house.intake, f"{head}Connection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 411 ")


async def test_a_chunked_body_is_taken(house: House) -> None:
    """A body in chunks needs no length."""

    async def chunks() -> AsyncIterator[bytes]:
        body = orjson.dumps(LEAD)
        yield body[:20]
        yield body[20:]

    assert (await house.ask("POST", "/v1/leads", token=SOURCE, data=chunks(), headers=JSON))[0] == 201


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", "Basic abc", "bearer"])
async def test_without_a_good_token_it_is_401(house: House, authorization: str | None) -> None:
    """A missing or wrong token: 401 with a challenge, and nothing is taken."""
    headers = JSON | ({"Authorization": authorization} if authorization else {})
    status, problem, answered = await house.ask("POST", "/v1/leads", data=orjson.dumps(LEAD), headers=headers)
    assert (status, problem["code"]) == (401, "unauthorized")
    assert answered["WWW-Authenticate"].startswith("Bearer")
    assert house.nothing_stored()


async def test_anothers_token_is_403(house: House) -> None:
    """A buyer's token gives no leads; an operator's opens nothing on intake."""
    assert (await house.give(LEAD, token=BUYER))[0] == 403
    assert (await house.give(LEAD, token=OPERATOR))[0] == 403
    assert (await house.ask("GET", "/v1/leads/x", token=OPERATOR))[0] == 403
    assert house.nothing_stored()


async def test_a_lead_type_that_the_source_may_not_send_is_403() -> None:
    """The type exists, but not for this source."""
    async with open_house(house_terms(source={"lead_types": ["roofing"]})) as house:
        status, problem, _ = await house.give(LEAD)
        assert (status, problem["code"]) == (403, "lead_type_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/leads", "POST"),
        ("PUT", "/v1/leads", "POST"),
        ("DELETE", "/v1/leads/x", "GET, HEAD"),
        ("OPTIONS", "/v1/leads:batch", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/v1/deliveries/x:resolve", "POST"),
    ],
)
async def test_other_methods_are_405_and_named(house: House, method: str, path: str, allow: str) -> None:
    """405 with Allow."""
    status, problem, headers = await house.ask(method, path, token=SOURCE)
    assert (status, problem["code"]) == (405, "method_not_allowed")
    assert headers["Allow"] == allow


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/v1", "/metrics", "/openapi.json", "/v1/contracts", "/v1/returns", "/readyz"]
)
async def test_other_addresses_are_404_problems(house: House, path: str) -> None:
    """What the intake listener does not serve, the admin listener's own routes among it."""
    status, problem, _ = await house.ask("GET", path, token=OPERATOR)
    assert (status, problem["code"]) == (404, "not_found")


async def test_health_needs_nothing(house: House) -> None:
    """GET and HEAD, no token."""
    assert (await house.ask("GET", "/healthz"))[:2] == (200, {"status": "ok"})
    async with house.client.head(house.intake + "/healthz") as answer:
        assert answer.status == 200


# -- refused for now -----------------------------------------------------------------------------


async def test_over_its_rate_a_source_is_told_when_to_come_again() -> None:
    """429 with Retry-After, and nothing is taken."""
    async with open_house(house_terms(source={"rate": {"leads": 1, "per": "hour", "burst": 2}})) as house:
        assert [(await house.give(LEAD))[0] for _ in range(3)] == [201, 201, 429]
        _, problem, headers = await house.give(LEAD)
        assert problem["code"] == "source_rate_limited"
        assert 0 < int(headers["Retry-After"]) <= 3600


async def test_a_source_at_its_cap_is_429() -> None:
    """A day cap of one."""
    async with open_house(house_terms(source={"caps": [{"per": "day", "limit": 1}]})) as house:
        assert (await house.give(LEAD))[0] == 201
        status, problem, headers = await house.give(LEAD)
        assert (status, problem["code"]) == (429, "source_cap_reached")
        assert "Retry-After" in headers


async def test_a_paused_source_is_403() -> None:
    """By its terms."""
    async with open_house(house_terms(source={"status": "paused"})) as house:
        status, problem, _ = await house.give(LEAD)
        assert (status, problem["code"]) == (403, "source_paused")
        assert house.nothing_stored()


async def test_a_full_disk_is_503_and_passes() -> None:
    """While the ledger cannot be written nothing is taken; with room again leads are."""
    ledger = MemoryLedger()
    async with open_house(ledger=ledger) as house:
        ledger.fill_disk()
        status, problem, headers = await house.give(LEAD)
        assert (status, problem["code"]) == (503, "ledger_unavailable")
        assert "Retry-After" in headers
        ledger.make_room()
        async with asyncio.timeout(5):
            while (await house.give(LEAD))[0] != 201:
                await asyncio.sleep(0.01)


async def test_a_draining_router_is_503(house: House) -> None:
    """Stopping: no new leads, single or batch; what was taken can still be asked for."""
    lead_id = (await house.give(LEAD))[1]["lead_id"]
    house.engine.draining = True
    status, problem, headers = await house.give(LEAD)
    assert (status, problem["code"]) == (503, "draining")
    assert "Retry-After" in headers
    how = {"data": orjson.dumps(LEAD), "headers": NDJSON}
    assert (await house.ask("POST", "/v1/leads:batch", token=SOURCE, **how))[0] == 503
    assert (await house.ask("GET", f"/v1/leads/{lead_id}", token=SOURCE))[0] == 200


# -- repeats -------------------------------------------------------------------------------------


async def bytes_of(house: House, lead: Any, **headers: str) -> tuple[int, bytes, Any]:
    """POST /v1/leads with these exact bytes -> status, exact body, headers."""
    sent = {"Authorization": f"Bearer {SOURCE}", **JSON, **headers}
    async with house.client.post(house.intake + "/v1/leads", data=orjson.dumps(lead), headers=sent) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_a_repeat_gets_the_stored_answer_byte_for_byte(house: House) -> None:
    """Same key, same bytes: the same answer, marked as replayed; one lead, one delivery. Quotes are not part of it."""
    status, body, headers = await bytes_of(house, LEAD, **{"Idempotency-Key": "k-1"})
    assert status == 201
    assert "Idempotent-Replayed" not in headers
    for key in ("k-1", '"k-1"'):
        again = await bytes_of(house, LEAD, **{"Idempotency-Key": key})
        assert again[:2] == (status, body)
        assert again[2]["Idempotent-Replayed"] == "true"
    assert len(house.transport.sent) == 1


async def test_a_key_with_another_body_is_422(house: House) -> None:
    """The key was used; whatever else the body says is not looked at."""
    await bytes_of(house, LEAD, **{"Idempotency-Key": "k"})
    status, body, _ = await bytes_of(house, LEAD | {"external_id": "other"}, **{"Idempotency-Key": "k"})
    assert (status, orjson.loads(body)["code"]) == (422, "idempotency_key_reused")


async def test_while_the_first_is_worked_on_a_repeat_is_409() -> None:
    """The same request meanwhile: 409 with Retry-After; another body: 422; afterwards the stored answer."""
    gate = Gate()
    async with open_house(buyers=gate) as house:
        first = asyncio.ensure_future(bytes_of(house, LEAD, **{"Idempotency-Key": "k"}))
        await gate.asked.wait()
        status, body, headers = await bytes_of(house, LEAD, **{"Idempotency-Key": "k"})
        assert (status, orjson.loads(body)["code"]) == (409, "idempotency_key_in_use")
        assert headers["Retry-After"]
        assert (await bytes_of(house, LEAD | {"external_id": "x"}, **{"Idempotency-Key": "k"}))[0] == 422
        gate.open.set()
        assert (await bytes_of(house, LEAD, **{"Idempotency-Key": "k"}))[:2] == (await first)[:2]
        assert len(house.transport.sent) == 1


async def test_a_refused_request_does_not_use_up_its_key(house: House) -> None:
    """422, then the mended lead under the same key is taken."""
    assert (await bytes_of(house, {"fields": {}}, **{"Idempotency-Key": "k"}))[0] == 422
    assert (await bytes_of(house, LEAD, **{"Idempotency-Key": "k"}))[0] == 201


async def test_a_client_that_hangs_up_finds_its_answer_later() -> None:
    """The lead goes on; the repeat gets the answer that nobody read."""
    gate = Gate()
    async with open_house(buyers=gate) as house:
        first = asyncio.ensure_future(bytes_of(house, LEAD, **{"Idempotency-Key": "k"}))
        await gate.asked.wait()
        first.cancel()
        await asyncio.wait([first])
        gate.open.set()
        async with asyncio.timeout(5):
            while (answer := await bytes_of(house, LEAD, **{"Idempotency-Key": "k"}))[0] == 409:
                await asyncio.sleep(0.01)
        assert orjson.loads(answer[1])["status"] == "sold"
        assert answer[2]["Idempotent-Replayed"] == "true"
        assert len(house.transport.sent) == 1


async def test_after_a_crash_the_present_answer_is_given_and_kept() -> None:
    """A lead whose answer was never stored: the repeat gets how it stands, and every later one the same bytes."""
    ledger = MemoryLedger()
    async with open_house(ledger=ledger) as house:
        status, body, _ = await bytes_of(house, LEAD, **{"Idempotency-Key": "k"})
        ledger._answers.clear()  # what a crash between the lead's commit and its answer leaves
        first = await bytes_of(house, LEAD, **{"Idempotency-Key": "k"})
        second = await bytes_of(house, LEAD, **{"Idempotency-Key": "k"})
        assert first[:2] == second[:2] == (status, body)
        assert "Idempotent-Replayed" not in first[2]
        assert second[2]["Idempotent-Replayed"] == "true"


async def test_a_source_may_be_required_to_send_keys() -> None:
    """Without one: 400, single and batch."""
    async with open_house(house_terms(source={"idempotency": "required"})) as house:
        status, problem, _ = await house.give(LEAD)
        assert (status, problem["code"]) == (400, "idempotency_key_required")
        how = {"data": orjson.dumps(LEAD), "headers": NDJSON}
        assert (await house.ask("POST", "/v1/leads:batch", token=SOURCE, **how))[0] == 400
        assert (await house.give(LEAD, headers={"Idempotency-Key": "k"}))[0] == 201


async def test_two_key_lines_are_400(house: House) -> None:
    """One header line, not several, even with the same key."""
    body = orjson.dumps(LEAD)
    answer = await raw(
        house.intake,
        b"POST /v1/leads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: a\r\nIdempotency-Key: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
        % (SOURCE.encode(), len(body), body),
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert house.nothing_stored()


async def test_the_same_external_id_is_the_same_lead() -> None:
    """Without a key: no second lead, the first one's present state is the answer; 202 while it is on its way."""
    gate = Gate()
    async with open_house(buyers=gate) as house:
        lead = LEAD | {"external_id": "a-1"}
        first = asyncio.ensure_future(house.give(lead))
        await gate.asked.wait()
        status, meanwhile, _ = await house.give(lead)
        assert (status, meanwhile["status"]) == (202, "routing")
        gate.open.set()
        done = (await first)[1]
        status, later, _ = await house.give(lead)
        assert (status, later) == (201, done)
        assert meanwhile["lead_id"] == done["lead_id"]
        assert len(house.transport.sent) == 1


async def test_external_ids_at_the_same_moment_are_one_lead(house: House) -> None:
    """Twenty at once: one lead."""
    answers = await asyncio.gather(*(house.give(LEAD | {"external_id": "same"}) for _ in range(20)))
    assert {body["lead_id"] for _, body, _ in answers} == {answers[0][1]["lead_id"]}
    assert len(house.transport.sent) == 1


class SlowDisk(MemoryLedger):
    """A ledger whose writes are durable only when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self._held: list[tuple[asyncio.Future[int], asyncio.Future[int]]] = []

    def append(self, entries: Sequence[Entry], *, keep: bool = False) -> asyncio.Future[int]:
        """As ever, but the caller hears later."""
        written = super().append(entries, keep=keep)
        if not self.slow:
            return written
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._held.append((told, written))
        return told

    def sync(self) -> None:
        """All of it is durable."""
        self.slow = False
        for told, written in self._held:
            told.set_result(written.result())


async def test_nobody_hears_of_a_lead_that_is_not_durable() -> None:
    """While the first request's lead is being written, neither it nor a repeat by external id is answered."""
    ledger = SlowDisk()
    async with open_house(ledger=ledger) as house:
        ledger.slow = True
        first = asyncio.ensure_future(house.give(LEAD | {"external_id": "a-1"}))
        async with asyncio.timeout(5):
            while house.engine.known_external_id("web", "a-1") is None:
                await asyncio.sleep(0)
        second = asyncio.ensure_future(house.give(LEAD | {"external_id": "a-1"}))
        answered, _ = await asyncio.wait([first, second], timeout=0.2)
        assert not answered
        ledger.sync()
        assert (await first)[1]["lead_id"] == (await second)[1]["lead_id"]


# -- batches -------------------------------------------------------------------------------------


def decoded(body: bytes) -> list[dict[str, Any]]:
    """The lines of an answer."""
    return [orjson.loads(line) for line in body.splitlines()]


async def batch(house: House, body: Any, **headers: str) -> list[dict[str, Any]]:
    """POST /v1/leads:batch -> the lines of its answer."""
    status, answer, headers_seen = await house.ask(
        "POST", "/v1/leads:batch", token=SOURCE, data=body, headers=NDJSON | headers
    )
    assert status == 200
    assert headers_seen["Content-Type"] == "application/x-ndjson"
    return decoded(answer)


async def test_a_batch_answers_line_by_line_in_order(house: House) -> None:
    """Good and bad lines mixed: each gets the single answer or a problem, with its line and status, in order."""
    good = orjson.dumps(LEAD)
    body = b"\n".join([good, b"nonsense", b"", good, b"{" + b" " * 70_000 + b"}", b'{"fields": {}}', good])
    lines = await batch(house, body)
    assert [(line["line"], line["status_code"]) for line in lines] == [
        (1, 201), (2, 400), (4, 201), (5, 413), (6, 422), (7, 201),
    ]  # fmt: skip
    assert lines[0].keys() == ANSWER | {"line", "status_code"}
    assert lines[1]["status"] == 400
    assert lines[1]["code"] == "not_json"
    assert lines[4]["errors"][0]["field"] == "fields.postal_code"


async def test_a_batch_keeps_its_order_whatever_ends_first() -> None:
    """The first lead's buyer is the slowest; its line still comes first."""

    async def backwards(lane: str, request: HttpRequest) -> HttpResponse:
        body = orjson.loads(request.body)
        await asyncio.sleep(0.2 if body["zip"] == "78701" else 0)
        return said({"status": "accepted"})

    async with open_house(buyers=backwards) as house:
        codes = ["78701", "78702", "78703"]
        leads = [{"external_id": code, "fields": {"postal_code": code}} for code in codes]
        lines = await batch(house, b"\n".join(orjson.dumps(lead) for lead in leads))
        order = [house.engine.known_external_id("web", code) for code in codes]
        assert [line["lead_id"] for line in lines] == order
        assert {line["status"] for line in lines} == {"sold"}


async def test_a_batch_is_answered_while_it_is_being_sent(house: House) -> None:
    """The first answer can be read before the second line is sent."""
    first_read = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield orjson.dumps(LEAD) + b"\n"
        await first_read.wait()
        yield orjson.dumps(LEAD)

    headers = {"Authorization": f"Bearer {SOURCE}", **NDJSON}
    async with house.client.post(house.intake + "/v1/leads:batch", data=lines(), headers=headers) as answer:
        assert orjson.loads(await answer.content.readline())["line"] == 1
        first_read.set()
        assert orjson.loads(await answer.content.readline())["line"] == 2


async def test_a_batch_of_ten_thousand_lines_and_no_more(house: House) -> None:
    """Ten thousand are taken; the line after them is refused, and nothing behind it is read."""
    line = b'{"fields":{"postal_code":"7870"}}\n'  # refused quickly: this is about the lines
    lines = await batch(house, line * 10_002)
    assert len(lines) == 10_001
    assert {one["status_code"] for one in lines[:10_000]} == {422}
    assert (lines[-1]["line"], lines[-1]["status_code"]) == (10_001, 413)


async def test_a_client_that_reads_nothing_until_all_is_sent_is_served(house: House) -> None:
    """Thousands of answers do not keep the rest of the leads from being read."""
    body = b'{"fields":{"postal_code":"7870"}}\n' * 9_000
    head = (
        f"POST /v1/leads:batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SOURCE}\r\nConnection: close\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with asyncio.timeout(30):
        answer = await raw(house.intake, head.encode() + body)
    assert answer.count(b'"status_code":422') == 9_000


async def test_a_batch_over_the_rate_is_refused_line_by_line() -> None:
    """Lines over the source's rate: 429 with retry_after, the ones before are taken."""
    async with open_house(house_terms(source={"rate": {"leads": 1, "per": "hour", "burst": 2}})) as house:
        lines = await batch(house, (orjson.dumps(LEAD) + b"\n") * 3)
        assert [line["status_code"] for line in lines] == [201, 201, 429]
        assert lines[2]["retry_after"] > 0


async def test_a_batch_with_a_key_can_be_repeated_whole(house: House) -> None:
    """Each line has a key of its own made of the batch's: a repeat takes nothing twice and gets the same answers."""
    body = b"\n".join(orjson.dumps(LEAD) for _ in range(5))
    first = await batch(house, body, **{"Idempotency-Key": "b-1"})
    again = await batch(house, body, **{"Idempotency-Key": "b-1"})
    assert first == again
    assert len({line["lead_id"] for line in first}) == 5
    assert len(house.transport.sent) == 5


async def test_a_batch_that_breaks_off_takes_whole_lines_only(house: House) -> None:
    """The client dies in the second line: the first lead is taken, what may be half a line is not."""
    line = orjson.dumps(LEAD | {"external_id": "one"})
    half = orjson.dumps(LEAD | {"external_id": "two"})
    head = (
        f"POST /v1/leads:batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SOURCE}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(line) + len(half) + 9}\r\n\r\n"
    )
    host, port = house.intake.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + line + b"\n" + half)
    assert b'"line":1' in await reader.readuntil(b'"line":1')
    writer.transport.abort()
    assert (await house.give(LEAD | {"external_id": "one"}))[1]["status"] == "sold"
    assert house.engine.known_external_id("web", "two") is None


# -- buyers --------------------------------------------------------------------------------------


def doubtful_terms() -> Any:
    """Two buyers with tokens; the first one's endpoint leaves doubts to be resolved by hand."""
    endpoint = {"in_doubt_resolves": None}
    first = factory.buyer(
        "bright", factory.contract("bright-tx"), endpoint=endpoint, token_sha256=[digest(BUYER)], permissions=["pause"]
    )
    second = factory.buyer("dim", factory.contract("dim-tx", price="1.00"), token_sha256=[digest(OTHER_BUYER)])
    del first["endpoints"]["crm"]["in_doubt_resolves"]
    return house_terms(first, second)


async def unclear(lane: str, request: HttpRequest) -> HttpResponse:
    """A buyer whose words nobody understands."""
    return said({"status": "hm"}) if lane == "bright" else await accepting(lane, request)


async def test_a_buyer_sees_and_resolves_its_own_doubts() -> None:
    """Its deliveries only; a second resolution is 409; a stranger's is 404; accepted means the lead is sold."""
    async with open_house(doubtful_terms(), buyers=unclear) as house:
        lead_id = (await house.give(LEAD))[1]["lead_id"]
        status, body, _ = await house.ask("GET", "/v1/deliveries", token=BUYER)
        (delivery,) = body["deliveries"]
        assert (status, delivery["contract_id"], delivery["outcome"]) == (200, "bright-tx", "in_doubt")
        assert (await house.ask("GET", "/v1/deliveries", token=OTHER_BUYER))[1] == {"deliveries": []}
        path = f"/v1/deliveries/{delivery['delivery_id']}:resolve"
        outcome = {"json": {"outcome": "accepted"}}
        assert (await house.ask("POST", path, token=OTHER_BUYER, **outcome))[0] == 404
        assert (await house.ask("POST", path, token=BUYER, json={"outcome": "perhaps"}))[0] == 422
        assert (await house.ask("POST", path, token=BUYER, **outcome))[0] == 200
        assert (await house.ask("POST", path, token=BUYER, **outcome))[0] == 409
        assert (await house.ask("POST", "/v1/deliveries/none:resolve", token=BUYER, **outcome))[0] == 404
        assert (await house.ask("GET", f"/v1/leads/{lead_id}", token=SOURCE))[1]["status"] == "sold"
        assert (await house.ask("GET", "/v1/deliveries", token=BUYER))[1]["deliveries"][0]["outcome"] == "accepted"


async def test_deliveries_since_then() -> None:
    """`since` leaves out what is older; what is no instant is 400, as is a parameter nobody knows."""
    async with open_house() as house:
        await house.give(LEAD)
        for since, count in (
            ("2020-01-01T00:00:00Z", 1),
            ("2100-01-01T00:00:00Z", 0),
            ("2020-01-01T00:00:00%2B02:00", 1),
        ):
            _, body, _ = await house.ask("GET", f"/v1/deliveries?since={since}", token=BUYER)
            assert len(body["deliveries"]) == count
        for query in ("since=yesterday", "until=2020-01-01T00:00:00Z", "since=2020-01-01T00:00:00Z&since=x"):
            status, problem, _ = await house.ask("GET", f"/v1/deliveries?{query}", token=BUYER)
            assert (status, problem["code"]) == (400, "bad_parameter")


async def test_a_buyer_pauses_and_resumes_its_own_contracts() -> None:
    """With the permission: its own; another's is 404; without the permission 403; what we paused it cannot resume."""
    async with open_house(doubtful_terms()) as house:
        reason = {"json": {"reason": "holiday"}}
        assert (await house.ask("POST", "/v1/contracts/bright-tx:pause", token=BUYER, **reason))[0] == 200
        assert house.proof.contract("bright-tx")["paused"] is True  # type: ignore[index]
        assert (await house.ask("POST", "/v1/contracts/bright-tx:resume", token=BUYER))[1]["resumed"] is True
        assert (await house.ask("POST", "/v1/contracts/dim-tx:pause", token=BUYER, **reason))[0] == 404
        assert (await house.ask("POST", "/v1/contracts/none:pause", token=BUYER, **reason))[0] == 404
        assert (await house.ask("POST", "/v1/contracts/dim-tx:pause", token=OTHER_BUYER, **reason))[0] == 403
        await house.controls.pause("contract", "bright-tx", reason="ours", by="operator:oscar")
        assert (await house.ask("POST", "/v1/contracts/bright-tx:resume", token=BUYER))[0] == 403
