"""The daemon of the demo: the real one, as a process of its own, watched from its first breath to its exit code."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

import aiohttp
import orjson

import router
from router.daemon.serve import ADDRESSES_FILE
from router.demo.stage import Stage

START_S: Final = 30.0
STOP_S: Final = 40.0
SILENT_S: Final = 2.0
_POLL_S: Final = 0.05
_LOG_LINES_SHOWN: Final = 15


class DaemonFailedError(Exception):
    """The daemon did not start, died, or did not stop well. The message ends with its last words."""


class DaemonProcess:
    """`async with DaemonProcess(stage, log) as daemon:` runs it; leaving stops it and checks that it exits with 0.

    `intake_url` and `admin_url` say where it listens, once it is ready.
    """

    def __init__(self, stage: Stage, log: Path) -> None:
        """`log` receives what the daemon prints."""
        self._stage, self._log = stage, log
        self.intake_url = ""
        self.admin_url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "DaemonProcess":
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "router", "serve",
                "--config", str(self._stage.config_dir), "--state", str(self._stage.state_dir),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(), start_new_session=True,  # Ctrl-C is ours to pass on
            )  # fmt: skip
        try:
            await self._ready()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        code = await self._end()
        if code != 0 and kind is None:
            raise DaemonFailedError(f"the daemon ended with exit code {code} instead of 0{self._last_words()}")

    async def died(self) -> NoReturn:
        """Wait until it ends although nobody told it to, then raise DaemonFailedError."""
        code = await self._running().wait()
        raise DaemonFailedError(f"the daemon died with exit code {code}{self._last_words()}")

    async def silent(self, error: Exception) -> NoReturn:
        """It did not answer: raise DaemonFailedError that says whether it has died."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_S):
                await self.died()
        raise DaemonFailedError(f"the daemon does not answer: {error}{self._last_words()}")

    async def _ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            deadline = asyncio.get_running_loop().time() + START_S
            while not (self._listens() and await _says_ready(session, self.admin_url)):
                if self._running().returncode is not None:
                    await self.died()
                if asyncio.get_running_loop().time() > deadline:
                    raise DaemonFailedError(f"the daemon was not ready after {START_S:.0f} s{self._last_words()}")
                await asyncio.sleep(_POLL_S)

    def _listens(self) -> bool:
        """Whether the daemon has said where it listens; notes it."""
        try:
            found = orjson.loads((self._stage.state_dir / ADDRESSES_FILE).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):  # not there yet, or half written
            return False
        self.intake_url, self.admin_url = f"http://{found['intake'][0]}", f"http://{found['admin'][0]}"
        return True

    async def _end(self) -> int:
        process = self._running()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "the daemon was never started"
        return self._process

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES_SHOWN:]
        return "".join(f"\n    {line}" for line in (["; its last words:", *lines] if lines else ["; it said nothing"]))


async def _says_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def environment() -> dict[str, str]:
    """This process's environment, in which `-m router` is this very package, installed or not."""
    home = str(Path(router.__file__).parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
