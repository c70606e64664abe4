"""Every case in `tests/cases/buyers/<format>/`: terms and a lead -> the request; an answer -> the verdict.

A case is JSON: `about`, `endpoint` (as an operator writes it), `fields` laid over the usual ones, `context`, `secrets`,
`now_s`, `test`, the expected `request`, and `answers`, each with the `verdict` parts it must have.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.buyers.classify import classify
from router.buyers.render import render
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.terms.endpoint import EndpointPlan
from tests.endpoints import context, plan

_FOLDER = Path(__file__).parent.parent / "cases" / "buyers"
_CASES = sorted(_FOLDER.glob("*/*.json"))


def _case(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(path.read_text())
    return case


def _plan(path: Path, case: dict[str, Any]) -> EndpointPlan:
    return plan(**({"format": path.parent.name} | case["endpoint"]))


def _render(endpoint: EndpointPlan, case: dict[str, Any], now_s: int) -> HttpRequest | None:
    extra = case.get("context", {})
    if "accepted" in extra:
        extra = extra | {"accepted": frozenset(extra["accepted"])}
    here = context(case.get("fields"), **extra)
    return render(endpoint, here, case.get("secrets", {}), now_s=now_s, test=case.get("test", False))


def _answer(given: dict[str, Any]) -> HttpResponse | TransportFailure:
    if "failure" in given:
        return TransportFailure(kind=given["failure"], detail="as told")
    body = given["body"] if isinstance(given["body"], str) else json.dumps(given["body"])
    return HttpResponse(
        status=given.get("status", 200), headers=tuple(given.get("headers", {}).items()), body=body.encode()
    )


@pytest.mark.parametrize("path", _CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_request(path: Path) -> None:
    """The request of the case is what the buyer gets, and a repeat a minute later has the same body."""
    case = _case(path)
    endpoint = _plan(path, case)
    now_s = case.get("now_s", 1_764_000_000)
    request = _render(endpoint, case, now_s)
    expected = case["request"]
    if expected is None:
        assert request is None
        return
    assert request is not None
    assert request.method == expected.get("method", "POST")
    assert request.url == expected.get("url", "https://crm.example.com/leads")
    assert request.body.decode() == expected["body"]
    assert dict(request.headers) == expected["headers"]
    later = _render(endpoint, case, now_s + 60)
    assert later is not None
    assert (later.body, later.url) == (request.body, request.url)


@pytest.mark.parametrize("path", _CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_verdicts(path: Path) -> None:
    """Each answer of the case gives the verdict the case expects."""
    case = _case(path)
    endpoint = _plan(path, case)
    for given in case.get("answers", []):
        verdict = classify(endpoint, _answer(given["answer"]), after_doubt=given.get("after_doubt", False))
        found = {name: getattr(verdict, name) for name in given["verdict"]}
        assert found == given["verdict"], msgspec.json.encode(given["answer"])


def test_every_format_has_cases() -> None:
    """A format without a case would go untested."""
    assert {path.parent.name for path in _CASES} == {"json", "form", "query", "xml", "soap"}
