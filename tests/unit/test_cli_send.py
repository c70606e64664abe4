"""`send` against a small server that answers what it is told: batches, patience, counts, and exit codes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from router.cli import main, send
from router.cli.exits import DONE, NO, UNREACHABLE


class Intake(ThreadingHTTPServer):
    """Answers each lead by its `say` field: a status word, or a number for a refusal. Remembers what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.came: list[tuple[str, dict[str, str], list[dict[str, Any]]]] = []
        self.busy = 0  # how many leads are told to come later
        self.cut = False  # batches break off after their first answer

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, lead: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body for one lead."""
        if self.busy:
            self.busy -= 1
            return 503, {"status": 503, "code": "overloaded", "retry_after": 0}
        say = lead["say"]
        if isinstance(say, int):
            error = {"field": "fields.phone", "code": "invalid", "message": "is not a phone number"}
            return say, {"status": say, "code": "invalid", "detail": "does not fit", "errors": [error]}
        return 201, {"lead_id": "L1", "status": say, "copies": 0, "reason": "all_declined" if say == "unsold" else None}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Intake

    def do_POST(self) -> None:
        """Answer one lead, or each line of a batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        leads = [json.loads(line) for line in body.splitlines()]
        self.server.came.append((self.path, dict(self.headers), leads))
        if self.path == "/v1/leads":
            status, answer = self.server.answer(leads[0])
            self._reply(status, json.dumps(answer).encode())
            return
        lines = [
            json.dumps({"line": number, "status_code": status, **answer}).encode() + b"\n"
            for number, lead in enumerate(leads, start=1)
            for status, answer in [self.server.answer(lead)]
        ]
        self._reply(200, b"".join(lines[:1] if self.server.cut else lines))

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def intake() -> Iterator[Intake]:
    """A running server."""
    server = Intake()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def sent(intake: Intake, folder: Path, leads: list[Any], *words: str) -> int:
    """`lead-router send` of these leads; the exit code."""
    path = folder / "leads.json"
    path.write_text(json.dumps(leads), "utf-8")
    return main(["send", str(path), "--url", intake.url, "--token", "t0p", *words])


def test_one_lead_goes_alone(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One POST with the token; the answer names the lead, so that it can be traced."""
    assert sent(intake, tmp_path, [{"say": "sold"}]) == DONE
    path, headers, leads = intake.came[0]
    assert (path, headers["Authorization"], leads) == ("/v1/leads", "Bearer t0p", [{"say": "sold"}])
    assert "lead L1" in capsys.readouterr().out


def test_many_go_as_batches(intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a bounded size, in order; `--async` asks for answers as soon as leads are durable."""
    monkeypatch.setattr(send, "BATCH_LEADS_MAX", 3)
    assert sent(intake, tmp_path, [{"say": "sold", "n": n} for n in range(5)], "--async") == DONE
    assert [(path, len(leads)) for path, _, leads in intake.came] == [("/v1/leads:batch", 3), ("/v1/leads:batch", 2)]
    assert [lead["n"] for _, _, leads in intake.came for lead in leads] == list(range(5))
    assert all(headers["Prefer"] == "respond-async" for _, headers, _ in intake.came)


def test_counts_and_reasons(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Statuses, why unsold, why refused with the line; a refusal makes it exit 1."""
    leads = [{"say": word} for word in ("sold", "sold", "unsold", "duplicate")] + [{"say": 422}]
    assert sent(intake, tmp_path, leads) == NO
    said = capsys.readouterr().out
    assert "5 leads sent" in said
    assert "all_declined 1" in said
    assert "fields.phone: invalid" in said
    assert "line 5: fields.phone: is not a phone number" in said


def test_json_holds_everything(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json`: counts, each lead's answer and each refusal with its line."""
    assert sent(intake, tmp_path, [{"say": "sold"}, {"say": 422}], "--json") == NO
    found = json.loads(capsys.readouterr().out)
    assert (found["sent"], found["refused"], found["statuses"]) == (2, 1, {"sold": 1})
    assert found["leads"][0]["lead_id"] == "L1"
    assert found["refusals"][0]["line"] == 2


def test_come_later_is_obeyed(intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leads that are told 503 go again, after a pause, and no other lead does."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    intake.busy = 2
    assert sent(intake, tmp_path, [{"say": "sold", "n": n} for n in range(3)]) == DONE
    assert [[lead["n"] for lead in leads] for _, _, leads in intake.came] == [[0, 1, 2], [0, 1]]
    assert len(pauses) == 1


def test_patience_ends(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without patience a 503 is counted as refused."""
    intake.busy = 1
    assert sent(intake, tmp_path, [{"say": "sold"}], "--patience", "0") == NO
    assert "overloaded" in capsys.readouterr().out


def test_who_may_not_send(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """401 is about the sender, not about a lead: it says which token is meant."""
    assert sent(intake, tmp_path, [{"say": 401}]) == NO
    assert "LEAD_ROUTER_TOKEN" in capsys.readouterr().err


def test_an_answer_that_breaks_off(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer answers than leads: exit 69, and how to send the rest without sending any twice."""
    intake.cut = True
    assert sent(intake, tmp_path, [{"say": "sold"}, {"say": "sold"}]) == UNREACHABLE
    assert "external_id" in capsys.readouterr().err


def test_no_bar_in_a_pipe(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A progress bar is for a terminal; a pipe never sees one."""
    assert sent(intake, tmp_path, [{"say": "sold"}] * 3) == DONE
    assert capsys.readouterr().err == ""
