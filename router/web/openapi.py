"""The OpenAPI 3.1 document of both listeners, made from the route table that they dispatch by."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson

from router.web.auth import ROLES, Who
from router.web.problems import PROBLEM_JSON, PROBLEMS
from router.web.routes import ROUTES, Route
from router.web.schemas import SCHEMAS

_JSON: Final = "application/json"
_INTRODUCTION: Final = """\
Two listeners. **Intake** is for sources and buyers; **admin** serves all of that and what operators see and do.
Everybody sends `Authorization: Bearer TOKEN`; a source's, a buyer's or an operator's token. An operator's role is
`auditor` (reads), `operator` (also acts) or `admin` (also changes terms); each holds the ones before it. Operators'
tokens open nothing on the intake listener. `POST /v1/leads` takes a source's token on the admin listener too.

Money is decimal text, times are RFC 3339 in UTC. A "no" is `application/problem+json` (RFC 9457) with a stable `code`;
it names the fields at fault and never repeats a value. Anything answered with 4xx or 5xx took nothing.
"""


def document(version: str) -> dict[str, Any]:
    """The whole document; `version` is the product's."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lead-router", "version": version, "description": _INTRODUCTION},
        "servers": [
            {"url": "http://127.0.0.1:8080", "description": "intake, as configured by default"},
            {"url": "http://127.0.0.1:8081", "description": "admin, as configured by default"},
        ],
        "tags": [
            {"name": "intake", "description": "Served by both listeners"},
            {"name": "admin", "description": "Served by the admin listener alone"},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**SCHEMAS, "Problem": _problem_schema()},
        },
    }


def document_bytes(version: str) -> bytes:
    """The whole document as JSON."""
    return orjson.dumps(document(version))


def _operation(route: Route) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": route.handler,
        "summary": route.says,
        "tags": ["intake" if "intake" in route.listeners else "admin"],
        "responses": _responses(route),
    }
    if route.allowed is not None:
        said["security"] = [{"token": []}]
        said["description"] = f"For {_for_whom(route.allowed)}."
    else:
        said["security"] = []
    parameters = _parameters(route)
    if parameters:
        said["parameters"] = parameters
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body}"}
        said["requestBody"] = {
            "required": route.body_required,
            "content": {kind: {"schema": schema} for kind in route.body_types},
        }
    return said


def _for_whom(allowed: frozenset[Who]) -> str:
    kinds = [f"a {who.value}" for who in (Who.SOURCE, Who.BUYER) if who in allowed]
    role = next((role for role in ROLES if role in allowed), None)
    if role is not None:
        kinds.append(f"an operator with role {role.value}" + ("" if role is Who.ADMIN else " or above"))
    return " or ".join(kinds)


def _parameters(route: Route) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found: list[dict[str, Any]] = []
    if "{id}" in route.path:
        found.append({"name": "id", "in": "path", "required": True, "schema": text})
    for at in route.parameters:
        found.append({"name": at.name, "in": at.place, "required": False, "description": at.says, "schema": text})
    return found


def _responses(route: Route) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for status, (description, what) in route.answers.items():
        said[str(status)] = {"description": description, "content": _content(what)}
    for status in sorted({*route.problems, 405, 500}):
        said[str(status)] = _problem(status)
    return said


def _content(what: str) -> dict[str, Any]:
    """`Schema`, `One|Other`, or the content type of something that is no JSON of ours."""
    if "/" in what:
        return {what: {"schema": {"type": "object" if what == _JSON else "string"}}}
    refs = [{"$ref": f"#/components/schemas/{name}"} for name in what.split("|")]
    return {_JSON: {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}}


def _problem(status: int) -> dict[str, Any]:
    codes = [code for code, (known, _) in PROBLEMS.items() if known == status]
    said: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}: " + ", ".join(f"`{code}`" for code in codes),
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    headers = _HEADERS.get(status)
    if headers:
        said["headers"] = {name: {"description": what, "schema": {"type": "string"}} for name, what in headers.items()}
    return said


_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": "Bearer"},
    405: {"Allow": "the methods that are for this address"},
    409: {"Retry-After": "seconds, when it is worth trying again"},
    429: {"Retry-After": "seconds"},
    503: {"Retry-After": "seconds"},
}


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    error = {
        "type": "object",
        "required": ["field", "code", "message"],
        "properties": dict.fromkeys(("field", "code", "message"), text),
    }
    return {
        "type": "object",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": {"type": "string", "description": "urn:lead-router:problem:CODE"},
            "title": text,
            "status": {"type": "integer"},
            "code": {"type": "string", "examples": list(PROBLEMS)},
            "detail": text,
            "retry_after": {"type": "integer", "description": "seconds; the same as the Retry-After header"},
            "errors": {"type": "array", "items": error},
        },
    }
