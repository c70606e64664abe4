"""`lead-router buyers`: the farm as a command, from its first line to Ctrl-C."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from router.cli import main
from router.cli.exits import CONFIG, DISK, DONE
from router.demo.crew import environment
from router.demo.tempers import TEMPERS

VOICES = """
[ridgeline.accepted]
content_type = "text/html"
body = "SUCCESS|77120"
[ridgeline.rejected]
body = "REJECT|zip"
"""


def test_buyers_answer_and_say_what_came(tmp_path: Path) -> None:
    """The first line says where; then one line a request, with its delivery id and nothing of the lead but its code."""
    voices = tmp_path / "voices.toml"
    voices.write_text(VOICES, "utf-8")
    command = [sys.executable, "-m", "router", "buyers", "--port", "0", "--json", "--voices", str(voices)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as farm:
        assert farm.stdout is not None
        told = json.loads(farm.stdout.readline())
        assert told["tempers"] == list(TEMPERS)
        lead = Request(
            f"{told['url']}/buyer/accept/crm?voice=ridgeline",
            data=b'{"zip": "78701", "name": "Ana"}',
            headers={"Content-Type": "application/json", "Idempotency-Key": "d-1"},
        )
        with urlopen(lead, timeout=30) as answer:
            assert answer.read() == b"SUCCESS|77120"
        line = farm.stdout.readline()
        farm.send_signal(signal.SIGINT)
        assert farm.wait(30) == DONE
    came = json.loads(line)
    assert (came["name"], came["delivery_id"], came["postal_code"], came["status"]) == ("crm", "d-1", "78701", 200)
    assert "Ana" not in line


def test_what_keeps_it_from_starting_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken, voices that cannot be read: which, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["buyers", "--port", str(port)]) == DISK
    assert f"port {port}" in capsys.readouterr().err
    missing = tmp_path / "none.toml"
    assert main(["buyers", "--port", "0", "--voices", str(missing)]) == CONFIG
    assert str(missing) in capsys.readouterr().err
    missing.write_text("[a.accepted]\n", "utf-8")
    assert main(["buyers", "--port", "0", "--voices", str(missing)]) == CONFIG
    assert "rejected" in capsys.readouterr().err
