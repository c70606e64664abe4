"""The demo as a newcomer runs it: the real daemon, a farm of buyers, leads; it ends by itself and its sums hold."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "router", "demo"]
LIMIT_S = 120


def test_a_small_demo_ends_well(tmp_path: Path) -> None:
    """Exit 0; every lead has an end; sold, unsold, doubts and refusals are all there; the history verifies."""
    done = subprocess.run(
        [*DEMO, "--leads", "60", "--rate", "60", "--json"],
        capture_output=True, text=True, timeout=LIMIT_S, cwd=tmp_path, env=_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert sum(found["statuses"].values()) == found["leads"] == 60
    assert found["statuses"]["sold"] > 20
    assert found["statuses"]["refused"] == sum(found["refused"].values()) > 0
    assert sum(said.get("accepted", 0) for said in found["buyers"].values()) >= found["copies"] > 20
    assert float(found["revenue"]) > 0
    assert "the history holds" in done.stderr
    assert "● received" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_that_dies_fails_the_demo(tmp_path: Path) -> None:
    """Killed in the middle: exit 70 at once, and it says that the daemon died."""
    with subprocess.Popen(
        [*DEMO, "--leads", "5000", "--rate", "20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=_environment(),
    ) as demo:  # fmt: skip
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "sold" in line:
                    break
            os.kill(_child_of(demo.pid), signal.SIGKILL)
            _, said = demo.communicate(timeout=LIMIT_S)
        finally:
            demo.kill()
    assert demo.returncode == 70
    assert "the daemon died with exit code -9" in said
    assert "Traceback" not in said


def test_ctrl_c_ends_a_demo_that_stays(tmp_path: Path) -> None:
    """`--stay` goes on after the summary; Ctrl-C stops the daemon properly, verifies the history and exits 0."""
    with subprocess.Popen(
        [*DEMO, "--leads", "20", "--rate", "40", "--stay"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=_environment(),
    ) as demo:  # fmt: skip
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "Ctrl-C ends it" in line:
                    break
            demo.send_signal(signal.SIGINT)
            said, wrong = demo.communicate(timeout=LIMIT_S)
        finally:
            demo.kill()
    assert (demo.returncode, wrong) == (0, "")
    assert "the history holds" in said


def _environment() -> dict[str, str]:
    """Ours, with this checkout's package."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _child_of(parent: int) -> int:
    """The daemon that a demo runs: its child that serves."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                owner = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if owner == parent and b"serve" in words:
                return int(folder.name)
    pytest.fail("the demo runs no daemon")
