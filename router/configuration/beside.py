"""The terms on disk, read by a short-lived process: TOML and postal codes by the million would hold the loop up.

A thread would not do: it shares the interpreter lock, and decoding a large file holds that for as long as it takes.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from router.clock import Clock
from router.engine.slices import Slices
from router.terms.book import Book
from router.terms.candidate import Candidate
from router.terms.handover import LENGTH_BYTES, Handed, known_to, told
from router.terms.problems import Problem
from router.terms.revive import gathering
from router.terms.schema import Auth
from router.terms.steps import each
from router.transport.credentials import prepare

_READ_WITHIN_S: Final = 1800.0
_COMMAND: Final = (sys.executable, "-P", "-m", "router.configuration.reader")
_MEND: Final = "Run `lead-router check`; if that works, the machine may be out of memory"


async def read_beside(config_dir: Path, state_dir: Path, present: Book, clock: Clock) -> Candidate:
    """As `read_candidate`, in a process of its own; what did not change is taken from the present Book."""
    slices = Slices(clock)
    try:
        async with asyncio.timeout(_READ_WITHIN_S):
            handed = await _handed(config_dir, state_dir, present, slices)
    except TimeoutError:
        return _failed(f"reading the terms took longer than {_READ_WITHIN_S:.0f} seconds")
    if not handed.complete:
        return _failed("the process that reads the terms ended before it was done")
    problems = tuple(handed.problems)
    if handed.version is None:
        return Candidate(terms=None, problems=problems, secrets={})

    async def pieces(addresses: Sequence[str]) -> Sequence[bytes]:
        return [handed.pieces.pop(address) for address in addresses]

    gathered = await slices.ask(gathering(handed.version, present, handed.places), pieces)
    identities: list[Auth] = []
    endpoints = (one for buyer in gathered.terms.buyers.values() for one in buyer.endpoints.values())
    await slices.run(each(endpoints, lambda one: identities.append(one.auth) if one.auth.type == "mtls" else None))
    await asyncio.to_thread(prepare, identities, handed.secrets)
    return Candidate(terms=gathered.terms, problems=problems, secrets=handed.secrets, read=gathered.read)


async def _handed(config_dir: Path, state_dir: Path, present: Book, slices: Slices) -> Handed:
    """Everything the reader says, or as much of it as came."""
    reader = _start(config_dir, state_dir)
    assert reader.stdin is not None
    assert reader.stdout is not None
    handed = Handed()
    try:
        writing = asyncio.create_task(_tell(reader.stdin, told(known_to(present)), slices))
        frames = await _stream(reader.stdout)
        try:
            while not handed.complete:
                length = int.from_bytes(await frames.readexactly(LENGTH_BYTES), "big")
                handed.take(await frames.readexactly(length))
                await slices.rest()
        except (asyncio.IncompleteReadError, msgspec.MsgspecError):
            pass  # it is not complete, then
        await writing
    finally:
        reader.kill()
        await asyncio.to_thread(reader.wait)
    return handed


def _start(config_dir: Path, state_dir: Path) -> "subprocess.Popen[bytes]":
    """Not by the loop's own means: uvloop copies the page tables of a large process first, 100 ms a gigabyte."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [*_COMMAND, str(config_dir), str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


async def _tell(pipe: IO[bytes], words: Iterable[bytes], slices: Slices) -> None:
    """Write some bytes, and close: the reader waits for the end of it."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    with suppress(ConnectionError):  # it has ended; what it did not say tells so
        async for some in slices.each(words):
            writer.write(some)
            await writer.drain()
    writer.close()


async def _stream(pipe: IO[bytes]) -> asyncio.StreamReader:
    frames = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(frames), pipe)
    return frames


def _failed(what: str) -> Candidate:
    return Candidate(terms=None, problems=(Problem("", "", what, _MEND),), secrets={})
