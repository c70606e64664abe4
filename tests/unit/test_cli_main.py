"""The command line as a whole: every command is there, help is quick, and exit codes mean what the reference says."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from router import cli
from router.cli import COMMANDS, main
from router.cli.exits import DONE, INTERNAL, NO, UNREACHABLE, USAGE, CommandError


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_file_and_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`lead-router NAME --help` exits 0 and says what the command is for."""
    assert importlib.import_module(f"router.cli.{name}").arguments.__doc__
    assert main([name, "--help"]) == DONE
    assert f"lead-router {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"serve"}))
def test_every_command_speaks_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` is an option everywhere but of the daemon, which has a log."""
    actions = {
        "token": ["new"],
        "ledger": ["verify"],
        "coverage": ["import"],
        "report": ["acceptance"],
        "export": ["spec-buyer"],
    }
    assert main([name, *actions.get(name, []), "--help"]) == DONE
    assert "--json" in capsys.readouterr().out


def test_help_is_quick() -> None:
    """`--help` loads neither the server nor the terms nor any command."""
    script = (
        "import sys\n"
        "from router.cli import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'aiohttp', 'uvloop', 'msgspec', 'zipcodes', 'phonenumbers', 'asyncio', 'http.client'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_python_m_router_is_the_same_program() -> None:
    """`python -m router --version` answers like the installed command."""
    done = subprocess.run([sys.executable, "-m", "router", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("lead-router ")


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["pause"], ["trace", "x", "--frobnicate"], ["token"]])
def test_a_wrong_word_is_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be understood exits 2 and says so."""
    assert main(words) == USAGE
    assert "usage: lead-router" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["status"], ["contracts"], ["trace", "x"], ["pause", "x"], ["resume", "x"], ["resolve", "x", "accepted"]],
)
def test_no_daemon_is_69_with_the_mend(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens: exit 69, what to do about it, and no traceback."""
    assert main([*words, "--url", "http://127.0.0.1:1"]) == UNREACHABLE
    said = capsys.readouterr().err
    assert "127.0.0.1:1" in said
    assert "lead-router serve" in said
    assert "Traceback" not in said


def test_no_socket_is_69(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A unix socket that is not there is the same."""
    assert main(["status", "--socket", str(tmp_path / "none.sock")]) == UNREACHABLE
    assert "none.sock" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "ftp://127.0.0.1", "http://", "http://h:port"])
def test_an_address_that_is_none(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A --url that cannot be one is usage, with an example."""
    assert main(["status", "--url", url]) == USAGE
    assert "http://127.0.0.1:8081" in capsys.readouterr().err


def test_the_environment_names_the_daemon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """LEAD_ROUTER_URL stands in for --url."""
    monkeypatch.setenv("LEAD_ROUTER_URL", "http://127.0.0.1:2")
    assert main(["status"]) == UNREACHABLE
    assert "127.0.0.1:2" in capsys.readouterr().err


def test_a_defect_is_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An exception nobody foresaw shows where it happened and says that it is ours."""
    monkeypatch.setattr(cli, "_parser", _broken)
    assert main(["status"]) == INTERNAL
    assert "please report" in capsys.readouterr().err


def _broken(_: object) -> object:
    raise RuntimeError("out of order")


def test_an_error_tells_the_mend(capsys: pytest.CaptureFixture[str]) -> None:
    """The message, then the mend on a line of its own."""
    assert CommandError(NO, "it does not fit", "Make it smaller.").tell(sys.stderr) == NO
    assert capsys.readouterr().err == "lead-router: it does not fit\n  Make it smaller.\n"


def test_token_new_prints_the_hash_of_its_token(capsys: pytest.CaptureFixture[str]) -> None:
    """The line for the configuration is the SHA-256 of the token, and no two tokens are alike."""
    import hashlib
    import json

    found = []
    for _ in range(2):
        assert main(["token", "new", "--json"]) == DONE
        found.append(json.loads(capsys.readouterr().out))
    for one in found:
        assert one["token_sha256"] == hashlib.sha256(one["token"].encode()).hexdigest()
    assert found[0] != found[1]
    assert main(["token", "new", "--operator", "alice", "--role", "auditor"]) == DONE
    assert 'alice = { token_sha256 = "' in capsys.readouterr().out
