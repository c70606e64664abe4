"""The configuration read by a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from router.clock import SystemClock
from router.configuration import beside
from router.configuration.beside import read_beside
from router.configuration.disk import read_candidate
from router.terms.book import Book
from router.terms.candidate import Candidate
from router.terms.compile import compile_book, compiling
from router.terms.handover import LENGTH_BYTES, Handed, known_to, sent
from router.terms.steps import at_once
from tests.e2e.process import write_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with two buyers."""
    directory = write_config(tmp_path / "config")
    text = (directory / "buyers/bright.toml").read_text("utf-8")
    (directory / "buyers/second.toml").write_text(text.replace("bright", "second"), "utf-8")
    return directory


def book_of(candidate: Candidate) -> Book:
    """A candidate compiled."""
    assert candidate.terms is not None
    return compile_book(candidate.terms)


def taken(frames: list[bytes]) -> Handed:
    """What the frames say."""
    handed = Handed()
    for frame in frames:
        assert int.from_bytes(frame[:LENGTH_BYTES], "big") == len(frame) - LENGTH_BYTES
        handed.take(frame[LENGTH_BYTES:])
    return handed


async def test_it_is_as_if_it_had_been_read_here(config: Path, tmp_path: Path) -> None:
    """Terms, places, secrets, warnings and version are those of `read_candidate`; unchanged buyers are our own."""
    state = tmp_path / "state"
    now = book_of(read_candidate(config, state))
    path = config / "buyers/bright.toml"
    path.write_text(
        path.read_text("utf-8")
        .replace('price = "10.00"', 'price = "11.00"')
        .replace("body = {", 'auth = { type = "bearer", token = "secret:bright" }\nbody = {'),
        "utf-8",
    )
    (config / "secrets").mkdir()
    (config / "secrets/bright").write_text("hush", "utf-8")
    (config / "secrets/bright").chmod(0o600)
    here = read_candidate(config, state)
    there = await read_beside(config, state, now, SystemClock())
    assert there.problems == here.problems
    assert there.secrets == here.secrets == {"bright": "hush"}
    assert there.good
    assert there.terms is not None
    assert here.terms is not None
    assert there.terms.places == here.terms.places
    assert list(there.read) == ["bright"]
    assert there.terms.buyers["second"] is now.buyers["second"]
    assert at_once(compiling(there.terms, now, there.read)).version == book_of(here).version != now.version


async def test_errors_come_across(config: Path, tmp_path: Path) -> None:
    """Each with its file, key and mend; and no terms."""
    now = book_of(read_candidate(config, tmp_path))
    path = config / "buyers/bright.toml"
    path.write_text(path.read_text("utf-8").replace("787*", "nowhere"), "utf-8")
    there = await read_beside(config, tmp_path, now, SystemClock())
    assert there.terms is None
    assert there.problems == read_candidate(config, tmp_path).problems
    assert not there.good


async def test_a_reader_that_dies_is_a_finding(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, or never able to start: the terms stay as they are, and what to do is said."""
    now = book_of(read_candidate(config, tmp_path))
    for command in ((sys.executable, "-c", f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})"), ("false",)):
        monkeypatch.setattr(beside, "_COMMAND", command)
        there = await read_beside(config, tmp_path, now, SystemClock())
        (problem,) = there.problems
        assert "ended before it was done" in problem.message
        assert "lead-router check" in problem.mend
        assert there.terms is None


async def test_a_reader_that_hangs_is_given_up(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer: after a bound it is over, and no process is left behind."""
    now = book_of(read_candidate(config, tmp_path))
    readers: list[subprocess.Popen[bytes]] = []
    start = beside._start
    monkeypatch.setattr(beside, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(3600)"))
    monkeypatch.setattr(beside, "_start", lambda *where: readers.append(start(*where)) or readers[0])
    monkeypatch.setattr(beside, "_READ_WITHIN_S", 0.05)
    (problem,) = (await read_beside(config, tmp_path, now, SystemClock())).problems
    assert "took longer" in problem.message
    assert readers[0].returncode == -signal.SIGKILL


def test_what_is_known_is_not_sent(config: Path, tmp_path: Path) -> None:
    """A configuration that did not change is a title page; of a changed buyer its piece and its index page too."""
    candidate = read_candidate(config, tmp_path)
    book = book_of(candidate)
    assert set(taken(list(sent(candidate, frozenset(known_to(book))))).pieces) == {book.version}
    path = config / "buyers/second.toml"
    path.write_text(path.read_text("utf-8").replace("10.00", "12.00"), "utf-8")
    again = read_candidate(config, tmp_path)
    handed = taken(list(sent(again, frozenset(known_to(book)))))
    assert handed.version == book_of(again).version
    assert len(handed.pieces) == 3


def test_frames_are_short(config: Path, tmp_path: Path) -> None:
    """However much there is to say, no frame is more than a couple of hundred things or a hundred kilobytes."""
    buyer = (config / "buyers/bright.toml").read_text("utf-8")
    for number in range(300):
        (config / f"buyers/b{number}.toml").write_text(buyer.replace("bright", f"b{number}"), "utf-8")
    frames = list(sent(read_candidate(config, tmp_path), frozenset()))
    assert len(frames) > 5
    assert max(map(len, frames)) < 100_000
    assert len(taken(frames).problems) > 300
