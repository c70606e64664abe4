"""OAuth 2 client credentials (RFC 6749, section 4.4): the request for an access token, what its answer says, its use.

An authorization server is as hostile as a buyer. A token that could end a header is none, its own words are never
repeated but for the codes the standard has, and a life it does not state is taken to be short.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import orjson
from msgspec import Struct, structs

from router.buyers.auth import resolver
from router.buyers.coding import decoded
from router.buyers.render import USER_AGENT
from router.model.delivery import HttpRequest, HttpResponse, TransportFailure
from router.model.times import NS_DAY, NS_MINUTE, NS_S
from router.terms.endpoint import EndpointPlan

#: How long a token counts as good when the server does not say.
LIFE_UNSAID_NS: Final = 5 * NS_MINUTE
_LIFE_MAX_NS: Final = 30 * NS_DAY
#: A token is renewed so long before its end, or at a fifth of its life where that is shorter.
_MARGIN_NS: Final = 30 * NS_S
_TOKEN: Final = re.compile(r"[!-~]{1,6000}", re.ASCII)
#: What a server may say of credentials that will not become right by asking again.
_REFUSALS: Final = frozenset((
    "invalid_client", "unauthorized_client", "invalid_grant", "invalid_scope", "access_denied",
    "unsupported_grant_type",
))  # fmt: skip
_OTHER_CODES: Final = frozenset(("invalid_request", "server_error", "temporarily_unavailable"))
#: Answers of servers that may want the credentials in the body instead of a header, or the other way round.
_MISPLACED: Final = frozenset(("invalid_client", "invalid_request", "unauthorized_client", None))


class Credentials(Struct, frozen=True):
    """Who asks where for what: two endpoints that agree in all of it share a token. The secret is in it."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str | None

    def __repr__(self) -> str:
        return f"Credentials({self.token_url!r}, ...)"


class Grant(Struct, frozen=True):
    """An access token, and for how long from its asking it is used."""

    token: str
    use_ns: int

    def __repr__(self) -> str:
        return f"Grant(..., {self.use_ns})"


class Refusal(Struct, frozen=True):
    """No token. `misplaced`: the server may want the credentials in the other place."""

    failure: TransportFailure
    misplaced: bool = False


def credentials(plan: EndpointPlan, secrets: Mapping[str, str]) -> Credentials:
    """Those of an `oauth2` endpoint. Raises SecretUnusableError."""
    auth, resolve = plan.auth, resolver(secrets)
    return Credentials(
        auth.token_url or "", resolve(auth.client_id or ""), resolve(auth.client_secret or ""), auth.scope
    )


def token_request(who: Credentials, plan: EndpointPlan, *, in_body: bool) -> HttpRequest:
    """Asks for a token, inside the endpoint's own time-outs.

    The standard wants the credentials in a Basic header; some servers know them in the body alone.
    """
    fields = {"grant_type": "client_credentials"}
    if who.scope is not None:
        fields["scope"] = who.scope
    headers = [
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", USER_AGENT),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ]
    if in_body:
        fields |= {"client_id": who.client_id, "client_secret": who.client_secret}
    else:
        pair = f"{quote_plus(who.client_id)}:{quote_plus(who.client_secret)}"
        headers.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    return HttpRequest(
        method="POST",
        url=who.token_url,
        headers=tuple(headers),
        body=urlencode(fields).encode(),
        timeout_ns=plan.timeout_ns,
        connect_timeout_ns=min(plan.connect_timeout_ns, plan.timeout_ns),
    )


def read_token(answer: HttpResponse | TransportFailure) -> Grant | Refusal:
    """What the answer to a `token_request` grants. A refusal is no attempt at the buyer: it certainly has no lead."""
    if isinstance(answer, TransportFailure):
        return _none("token", answer.detail)
    answer = decoded(answer)
    said = _object(answer.body)
    if answer.status == 200 and not answer.truncated:
        return _granted(said)
    code = said.get("error")
    code = code if isinstance(code, str) and code in _REFUSALS | _OTHER_CODES else None
    refused = code in _REFUSALS or answer.status in (401, 403)
    detail = f"it answered {answer.status}" + (f" ({code})" if code else "")
    misplaced = answer.status in (400, 401) and code in _MISPLACED
    return Refusal(_none("auth" if refused else "token", detail).failure, misplaced)


def _granted(said: Mapping[str, Any]) -> Grant | Refusal:
    token, kind = said.get("access_token"), said.get("token_type", "bearer")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return _none("token", "its answer holds no access token that a header can hold")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return _none("token", "its token is no bearer token")
    life_ns = _life_ns(said.get("expires_in"))
    return Grant(token, life_ns - min(_MARGIN_NS, life_ns // 5))


def _life_ns(stated: Any) -> int:
    """`expires_in` is whole seconds; some servers send it as text or with a fraction."""
    try:
        return int(max(0, min(float(stated) * NS_S, _LIFE_MAX_NS)))
    except (TypeError, ValueError, OverflowError):  # none, no number, not a number
        return LIFE_UNSAID_NS


def _none(kind: Any, detail: str) -> Refusal:
    return Refusal(TransportFailure(kind=kind, detail=f"the token endpoint gave no token: {detail}"))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def bearing(request: HttpRequest, token: str) -> HttpRequest:
    """The request with an access token."""
    return structs.replace(request, headers=(*request.headers, ("Authorization", f"Bearer {token}")))
