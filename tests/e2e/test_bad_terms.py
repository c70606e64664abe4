"""Terms that overflow, given to a running daemon: it says no, names file and mend, and goes on with the ones it has."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.process import ask, daemon, give, write_config

BUYER = "buyers/bright.toml"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Talks to the daemon."""
    async with aiohttp.ClientSession() as session:
        yield session


def put(find: str, text: str) -> Callable[[Path], None]:
    """A change of the buyer's file."""

    def change(config: Path) -> None:
        path = config / BUYER
        before = path.read_text("utf-8")
        assert find in before, find
        path.write_text(before.replace(find, text, 1), "utf-8")

    return change


def add(text: str) -> Callable[[Path], None]:
    """More lines in the contract."""
    return put('price = "10.00"', f'price = "10.00"\n{text}')


def endless(config: Path) -> None:
    """A device among the buyers."""
    (config / "buyers/zero.toml").symlink_to("/dev/zero")


def pipe(config: Path) -> None:
    """A pipe among the buyers."""
    os.mkfifo(config / "buyers/pipe.toml")


def not_text(config: Path) -> None:
    """Bytes that are no text."""
    (config / BUYER).write_bytes(b'id = "\xff\xfe"')


BAD = [
    put("787*", '787*", "' + '", "'.join(f"{code:05d}" for code in range(100_000)) * 8),
    add("criteria = [" + "{ not = " * 1000 + '{ field = "postal_code", equals = "x" }' + " }" * 1000 + "]"),
    put('price = "10.00"', f'price = "{"9" * 5000}.00"'),
    add('dedup = { keys = [["phone"]], window = "99999999999999999999d" }'),
    add('caps = [{ per = "day", limit = 1180591620717411303424 }]'),
    add('go_live = "9999-12-31"'),
    add("weight = -1"),
    add(f"weight = {'1' * 5000}"),
    add('sla = { max_lead_age = "1000000000000000000000000000000d" }'),
    add("share = nan"),
    put("787*", "*"),
    put("787*", "78799-78701"),
    add('schedule = { open = ["Funday 25:00-26:00"] }'),
    endless,
    pipe,
    not_text,
]


async def test_nothing_in_a_file_takes_a_running_daemon_down(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """Each of them is refused at a reload by name, the version in force stays, and leads are taken all the while."""
    good = write_config(tmp_path / "config")
    kept = {path: path.read_bytes() for path in good.rglob("*") if path.is_file()}
    async with daemon(good, tmp_path / "state") as running:
        version = (await ask(client, f"{running.admin}/v1/terms"))["version"]
        for change in BAD:
            change(good)
            running.process.send_signal(signal.SIGHUP)
            found = await running.line("configuration")
            while found["severity"] != "error":
                found = await running.line("configuration")
            assert found["file"].startswith("buyers/")
            assert found["mend"]
            await running.line("reload_refused")
            assert (await ask(client, f"{running.admin}/v1/terms"))["version"] == version
            assert (await give(client, running.intake, "20001"))[0] == 201
            for path in good.rglob("buyers/*"):
                path.unlink()
            for path, data in kept.items():
                path.write_bytes(data)
        assert await running.stop() == 0
