"""Every command against the real daemon, its buyers played by the farm: what a person at a terminal sees."""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from router.cli import main
from router.cli.exits import CONFIG, DISK, DONE, NO, USAGE
from router.demo.crew import DaemonProcess
from router.demo.farm import Farm
from router.demo.sample import sample_config
from router.demo.stage import Stage, set_stage

LIMIT_S = 60

Screen = pytest.CaptureFixture[str]


class House(Struct, frozen=True):
    """A running daemon and how to reach it."""

    stage: Stage
    intake: str
    admin: str

    def operate(self, *words: str) -> int:
        """A command as an operator; the exit code."""
        return main([*words, "--url", self.admin, "--token", self.stage.operator_token])

    def send(self, path: Path, *words: str, source: str = "acme-web") -> int:
        """`send` as a source."""
        return main(["send", str(path), "--url", self.intake, "--token", self.stage.source_tokens[source], *words])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The sample's terms, the farm and the daemon, for all tests of this module."""
    folder = tmp_path_factory.mktemp("cli")
    started: list[House] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def run() -> None:
        try:
            async with Farm() as farm:
                stage = set_stage(folder, farm.url)
                async with DaemonProcess(stage, folder / "daemon.log") as daemon:
                    started.append(House(stage, daemon.intake_url, daemon.admin_url))
                    ready.set()
                    await over.wait()
        finally:
            ready.set()

    failed: list[BaseException] = []

    def keep() -> None:
        try:
            loop.run_until_complete(run())
        except BaseException as error:
            failed.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=keep)
    thread.start()
    assert ready.wait(LIMIT_S)
    assert started, failed
    yield started[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(LIMIT_S)
    assert not failed


def lead(number: int, **more: Any) -> dict[str, Any]:
    """A solar lead in Arizona, whom SunPath and GreenWatt cover."""
    fields = {
        "first_name": "Ana",
        "last_name": "Alvarez",
        "phone": f"(602) 555-{number:04d}",
        "email": f"ana.{number}@example.com",
        "postal_code": "85003",
        "homeowner": True,
        "roof_shade": "none",
    }
    consent = {"given_at": "2026-11-23T16:59:58Z", "text": "I agree", "sellers": ["BrightRoof Energy"]}
    return {"lead_type": "solar", "fields": fields | more, "consent": consent}


def written(folder: Path, value: Any, name: str = "lead.json") -> Path:
    """A file with that JSON (or text)."""
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def sent(house: House, folder: Path, screen: Screen, one: dict[str, Any]) -> dict[str, Any]:
    """Send one lead; the daemon's answer."""
    house.send(written(folder, one), "--json")
    answers: list[dict[str, Any]] = json.loads(screen.readouterr().out)["leads"]
    return answers[0]


def test_status(house: House, capsys: Screen) -> None:
    """Ready, and with a token the terms version; the same as JSON, and without any token."""
    assert house.operate("status") == DONE
    said = capsys.readouterr().out
    assert "ready" in said
    assert "terms.version" in said
    assert "1 alert open" in said
    assert "not certified as they are now" in said
    assert main(["status", "--url", house.admin, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["ready"] is True


def test_diff(house: House, tmp_path: Path, capsys: Screen) -> None:
    """The daemon's own files; another directory against it; and against a state directory, with its leads."""
    assert house.operate("diff") == DONE
    assert "nothing would change" in capsys.readouterr().out
    other = tmp_path / "config"
    shutil.copytree(house.stage.config_dir, other)
    path = other / "buyers" / "sunpath.toml"
    path.write_text(path.read_text().replace('price = "', 'price = "1', 1))
    assert house.operate("diff", "--config", str(other)) == DONE
    said = capsys.readouterr().out
    assert "contract:sunpath" in said
    assert "price:" in said
    assert main(["diff", "--config", str(other), "--state", str(house.stage.state_dir), "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert [one["key"] for one in found["changes"]] == ["price"]
    assert "replay" in found
    path.write_text("nonsense")
    assert house.operate("diff", "--config", str(other)) == NO
    assert "sunpath.toml" in capsys.readouterr().err
    assert main(["diff", "--config", str(house.stage.config_dir), "--state", str(tmp_path)]) == NO


def test_send_one_and_trace_it(house: House, tmp_path: Path, capsys: Screen) -> None:
    """A lead is sold; its trace shows the whole way; one contract can be asked about alone."""
    assert house.send(written(tmp_path, lead(1))) == DONE
    said = capsys.readouterr().out
    assert "sold" in said
    lead_id = said.split("lead ")[-1].split()[0]
    assert house.operate("trace", lead_id) == DONE
    picture = capsys.readouterr().out
    for word in ("● received", "from acme-web", "◆ decided", "sunpath-southwest", "▶ delivery", "✓ coverage", "■ sold"):
        assert word in picture
    assert house.operate("trace", lead_id, "--contract", "brightroof-tx") == DONE
    assert "out_of_coverage" in capsys.readouterr().out
    assert house.operate("trace", lead_id, "--json") == DONE
    trace = json.loads(capsys.readouterr().out)
    assert (trace["lead_id"], trace["status"]) == (lead_id, "sold")
    assert trace["deliveries"][0]["allowed_by"]


def test_send_many_from_csv(house: House, tmp_path: Path, capsys: Screen) -> None:
    """Other people's columns, as one batch; a refused line makes it exit 1 and is named by its number."""
    rows = ["first,last,tel,mail,zip,homeowner"]
    rows += [f"Ben,Brooks,602-555-{number},ben.{number}@example.com,85003,yes" for number in range(2000, 2010)]
    rows.append("Ben,Brooks,602-555-2100,ben@example.com,853XX,yes")
    maps = ("first=first_name", "last=last_name", "tel=phone", "mail=email", "zip=postal_code")
    words = [word for pair in maps for word in ("--map", pair)]
    path = written(tmp_path, "\n".join(rows), "leads.csv")
    assert house.send(path, *words, "--lead-type", "solar") == NO
    said = capsys.readouterr().out
    assert "11 leads sent" in said
    assert "line 12: fields.postal_code" in said
    assert "853XX" not in said


def test_send_over_a_unix_socket(house: House, tmp_path: Path, capsys: Screen) -> None:
    """`--socket` reaches the intake listener in the state directory."""
    socket_path = house.stage.state_dir / "lead-router.sock"
    assert house.send(written(tmp_path, lead(30)), "--socket", str(socket_path)) == DONE
    assert "1 lead sent" in capsys.readouterr().out


def test_the_wrong_token(house: House, tmp_path: Path, capsys: Screen) -> None:
    """Exit 1, and which token is meant."""
    assert main(["send", str(written(tmp_path, lead(31))), "--url", house.intake, "--token", "no"]) == NO
    assert "LEAD_ROUTER_TOKEN" in capsys.readouterr().err
    assert main(["contracts", "--url", house.admin]) == NO


def test_explain(house: House, tmp_path: Path, capsys: Screen) -> None:
    """Who would get it, and why each other contract would not; nothing is recorded; no lead is a 422."""
    assert house.operate("explain", str(written(tmp_path, lead(40))), "--source", "acme-web") == DONE
    said = capsys.readouterr().out
    assert "sunpath-southwest" in said
    assert "out_of_coverage" in said
    spoiled = lead(41, postal_code="850XX")
    assert house.operate("explain", str(written(tmp_path, spoiled)), "--source", "acme-web") == NO
    assert "fields.postal_code" in capsys.readouterr().err


def test_contracts_pause_and_resume(house: House, tmp_path: Path, capsys: Screen) -> None:
    """A paused contract says so in the list and in an explanation, until it is resumed."""
    path = str(written(tmp_path, lead(50)))
    assert house.operate("pause", "sunpath-southwest", "--reason", "holiday") == DONE
    assert house.operate("contracts") == DONE
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("sunpath-southwest"))
    assert "paused" in line
    assert house.operate("explain", path, "--source", "acme-web", "--json") == DONE
    refusals = json.loads(capsys.readouterr().out)["refusals"]
    assert ("sunpath-southwest", "paused") in {(one["contract_id"], one["code"]) for one in refusals}
    assert house.operate("contracts", "sunpath-southwest") == DONE
    assert "holiday" in capsys.readouterr().out
    assert house.operate("resume", "sunpath-southwest") == DONE
    assert house.operate("contracts", "sunpath-southwest", "--json") == DONE
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["paused"] is False


def test_overrides_and_ramps(house: House, tmp_path: Path, capsys: Screen) -> None:
    """Set for two hours and taken back; a resume that ramps; each shows in the line of the contract."""
    assert house.operate("contracts", "sunpath-southwest", "--json") == DONE
    cap = json.loads(capsys.readouterr().out)["caps"][0]
    given = f"{cap['id']}={cap['limit']}"
    assert house.operate("override", "sunpath-southwest", "--cap", given, "--for", "2h", "--reason", "a push") == DONE
    assert f"cap {cap['id']} is {cap['limit']}" in capsys.readouterr().out
    assert house.operate("contracts") == DONE
    assert "overridden by operator:" in capsys.readouterr().out
    assert house.operate("restore", "sunpath-southwest") == DONE
    assert house.operate("restore", "sunpath-southwest") == DONE
    assert "was not overridden" in capsys.readouterr().out
    assert house.operate("override", "sunpath-southwest", "--cap", "daily", "--for", "2h", "--reason", "r") == USAGE
    assert house.operate("override", "sunpath-southwest", "--cap", "no=1", "--for", "2h", "--reason", "r") == NO
    assert "caps.no" in capsys.readouterr().err
    assert house.operate("pause", "sunpath-southwest", "--for", "2h", "--ramp", "1h") == DONE
    assert house.operate("resume", "sunpath-southwest", "--ramp", "1h") == DONE
    assert house.operate("contracts") == DONE
    assert "back from its pause, 10% of leads" in capsys.readouterr().out
    assert house.operate("pause", "sunpath-southwest") == DONE
    assert house.operate("resume", "sunpath-southwest") == DONE


def test_pausing_a_source_and_a_buyer(house: House, tmp_path: Path, capsys: Screen) -> None:
    """`--source` and `--buyer`: a paused source is told no; an unknown id is too."""
    assert house.operate("pause", "acme-web", "--source") == DONE
    assert house.send(written(tmp_path, lead(60))) == NO
    assert house.operate("resume", "acme-web", "--source") == DONE
    assert house.operate("pause", "sunpath", "--buyer", "--until", "2030-01-01T00:00:00Z") == DONE
    assert house.operate("resume", "sunpath", "--buyer") == DONE
    capsys.readouterr()
    assert house.operate("pause", "nobody") == NO
    assert "404" in capsys.readouterr().err


def test_resolve_a_doubt(house: House, tmp_path: Path, capsys: Screen) -> None:
    """GreenWatt loses one connection in eight: that delivery is resolved once, a second time is refused."""
    for number in range(70, 86):
        answer = sent(house, tmp_path, capsys, lead(number, postal_code="19703", homeowner=False))
        if answer["status"] == "in_doubt":
            break
    else:
        pytest.fail("no delivery came into doubt")
    assert house.operate("trace", answer["lead_id"], "--json") == DONE
    delivery = json.loads(capsys.readouterr().out)["deliveries"][-1]["delivery_id"]
    assert house.operate("resolve", delivery, "accepted") == DONE
    assert house.operate("resolve", delivery, "rejected") == NO
    assert "409" in capsys.readouterr().err
    assert house.operate("trace", answer["lead_id"]) == DONE
    assert "■ sold to greenwatt" in capsys.readouterr().out


def test_the_ledger_beside_a_running_daemon(house: House, capsys: Screen) -> None:
    """`ledger verify` and `ledger stats` need no daemon and do not mind one."""
    state = str(house.stage.state_dir)
    assert main(["ledger", "verify", "--state", state]) == DONE
    assert "the history holds" in capsys.readouterr().out
    assert main(["ledger", "stats", "--state", state, "--json"]) == DONE
    stats = json.loads(capsys.readouterr().out)
    assert stats["facts"] == sum(stats["kinds"].values()) > 0
    assert stats["leads"]["sold"] > 0


def test_reports_from_the_daemon_and_beside_it(house: House, tmp_path: Path, capsys: Screen) -> None:
    """The daemon's report is that of its state directory; gaps are weighed by its leads while it runs."""
    sent(house, tmp_path, capsys, lead(31))
    sent(house, tmp_path, capsys, lead(32, postal_code="99501"))
    state = ["--state", str(house.stage.state_dir)]
    for name in ("acceptance", "near-misses", "coverage"):
        assert house.operate("report", name, "--json") == DONE
        asked = json.loads(capsys.readouterr().out)
        assert main(["report", name, "--json", *state]) == DONE
        reckoned = json.loads(capsys.readouterr().out)
        for found in (asked, reckoned):
            del found["since"], found["until"]
        assert asked == reckoned
        assert house.operate("report", name, "--since", "2020-01-01T00:00:00Z") == DONE
        assert capsys.readouterr().out.startswith("since 2020-01-01")
    assert main(["report", "acceptance", "--json", *state]) == DONE
    rows = {one["contract_id"]: one for one in json.loads(capsys.readouterr().out)["contracts"]}
    assert rows["sunpath-southwest"]["accepted"] >= 1
    words = ["coverage", "gaps", "--lead-type", "solar", "--config", str(house.stage.config_dir), *state]
    assert main([*words, "--json"]) == DONE
    table = json.loads(capsys.readouterr().out)["lead_types"]["solar"]
    assert ("99501", 0, 1) in {(row["postal_code"], row["buyers"], row["leads"]) for row in table["rows"]}
    assert main(words) == DONE
    assert "Anchorage, AK" in capsys.readouterr().out


def test_a_second_daemon_is_refused(house: House, capsys: Screen) -> None:
    """On the same state directory: exit 74, and it names the lock."""
    words = ["--config", str(house.stage.config_dir), "--state", str(house.stage.state_dir)]
    assert main(["serve", *words]) == DISK
    assert "lock" in capsys.readouterr().err


def test_an_edited_history_does_not_verify(house: House, tmp_path: Path, capsys: Screen) -> None:
    """A fact that was changed afterwards: exit 1, and which."""
    import shutil
    import sqlite3

    copy = tmp_path / "state"
    shutil.copytree(house.stage.state_dir, copy, ignore=shutil.ignore_patterns("*.sock", "lock"))
    connection = sqlite3.connect(copy / "ledger.sqlite3")
    connection.execute("UPDATE facts SET at_ns = at_ns + 1 WHERE seq = 2")
    connection.commit()
    connection.close()
    assert main(["ledger", "verify", "--state", str(copy)]) == NO
    assert "fact 2" in capsys.readouterr().out


def test_init_check_and_serve(tmp_path: Path, capsys: Screen) -> None:
    """`init` writes what `check` accepts, comments and all; an error is exit 1 for `check`, 78 for `serve`."""
    target = tmp_path / "config"
    assert main(["init", str(target)]) == DONE
    assert (target / "router.toml").read_text("utf-8") == (sample_config() / "router.toml").read_text("utf-8")
    assert main(["init", str(target)]) == NO
    assert main(["check", "--config", str(target)]) == DONE
    router = target / "router.toml"
    router.write_text(router.read_text("utf-8").replace("[ledger]", "[ledger]\ncolour = 1"), "utf-8")
    source = target / "sources" / "acme-web.toml"
    source.write_text(source.read_text("utf-8") + 'wait = "soon"\n', "utf-8")
    capsys.readouterr()
    assert main(["check", "--config", str(target)]) == NO
    said = capsys.readouterr().out
    assert "router.toml: ledger.colour" in said
    assert "sources/acme-web.toml" in said
    assert main(["check", "--config", str(target), "--json"]) == NO
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main(["serve", "--config", str(target), "--state", str(tmp_path / "state")]) == CONFIG
