"""Endpoints, contexts and answers for tests: say only what the test is about."""

from typing import Any

import msgspec

from router.model.delivery import HttpRequest, HttpResponse
from router.model.lead import Consent, Lead
from router.model.times import parse_instant
from router.terms.endpoint import EndpointPlan, compile_endpoint
from router.terms.problems import Problem
from router.terms.schema import Endpoint, LeadType
from router.terms.template import RenderContext
from tests.factory import read

LEAD_TYPE: dict[str, Any] = {
    "id": "solar",
    "fields": {
        "first_name": {"type": "string"},
        "last_name": {"type": "string"},
        "phone": {"type": "phone"},
        "email": {"type": "email"},
        "postal_code": {"type": "postal_code"},
        "state": {"type": "state"},
        "roof_age": {"type": "integer"},
        "monthly_bill": {"type": "number"},
        "homeowner": {"type": "boolean"},
        "birth_date": {"type": "date"},
        "move_at": {"type": "datetime"},
        "utility": {"type": "enum", "one_of": ["oncor", "reliant"]},
        "notes": {"type": "string"},
    },
}
FIELDS: dict[str, Any] = {
    "first_name": "Ana",
    "last_name": "O'Neil & <Sons>",
    "phone": "+15125550147",
    "email": "ana@example.com",
    "postal_code": "78701",
    "state": "TX",
    "roof_age": 12,
    "monthly_bill": 120.5,
    "homeowner": True,
    "birth_date": "1984-02-29",
    "move_at": "2026-12-01T15:30:00.000Z",
    "utility": "oncor",
}
CONSENT: dict[str, Any] = {
    "given_at_ns": parse_instant("2026-11-23T16:59:58Z"),
    "url": "https://form.example.com/",
    "trustedform_cert_url": f"https://cert.trustedform.com/{'a' * 40}",
    "sellers": ["BrightRoof Energy", "Sunny & Co"],
}
SOLD = {"when": {"path": "status", "equals": "accepted"}, "outcome": "accepted"}
TREE: dict[str, Any] = {"url": "https://crm.example.com/leads", "responses": [SOLD]}


def compiled(*, lead_type: dict[str, Any] | None = None, **tree: Any) -> tuple[EndpointPlan | None, list[Problem]]:
    """What `compile_endpoint` says of an endpoint with these keys."""
    kind = read(LEAD_TYPE | (lead_type or {}), LeadType)
    return compile_endpoint("crm", read(TREE | tree, Endpoint), lead_types=[kind])


def plan(**tree: Any) -> EndpointPlan:
    """The plan of an endpoint with these keys; fails the test when there is an error."""
    found, problems = compiled(**tree)
    assert found is not None, [problem.line() for problem in problems]
    return found


def error_keys(**tree: Any) -> list[str]:
    """The key paths of all errors of an endpoint with these keys."""
    return [problem.key for problem in compiled(**tree)[1] if problem.severity == "error"]


def warning_keys(**tree: Any) -> list[str]:
    """The key paths of all warnings of an endpoint with these keys."""
    return [problem.key for problem in compiled(**tree)[1] if problem.severity == "warning"]


def context(
    fields: dict[str, Any] | None = None, *, consent: dict[str, Any] | None = CONSENT, **parts: Any
) -> RenderContext:
    """A lead on its way to a contract. `fields` are laid over the usual ones, None leaves a field out."""
    present = {name: value for name, value in (FIELDS | (fields or {})).items() if value is not None}
    lead = Lead(
        lead_id="lead-1",
        lead_type="solar",
        source_id="web",
        received_at_ns=parse_instant("2026-11-23T17:00:00.250Z"),
        submitted_at_ns=parse_instant("2026-11-23T17:00:00Z"),
        fields=present,
        country="US",
        consent=None if consent is None else msgspec.convert(consent, Consent),
    )
    return RenderContext(lead=lead, **({"delivery_id": "delivery-1", "contract_id": "roof-tx", "price": 4250} | parts))


def answer(body: str | bytes = b"", status: int = 200, truncated: bool = False, **headers: str) -> HttpResponse:
    """A buyer's answer; `content_type="..."` becomes the header `Content-Type`."""
    return HttpResponse(
        status=status,
        headers=tuple((name.replace("_", "-").title(), value) for name, value in headers.items()),
        body=body.encode() if isinstance(body, str) else body,
        truncated=truncated,
    )


def header(request: HttpRequest, name: str) -> str | None:
    """The one value of a header of a request, or None."""
    values = [value for key, value in request.headers if key.lower() == name.lower()]
    assert len(values) <= 1, f"{name} is there {len(values)} times"
    return values[0] if values else None
