"""The real daemon as a process of its own, with a configuration on disk and a buyer that answers when told to."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from tests.e2e.house import ADMIN, SOURCE, digest

ROOT = Path(__file__).parents[2]
START_S = 30


class GatedBuyer:
    """A buyer on a free port: counts what it is asked, answers `accepted` once the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = asyncio.Semaphore(0)
        self.ids: list[str] = []
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """One delivery."""
        await request.read()
        self.ids.append(request.headers["Idempotency-Key"])
        self.asked.release()
        await self.gate.wait()
        return web.json_response({"status": "accepted"})


@asynccontextmanager
async def gated_buyer() -> AsyncIterator[GatedBuyer]:
    """A running buyer, with its gate closed."""
    buyer = GatedBuyer()
    runner = web.ServerRunner(web.Server(buyer.answer), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    buyer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/lead"
    try:
        yield buyer
    finally:
        buyer.gate.set()
        await runner.cleanup()


def write_config(directory: Path, buyer_url: str = "http://127.0.0.1:9/lead", **server: str) -> Path:
    """A small configuration: one lead type, one source, one buyer; `server` replaces lines of `[server]`."""
    lines = {"intake": '["127.0.0.1:0", "unix:intake.sock"]', "admin": '["127.0.0.1:0"]', "drain": '"10s"'} | server
    files = {
        "router.toml": "[server]\n"
        + "".join(f"{key} = {value}\n" for key, value in lines.items())
        + '[network]\nallow_private = ["127.0.0.0/8"]\nallow_http = true\n'
        + f'[operators]\nada = {{ token_sha256 = "{digest(ADMIN)}", role = "admin" }}\n',
        "lead_types/solar.toml": 'id = "solar"\ndeadline = "30s"\n'
        '[fields.postal_code]\ntype = "postal_code"\nrequired = true\n',
        "sources/web.toml": f'id = "web"\ntoken_sha256 = ["{digest(SOURCE)}"]\nlead_types = ["solar"]\nwait = "20s"\n',
        "buyers/bright.toml": f"""id = "bright"
name = "Bright"
[endpoints.crm]
url = "{buyer_url}"
timeout = "20s"
body = {{ zip = "{{{{postal_code}}}}" }}
[[endpoints.crm.responses]]
when = {{ path = "status", equals = "accepted" }}
outcome = "accepted"
[[contracts]]
id = "bright-tx"
lead_type = "solar"
endpoint = "crm"
price = "10.00"
coverage = {{ postal_codes = ["787*"] }}
fields = {{ required = ["postal_code"] }}
""",
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return directory


class Running:
    """A daemon process that said it is listening."""

    def __init__(self, process: asyncio.subprocess.Process, first: dict[str, Any]) -> None:
        self.process = process
        self.pid = process.pid
        self.intake = f"http://{first['addresses']['intake'][0]}"
        self.admin = f"http://{first['addresses']['admin'][0]}"
        self.addresses: dict[str, list[str]] = first["addresses"]

    async def line(self, event: str) -> dict[str, Any]:
        """The next log line of that event."""
        return await next_line(self.process, event)

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(START_S):
            assert self.process.stderr is not None
            while await self.process.stderr.readline():
                pass
            return await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return await self.ended()


async def next_line(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """Read the log up to a line of that event."""
    assert process.stderr is not None
    seen = []
    async with asyncio.timeout(START_S):
        while raw := await process.stderr.readline():
            seen.append(raw)
            if raw.startswith(b"{") and (line := orjson.loads(raw))["event"] == event:
                return dict(line)
    raise AssertionError(f"the log ended without {event!r}: " + b"".join(seen).decode())


async def launch(
    config: Path, state: Path, *more: str, environment: Mapping[str, str] | None = None, fds: tuple[int, ...] = ()
) -> asyncio.subprocess.Process:
    """Start `lead-router serve`; `fds` become its descriptors 3, 4, … as systemd would pass them."""
    words = [sys.executable, "-m", "router", "serve", "--config", str(config), "--state", str(state), *more]
    if fds:
        words = [sys.executable, "-c", _PASSING, ",".join(map(str, fds)), *words]
    return await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        pass_fds=fds,
    )


_PASSING = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
high = [os.dup2(fd, 200 + n) for n, fd in enumerate(fds)]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n)
    os.close(fd)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))}
os.execv(sys.argv[2], sys.argv[2:])
"""


@asynccontextmanager
async def daemon(config: Path, state: Path, *more: str, **how: Any) -> AsyncIterator[Running]:
    """A running daemon; it is killed on the way out if it still runs."""
    process = await launch(config, state, *more, **how)
    try:
        yield Running(process, await next_line(process, "listening"))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def refuses_to_start(config: Path, state: Path, *more: str) -> tuple[int, str]:
    """Start a daemon that will not: its exit code and what it said."""
    process = await launch(config, state, *more)
    async with asyncio.timeout(START_S):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def give(client: aiohttp.ClientSession, url: str, code: str = "78701", **headers: str) -> tuple[int, Any]:
    """POST /v1/leads -> status and JSON."""
    sent = {"Authorization": f"Bearer {SOURCE}", "Content-Type": "application/json", **headers}
    body = orjson.dumps({"fields": {"postal_code": code}})
    async with client.post(f"{url}/v1/leads", data=body, headers=sent) as answer:
        return answer.status, await answer.json(content_type=None)


async def ask(client: aiohttp.ClientSession, url: str, token: str = ADMIN) -> Any:
    """GET -> JSON."""
    async with client.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
        return await answer.json(content_type=None)


class Manager:
    """systemd's side of `sd_notify`: a datagram socket and what came to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def told(self, what: str) -> str:
        """Wait until a datagram says that."""
        async with asyncio.timeout(START_S):
            while True:
                text = (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()
                if what in text:
                    return text

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
