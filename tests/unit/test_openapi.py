"""The route table, the handlers and the OpenAPI document say the same."""

import re
from typing import Any

import orjson
import pytest

from router.web.openapi import document, document_bytes
from router.web.pages import docs
from router.web.problems import PROBLEMS
from router.web.routes import ROUTES, Table
from router.web.schemas import SCHEMAS
from tests.e2e.house import open_house

DOCUMENT = document("1.2.3")


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation by method and path."""
    return {
        (method.upper(), path): operation
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    """The same methods and paths on both sides."""
    assert set(operations()) == {(route.method, route.path) for route in ROUTES}


async def test_every_route_of_a_listener_has_a_handler_and_nothing_else() -> None:
    """No route without a function, no function without a route."""
    async with open_house() as house:
        for name, listener in zip(("intake", "admin"), house.site, strict=True):
            wanted = {route.handler for route in ROUTES if name in route.listeners}
            assert set(listener._handlers) == wanted


@pytest.mark.parametrize("name", ["intake", "admin"])
def test_every_path_of_a_listener_is_found_and_no_other(name: Any) -> None:
    """A path with an id filled in finds its own route on its listeners, and nothing on the other one."""
    table = Table(name)
    for route in ROUTES:
        found = table.find(route.path.replace("{id}", "some-id"))
        methods = found.methods if found else {}
        assert (route.method in methods and methods[route.method].handler == route.handler) == (name in route.listeners)
        if "{id}" in route.path and found and route.method in methods:
            assert found.id == "some-id"


@pytest.mark.parametrize(
    "path",
    ["", "//", "/v1", "/v1/", "/v1/leads/", "/v1/leads//trace", "/v1/leads/a/b/trace", "/v1/leads/a/b", "/v2/leads",
     "/v1/contracts/:pause", "/v1/returns", "/healthz/", "/V1/leads", "/v1/leads:batch/x"],
)  # fmt: skip
def test_other_paths_are_not_found(path: str) -> None:
    """No route answers to a path that only looks like its own."""
    assert Table("admin").find(path) is None


def test_ids_are_decoded_once() -> None:
    """A percent-encoded id is decoded; an encoded slash stays inside the id."""
    found = Table("admin").find("/v1/leads/a%2Fb%2525")
    assert found is not None
    assert found.id == "a/b%25"


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    """No dangling $ref, no schema that nobody names."""
    text = orjson.dumps(DOCUMENT).decode()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named == set(DOCUMENT["components"]["schemas"])
    assert named == {*SCHEMAS, "Problem"}


def test_operation_ids_are_unique() -> None:
    """Client generators make functions of them."""
    ids = [operation["operationId"] for operation in operations().values()]
    assert len(ids) == len(set(ids))


def test_every_refusal_of_a_route_names_codes_that_exist() -> None:
    """Each problem status in the document has at least one code in the table of problems."""
    statuses = {status for status, _ in PROBLEMS.values()}
    for route in ROUTES:
        assert set(route.problems) <= statuses


def test_the_page_shows_every_operation() -> None:
    """`/docs` is made from the document: every path and every shape stands in it, and nothing comes from elsewhere."""
    page = docs(document_bytes("1.2.3"))
    for method, path in operations():
        assert f"<code>{path}</code>" in page, (method, path)
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="shape-{name}"' in page
    assert "https://" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
