"""The real process from start to exit: stop, reload, crash, second daemon, bad configuration, systemd."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from router.ledger.snapshots import newest_first
from tests.e2e.house import SOURCE
from tests.e2e.process import Manager, ask, daemon, gated_buyer, give, launch, next_line, refuses_to_start, write_config


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of its own connections."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_it_starts_takes_leads_and_stops_with_0(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """Free ports and a unix socket; addresses.json says where; after SIGTERM exit 0, no socket is left, leads stay."""
    config, state = write_config(tmp_path / "config"), tmp_path / "state"
    async with daemon(config, state) as running:
        said = orjson.loads((state / "addresses.json").read_bytes())
        assert said == {"pid": running.pid, **running.addresses}
        status, answer = await give(client, running.intake, "10001")
        assert (status, answer["status"]) == (201, "unsold")
        connector = aiohttp.UnixConnector(str(state / "intake.sock"))
        async with aiohttp.ClientSession(connector=connector) as by_socket:
            assert (await give(by_socket, "http://localhost", "10001"))[0] == 201
        assert await running.stop() == 0
    assert not (state / "intake.sock").exists()
    async with daemon(config, state) as running:
        found = await ask(client, f"{running.intake}/v1/leads/{answer['lead_id']}", token=SOURCE)
        assert found == answer


async def test_stopping_finishes_what_is_in_flight_and_takes_nothing_new(
    tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    """SIGTERM while a buyer thinks: new leads hear 503, the waiting source its sale; then exit 0."""
    async with (
        gated_buyer() as buyer,
        daemon(write_config(tmp_path / "config", buyer.url), tmp_path / "state") as running,
    ):
        waiting = asyncio.ensure_future(give(client, running.intake))
        await buyer.asked.acquire()
        running.process.terminate()
        await running.line("stopping")
        status, problem = await give(client, running.intake)
        assert (status, problem["code"]) == (503, "draining")
        buyer.gate.set()
        status, answer = await waiting
        assert (status, answer["status"]) == (201, "sold")
        assert await running.ended() == 0


async def test_when_the_drain_ends_first_the_answer_is_202(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """The buyer never answers: the source hears 202; after the next start the delivery is a doubt, not sent again."""
    async with gated_buyer() as buyer:
        config = write_config(tmp_path / "config", buyer.url, drain='"200ms"')
        async with daemon(config, tmp_path / "state") as running:
            waiting = asyncio.ensure_future(give(client, running.intake))
            await buyer.asked.acquire()
            assert await running.stop() == 0
            status, answer = await waiting
            assert (status, answer["status"]) == (202, "routing")
        async with daemon(config, tmp_path / "state") as running:
            found = await ask(client, f"{running.intake}/v1/leads/{answer['lead_id']}", token=SOURCE)
            assert found["status"] == "in_doubt"
            assert len(buyer.ids) == 1


async def test_told_twice_it_hurries(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """A second SIGTERM ends the drain at once; the exit code is 0 all the same."""
    async with gated_buyer() as buyer:
        config = write_config(tmp_path / "config", buyer.url, drain='"1h"')
        async with daemon(config, tmp_path / "state") as running:
            waiting = asyncio.ensure_future(give(client, running.intake))
            await buyer.asked.acquire()
            running.process.terminate()
            await running.line("stopping")
            running.process.send_signal(signal.SIGINT)
            assert await running.ended() == 0
            assert (await waiting)[0] == 202


async def test_hup_loads_good_terms_and_leaves_bad_ones(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """A good change is in force at once; a bad one changes nothing, names file, key and mend, and leads go on."""
    config = write_config(tmp_path / "config")
    path = config / "buyers/bright.toml"
    good = path.read_text("utf-8")
    async with daemon(config, tmp_path / "state") as running:
        first = await ask(client, f"{running.admin}/v1/terms")
        path.write_text(good.replace("787*", '787*", "10001'), "utf-8")
        running.process.send_signal(signal.SIGHUP)
        line = await running.line("reloaded")
        second = await ask(client, f"{running.admin}/v1/terms")
        assert line["version"] == second["version"] != first["version"]
        path.write_text(good.replace('price = "10.00"', 'price = 10.0\npreis = "1.00"'), "utf-8")
        running.process.send_signal(signal.SIGHUP)
        found = await running.line("configuration")
        assert (found["file"], found["severity"]) == ("buyers/bright.toml", "error")
        assert found["key"].startswith("contracts[0].")
        assert found["mend"]
        await running.line("reload_refused")
        assert await ask(client, f"{running.admin}/v1/terms") == second
        path.write_text(good, "utf-8")
        write_config(config, admin='["127.0.0.1:1"]')
        running.process.send_signal(signal.SIGHUP)
        while (found := await running.line("configuration"))["key"] != "server.admin":
            pass
        assert (found["severity"], found["mend"]) == ("warning", "Restart the daemon when it suits")
        await running.line("reloaded")
        assert (await give(client, running.intake, "20001"))[0] == 201
        assert await running.stop() == 0


async def test_killed_it_goes_on_with_every_acknowledged_lead(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """kill -9 with leads at the buyer and answers given: each is there after the restart and reaches its end.

    What was being sent is a doubt and is not sent again; a repeat with the same key finds its lead; the stale socket
    file is no obstacle.
    """
    async with gated_buyer() as buyer:
        config, state = write_config(tmp_path / "config", buyer.url), tmp_path / "state"
        async with daemon(config, state) as running:
            keyed = {"Prefer": "respond-async", "Idempotency-Key": "once"}
            taken = [(await give(client, running.intake, **keyed))[1]]
            for code in ("78702", "10001", "78703"):
                taken.append((await give(client, running.intake, code, Prefer="respond-async"))[1])
            for _ in range(3):
                await buyer.asked.acquire()
            running.process.kill()
            await running.process.wait()
        buyer.gate.set()
        async with daemon(config, state) as running:
            url = f"{running.intake}/v1/leads"
            found = [await ask(client, f"{url}/{lead['lead_id']}", token=SOURCE) for lead in taken]
            assert [lead["status"] for lead in found] == ["in_doubt", "in_doubt", "unsold", "in_doubt"]
            assert (await give(client, running.intake, **keyed))[1] == taken[0]
            assert len(buyer.ids) == 3
            assert (await give(client, running.intake))[1]["status"] == "sold"
            async with client.get(f"{running.admin}/metrics") as metrics:
                text = await metrics.text()
            for line in (
                'lead_router_deliveries_total{contract="bright-tx",outcome="accepted"} 1.0',
                'lead_router_attempt_seconds_count{outcome="accepted"} 1.0',
                'lead_router_leads_total{source="web",status="sold"} 1.0',
                "lead_router_decision_seconds_count 1.0",
                "lead_router_in_doubt_deliveries 3.0",
            ):
                assert line in text
            assert await running.stop() == 0


async def test_a_second_daemon_exits_74_and_names_the_lock(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """One daemon a state directory; the first one does not notice."""
    config, state = write_config(tmp_path / "config"), tmp_path / "state"
    async with daemon(config, state) as running:
        code, said = await refuses_to_start(config, state)
        assert code == 74
        assert str(state / "lock") in said
        assert (await give(client, running.intake, "10001"))[0] == 201


async def test_a_ledger_that_is_gone_while_its_anchor_is_there_exits_74(tmp_path: Path) -> None:
    """It says what is missing."""
    config, state = write_config(tmp_path / "config"), tmp_path / "state"
    async with daemon(config, state) as running:
        assert await running.stop() == 0
    (state / "ledger.sqlite3").unlink()
    code, said = await refuses_to_start(config, state)
    assert code == 74
    assert "ledger.sqlite3" in said
    async with daemon(config, state, "--accept-loss") as running:
        assert await running.stop() == 0


async def test_a_state_directory_that_cannot_be_written_exits_74(tmp_path: Path) -> None:
    """It names the place."""
    (tmp_path / "file").write_text("in the way")
    code, said = await refuses_to_start(write_config(tmp_path / "config"), tmp_path / "file" / "state")
    assert code == 74
    assert str(tmp_path / "file") in said


async def test_a_bad_configuration_exits_78_and_says_all_of_it(tmp_path: Path) -> None:
    """Errors of several files at once, each with its file and key; no ledger is made."""
    config, state = write_config(tmp_path / "config"), tmp_path / "state"
    (config / "router.toml").write_text("[sever]\n", "utf-8")
    (config / "sources/web.toml").write_text('id = "web"\nlead_types = ["submarines"]\nwait = 3\n', "utf-8")
    code, said = await refuses_to_start(config, state)
    assert code == 78
    assert "router.toml: sever" in said
    assert "sources/web.toml: wait" in said
    assert not state.exists()


async def test_an_address_that_is_taken_exits_78_and_is_named(tmp_path: Path) -> None:
    """Somebody else listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = write_config(tmp_path / "config", admin=f'["{address}"]')
        code, said = await refuses_to_start(config, tmp_path / "state")
    assert code == 78
    assert address in said


async def test_systemd_is_told_and_its_watchdog_fed(tmp_path: Path) -> None:
    """READY, WATCHDOG while all moves, RELOADING and READY around a reload, STOPPING at the end."""
    manager = Manager(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "600000"}
    async with daemon(write_config(tmp_path / "config"), tmp_path / "state", environment=environment) as running:
        await manager.told("READY=1")
        await manager.told("WATCHDOG=1")
        await manager.told("WATCHDOG=1")
        running.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in await manager.told("RELOADING=1")
        await manager.told("READY=1")
        running.process.terminate()
        await manager.told("STOPPING=1")
        assert await running.ended() == 0
    manager.close()


async def test_sockets_from_systemd_are_used_and_keep_clients_waiting(
    tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    """Matched by name, else by address; a client that comes while the daemon stops is served by the next one."""
    intake, admin = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    url, place = (f"127.0.0.1:{one.getsockname()[1]}" for one in (intake, admin))
    how = {"fds": (intake.fileno(), admin.fileno()), "environment": {"LISTEN_FDNAMES": "intake:lead-router.socket"}}
    async with gated_buyer() as buyer:
        config = write_config(tmp_path / "config", buyer.url, intake=f'["{url}"]', admin=f'["{place}"]')
        with intake, admin:
            async with daemon(config, tmp_path / "state", **how) as running:
                assert running.addresses == {"intake": [url], "admin": [place]}
                in_flight = asyncio.ensure_future(give(client, f"http://{url}"))
                await buyer.asked.acquire()
                running.process.terminate()
                await running.line("stopping")
                waiting = asyncio.ensure_future(give(client, f"http://{url}", "10001"))
                buyer.gate.set()
                assert (await in_flight)[1]["status"] == "sold"
                assert await running.ended() == 0
            assert not waiting.done()
            async with daemon(config, tmp_path / "state", **how) as running:
                assert (await waiting)[0] == 201
                assert (await ask(client, f"http://{place}/readyz"))["ready"] is True
                assert await running.stop() == 0


async def test_interrupted_while_starting_it_ends_without_a_word_of_error(tmp_path: Path) -> None:
    """SIGTERM right after the start: no traceback, and the next start works."""
    config, state = write_config(tmp_path / "config"), tmp_path / "state"
    process = await launch(config, state)
    await next_line(process, "listening")
    process.terminate()
    assert process.stderr is not None
    assert b"Traceback" not in await process.stderr.read()
    assert await process.wait() == 0


async def test_snapshots_are_made_while_it_runs(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """A process beside it writes them down; what it wrote is what the next start goes on from, after a kill too."""
    config, state = write_config(tmp_path / "config"), tmp_path / "state"
    with (config / "router.toml").open("a", encoding="utf-8") as file:
        file.write('[ledger]\nsnapshot_every = "1s"\n')
    async with daemon(config, state) as running:
        lead = (await give(client, running.intake, "10001"))[1]
        async with asyncio.timeout(60):
            while not any(lead["lead_id"].encode() in one.body for one in await asyncio.to_thread(newest_first, state)):
                await asyncio.sleep(0.05)
        running.process.kill()
        await running.process.wait()
    async with daemon(config, state) as running:
        found = await ask(client, f"{running.intake}/v1/leads/{lead['lead_id']}", token=SOURCE)
        assert found["status"] == "unsold"
