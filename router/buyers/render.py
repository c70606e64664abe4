"""A delivery -> the bytes of one request: a pure function of the endpoint, what is said of the lead, and the secrets.

The body of a repeat is byte-identical, because nothing in it depends on when it is made; only signature headers carry
the attempt's second. Each value is escaped for where it stands. In a header a value becomes one line of visible ASCII:
control characters turn into a space, other characters are percent-encoded as UTF-8.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple, overload
from urllib.parse import quote

from msgspec import structs

from router.buyers import form, json_format, query, xml
from router.buyers.auth import Message, prove
from router.model.delivery import HttpRequest
from router.terms.endpoint import EndpointPlan, Wire
from router.terms.template import RenderContext, Tree
from router.terms.xml_names import Root

__all__ = ["RenderContext", "render", "render_ping"]

USER_AGENT: Final = "lead-router"

_UNSENDABLE: Final = re.compile("[\x00-\x1f\x7f\u0085\u2028\u2029]+")
_BEYOND_ASCII: Final = re.compile("[^\x20-\x7e]+")


class _Payload(NamedTuple):
    """The fields in their format: in the URL or in the body."""

    url: str
    body: bytes
    content_type: str | None


Encode = Callable[[str, dict[str, Tree], Root], _Payload]

#: One row a format.
_FORMATS: Final[dict[str, Encode]] = {
    "json": lambda url, tree, root: _Payload(url, json_format.encode(tree), json_format.CONTENT_TYPE),
    "form": lambda url, tree, root: _Payload(url, form.encode(tree), form.CONTENT_TYPE),
    "query": lambda url, tree, root: _Payload(query.with_fields(url, tree), b"", None),
    "xml": lambda url, tree, root: _Payload(url, xml.encode(tree, root), xml.CONTENT_TYPE),
    "soap": lambda url, tree, root: _Payload(url, xml.encode_soap(tree, root), xml.SOAP_CONTENT_TYPE),
}


@overload
def render(
    plan: EndpointPlan, context: RenderContext, secrets: Mapping[str, str], *, now_s: int, test: Literal[False] = False
) -> HttpRequest: ...
@overload
def render(
    plan: EndpointPlan, context: RenderContext, secrets: Mapping[str, str], *, now_s: int, test: bool
) -> HttpRequest | None: ...
def render(
    plan: EndpointPlan, context: RenderContext, secrets: Mapping[str, str], *, now_s: int, test: bool = False
) -> HttpRequest | None:
    """The request that brings a lead to a buyer, or None for a test lead where the endpoint has no `test_url`.

    `secrets` maps names to values; `now_s` is the attempt's second since 1970 UTC. Raises SecretUnusableError.
    """
    url = plan.test_url if test else plan.url
    if url is None:
        return None
    payload = _FORMATS[plan.wire](url, plan.body.render(context), plan.root)
    headers = [("Idempotency-Key", context.delivery_id), *_headers(plan, payload.content_type, context)]
    return _request(plan, payload, headers, secrets, Message(context.delivery_id, now_s, payload.body), plan.timeout_ns)


def render_ping(
    plan: EndpointPlan, context: RenderContext, secrets: Mapping[str, str], *, now_s: int
) -> HttpRequest | None:
    """The request that asks for a bid, or None where the endpoint has no ping.

    It is no delivery and carries no `Idempotency-Key`, else a buyer might answer the post with the ping's answer; it is
    signed as `<lead_id>.ping`. It must leave within the ping's time and may be answered after it, as long as a post:
    such a bid is worth knowing, though it cannot win. Raises SecretUnusableError.
    """
    ping = plan.ping
    if ping is None:
        return None
    payload = _FORMATS[plan.wire](ping.url, ping.body.render(context), ping.root)
    headers = _headers(plan, payload.content_type, context)
    message = Message(f"{context.lead.lead_id}.ping", now_s, payload.body)
    request = _request(plan, payload, headers, secrets, message, max(ping.timeout_ns, plan.timeout_ns))
    return structs.replace(request, connect_timeout_ns=min(plan.connect_timeout_ns, ping.timeout_ns))


def _request(
    plan: EndpointPlan,
    payload: _Payload,
    headers: list[tuple[str, str]],
    secrets: Mapping[str, str],
    message: Message,
    timeout_ns: int,
) -> HttpRequest:
    proof = prove(plan.auth, secrets, message)
    return HttpRequest(
        method=plan.method,
        url=query.with_pairs(payload.url, proof.query) if proof.query else payload.url,
        headers=(*headers, *proof.headers),
        body=payload.body,
        timeout_ns=timeout_ns,
        connect_timeout_ns=min(plan.connect_timeout_ns, timeout_ns),
        identity=proof.identity,
    )


def _headers(plan: EndpointPlan, content_type: str | None, context: RenderContext) -> list[tuple[str, str]]:
    """The endpoint's own headers, and ours where it does not say otherwise."""
    own = [(name, header_text(template.render(context))) for name, template in plan.headers]
    return [*_ours(plan.wire, content_type, tuple([name for name, _ in own])), *own]


@lru_cache(maxsize=1024)
def _ours(wire: Wire, content_type: str | None, own: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    said = {name.lower() for name in own}
    headers = [("Accept-Encoding", "identity")]
    if "user-agent" not in said:
        headers.append(("User-Agent", USER_AGENT))
    if content_type is not None and "content-type" not in said:
        headers.append(("Content-Type", content_type))
    if wire == "soap" and "soapaction" not in said:
        headers.append(("SOAPAction", '""'))
    return tuple(headers)


def header_text(text: str) -> str:
    """A value as one line of visible ASCII, however the text looks: nothing in it can end the header."""
    if text.isascii() and text.isprintable():
        return text.strip()
    line = _UNSENDABLE.sub(" ", text).strip()
    return _BEYOND_ASCII.sub(lambda match: quote(match[0], safe="", errors="replace"), line)
