"""A buyer that starts refusing, on a running daemon: throttled, paused, probed and restored without a human."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from router.cli import main
from router.cli.exits import DONE
from router.demo.crew import DaemonProcess
from router.demo.farm import Farm
from router.demo.stage import Stage, set_stage
from tests.e2e.test_alerts_http import Stream

SUNNY = """
id = "sunny"
name = "Sunny"
status = "live"
[endpoints.api]
url = "{farm}/buyer/accept/sunny"
idempotent = true
body = {{ zip = "{{{{postal_code}}}}", phone = "{{{{phone}}}}", id = "{{{{delivery_id}}}}" }}
[[endpoints.api.responses]]
when = {{ path = "status", equals = "accepted" }}
outcome = "accepted"
[[endpoints.api.responses]]
when = {{ path = "status", equals = "rejected" }}
outcome = "rejected"
[[contracts]]
id = "sunny-tx"
lead_type = "solar"
endpoint = "api"
status = "live"
price = "30.00"
coverage = {{ postal_codes = ["787*"] }}
fields = {{ required = ["phone", "postal_code"] }}
[contracts.sla]
guards = [
  {{ metric = "acceptance_rate", over = 10, min_sample = 5, trip = 0.80, recover = 0.90, action = "throttle",
    throttle_to = 0.5, cool_down = "5s", probes = 2 }},
  {{ metric = "acceptance_rate", over = 10, min_sample = 10, trip = 0.50, recover = 0.65, action = "pause",
    cool_down = "5s", probes = 3 }},
]
"""
THROTTLE, PAUSE = "acceptance_rate/10/throttle", "acceptance_rate/10/pause"


class Watched:
    """A daemon with one buyer at the farm, somebody who gives it leads, and somebody who listens."""

    def __init__(self, stage: Stage, daemon: DaemonProcess, farm: Farm, client: aiohttp.ClientSession) -> None:
        self.stage, self.daemon, self.farm, self.client = stage, daemon, farm, client
        self.number = 0

    async def give(self) -> dict[str, Any]:
        """Another lead; the daemon's answer."""
        self.number += 1
        headers = {"Authorization": f"Bearer {self.stage.source_tokens['acme-web']}"}
        url = self.daemon.intake_url + "/v1/leads"
        async with self.client.post(url, json=self.lead(), headers=headers) as answer:
            assert answer.status == 201
            return dict(await answer.json())

    def lead(self) -> dict[str, Any]:
        """Somebody from Austin."""
        fields = {
            "first_name": "Ana", "last_name": "Alvarez", "phone": f"(512) 555-{self.number:04d}",
            "email": f"ana.{self.number}@example.com", "postal_code": "78701", "homeowner": True,
        }  # fmt: skip
        return {"lead_type": "solar", "fields": fields}

    async def see(self, path: str) -> Any:
        """GET, as an operator."""
        headers = {"Authorization": f"Bearer {self.stage.operator_token}"}
        async with self.client.get(self.daemon.admin_url + path, headers=headers) as answer:
            assert answer.status == 200
            return await answer.json()

    async def refusals(self, lead_id: str) -> list[dict[str, str]]:
        """Why the contract did not get a lead, by its trace."""
        trace = await self.see(f"/v1/leads/{lead_id}/trace?contract=sunny-tx")
        return list(trace["decisions"][0]["refusals"])

    async def turn(self, temper: str) -> None:
        """The buyer changes its mind."""
        async with self.client.post(f"{self.farm.url}/turn/sunny/{temper}") as answer:
            assert answer.status == 200

    async def command(self, *words: str) -> int:
        """A command line, as an operator."""
        where = ("--url", self.daemon.admin_url, "--token", self.stage.operator_token)
        return await asyncio.to_thread(main, [*words, *where])

    async def alerts(self) -> set[str]:
        """The ids of those that are open about the contract."""
        found = (await self.see("/v1/alerts"))["alerts"]
        return {one["id"] for one in found if one["subject"] == "contract:sunny-tx"}


def house(folder: Path, farm_url: str) -> Stage:
    """The sample's lead types and sources, and one buyer."""
    stage = set_stage(folder, farm_url)
    for path in (stage.config_dir / "buyers").iterdir():
        path.unlink()
    (stage.config_dir / "buyers" / "sunny.toml").write_text(SUNNY.format(farm=farm_url), "utf-8")
    return stage


async def test_a_buyer_that_starts_refusing_is_restored_without_a_human(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within the samples its guards declare; each step is an event, an alert, and a refusal that says why."""
    async with Farm() as farm:
        stage = house(tmp_path, farm.url)
        async with DaemonProcess(stage, tmp_path / "log") as daemon, aiohttp.ClientSession() as client:
            one = Watched(stage, daemon, farm, client)
            headers = {"Authorization": f"Bearer {stage.operator_token}"}
            async with client.get(daemon.admin_url + "/v1/events", headers=headers) as answer:
                stream = Stream(answer)
                await _refused(one, stream, tmp_path, capsys)
                await _restored(one, stream)


async def _refused(one: Watched, stream: Stream, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(6):
        assert (await one.give())["status"] == "sold"
    await one.turn("reject")
    ended = await _until_declined(one, 6)
    steps = [await _step(stream), await _step(stream)]
    assert [(step["guard"], step["step"], step["action"]) for step in steps] == [
        (THROTTLE, "tripped", "throttle"), (PAUSE, "tripped", "pause"),
    ]  # fmt: skip
    assert [step["sample"] for step in steps] == [8, 10]  # six yes and two no are 0.75; of the last ten, four are 0.4
    declined = [answer["lead_id"] for answer in ended if answer["reason"] == "all_declined"]
    causes = {(await one.see(f"/v1/leads/{lead_id}/trace"))["deliveries"][0]["delivery_id"] for lead_id in declined}
    assert set(steps[1]["deliveries"]) == causes
    throttled = [answer for answer in ended if answer["reason"] == "no_eligible_contract"]
    (refusal,) = await one.refusals(throttled[0]["lead_id"])
    assert refusal["code"] == "guard_throttled"
    assert refusal["expected"] == "acceptance_rate at least 0.8 over the last 10; 0.5 of leads until it recovers"
    assert refusal["actual"].startswith("acceptance_rate 0.75 of 8, lead 1 since then, until 20")
    (refusal,) = await one.refusals((await one.give())["lead_id"])
    assert refusal["code"] == "guard_paused"
    assert await one.alerts() == {f"guard_tripped:contract:sunny-tx:{key}" for key in (THROTTLE, PAUSE)}
    path = folder / "lead.json"
    path.write_text(json.dumps(one.lead()), "utf-8")
    capsys.readouterr()
    assert await one.command("explain", str(path), "--source", "acme-web") == DONE
    said = capsys.readouterr().out
    assert "guard_paused" in said or "guard_throttled" in said
    assert await one.command("contracts") == DONE
    assert "acceptance_rate t" in capsys.readouterr().out


async def _until_declined(one: Watched, times: int) -> Sequence[dict[str, Any]]:
    """Give leads until the buyer declined so many; their answers."""
    ended: list[dict[str, Any]] = []
    while sum(answer["reason"] == "all_declined" for answer in ended) < times:
        ended.append(await one.give())
        assert len(ended) < 40, "it is paused within its sample"
    return ended


async def _restored(one: Watched, stream: Stream) -> None:
    """Nobody tells the router: when the cool-down is over the next leads are probes, and they are accepted."""
    await one.turn("usual")
    async with asyncio.timeout(30):
        while {guard["state"] for guard in (await one.see("/v1/contracts/sunny-tx"))["guards"]} != {"probing"}:
            await asyncio.sleep(0.1)
    for _ in range(4):
        assert (await one.give())["status"] == "sold"
    steps = [await _step(stream) for _ in range(4)]
    assert sorted((step["step"], step["guard"]) for step in steps) == [
        ("probing", PAUSE), ("probing", THROTTLE), ("recovered", PAUSE), ("recovered", THROTTLE),
    ]  # fmt: skip
    assert {step["by"] for step in steps if step["step"] == "recovered"} == {"probes"}
    assert [len(step["deliveries"]) for step in steps if step["step"] == "recovered"] == [2, 3]
    found = await one.see("/v1/contracts/sunny-tx")
    assert ([guard["state"] for guard in found["guards"]], found["refusals"]) == (["closed", "closed"], [])
    assert await one.alerts() == set()


async def _step(stream: Stream) -> dict[str, Any]:
    found, _ = await stream.until("guard")
    return dict(found)
