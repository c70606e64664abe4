"""A guard and a breaker seen from outside, over real sockets: contract, trace, explanation, metrics, events, alerts."""

import asyncio
from typing import Any

from router.model.delivery import HttpRequest, HttpResponse
from tests import factory
from tests.e2e.house import AUDITOR, LEAD, House, house_terms, open_house, said
from tests.e2e.test_alerts_http import Stream

GUARD = {
    "metric": "acceptance_rate", "over": "1h", "min_sample": 3, "trip": 0.5, "recover": 0.6, "action": "pause",
    "cool_down": "1h", "probes": 1,
}  # fmt: skip


class Moody:
    """A buyer that answers what it is told to."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    async def __call__(self, lane: str, request: HttpRequest) -> HttpResponse:
        """As the transport asks."""
        return said(self.answer)


def terms(**contract: Any) -> Any:
    """One buyer with one contract."""
    return house_terms(
        factory.buyer("bright", factory.contract("bright-tx", **contract), endpoint={"in_doubt_resolves": None})
    )


def lead(number: int) -> dict[str, Any]:
    """Another consumer's lead."""
    return LEAD | {"fields": LEAD["fields"] | {"phone": f"(512) 555-{number:04d}", "email": f"a{number}@example.com"}}


async def contract_of(house: House) -> dict[str, Any]:
    """`GET /v1/contracts/bright-tx`."""
    status, found, _ = await house.ask("GET", "/v1/contracts/bright-tx", token=AUDITOR, admin=True)
    assert status == 200
    return dict(found)


async def test_a_guard_trips_and_is_explained() -> None:
    """Three refusals pause the contract; the fourth lead's trace says why, and so do event, alert and explanation."""
    buyer = Moody({"status": "rejected"})
    async with open_house(terms(sla={"guards": [GUARD]}), buyers=buyer) as house:
        url = house.admin + "/v1/events"
        async with house.client.get(url, headers={"Authorization": f"Bearer {AUDITOR}"}) as answer:
            stream = Stream(answer)
            for number in range(3):
                assert (await house.give(lead(number)))[1]["reason"] == "all_declined"
            tripped, _ = await stream.until("guard")
            assert (tripped["step"], tripped["metric"], tripped["sample"]) == ("tripped", "acceptance_rate", 3)
            assert len(tripped["deliveries"]) == 3
            (guard,) = (await contract_of(house))["guards"]
            assert (guard["metric"], guard["state"], guard["value"], guard["sample"]) == (
                "acceptance_rate", "tripped", 0.0, 3,
            )  # fmt: skip
            assert guard["until"]
            assert guard["deliveries"] == tripped["deliveries"]
            _, taken, _ = await house.give(lead(4))
            assert (taken["status"], taken["reason"]) == ("unsold", "no_eligible_contract")
            path = f"/v1/leads/{taken['lead_id']}/trace?contract=bright-tx"
            _, trace, _ = await house.ask("GET", path, token=AUDITOR, admin=True)
            (refusal,) = trace["decisions"][0]["refusals"]
            assert refusal["code"] == "guard_paused"
            assert refusal["expected"] == "acceptance_rate at least 0.5 over 1h"
            assert refusal["actual"].startswith("acceptance_rate 0 of 3, until 20")
            asked = {**lead(5), "source_id": "web"}
            _, explained, _ = await house.ask("POST", "/v1/explain", token=AUDITOR, admin=True, json=asked)
            assert [one["code"] for one in explained["refusals"]] == ["guard_paused"]
            _, alerts, _ = await house.ask("GET", "/v1/alerts", token=AUDITOR, admin=True)
            assert "guard_tripped" in {alert["kind"] for alert in alerts["alerts"]}


async def test_a_guard_recovers_by_itself() -> None:
    """When its cool-down is over one lead passes; it is accepted, and nothing stands against the contract any more."""
    buyer = Moody({"status": "rejected"})
    async with open_house(terms(sla={"guards": [GUARD | {"cool_down": "1s"}]}), buyers=buyer) as house:
        url = house.admin + "/v1/events"
        async with house.client.get(url, headers={"Authorization": f"Bearer {AUDITOR}"}) as answer:
            stream = Stream(answer)
            for number in range(3):
                assert (await house.give(lead(number)))[1]["reason"] == "all_declined"
            assert ((await stream.until("guard"))[0])["step"] == "tripped"
            buyer.answer = {"status": "accepted"}
            async with asyncio.timeout(30):
                while (await contract_of(house))["guards"][0]["state"] != "probing":
                    await asyncio.sleep(0.05)
            assert (await house.give(lead(6)))[1]["status"] == "sold"
            assert ((await stream.until("guard"))[0])["step"] == "probing"
            assert ((await stream.until("guard"))[0])["step"] == "recovered"
            assert (await contract_of(house))["guards"][0]["state"] == "closed"
            _, alerts, _ = await house.ask("GET", "/v1/alerts", token=AUDITOR, admin=True)
            assert "guard_tripped" not in {alert["kind"] for alert in alerts["alerts"]}


async def test_answers_nobody_knows_open_the_breaker() -> None:
    """The sixth lead is not swallowed; contract, dashboard data and alert say what stands open and what to do."""
    async with open_house(terms(), buyers=Moody({"result": "thanks"})) as house:
        assert (await contract_of(house))["breaker"]["state"] == "closed"
        for number in range(5):
            assert (await house.give(lead(number)))[1]["status"] == "in_doubt"
        breaker = (await contract_of(house))["breaker"]
        assert (breaker["state"], breaker["sample"], breaker["running"]) == ("tripped", 5, 5)
        _, taken, _ = await house.give(lead(6))
        assert (taken["status"], taken["reason"]) == ("unsold", "no_eligible_contract")
        refusals = (await contract_of(house))["refusals"]
        assert [one["code"] for one in refusals] == ["endpoint_unhealthy"]
        _, alerts, _ = await house.ask("GET", "/v1/alerts", token=AUDITOR, admin=True)
        told = {alert["kind"]: alert for alert in alerts["alerts"]}
        assert "unclassified" in told["endpoint_unhealthy"]["message"]
        assert "response rule" in told["endpoint_unhealthy"]["mend"]
