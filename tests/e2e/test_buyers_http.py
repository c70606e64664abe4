"""Onboarding over HTTP: a buyer's record is judged like a file, kept, and live in one step; or only tried out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from router.configuration.disk import BuyerRecords
from router.model.facts import TermsLoaded
from router.terms.revive import revive
from tests import factory
from tests.e2e.house import ADMIN, LEAD, OPERATOR, House, digest, house_terms, open_house
from tests.e2e.process import daemon, give, write_config
from tests.factory import contract


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A running house whose one buyer came by the API."""
    async with open_house(house_terms(factory.buyer("old", contract("old-1", price="8.00")))) as opened:
        opened.engine.book.terms.places["buyer:old"] = "$STATE/buyers/old.json"
        yield opened


def record(id_: str = "fresh", **terms: Any) -> dict[str, Any]:
    """A buyer as the API takes it."""
    return factory.buyer(id_, contract(f"{id_}-1", **({"price": "15.00"} | terms)))


async def put(house: House, tree: Any, *, id_: str = "fresh", token: str = ADMIN, query: str = "") -> Any:
    """PUT /v1/buyers/{id} -> status and JSON."""
    found = await house.ask("PUT", f"/v1/buyers/{id_}{query}", token=token, admin=True, json=tree)
    return found[:2]


async def test_a_new_buyer_is_live_at_once(house: House) -> None:
    """201, the next lead is its own; the record is kept, and the ledger says who did it."""
    status, body = await put(house, record())
    assert (status, body["created"], body["dry_run"]) == (201, True, False)
    assert "contract:fresh-1 is new: solar, 15.00 a lead, everywhere" in [one["words"] for one in body["changes"]]
    assert body["version"] == house.engine.book.version
    assert orjson.loads(house.records.kept["fresh"])["id"] == "fresh"
    loaded = [entry.fact for entry in house.ledger._entries if isinstance(entry.fact, TermsLoaded)][-1]
    assert (loaded.by, loaded.terms_version) == ("operator:ada", body["version"])
    lead_id = (await house.give(LEAD))[1]["lead_id"]
    trace = (await house.ask("GET", f"/v1/leads/{lead_id}", token=ADMIN, admin=True))[1]
    assert trace["deliveries"][0]["contract_id"] == "fresh-1"


async def test_changing_a_buyer(house: House) -> None:
    """200, what changed in words; an id in the body may be left out."""
    await put(house, record())
    tree = record(caps=[{"per": "day", "limit": 5}])
    del tree["id"]
    status, body = await put(house, tree)
    assert (status, body["created"]) == (200, False)
    assert [one["key"] for one in body["changes"]] == ["caps"]
    again = await put(house, tree)
    assert again[1]["changes"] == []


async def test_everything_that_is_wrong_is_said_at_once(house: House) -> None:
    """422 with a path for each; nothing changed and nothing is kept."""
    before = house.engine.book.version
    tree = record(price="15", tier="gold")
    tree["endpoints"]["crm"]["url"] = "https://10.0.0.1/"
    tree["time_zone"] = "Mars"
    status, problem = await put(house, tree)
    assert (status, problem["code"]) == (422, "terms_invalid")
    fields = {one["field"] for one in problem["errors"]}
    assert {"time_zone", "endpoints.crm.url", "contracts[0].tier"} <= fields
    assert all(one["message"] for one in problem["errors"])
    status, problem = await put(house, {"name": 3, "contracts": [{"id": "x"}]})
    assert {"name", "contracts[0].price"} <= {one["field"] for one in problem["errors"]}
    assert (house.engine.book.version, house.records.kept) == (before, {})


async def test_a_dry_run_shows_what_would_change_and_changes_nothing(house: House) -> None:
    """In words and in numbers, with the last day's leads sold under both."""
    await house.give(LEAD)
    before = house.engine.book.version
    status, body = await put(house, record(), query="?dry_run=1")
    assert (status, body["dry_run"], body["created"]) == (200, True, True)
    assert body["version"] != before
    assert (body["replay"]["leads"], body["replay"]["moved"]) == (1, 1)
    assert body["replay"]["contracts"] == [
        {
            "contract_id": "fresh-1",
            "leads_before": 0,
            "leads_after": 1,
            "revenue_before": "0.00",
            "revenue_after": "15.00",
        },
        {
            "contract_id": "old-1",
            "leads_before": 1,
            "leads_after": 0,
            "revenue_before": "8.00",
            "revenue_after": "0.00",
        },
    ]
    assert (house.engine.book.version, house.records.kept) == (before, {})
    status, problem = await put(house, {"name": ""}, query="?dry_run=1")
    assert (status, problem["code"]) == (422, "terms_invalid")


def test_an_id_longer_than_any_name_of_a_file_is_an_error_of_the_id(tmp_path: Path) -> None:
    """422, as for every id that is none; whether the disk could hold such a name is not asked."""
    assert BuyerRecords(tmp_path, tmp_path).in_file("x" * 300) is None


async def test_a_buyer_in_a_file_cannot_be_put(house: House) -> None:
    """409 that names the file, whether it was loaded or is only there."""
    house.engine.book.terms.places["buyer:old"] = "buyers/old.toml"
    for query in ("", "?dry_run=1"):
        status, problem = await put(house, record("old"), id_="old", query=query)
        assert (status, problem["code"]) == (409, "buyer_in_file")
        assert "buyers/old.toml" in problem["detail"]
    house.records.files.add("fresh")
    assert (await put(house, record()))[0] == 409


async def test_who_may_and_what_is_no_record(house: House) -> None:
    """Admins alone; another id, another type and odd parameters are refused."""
    assert (await put(house, record(), token=OPERATOR))[0] == 403
    status, problem = await put(house, record("other"))
    assert (status, problem["errors"][0]["field"]) == (422, "id")
    assert (await put(house, record(), query="?dry_run=perhaps"))[0] == 400
    assert (await put(house, []))[0] == 422
    assert (await put(house, record(".."), id_=".."))[0] in (404, 422)
    assert (await put(house, record("a/b"), id_="a%2Fb"))[0] in (404, 422)
    assert house.records.kept == {}


async def test_a_record_that_cannot_be_written_changes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 when the disk says no; when the ledger does, what stood there before is put back."""
    await put(house, record())
    version, kept = house.engine.book.version, dict(house.records.kept)

    def no_room(buyer_id: str, data: bytes | None) -> bytes | None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(house.records, "keep", no_room)
        status, problem = await put(house, record(price="16.00"))
        assert (status, problem["code"]) == (503, "ledger_unavailable")
    house.ledger.fill_disk()
    status, problem = await put(house, record(price="17.00"))
    house.ledger.make_room()
    assert (status, problem["code"]) == (503, "ledger_unavailable")
    assert (house.engine.book.version, house.records.kept) == (version, kept)


async def test_what_a_reload_would_change(house: House) -> None:
    """`POST /v1/terms:check?diff=1` says it in the same words; and terms of a version can be read."""
    status, body = (await house.ask("POST", "/v1/terms:check?diff=1", token=OPERATOR, admin=True))[:2]
    assert (status, body["ok"], body["difference"]["changes"]) == (200, True, [])
    assert body["difference"]["replay"]["leads"] == 0
    assert "difference" not in (await house.ask("POST", "/v1/terms:check", token=OPERATOR, admin=True))[1]
    status, terms = (await house.ask("GET", "/v1/terms/current", token=ADMIN, admin=True))[:2]
    assert (status, sorted(terms)) == (200, ["pieces", "version"])
    pieces = {address: orjson.dumps(piece) for address, piece in terms["pieces"].items()}
    assert revive(terms["version"], pieces.__getitem__).version == house.engine.book.version
    assert (await house.ask("GET", f"/v1/terms/{house.engine.book.version}", token=ADMIN, admin=True))[1] == terms
    assert (await house.ask("GET", "/v1/terms/nothing", token=ADMIN, admin=True))[0] == 404
    assert (await house.ask("GET", "/v1/terms/current", token=OPERATOR, admin=True))[0] == 403


# -- on a disk -----------------------------------------------------------------------------------


def test_records_are_written_whole_and_for_the_owner_alone(tmp_path: Path) -> None:
    """What stood there comes back; nothing is left beside; taking away is durable too."""
    records = BuyerRecords(tmp_path / "config", tmp_path / "state")
    assert records.keep("fresh", b"one") is None
    assert records.keep("fresh", b"two") == b"one"
    path = tmp_path / "state" / "buyers" / "fresh.json"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o600)
    assert [one.name for one in path.parent.iterdir()] == ["fresh.json"]
    assert records.keep("fresh", None) == b"two"
    assert records.keep("fresh", None) is None
    assert list(path.parent.iterdir()) == []


async def test_a_buyer_put_to_the_real_daemon_outlives_it(tmp_path: Path) -> None:
    """It is live at once, and again after a restart; a missing secret is found before anything is kept."""
    config, state = write_config(tmp_path / "config"), tmp_path / "state"
    headers = {"Authorization": f"Bearer {ADMIN}"}
    tree = {
        "name": "Fresh",
        "token_sha256": [digest("fresh-token")],
        "endpoints": {
            "crm": {
                "url": "http://127.0.0.1:9/",
                "auth": {"type": "bearer", "token": "secret:fresh"},
                "in_doubt_resolves": "rejected",
                "body": {"zip": "{{postal_code}}"},
                "responses": [{"when": {"status": 200}, "outcome": "accepted"}],
            }
        },
        "contracts": [
            {
                "id": "fresh-1",
                "lead_type": "solar",
                "endpoint": "crm",
                "price": "30.00",
                "coverage": {"postal_codes": ["787*"]},
                "fields": {"required": ["postal_code"]},
            }
        ],
    }
    async with daemon(config, state) as running, aiohttp.ClientSession(headers=headers) as client:
        async with client.put(f"{running.admin}/v1/buyers/fresh", json=tree) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["errors"][0]["field"]) == (422, "endpoints.crm.auth.token")
        (config / "secrets").mkdir()
        (config / "secrets" / "fresh").touch(0o600)
        (config / "secrets" / "fresh").write_text("s3cret")
        async with client.put(f"{running.admin}/v1/buyers/fresh", json=tree) as answer:
            assert answer.status == 201, await answer.text()
        async with client.put(f"{running.admin}/v1/buyers/bright", json=tree) as answer:
            assert answer.status == 409
        assert await running.stop() == 0
    async with daemon(config, state) as running, aiohttp.ClientSession(headers=headers) as client:
        async with client.get(f"{running.admin}/v1/contracts/fresh-1") as answer:
            assert (await answer.json())["price"] == "30.00"
        status, _ = await give(client, running.intake)
        assert status in (201, 202)
        (config / "buyers" / "fresh.toml").write_text('id = "fresh"\nname = "Twice"\n')
        async with client.put(f"{running.admin}/v1/buyers/fresh", json=tree) as answer:
            assert answer.status == 409
        assert await running.stop() == 0
