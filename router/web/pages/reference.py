"""The OpenAPI document as one static page: each route, who may call it, what goes in and what comes out."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>lead-router API</title><style>{css}</style></head><body>
"""
_REF: Final = "#/components/schemas/"


def reference(openapi: bytes, css: str) -> str:
    """The page for an OpenAPI document given as JSON."""
    document = json.loads(openapi)
    return "".join([_HEAD.replace("{css}", css), *_body(document), "</body></html>\n"])


def _body(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<header><h1>{escape(info['title'])} API</h1><p class=version>{escape(info['version'])}"
    yield ' &middot; <a href="/openapi.json">openapi.json</a> &middot; <a href="/">dashboard</a></p>'
    for paragraph in info["description"].split("\n\n"):
        yield f"<p>{_marked(paragraph)}</p>"
    yield "</header><main>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}.</p>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, method, operation)
    yield "<h2>shapes</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield from _shape(name, schema)
    yield "</main>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<section id="{escape(operation["operationId"])}"><h3><b class={method}>{method.upper()}</b> '
    yield f"<code>{escape(path)}</code></h3><p>{_marked(operation['summary'])}."
    yield f" {_marked(operation.get('description', 'No token needed.'))}</p>"
    if operation.get("parameters"):
        yield "<table>"
        for at in operation["parameters"]:
            yield f"<tr><td><code>{escape(at['name'])}</code><td>{escape(at['in'])}"
            yield f"<td>{_marked(at.get('description', ''))}"
        yield "</table>"
    content = operation.get("requestBody", {}).get("content")
    if content:
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in content)
        yield f"<p>Body: {_link(next(iter(content.values()))['schema'])} as {kinds}</p>"
    yield "<table>"
    for status, answer in operation["responses"].items():
        kind, shape = next(iter(answer["content"].items()))
        shown = _link(shape["schema"]) or f"<code>{escape(kind)}</code>"
        yield f"<tr><td class=s{status[0]}>{status}<td>{_marked(answer['description'])}<td>{shown}"
    yield "</table></section>"


def _shape(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<section id="shape-{escape(name)}"><h3>{escape(name)}</h3>'
    if schema.get("description"):
        yield f"<p>{_marked(schema['description'])}</p>"
    yield "<table>"
    for key, part in schema.get("properties", {}).items():
        wanted = " *" if key in schema.get("required", ()) else ""
        yield f"<tr><td><code>{escape(key)}</code>{wanted}<td>{_kind(part)}<td>{_marked(part.get('description', ''))}"
    yield "</table>"
    for example in schema.get("examples", ()):
        yield f"<pre>{escape(json.dumps(example, indent=2))}</pre>"
    yield "</section>"


def _link(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_link(one) for one in schema["anyOf"])
    name = schema.get("$ref", "").removeprefix(_REF)
    return f'<a href="#shape-{escape(name)}">{escape(name)}</a>' if name else ""


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _link(schema)
    kind = schema.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    if kind == "object" and schema.get("properties"):
        return "{" + ", ".join(escape(key) for key in schema["properties"]) + "}"
    if schema.get("enum"):
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    return escape(schema.get("format", kind))


def _marked(text: str) -> str:
    """Plain text with `code` and **bold** as HTML."""
    parts = escape(text).split("`")
    coded = "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
    bold = coded.split("**")
    return "".join(f"<b>{part}</b>" if place % 2 else part for place, part in enumerate(bold))
