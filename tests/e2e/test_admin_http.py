"""The admin listener over real sockets and a real engine: what operators see and do, and who may not."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from msgspec import json, structs

from router.model.delivery import HttpRequest, HttpResponse
from router.model.facts import Deposited, Paused, Resumed, Settled, Suppressed
from router.terms.candidate import Candidate
from router.terms.problems import Problem
from router.web.routes import ADMIN as ADMIN_ONLY
from router.web.routes import ROUTES, Route
from tests import factory
from tests.e2e.house import (
    ADMIN,
    AUDITOR,
    BUYER,
    LEAD,
    OPERATOR,
    SOURCE,
    House,
    accepting,
    digest,
    house_terms,
    open_house,
    said,
)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house whose one buyer takes everything."""
    async with open_house() as opened:
        yield opened


async def get(house: House, path: str, token: str | None = AUDITOR) -> Any:
    """GET on the admin listener that must be 200 -> its JSON."""
    status, body, _ = await house.ask("GET", path, token=token, admin=True)
    assert status == 200, body
    return body


async def post(house: House, path: str, token: str = OPERATOR, **how: Any) -> tuple[int, Any]:
    """POST on the admin listener -> status and JSON."""
    status, body, _ = await house.ask("POST", path, token=token, admin=True, **how)
    return status, body


async def facts(house: House, kind: type) -> list[Any]:
    """Every fact of one kind, in order."""
    return [
        entry.fact async for part in house.ledger.facts_after(0) for _, entry in part if isinstance(entry.fact, kind)
    ]


async def test_reports_are_asked_for_by_name(house: House) -> None:
    """`since` is handed on as an instant; what is no instant is 400."""
    assert await get(house, "/v1/reports/near-misses") == {"report": "near-misses", "since": None}
    assert await get(house, "/v1/reports/coverage?since=1970-01-01T00:00:01Z") == {"report": "coverage", "since": 10**9}
    status, body, _ = await house.ask("GET", "/v1/reports/acceptance?since=monday", token=AUDITOR, admin=True)
    assert (status, body["code"]) == (400, "bad_parameter")


# -- who may -------------------------------------------------------------------------------------

GUARDED = [route for route in ROUTES if route.allowed is not None]


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_asks_who_is_there(house: House, route: Route) -> None:
    """Without a token 401; with one of a role that is not enough 403, whatever is sent with it."""
    path = route.path.replace("{id}", "x")
    assert (await house.ask(route.method, path, admin=True))[0] == 401
    assert (await house.ask(route.method, path, token="wrong", admin=True))[0] == 401
    assert route.allowed is not None
    for token, who in ((SOURCE, "source"), (BUYER, "buyer"), (AUDITOR, "auditor"), (OPERATOR, "operator")):
        holds = {"operator": {"operator", "auditor"}}.get(who, {who})
        if not holds & route.allowed:
            status, problem, _ = await house.ask(route.method, path, token=token, admin=True)
            assert (status, problem["code"]) == (403, "forbidden"), who


def test_terms_and_money_are_for_admins() -> None:
    """An operator acts, an auditor reads; changing terms and booking money is an admin's."""
    assert {route.handler for route in ROUTES if route.allowed == ADMIN_ONLY} == {
        "reload_terms", "deposit", "put_buyer", "get_terms_version",
    }  # fmt: skip
    assert all(route.method == "GET" or route.handler == "explain" for route in GUARDED if _allows(route, "auditor"))


def _allows(route: Route, who: str) -> bool:
    return route.allowed is not None and who in route.allowed


async def test_with_no_operators_nobody_gets_in_but_the_open_routes_stay_open() -> None:
    """401 says how to add one; readiness, metrics and documents need no token."""
    async with open_house(house_terms(router={"operators": {}})) as house:
        status, problem, _ = await house.ask("GET", "/v1/contracts", token=ADMIN, admin=True)
        assert status == 401
        assert "token new" in problem["detail"]
        for path in ("/", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs"):
            assert (await house.ask("GET", path, admin=True))[0] == 200, path


async def test_a_source_may_give_and_see_its_leads_here_too(house: House) -> None:
    """POST /v1/leads takes a source's token on the admin listener; its GET shows the source's own view."""
    status, body, _ = await house.ask("POST", "/v1/leads", token=SOURCE, json=LEAD, admin=True)
    assert (status, body["status"]) == (201, "sold")
    status, view, _ = await house.ask("GET", f"/v1/leads/{body['lead_id']}", token=SOURCE, admin=True)
    assert view == body
    assert (await post(house, "/v1/leads", token=ADMIN, json=LEAD))[0] == 403


# -- open ----------------------------------------------------------------------------------------


async def test_ready_says_why_not(house: House) -> None:
    """200 while leads are taken; 503 with a reason while the disk is full, and while stopping."""
    assert (await house.ask("GET", "/readyz", admin=True))[:2] == (
        200,
        {"ready": True, "reasons": [], "terms_version": house.engine.book.version},
    )
    house.ledger.fill_disk()
    status, body, _ = await house.ask("GET", "/readyz", admin=True)
    assert (status, body["ready"]) == (503, False)
    assert "no room" in body["reasons"][0]
    house.ledger.make_room()
    house.engine.draining = True
    assert (await house.ask("GET", "/readyz", admin=True))[1]["reasons"] == ["stopping: no new leads are taken"]


async def test_metrics_are_prometheus_text(house: House) -> None:
    """With the problems that were answered."""
    await house.give({"fields": {}})
    status, body, headers = await house.ask("GET", "/metrics", admin=True)
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b'lead_router_refused_total{code="lead_invalid"} 1.0' in body
    assert b"lead_router_ready 1.0" in body


async def test_the_document_is_served(house: House) -> None:
    """OpenAPI 3.1, both listeners in one."""
    body = await get(house, "/openapi.json", token=None)
    assert body["openapi"].startswith("3.1")
    assert "/v1/leads" in body["paths"]


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_are_whole_in_themselves(house: House, path: str) -> None:
    """Nothing is loaded from anywhere else, and the policy says so; its hashes are those of what stands in the page."""
    status, body, headers = await house.ask("GET", path, admin=True)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for outside in (b"http://", b"https://", b"//cdn", b"@import", b"url("):
        assert outside not in body.replace(b"https://cert.trustedform.com", b"").replace(b"http://127.0.0.1", b"")


# -- seeing --------------------------------------------------------------------------------------


async def test_status_counts(house: House) -> None:
    """What stands and what was counted."""
    house.engine.on_ended = lambda view: house.metrics.lead_ended(view.source_id, view.status)
    await house.give(LEAD)
    body = await get(house, "/v1/status")
    assert body["ready"] is True
    assert body["since_start"]["leads"] == {"sold": 1}
    assert body["now"] == {"open_leads": {}, "in_flight": 0, "in_doubt": 0, "waiting": 0}
    assert body["terms"]["version"] == house.engine.book.version


async def test_an_operator_sees_everything_about_a_lead(house: House) -> None:
    """GET /v1/leads/{id} and …/trace: decisions, deliveries with attempts and what allowed them."""
    lead_id = (await house.give(LEAD))[1]["lead_id"]
    trace = await get(house, f"/v1/leads/{lead_id}/trace")
    assert trace == await get(house, f"/v1/leads/{lead_id}")
    assert (trace["lead_id"], trace["status"], trace["source_id"]) == (lead_id, "sold", "web")
    (decision,) = trace["decisions"]
    assert decision["terms_version"] == house.engine.book.version
    assert decision["winners"] == ["bright-tx"]
    (delivery,) = trace["deliveries"]
    assert (delivery["contract_id"], delivery["buyer_id"], delivery["outcome"]) == ("bright-tx", "bright", "accepted")
    assert delivery["allowed_by"]
    assert delivery["attempts"][0]["status"] == 200
    one = await get(house, f"/v1/leads/{lead_id}/trace?contract=bright-tx")
    assert [each["contract_id"] for each in one["deliveries"]] == ["bright-tx"]
    assert (await house.ask("GET", "/v1/leads/none", token=AUDITOR, admin=True))[0] == 404
    assert (await house.ask("GET", f"/v1/leads/{lead_id}/trace?contract=none", token=AUDITOR, admin=True))[0] == 404


async def test_search_finds_by_everything_and_pages(house: House) -> None:
    """Phone in any form, e-mail without case, source, status, since; a cursor leads to the next page."""
    for n in range(5):
        await house.give({"external_id": str(n), "fields": {"phone": f"512555014{n}", "postal_code": "78701"}})
    await house.give({"external_id": "mail", "fields": {"email": "Ana@Example.com", "postal_code": "78701"}})

    async def found(query: str) -> list[str]:
        return [lead["external_id"] for lead in (await get(house, f"/v1/leads?{query}"))["leads"]]

    assert await found("phone=(512)+555-0142") == ["2"]
    assert await found("phone=%2B15125550142") == ["2"]
    assert await found("email=ANA@example.COM") == ["mail"]
    assert await found("source=web&status=sold&since=2020-01-01T00:00:00Z") == ["mail", "4", "3", "2", "1", "0"]
    assert await found("status=unsold") == []
    assert await found("source=nobody") == []
    page = await get(house, "/v1/leads?limit=4")
    assert len(page["leads"]) == 4
    rest = await get(house, f"/v1/leads?limit=4&cursor={page['next_cursor']}")
    assert [lead["external_id"] for lead in page["leads"] + rest["leads"]] == ["mail", "4", "3", "2", "1", "0"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "query",
    ["phone=12", "email=nobody", "status=gone", "since=yesterday", "limit=0", "limit=x", "limit=999999", "cursor=x",
     "nonsense=1", "status=sold&status=sold"],
)  # fmt: skip
async def test_a_search_that_cannot_be_meant_is_400(house: House, query: str) -> None:
    """Each names the parameter and repeats no value."""
    status, problem, _ = await house.ask("GET", f"/v1/leads?{query}", token=AUDITOR, admin=True)
    assert (status, problem["code"]) == (400, "bad_parameter")


async def test_contracts_show_terms_and_live_state() -> None:
    """All of them, one of them, and a cap with used, held, limit and resets_at."""
    terms = house_terms(factory.buyer("bright", factory.contract("bright-tx", caps=[{"per": "day", "limit": 5}])))
    async with open_house(terms) as house:
        await house.give(LEAD)
        (listed,) = (await get(house, "/v1/contracts"))["contracts"]
        contract = await get(house, "/v1/contracts/bright-tx")
        assert listed == contract
        (cap,) = contract["caps"]
        assert (cap["per"], cap["window"], cap["limit"], cap["used"], cap["held"]) == ("day", "calendar", 5, 1, 0)
        assert cap["resets_at"].endswith("Z")
        assert contract.keys() >= {"buyer_id", "status", "paused", "ramp", "guards", "breaker", "in_flight"}
        assert (await house.ask("GET", "/v1/contracts/none", token=AUDITOR, admin=True))[0] == 404


async def test_explain_decides_and_changes_nothing(house: House) -> None:
    """Every contract with its failures; the same 422 for an invalid lead; nothing recorded, nobody asked."""
    before = house.ledger.head_seq
    status, decision = await post(house, "/v1/explain", token=AUDITOR, json=LEAD | {"source_id": "web"})
    assert status == 200
    assert decision.keys() >= {"terms_version", "decided_at", "refusals", "ranking", "winners"}
    assert decision["winners"] == ["bright-tx"]
    form = {"data": "source_id=web&postal_code=78701", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    assert (await post(house, "/v1/explain", token=AUDITOR, **form))[0] == 200
    status, problem = await post(house, "/v1/explain", token=AUDITOR, json={"source_id": "web", "fields": {}})
    assert (status, problem["code"]) == (422, "lead_invalid")
    for source in ({}, {"source_id": "nobody"}, {"source_id": 7}):
        status, problem = await post(house, "/v1/explain", token=AUDITOR, json=LEAD | source)
        assert (status, problem["errors"][0]["field"]) == (422, "source_id")
    assert house.ledger.head_seq == before
    assert house.nothing_stored()
    assert not house.transport.sent


# -- acting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [("contract", "bright-tx"), ("buyer", "bright"), ("source", "web")])
async def test_pause_and_resume_are_recorded_with_who_did_it(house: House, kind: str, name: str) -> None:
    """`operator:NAME` stands in the facts; what is paused gets no leads, or gives none."""
    status, body = await post(
        house, f"/v1/{kind}s/{name}:pause", json={"reason": "audit", "until": "2100-01-01T00:00:00Z"}
    )
    assert status == 200
    assert body == {f"{kind}_id": name, "paused": True, "reason": "audit", "until": "2100-01-01T00:00:00Z"}
    (fact,) = await facts(house, Paused)
    assert (fact.subject, fact.id, fact.reason, fact.by) == (kind, name, "audit", "operator:oscar")
    status, answer, _ = await house.give(LEAD)
    assert (status, answer.get("code")) == (403, "source_paused") if kind == "source" else answer["status"] == "unsold"
    status, body = await post(house, f"/v1/{kind}s/{name}:resume", json={})
    assert (status, body["resumed"]) == (200, True)
    assert [fact.by for fact in await facts(house, Resumed)] == ["operator:oscar"]
    assert (await post(house, f"/v1/{kind}s/{name}:resume"))[1]["resumed"] is False
    assert (await house.give(LEAD))[0] == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2001-01-01T00:00:00Z"}, "until"),
        ({"until": "soon"}, "until"),
        ({"reason": 7}, "reason"),
        ({"raeson": "typo"}, ""),
        ({"reason": "a\u0007b"}, "reason"),
    ],
)
async def test_a_pause_that_cannot_be_meant_is_422(house: House, body: dict[str, Any], field: str) -> None:
    """A past or unreadable end, a wrong type, an unknown key, a control character."""
    status, problem = await post(house, "/v1/contracts/bright-tx:pause", json=body)
    assert status == 422
    assert field in problem["errors"][0]["field"]
    assert await facts(house, Paused) == []


@pytest.mark.parametrize("kind", ["contract", "buyer", "source"])
async def test_what_is_not_there_cannot_be_paused(house: House, kind: str) -> None:
    """404."""
    for verb in ("pause", "resume"):
        assert (await post(house, f"/v1/{kind}s/nobody:{verb}"))[0] == 404


async def doubtful(lane: str, request: HttpRequest) -> HttpResponse:
    """A buyer whose words nobody understands."""
    return said({"status": "hm"})


def doubtful_terms() -> Any:
    """An endpoint that leaves doubts to be resolved by hand."""
    buyer = factory.buyer("bright", factory.contract("bright-tx"), token_sha256=[digest(BUYER)])
    del buyer["endpoints"]["crm"]["in_doubt_resolves"]
    return house_terms(buyer)


async def test_an_operator_resolves_a_doubt_once() -> None:
    """Rejected: the lead ends unsold; a second time is 409; who did it stands in the facts."""
    async with open_house(doubtful_terms(), buyers=doubtful) as house:
        body = (await house.give(LEAD))[1]
        assert body["status"] == "in_doubt"
        delivery_id = (await get(house, f"/v1/leads/{body['lead_id']}"))["deliveries"][0]["delivery_id"]
        assert (await post(house, f"/v1/leads/{body['lead_id']}:reroute"))[0] == 409
        path = f"/v1/deliveries/{delivery_id}:resolve"
        assert await post(house, path, json={"outcome": "rejected"}) == (
            200,
            {"delivery_id": delivery_id, "outcome": "rejected"},
        )
        assert (await post(house, path, json={"outcome": "accepted"}))[0] == 409
        assert [fact.by for fact in await facts(house, Settled) if fact.by] == ["operator:oscar"]
        assert (await house.ask("GET", f"/v1/leads/{body['lead_id']}", token=SOURCE))[1]["status"] == "unsold"


async def test_reroute_runs_an_unsold_lead_again() -> None:
    """Declined, then rerouted to a buyer that now takes it; once sold it is 409; an unknown one 404."""
    answers = iter([said({"status": "rejected"})])

    async def once_no(lane: str, request: HttpRequest) -> HttpResponse:
        return next(answers, None) or await accepting(lane, request)

    terms = house_terms(
        factory.buyer("bright", factory.contract("bright-tx", price="9.00")),
        factory.buyer("dim", factory.contract("dim-tx")),
    )
    async with open_house(terms, buyers=once_no) as house:
        await house.controls.pause("contract", "bright-tx", reason="later", by="operator:oscar")
        lead_id = (await house.give(LEAD))[1]["lead_id"]
        await house.controls.resume("contract", "bright-tx", by="operator:oscar")
        assert (await post(house, f"/v1/leads/{lead_id}:reroute"))[0] == 200
        assert (await house.engine.settled(lead_id, 5)).status == "sold"
        assert (await post(house, f"/v1/leads/{lead_id}:reroute"))[0] == 409
        assert (await post(house, "/v1/leads/none:reroute"))[0] == 404


PAUSE = "/v1/contracts/bright-tx:pause"


@pytest.mark.parametrize(
    ("path", "body", "faults"),
    [
        (PAUSE, {"raeson": "x", "until": 5}, [("raeson", "unknown_field"), ("until", "invalid")]),
        (PAUSE, {"a\u2028b": 1}, [("a\ufffdb", "unknown_field")]),
        ("/v1/deliveries/x:resolve", {"outcome": "maybe"}, [("outcome", "invalid")]),
        ("/v1/deliveries/x:resolve", {}, [("outcome", "required")]),
        ("/v1/wallets/bright:deposit", {"amount": 5}, [("amount", "invalid"), ("reference", "required")]),
        ("/v1/suppressions", {}, [("phone", "required")]),
        ("/v1/suppressions", {"phone": "maybe", "email": "maybe"}, [("phone", "invalid"), ("email", "invalid")]),
        ("/v1/suppressions", {"phone": 5, "fax": "x"}, [("fax", "unknown_field"), ("phone", "invalid")]),
        ("/v1/terms:reload", {"force": True}, [("force", "unknown_field")]),
    ],
)  # fmt: skip
async def test_a_small_body_that_does_not_fit_names_every_key_at_fault(
    house: House, path: str, body: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    """Unknown, missing and of another kind, all at once, with a detail; and no value comes back."""
    status, problem, _ = await house.ask("POST", path, token=ADMIN, admin=True, json=body)
    assert (status, problem["code"]) == (422, "invalid")
    assert [(at["field"], at["code"]) for at in problem["errors"]] == faults
    assert problem["detail"]
    assert "maybe" not in str(problem)


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/leads"), ("PUT", "/healthz"), ("POST", "/v1/terms")])
async def test_another_method_is_told_which_there_are(house: House, method: str, path: str) -> None:
    """405 with Allow, and a detail that says the same."""
    status, problem, headers = await house.ask(method, path, token=ADMIN, admin=True)
    assert (status, problem["code"]) == (405, "method_not_allowed")
    assert headers["Allow"] in problem["detail"]


async def test_terms_are_reloaded_whole_or_not_at_all() -> None:
    """Good terms: in force at once, with a new version; bad ones: 422 that names file and key, and nothing changes."""
    now = house_terms()
    better = house_terms(source={"reply": "accepted"})
    bad = Problem("buyers/x.toml", "contracts[0].price", "is not money", 'Write "9.50"')
    on_disk = [
        Candidate(terms=None, problems=(bad,), secrets={}),
        Candidate(terms=None, problems=(bad,), secrets={}),
        Candidate(terms=better, problems=(structs.replace(bad, severity="warning"),), secrets={}),
        Candidate(terms=better, problems=(), secrets={}),
    ]
    async with open_house(now, next_terms=lambda: on_disk.pop(0)) as house:
        before = await get(house, "/v1/terms")
        assert before.keys() == {"version", "loaded_at"}
        status, checked = await post(house, "/v1/terms:check")
        assert (status, checked["ok"]) == (200, False)
        assert checked["problems"][0]["mend"] == 'Write "9.50"'
        status, problem = await post(house, "/v1/terms:reload", token=ADMIN)
        assert (status, problem["code"]) == (422, "terms_invalid")
        assert problem["errors"][0]["field"] == "buyers/x.toml: contracts[0].price"
        assert await get(house, "/v1/terms") == before
        status, body = await post(house, "/v1/terms:reload", token=ADMIN, json={})
        assert (status, body["changed"], body["problems"][0]["severity"]) == (200, True, "warning")
        assert (await get(house, "/v1/terms"))["version"] == body["version"] != before["version"]
        assert (await post(house, "/v1/terms:check"))[1]["ok"] is True


async def test_later_routes_are_not_there_yet(house: House) -> None:
    """404, for an admin too."""
    for method, path in (
        ("GET", "/v1/returns"), ("GET", "/v1/invoices"),
    ):  # fmt: skip
        assert (await house.ask(method, path, token=ADMIN, admin=True))[0] == 404, path


async def test_an_answer_is_json_with_the_right_length_for_head(house: House) -> None:
    """HEAD is GET without the body."""
    headers = {"Authorization": f"Bearer {AUDITOR}"}
    async with house.client.head(house.admin + "/v1/terms", headers=headers) as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) == len(orjson.dumps(await get(house, "/v1/terms")))


async def test_a_suppressed_person_is_sent_to_nobody_from_then_on() -> None:
    """By phone or e-mail as people write them; the source is told `unsold`, the operator why, and no value is kept."""
    async with open_house(house_terms(factory.buyer("bright", factory.contract("c"))), buyers=accepting) as house:
        assert (await house.give(LEAD, headers={"Prefer": "wait=5"}))[1]["status"] == "sold"
        for body, by in (({"email": " ANA@Example.com"}, ["email"]), ({"phone": "512 555 0147"}, ["phone"])):
            for _ in range(2):  # once more is on record too
                status, told = await post(house, "/v1/suppressions", json=body)
                assert (status, told) == (201, {"suppressed": by})
        status, answer, _ = await house.give(LEAD, headers={"Prefer": "wait=5"})
        assert (status, answer["status"], answer["reason"]) == (201, "unsold", "no_eligible_contract")
        [decision] = (await get(house, f"/v1/leads/{answer['lead_id']}/trace"))["decisions"]
        [refusal] = decision["refusals"]
        assert (refusal["code"], refusal["expected"]) == ("suppressed", "nobody who is suppressed")
        assert refusal["actual"].startswith("phone suppressed by operator:")
        status, decision, _ = await house.ask(
            "POST", "/v1/explain", token=OPERATOR, admin=True, json={**LEAD, "source_id": "web"}
        )
        assert [one["code"] for one in decision["refusals"]] == ["suppressed"]
        assert (await house.give({**LEAD, "test": True}, headers={"Prefer": "wait=5"}))[1][
            "reason"
        ] != "no_eligible_contract"
        told = [
            entry.fact async for entries in house.ledger.facts_after(0) for _, entry in entries
            if isinstance(entry.fact, Suppressed)
        ]  # fmt: skip
        assert [set(fact.marks) for fact in told] == [{"email"}, {"email"}, {"phone"}, {"phone"}]
        assert not any(text in str(told) for text in ("0147", "ana@", "ANA@"))


async def test_a_deposit_is_booked_once_and_pays_for_leads() -> None:
    """A prepaid buyer gets nothing before its deposit; money is an admin's; a reference is booked once."""
    terms = house_terms(
        factory.buyer("bright", factory.contract("bright-tx", price="9.00"), wallet={"mode": "prepay"}),
        factory.buyer("dim", factory.contract("dim-tx", price="5.00")),
    )
    async with open_house(terms, buyers=accepting) as house:
        path, body = "/v1/wallets/bright:deposit", {"amount": "10.00", "reference": "wire-1"}
        assert (await post(house, path, json=body))[0] == 403
        status, booked = await post(house, path, ADMIN, json=body)
        assert (status, booked["balance"]) == (200, "10.00")
        assert (await post(house, path, ADMIN, json=body))[1]["code"] == "already_booked"
        assert (await post(house, "/v1/wallets/dim:deposit", ADMIN, json=body))[1]["code"] == "no_wallet"
        assert (await post(house, "/v1/wallets/none:deposit", ADMIN, json=body))[0] == 404
        for bad in ({"amount": "1.005", "reference": "x"}, {"amount": "0", "reference": "x"}, {"amount": "1.00"}):
            assert (await post(house, path, ADMIN, json=bad))[0] == 422
        first = (await house.give(LEAD))[1]["lead_id"]
        second = (await house.give(LEAD))[1]["lead_id"]
        for lead_id in (first, second):
            await house.engine.settled(lead_id, 5)
        sold_to = [
            [one["contract_id"] for one in (await get(house, f"/v1/leads/{lead_id}/trace"))["deliveries"]]
            for lead_id in (first, second)
        ]
        assert sold_to == [["bright-tx"], ["dim-tx"]]
        assert (await get(house, "/v1/contracts/bright-tx"))["balance"] == "1.00"
        facts = [entry.fact async for entries in house.ledger.facts_after(0) for _, entry in entries]
        assert [type(fact.amount) for fact in facts if isinstance(fact, Deposited)] == [int]
        assert all(json.encode(fact) for fact in facts)  # as the ledger on disk writes them
