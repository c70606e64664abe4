"""Certification over HTTP and from the command line: a person sees every step, and what to do where one fails."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from router.cli import main
from router.cli.exits import DONE, NO, USAGE
from router.model.delivery import HttpRequest, HttpResponse
from tests import factory
from tests.e2e.house import AUDITOR, OPERATOR, House, house_terms, open_house, said
from tests.e2e.process import ADMIN, daemon, write_config
from tests.loopback import always, loopback

TEST_URL = "http://127.0.0.1:9/test"


def sandboxed(**onboarding: Any) -> Any:
    """A buyer with a sandbox."""
    one = factory.buyer("bright", factory.contract("bright-tx"), endpoint={"test_url": TEST_URL})
    return house_terms(one, router={"onboarding": onboarding} if onboarding else {})


async def certify(house: House, body: Any = None, token: str = OPERATOR, buyer: str = "bright") -> Any:
    """POST :certify -> status and JSON."""
    how = {} if body is None else {"json": body}
    return (await house.ask("POST", f"/v1/buyers/{buyer}:certify", token=token, admin=True, **how))[:2]


async def test_every_step_is_reported() -> None:
    """And the contract shows afterwards that its endpoint is certified as it is."""
    async with open_house(sandboxed()) as house:
        status, body = await certify(house)
        assert (status, body["buyer_id"], body["certified"]) == (200, "bright", True)
        (report,) = body["endpoints"]
        assert {"mapping", "address", "dns", "connect", "tls", "auth", "outcome", "repeat", "timeout", "retry",
                "responses[0]"} <= {step["step"] for step in report["steps"]}  # fmt: skip
        assert all(step.keys() == {"step", "ok", "detail", "mend"} for step in report["steps"])
        (shown,) = (await house.ask("GET", "/v1/contracts", token=AUDITOR, admin=True))[1]["contracts"]
        assert shown["endpoint"]["certified"] is True
        assert shown["endpoint"]["version"] == report["version"] == shown["endpoint"]["last_test"]["version"]
        assert shown["endpoint"]["last_test"]["by"] == "operator:oscar"


async def test_a_check_warns_of_what_was_never_certified() -> None:
    """Before; not after."""
    async with open_house(sandboxed()) as house:
        found = (await house.ask("POST", "/v1/terms:check", token=OPERATOR, admin=True))[1]
        assert found["ok"] is True
        (warning,) = [one for one in found["problems"] if "certified" in one["message"]]
        assert (warning["severity"], warning["key"]) == ("warning", "endpoints.crm")
        await certify(house)
        found = (await house.ask("POST", "/v1/terms:check", token=OPERATOR, admin=True))[1]
        assert [one for one in found["problems"] if "certified" in one["message"]] == []


async def test_who_may_and_what_is_wrong_with_a_request() -> None:
    """Operators; a buyer that is there, an endpoint that it has, a body that is one."""
    async with open_house(sandboxed()) as house:
        assert (await certify(house, token=AUDITOR))[0] == 403
        assert (await certify(house, buyer="nobody"))[0] == 404
        assert (await certify(house, {"endpoint": "fax"}))[0] == 404
        assert (await certify(house, {"endpoints": []}))[0] == 422
        status, body = await certify(house, {"endpoint": "crm", "fields": {"postal_code": "nowhere"}})
        assert (status, body["certified"]) == (200, False)
        assert "postal_code" in body["endpoints"][0]["steps"][0]["detail"]


async def test_a_buyer_that_refuses_is_not_certified() -> None:
    """With its own words, and what to ask it."""

    async def refusing(lane: str, request: HttpRequest) -> HttpResponse:
        return said({"status": "rejected", "reason": "utility is missing"})

    async with open_house(sandboxed(), buyers=refusing) as house:
        _, body = await certify(house)
        step = next(step for step in body["endpoints"][0]["steps"] if step["step"] == "outcome")
        assert (body["certified"], step["ok"]) == (False, False)
        assert "utility is missing" in step["detail"]
        assert step["mend"]


# -- the real thing ------------------------------------------------------------------------------


ACCEPTING = always(
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{"status":"accepted"}'
)


async def test_the_command_shows_the_steps_against_a_real_endpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over the daemon's own transport; exit 0 when certified, 1 when not; `check --state` knows afterwards."""
    import asyncio

    async with loopback(ACCEPTING) as sandbox:
        config, state = write_config(tmp_path / "config"), tmp_path / "state"
        path = config / "buyers" / "bright.toml"
        path.write_text(
            path.read_text().replace('timeout = "20s"', f'timeout = "20s"\ntest_url = "{sandbox.url()}"', 1)
        )
        async with daemon(config, state) as running:
            words = ["--url", running.admin, "--token", ADMIN]
            assert await asyncio.to_thread(main, ["check", "--config", str(config), "--state", str(state)]) == DONE
            assert "not certified as it is now" in capsys.readouterr().out
            assert await asyncio.to_thread(main, ["certify", "bright", *words]) == DONE
            shown = capsys.readouterr().out
            assert "bright/crm: certified" in shown
            assert "✓ outcome" in shown
            assert b"78" in sandbox.requests[0]
            assert await asyncio.to_thread(main, ["check", "--config", str(config), "--state", str(state)]) == DONE
            assert "not certified" not in capsys.readouterr().out
            wrong = ["certify", "bright", "--endpoint", "crm", "--field", "postal_code=60601", "--json", *words]
            assert await asyncio.to_thread(main, wrong) == NO
            assert json.loads(capsys.readouterr().out)["certified"] is False
            assert await asyncio.to_thread(main, ["certify", "bright", "--field", "oops", *words]) == USAGE
            headers = {"Authorization": f"Bearer {ADMIN}"}
            async with (
                aiohttp.ClientSession(headers=headers) as client,
                client.get(f"{running.admin}/v1/alerts") as answer,
            ):
                kinds = [one["kind"] for one in (await answer.json())["alerts"]]
            assert kinds == ["certification_failed"]
            assert await running.stop() == 0
