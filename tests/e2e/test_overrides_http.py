"""Overrides and ramped resumes over HTTP: recorded with who and why, seen in contract, explanation, trace, events."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from router.model.facts import Overridden, Restored
from tests import factory
from tests.e2e.house import AUDITOR, BUYER, LEAD, OPERATOR, House, digest, house_terms, open_house
from tests.e2e.test_admin_http import facts
from tests.e2e.test_alerts_http import Stream
from tests.e2e.test_guards_http import Moody, contract_of, lead

UNTIL = "2100-01-01T00:00:00.000Z"
CAPS = [{"id": "daily", "per": "day", "limit": 1}, {"id": "money", "per": "month", "spend": "500.00"}]
PUSH = {"reason": "a push", "until": UNTIL, "caps": {"daily": 2}}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """One buyer with a cap over everything, one contract with a cap of leads and one of money."""
    own = {"token_sha256": [digest(BUYER)], "permissions": ["pause"], "caps": [{"id": "all", "per": "day", "limit": 9}]}
    async with open_house(house_terms(factory.buyer("bright", factory.contract("bright-tx", caps=CAPS), **own))) as one:
        yield one


async def act(house: House, path: str, body: Any = None, token: str = OPERATOR) -> tuple[int, Any]:
    """POST, as an operator."""
    status, answer, _ = await house.ask("POST", path, token=token, admin=True, json=body or {})
    return status, answer


async def test_an_override_is_recorded_and_seen_everywhere(house: House) -> None:
    """The second lead of the day is sold; contract, refusal, trace, status and event say who set what, and why."""
    headers = {"Authorization": f"Bearer {AUDITOR}"}
    async with house.client.get(house.admin + "/v1/events", headers=headers) as answer:
        stream = Stream(answer)
        assert (await house.give(lead(1)))[1]["status"] == "sold"
        assert (await house.give(lead(2)))[1]["status"] == "unsold"
        said = {**PUSH, "by": "operator:oscar", "guards": "on"}
        assert await act(house, "/v1/contracts/bright-tx:override", PUSH) == (
            200, {"contract_id": "bright-tx", **said},
        )  # fmt: skip
        event, _ = await stream.until("overridden")
        assert event == {"subject": "contract:bright-tx", **said, "at": event["at"]}
        _, sold, _ = await house.give(lead(3))
        assert sold["status"] == "sold"
        found = await contract_of(house)
        assert found["overrides"] == [{"subject": "contract:bright-tx", **said}]
        assert [cap["limit"] for cap in found["caps"]] == [2, "500.00", 9]
        (refusal,) = found["refusals"]
        wanted = "cap daily: at most 2 leads (set by operator:oscar until 2100-01-01T00:00:00.000Z: a push) per day"
        assert (refusal["code"], refusal["expected"]) == ("cap_reached", wanted)
        _, trace, _ = await house.ask("GET", f"/v1/leads/{sold['lead_id']}/trace", token=AUDITOR, admin=True)
        allowed = {one["rule"] + one["expected"] for one in trace["deliveries"][0]["allowed_by"]}
        assert "capcap daily: at most 2 (set for a while)" in allowed
        _, explained, _ = await house.ask(
            "POST", "/v1/explain", token=AUDITOR, admin=True, json={**lead(4), "source_id": "web"}
        )
        assert wanted in [one["expected"] for one in explained["refusals"]]
        _, status, _ = await house.ask("GET", "/v1/status", token=AUDITOR, admin=True)
        assert [one["subject"] for one in status["overridden"]] == ["contract:bright-tx"]
        assert await act(house, "/v1/contracts/bright-tx:restore") == (
            200, {"contract_id": "bright-tx", "restored": True},
        )  # fmt: skip
        restored, _ = await stream.until("restored")
        assert (restored["subject"], restored["by"]) == ("contract:bright-tx", "operator:oscar")
    assert (await act(house, "/v1/contracts/bright-tx:restore"))[1]["restored"] is False
    assert (await contract_of(house))["caps"][0]["limit"] == 1
    assert [fact.by for fact in (await facts(house, Overridden)) + (await facts(house, Restored))] == [
        "operator:oscar", "operator:oscar",
    ]  # fmt: skip


async def test_money_and_a_buyers_caps(house: House) -> None:
    """A cap of spend takes decimal text; a buyer has caps of its own."""
    body = {"reason": "r", "until": UNTIL, "caps": {"money": "5.00"}}
    assert (await act(house, "/v1/contracts/bright-tx:override", body))[1]["caps"] == {"money": "5.00"}
    assert (await contract_of(house))["refusals"][0]["code"] == "cap_reached"
    assert (await act(house, "/v1/contracts/bright-tx:restore"))[0] == 200
    body = {"reason": "r", "until": UNTIL, "caps": {"all": 0}}
    assert (await act(house, "/v1/buyers/bright:override", body))[0] == 200
    assert (await contract_of(house))["overrides"][0]["subject"] == "buyer:bright"
    assert (await house.give(LEAD))[1]["status"] == "unsold"
    assert (await act(house, "/v1/buyers/bright:restore"))[1] == {"buyer_id": "bright", "restored": True}
    assert (await house.give(lead(9)))[1]["status"] == "sold"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (PUSH | {"until": "2001-01-01T00:00:00Z"}, "until"),
        (PUSH | {"reason": " "}, "reason"),
        (PUSH | {"caps": {"dialy": 2}}, "caps.dialy"),
        (PUSH | {"caps": {"daily": "2.50"}}, "caps.daily"),
        (PUSH | {"caps": {"daily": -1}}, "caps.daily"),
        (PUSH | {"caps": {"money": 5}}, "caps.money"),
        (PUSH | {"caps": {"all": 5}}, "caps.all"),
        (PUSH | {"caps": {}}, "caps"),
        (PUSH | {"guards": "maybe"}, "guards"),
        ({"until": UNTIL, "caps": {"daily": 2}}, "reason"),
        ({"reason": "r", "caps": {"daily": 2}}, "until"),
    ],
)
async def test_an_override_that_cannot_be_meant_is_422(house: House, body: dict[str, Any], field: str) -> None:
    """Without an end, a reason or anything to set; a cap that is not there, or a limit of the other kind."""
    status, problem = await act(house, "/v1/contracts/bright-tx:override", body)
    assert status == 422
    assert field in [one["field"] for one in problem["errors"]]
    assert await facts(house, Overridden) == []


async def test_who_may_override_what(house: House) -> None:
    """Operators, and on the admin listener alone; what is not there is 404."""
    path = "/v1/contracts/bright-tx:override"
    assert (await act(house, path, PUSH, AUDITOR))[0] == 403
    assert (await act(house, path, PUSH, BUYER))[0] == 403
    assert (await house.ask("POST", path, token=OPERATOR, json=PUSH))[0] == 404
    for verb in ("override", "restore"):
        assert (await act(house, f"/v1/contracts/nobody:{verb}", PUSH if verb == "override" else None))[0] == 404


async def test_a_resume_may_ramp(house: House) -> None:
    """The first lead after it goes elsewhere; contract, explanation and event say why; the end of the ramp is known."""
    assert (await act(house, "/v1/contracts/bright-tx:pause", {"reason": "storm"}))[0] == 200
    status, answer = await act(house, "/v1/contracts/bright-tx:resume", {"ramp": "30m"})
    assert (status, answer) == (
        200, {"contract_id": "bright-tx", "paused": False, "resumed": True, "ramp": "30m"},
    )  # fmt: skip
    assert (await house.give(lead(1)))[1]["status"] == "unsold"
    found = await contract_of(house)
    assert (found["resuming"]["share"], found["resuming"]["leads"], found["resuming"]["by"]) == (
        0.1, 1, "operator:oscar",
    )  # fmt: skip
    _, explained, _ = await house.ask(
        "POST", "/v1/explain", token=AUDITOR, admin=True, json={**lead(4), "source_id": "web"}
    )
    (refusal,) = explained["refusals"]
    assert refusal["code"] == "guard_throttled"
    assert "while it comes back from its pause" in refusal["expected"]
    pause = {"reason": "holiday", "until": UNTIL, "ramp": "1h"}
    assert (await act(house, "/v1/buyers/bright:pause", pause))[1]["ramp"] == "1h"
    assert (await act(house, "/v1/buyers/bright:resume"))[1]["resumed"] is True
    assert (await contract_of(house))["resuming"] is None
    assert (await house.give(lead(2)))[1]["status"] == "sold"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/contracts/bright-tx:resume", {"ramp": "soon"}),
        ("/v1/contracts/bright-tx:resume", {"ramp": "31d"}),
        ("/v1/contracts/bright-tx:pause", {"ramp": "1h"}),
        ("/v1/sources/web:resume", {"ramp": "1h"}),
    ],
)
async def test_a_ramp_that_cannot_be_meant_is_422(house: House, path: str, body: dict[str, Any]) -> None:
    """No duration, too long a one, of a pause without an end, of a source."""
    status, problem = await act(house, path, body)
    assert (status, problem["errors"][0]["field"]) == (422, "ramp")


async def test_guards_may_be_told_to_turn_nobody_away() -> None:
    """A tripped guard stays tripped, and leads pass until the override is over; the breaker is none of it."""
    guard = {
        "metric": "acceptance_rate", "over": "1h", "min_sample": 1, "trip": 0.5, "recover": 0.6, "action": "pause",
        "cool_down": "1h", "probes": 1,
    }  # fmt: skip
    sell = factory.buyer("bright", factory.contract("bright-tx", sla={"guards": [guard]}))
    buyer = Moody({"status": "rejected"})
    async with open_house(house_terms(sell), buyers=buyer) as house:
        assert (await house.give(lead(1)))[1]["reason"] == "all_declined"
        assert [one["code"] for one in (await contract_of(house))["refusals"]] == ["guard_paused"]
        buyer.answer = {"status": "accepted"}
        body = {"reason": "their fault, mended", "until": UNTIL, "guards": "off"}
        assert (await act(house, "/v1/contracts/bright-tx:override", body))[1]["guards"] == "off"
        assert (await house.give(lead(2)))[1]["status"] == "sold"
        found = await contract_of(house)
        assert (found["guards"][0]["state"], found["overrides"][0]["guards"]) == ("tripped", "off")
