"""How a buyer is reached, compiled: everything about an endpoint that can be judged or prepared before a lead comes.

Problems carry a key path relative to the endpoint (`body.Phone`, `responses[0].when.path`) and no file; whoever knows
where the endpoint stands puts that in front.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from router.terms.paths import Find, PathError, compile_extraction
from router.terms.problems import Problem, errors
from router.terms.responses import Rules, compile_rules
from router.terms.schema import Auth, Endpoint, LeadType, Ping, Retry
from router.terms.template import (
    BodyTemplate,
    Schema,
    TextTemplate,
    Vocabulary,
    below,
    compile_body,
    compile_text,
    vocabulary,
)
from router.terms.xml_names import Root, xml_problems, xml_root

Wire = Literal["json", "form", "query", "xml", "soap"]
SECRET_PREFIX: Final = "secret:"  # noqa: S105  # how a secret is referred to, not one

_URL: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_QUERY_NAME: Final = re.compile(r"[^\x00-\x20\x7f]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*", re.ASCII)
#: Headers that are ours or the connection's to set.
_OURS: Final = frozenset((
    "idempotency-key", "accept-encoding", "host", "content-length", "transfer-encoding", "connection", "expect",
    "upgrade", "te", "trailer", "content-encoding", "proxy-authorization", "keep-alive",
))  # fmt: skip
_SIGNATURE: Final = frozenset(("webhook-id", "webhook-timestamp", "webhook-signature"))
_ATTEMPTS_MAX: Final = 100


class PingPlan(Struct, frozen=True, kw_only=True, gc=False):
    """How a bid is asked for. The body names nothing personal; headers and auth are the endpoint's."""

    url: str
    timeout_ns: int
    body: BodyTemplate
    root: Root  # of the body where it is XML
    bid: Find
    reference: Find | None


class EndpointPlan(Struct, frozen=True, kw_only=True, gc=False):
    """One endpoint, compiled. `version` is the SHA-256 of its content, `sends` the lead fields its templates name.

    `wire` is how the fields travel: the format, and `query` for every GET. `secrets` are the names rendering needs.
    """

    name: str
    version: str
    url: str
    test_url: str | None
    method: str
    wire: Wire
    timeout_ns: int
    connect_timeout_ns: int
    idempotent: bool
    retry: Retry
    retry_on: frozenset[int]
    auth: Auth
    secrets: tuple[str, ...]
    headers: tuple[tuple[str, TextTemplate], ...]
    body: BodyTemplate
    root: Root  # of the body where it is XML
    rules: Rules
    ping: PingPlan | None
    in_doubt_resolves: Literal["accepted", "rejected"] | None
    in_doubt_after_ns: int
    sends: frozenset[str]


class AuthKind(NamedTuple):
    """What one `auth.type` is written with: its keys, and which of them refer to secrets (and never hold one)."""

    keys: tuple[str, ...]
    secret: tuple[str, ...]
    headers: frozenset[str] = frozenset()  # headers it sets
    optional: tuple[str, ...] = ()


AUTH_KINDS: Final[dict[str, AuthKind]] = {
    "none": AuthKind((), ()),
    "basic": AuthKind(("username", "password"), ("password",), frozenset(("authorization",))),
    "bearer": AuthKind(("token",), ("token",), frozenset(("authorization",))),
    "header": AuthKind(("name", "value"), ("value",)),
    "query": AuthKind(("name", "value"), ("value",)),
    "hmac": AuthKind(("secrets",), ("secrets",), _SIGNATURE),
    "oauth2": AuthKind(
        ("token_url", "client_id", "client_secret", "scope"),
        ("client_secret",),
        frozenset(("authorization",)),
        optional=("scope",),
    ),
    "mtls": AuthKind(("cert", "key"), ("cert", "key")),
}


def secret_names(auth: Auth) -> tuple[str, ...]:
    """The names of all secrets an auth refers to, in order."""
    texts: list[str] = []
    for key in Auth.__struct_fields__:
        value = getattr(auth, key)
        texts.extend(value if isinstance(value, tuple) else (value,) if isinstance(value, str) else ())
    return tuple(text.removeprefix(SECRET_PREFIX) for text in texts if text.startswith(SECRET_PREFIX))


def endpoint_version(endpoint: Endpoint) -> str:
    """The SHA-256 of an endpoint's canonical content, lower-case hex. The order of body keys is part of it."""
    plain = msgspec.to_builtins(endpoint, enc_hook=_plain_scalar, str_keys=True)
    return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, int):  # Money and Duration are integers with a name
        return int(value)
    raise NotImplementedError(f"a {type(value).__name__} in terms")


# -- checks --------------------------------------------------------------------------------------


def url_problems(url: str, key: str) -> list[Problem]:
    """What is wrong with how a URL is written; whether it may be reached at all is judged elsewhere."""

    def wrong(message: str, mend: str) -> list[Problem]:
        return [Problem("", key, message, mend)]

    if "{{" in url:
        return wrong("a URL is no template", 'Put the value into the body; format = "query" sends it in the URL')
    if not _URL.fullmatch(url):
        return wrong(
            "the URL holds spaces, control or non-ASCII characters", "Write them percent-encoded, a host as xn--"
        )
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for what is no port
    except ValueError:
        return wrong("the URL cannot be read", "Write it as https://host/path")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return wrong("the URL is not absolute http or https", "Write it as https://host/path")
    if "@" in parts.netloc:
        return wrong("the URL holds a user name or password", 'Use auth = { type = "basic", ... }')
    return wrong("the URL has a fragment, which is never sent", "Remove it from the # on") if "#" in url else []


def _auth_problems(auth: Auth, endpoint: Endpoint) -> list[Problem]:
    kind = AUTH_KINDS[auth.type]
    found: list[Problem] = []
    for key in Auth.__struct_fields__[1:]:
        value = getattr(auth, key)
        if key in kind.optional and value is None:
            continue
        if key in kind.keys and not value:
            found.append(Problem("", f"auth.{key}", f'auth type "{auth.type}" needs {key}', f"Add {key}"))
        elif key not in kind.keys and value is not None:
            mend = f"Its keys are: {', '.join(kind.keys) or 'none'}"
            found.append(Problem("", f"auth.{key}", f'auth type "{auth.type}" has no {key}', mend))
        elif key in kind.secret and not all(map(_is_reference, value if isinstance(value, tuple) else (value,))):
            mend = f'Put it into a file of its own and write {key} = "secret:NAME"'
            found.append(Problem("", f"auth.{key}", "a secret is written inline", mend))
    if auth.token_url and "token_url" in kind.keys:
        found += url_problems(auth.token_url, "auth.token_url")
    urls = (endpoint.url, *(() if endpoint.ping is None else (endpoint.ping.url,)))
    if auth.type == "mtls" and not all(url.lower().startswith("https:") for url in urls):
        found.append(Problem("", "auth.type", "a certificate is shown in TLS alone", "Write the url as https://"))
    return found + _auth_text_problems(auth)


def _auth_text_problems(auth: Auth) -> list[Problem]:
    name = auth.name or ""
    if auth.type == "header" and name and (not _TOKEN.fullmatch(name) or name.lower() in _OURS):
        return [
            Problem("", "auth.name", f'"{name}" cannot be a header of ours to set', "Name the header the buyer wants")
        ]
    if auth.type == "query" and name and not _QUERY_NAME.fullmatch(name):
        return [Problem("", "auth.name", f'"{name}" cannot be a query parameter', "Name it without spaces")]
    if auth.type == "basic" and (":" in (auth.username or "") or _CONTROL.search(auth.username or "")):
        return [Problem("", "auth.username", "a user name holds no colon and no control character", "Correct it")]
    if auth.type == "oauth2" and _CONTROL.search(auth.client_id or ""):
        return [Problem("", "auth.client_id", "a client id holds no control character", "Correct it")]
    if auth.type == "oauth2" and auth.scope is not None and not _SCOPE.fullmatch(auth.scope):
        return [Problem("", "auth.scope", "a scope is one or more words of visible ASCII", "Correct it, or remove it")]
    return []


def _is_reference(text: str) -> bool:
    return text.startswith(SECRET_PREFIX) and len(text) > len(SECRET_PREFIX)


def _retry_problems(retry: Retry) -> list[Problem]:
    found: list[Problem] = []
    if not 1 <= retry.attempts <= _ATTEMPTS_MAX:
        found.append(Problem("", "retry.attempts", f"attempts lies between 1 and {_ATTEMPTS_MAX}, the first included",
                             "Write attempts = 1 for no retries"))  # fmt: skip
    odd = [status for status in retry.on if not 400 <= status <= 599]
    if odd:
        found.append(Problem("", "retry.on", f"{odd[0]} cannot mean that the buyer certainly did not take the lead",
                             "List statuses from 400 to 599"))  # fmt: skip
    return found


def _header_problems(headers: Mapping[str, str], auth: Auth) -> list[Problem]:
    """Header names, and the characters and secrets written into their values."""
    found: list[Problem] = []
    taken = _OURS | AUTH_KINDS[auth.type].headers
    taken |= {auth.name.lower()} if auth.type == "header" and auth.name else set()
    seen: set[str] = set()
    for name, value in headers.items():
        key, small = below("headers", name), name.lower()
        if not _TOKEN.fullmatch(name):
            found.append(Problem("", key, f'"{name}" is no header name', "Use letters, digits and hyphens"))
        elif small in taken or small in seen:
            why = "is set by the router" if small in taken else "is there twice"
            found.append(Problem("", key, f'the header "{name}" {why}', "Remove it"))
        if _CONTROL.search(value):
            found.append(Problem("", key, "a header value holds a line break or control character", "Remove it"))
        if value.startswith(SECRET_PREFIX):
            mend = 'Use auth = { type = "header", name = "...", value = "secret:NAME" }'
            found.append(Problem("", key, "a secret in a header would be sent as it is written here", mend))
        seen.add(small)
    return found


def _wire(endpoint: Endpoint) -> Wire:
    return "query" if endpoint.method == "GET" else endpoint.format


def _wire_problems(endpoint: Endpoint) -> list[Problem]:
    if endpoint.method == "GET" and endpoint.format in ("xml", "soap"):
        return [Problem("", "method", f"a GET carries no body, so no {endpoint.format}", 'Write method = "POST"')]
    return []


# -- compiling -----------------------------------------------------------------------------------


class _Naming(Struct, frozen=True):
    """What decides which names the templates of an endpoint may use; its JSON is the key of the caches below."""

    schemas: tuple[Schema, ...]
    maps: dict[str, dict[str, str]]
    ping: tuple[str, ...]
    public_only: bool


# Thousands of endpoints share one body and one schema: each is compiled once, and kept in memory once.
@lru_cache(maxsize=256)
def _words(naming: bytes) -> Vocabulary:
    found = msgspec.json.decode(naming, type=_Naming)
    return vocabulary(found.schemas, maps=found.maps, ping=frozenset(found.ping), public_only=found.public_only)


@lru_cache(maxsize=1024)
def _compiled_body(naming: bytes, encoded: bytes, key: str, wire: Wire) -> tuple[BodyTemplate | None, list[Problem]]:
    tree = msgspec.json.decode(encoded)
    body, problems = compile_body(tree, _words(naming), key, leave_out=wire in ("json", "xml", "soap"))
    if wire in ("xml", "soap"):
        problems = [*problems, *xml_problems(tree, key, soap=wire == "soap")]
    return body, problems


@lru_cache(maxsize=1024)
def _compiled_text(naming: bytes, text: str, key: str) -> tuple[TextTemplate | None, list[Problem]]:
    return compile_text(text, _words(naming), key)


def _naming(endpoint: Endpoint, lead_types: Sequence[LeadType], *, ping: tuple[str, ...], public_only: bool) -> bytes:
    schemas = tuple(Schema(lead_type.fields, lead_type.unknown_fields == "keep") for lead_type in lead_types)
    return msgspec.json.encode(_Naming(schemas, endpoint.maps, ping, public_only))


def _body(
    tree: Mapping[str, object], endpoint: Endpoint, lead_types: Sequence[LeadType], key: str
) -> tuple[BodyTemplate | None, list[Problem]]:
    is_ping = key.startswith("ping")
    naming = _naming(endpoint, lead_types, ping=() if is_ping else _ping_names(endpoint.ping), public_only=is_ping)
    return _compiled_body(naming, msgspec.json.encode(tree), key, _wire(endpoint))


def _ping_names(ping: Ping | None) -> tuple[str, ...]:
    if ping is None:
        return ()
    return ("bid",) if ping.reference is None else ("bid", "reference")


def _headers(
    endpoint: Endpoint, lead_types: Sequence[LeadType]
) -> tuple[list[tuple[str, TextTemplate]], list[Problem]]:
    """Header templates. Where there is a ping they go with it too, and so may not name anything personal."""
    naming = _naming(endpoint, lead_types, ping=(), public_only=endpoint.ping is not None)
    templates: list[tuple[str, TextTemplate]] = []
    problems = _header_problems(endpoint.headers, endpoint.auth)
    for name, text in endpoint.headers.items():
        template, found = _compiled_text(naming, text, below("headers", name))
        problems.extend(found)
        if template is not None:
            templates.append((name, template))
    return templates, problems


def _ping(endpoint: Endpoint, lead_types: Sequence[LeadType]) -> tuple[PingPlan | None, list[Problem]]:
    ping = endpoint.ping
    if ping is None:
        return None, []
    body, problems = _body(ping.body, endpoint, lead_types, "ping.body")
    problems = [*url_problems(ping.url, "ping.url"), *problems]
    finders: dict[str, Find | None] = {"bid": None, "reference": None}
    for name in finders:
        text = getattr(ping, name)
        try:
            finders[name] = compile_extraction(text) if text is not None else None
        except PathError as error:
            problems.append(Problem("", f"ping.{name}", str(error), "Write a path to the value in the answer"))
    bid = finders["bid"]
    if body is None or bid is None or errors(problems):
        return None, problems
    return PingPlan(
        url=ping.url,
        timeout_ns=int(ping.timeout),
        body=body,
        root=xml_root(ping.body),
        bid=bid,
        reference=finders["reference"],
    ), problems


@lru_cache(maxsize=256)
def _statuses(on: tuple[int, ...]) -> frozenset[int]:
    """Ten thousand endpoints share one set."""
    return frozenset(on)


def compile_endpoint(
    name: str, endpoint: Endpoint, *, lead_types: Sequence[LeadType]
) -> tuple[EndpointPlan | None, list[Problem]]:
    """One endpoint -> (plan, warnings), or (None, every problem). `lead_types` are those of the contracts that use it.

    Without a lead type any field name passes. Key paths of the problems are relative to the endpoint.
    """
    body, body_problems = _body(endpoint.body, endpoint, lead_types, "body")
    headers, header_problems = _headers(endpoint, lead_types)
    rules, rule_problems = compile_rules(endpoint.responses)
    ping, ping_problems = _ping(endpoint, lead_types)
    problems = [
        *url_problems(endpoint.url, "url"),
        *(url_problems(endpoint.test_url, "test_url") if endpoint.test_url is not None else ()),
        *_wire_problems(endpoint),
        *_auth_problems(endpoint.auth, endpoint),
        *_retry_problems(endpoint.retry),
        *header_problems,
        *body_problems,
        *rule_problems,
        *ping_problems,
    ]
    if body is None or rules is None or errors(problems):
        return None, problems
    return EndpointPlan(
        name=name,
        version=endpoint_version(endpoint),
        url=endpoint.url,
        test_url=endpoint.test_url,
        method=endpoint.method,
        wire=_wire(endpoint),
        timeout_ns=int(endpoint.timeout),
        connect_timeout_ns=int(endpoint.connect_timeout),
        idempotent=endpoint.idempotent,
        retry=endpoint.retry,
        retry_on=_statuses(endpoint.retry.on),
        auth=endpoint.auth,
        secrets=secret_names(endpoint.auth),
        headers=tuple(headers),
        body=body,
        root=xml_root(endpoint.body),
        rules=rules,
        ping=ping,
        in_doubt_resolves=endpoint.in_doubt_resolves,
        in_doubt_after_ns=int(endpoint.in_doubt_after),
        sends=body.fields.union(*(template.fields for _, template in headers)) if headers else body.fields,
    ), problems
