"""`lead-router contracts` on a terminal: what moved stands out."""

import argparse
from typing import Any

import pytest

from router.cli import contracts

GUARD = {
    "metric": "acceptance_rate", "state": "throttled", "value": 0.4, "sample": 20, "action": "throttle",
    "until": "2026-11-24T17:30:00.000Z", "wants": "acceptance_rate at least 0.5 over 1h",
}  # fmt: skip
BREAKER = {"metric": "endpoint", "state": "closed", "value": None, "sample": 0, "until": None, "wants": "health"}
ONE = {
    "contract_id": "bright-tx", "buyer_id": "bright", "status": "live", "paused": False, "in_flight": 1,
    "caps": [], "guards": [GUARD], "breaker": BREAKER,
}  # fmt: skip


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command prints of a daemon's answer."""

    def show(answer: Any, id_: str | None = None) -> str:
        class Daemon:
            def __init__(self, options: Any) -> None:
                pass

            def ask(self, method: str, path: str) -> Any:
                return answer

        monkeypatch.setattr(contracts, "Daemon", Daemon)
        assert contracts.run(argparse.Namespace(id=id_, json=False)) == 0
        return capsys.readouterr().out

    return show


def test_the_list_remarks_on_what_is_not_closed(shown: Any) -> None:
    """State, what was read, and until when; a closed breaker is no news."""
    text = shown({"contracts": [ONE]})
    assert "acceptance_rate throttled (0.4 of 20) until 2026-11-24T17:30:00.000Z" in text
    assert "breaker" not in text
    sick = ONE | {"guards": [], "breaker": BREAKER | {"state": "tripped", "value": 1.0, "sample": 5}}
    assert "breaker tripped (1.0 of 5)" in shown({"contracts": [sick]})


def test_one_in_full_says_what_each_guard_wants(shown: Any) -> None:
    """A line for each guard and the breaker."""
    text = shown(ONE, "bright-tx")
    assert "throttle unless acceptance_rate at least 0.5 over 1h" in text
    assert "closed; open unless health" in text
