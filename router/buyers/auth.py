"""How a request proves who sends it: one function a kind of auth. A secret's value goes nowhere but into the request.

A buyer that repeats the request in its answer gives our secret back, so it is taken out of what is kept of the answer.

`hmac` is Standard Webhooks 1.0: the delivery id is the message's id, the attempt's second its time, and every secret
signs, so that a buyer can rotate.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

from msgspec import structs

from router.model.delivery import Verdict
from router.terms.endpoint import SECRET_PREFIX, EndpointPlan
from router.terms.problems import Problem
from router.terms.schema import Auth

_WEBHOOK_PREFIX: Final = "whsec_"
HIDDEN: Final = "[secret]"
#: Shorter ones hide nothing and would tear holes into a buyer's words.
_HIDDEN_LENGTH_MIN: Final = 4


class SecretUnusableError(Exception):
    """A secret that is missing, or cannot be sent in its place; names it, never shows it."""

    def __init__(self, name: str, message: str, mend: str) -> None:
        super().__init__(f'the secret "{name}" {message}')
        self.name = name
        self.message = message
        self.mend = mend


class Proof(NamedTuple):
    """What auth adds to a request."""

    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


class Message(NamedTuple):
    """What there is to sign: the id, the attempt's second since 1970 UTC, the body's bytes."""

    id: str
    at_s: int
    body: bytes


Resolve = Callable[[str], str]


def prove(auth: Auth, secrets: Mapping[str, str], message: Message) -> Proof:
    """Headers and query parameters for a request. `secrets` maps names to values. Raises SecretUnusableError."""

    def resolve(text: str) -> str:
        name = text.removeprefix(SECRET_PREFIX)
        if name not in secrets:
            raise SecretUnusableError(name, "is not there", f"Put its value into secrets/{name}")
        return secrets[name]

    return _KINDS[auth.type](auth, resolve, message)


def unusable_secrets(plan: EndpointPlan, secrets: Mapping[str, str]) -> list[Problem]:
    """A problem for each secret of the endpoint that is missing or cannot be used, found before a lead is sent."""
    try:
        prove(plan.auth, secrets, Message("probe", 0, b""))
    except SecretUnusableError as error:
        return [Problem("", "auth", str(error), error.mend)]
    return []


def without_secrets(verdict: Verdict, auth: Auth, secrets: Mapping[str, str]) -> Verdict:
    """The verdict as it may be kept and shown: no secret of the endpoint stands in what the buyer said."""
    if auth.type == "none" or not (verdict.reason or verdict.reference or verdict.redirect_url):
        return verdict
    spellings = _spellings(auth, secrets)
    link = verdict.redirect_url
    return structs.replace(
        verdict,
        reason=_hidden(verdict.reason, spellings),
        reference=_hidden(verdict.reference, spellings),
        redirect_url=link if link == _hidden(link, spellings) else None,
    )


def _spellings(auth: Auth, secrets: Mapping[str, str]) -> list[str]:
    """How the secrets of an endpoint look in a request, longest first."""
    written = (auth.username, auth.password, auth.token, auth.value, auth.client_secret, *(auth.secrets or ()))
    names = [text.removeprefix(SECRET_PREFIX) for text in written if text and text.startswith(SECRET_PREFIX)]
    found = {spelt for name in names if name in secrets for spelt in _spelt(secrets[name])}
    if auth.type == "basic":
        found.update(value.removeprefix("Basic ") for _, value in prove(auth, secrets, Message("", 0, b"")).headers)
    return sorted((text for text in found if len(text) >= _HIDDEN_LENGTH_MIN), key=len, reverse=True)


def _spelt(secret: str) -> tuple[str, ...]:
    return secret, quote(secret, safe=""), quote_plus(secret)


def _hidden(text: str | None, spellings: list[str]) -> str | None:
    for spelt in spellings if text else ():
        assert text is not None
        text = text.replace(spelt, HIDDEN)
    return text


def _sendable(text: str, resolve: Resolve) -> str:
    """A secret that stands in a header: visible ASCII, spaces inside."""
    value = resolve(text)
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        name = text.removeprefix(SECRET_PREFIX)
        raise SecretUnusableError(
            name, "is empty or holds characters a header cannot", "Write it on one line, ASCII only"
        )
    return value


def _none(auth: Auth, resolve: Resolve, message: Message) -> Proof:
    return Proof()


def _basic(auth: Auth, resolve: Resolve, message: Message) -> Proof:
    user, password = auth.username or "", auth.password or ""
    user = resolve(user) if user.startswith(SECRET_PREFIX) else user
    token = base64.b64encode(f"{user}:{resolve(password)}".encode()).decode()
    return Proof(headers=(("Authorization", f"Basic {token}"),))


def _bearer(auth: Auth, resolve: Resolve, message: Message) -> Proof:
    return Proof(headers=(("Authorization", f"Bearer {_sendable(auth.token or '', resolve)}"),))


def _header(auth: Auth, resolve: Resolve, message: Message) -> Proof:
    return Proof(headers=((auth.name or "", _sendable(auth.value or "", resolve)),))


def _query(auth: Auth, resolve: Resolve, message: Message) -> Proof:
    return Proof(query=((auth.name or "", resolve(auth.value or "")),))


def _hmac(auth: Auth, resolve: Resolve, message: Message) -> Proof:
    signed = f"{message.id}.{message.at_s}.".encode() + message.body
    signatures = [
        base64.b64encode(hmac.digest(webhook_key(secret, resolve), signed, hashlib.sha256)).decode()
        for secret in auth.secrets or ()
    ]
    return Proof(
        headers=(
            ("webhook-id", message.id),
            ("webhook-timestamp", str(message.at_s)),
            ("webhook-signature", " ".join(f"v1,{signature}" for signature in signatures)),
        )
    )


def webhook_key(text: str, resolve: Resolve) -> bytes:
    """The key of a Standard Webhooks secret: the base64 after `whsec_`. Raises SecretUnusableError."""
    encoded = resolve(text).strip().removeprefix(_WEBHOOK_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        name = text.removeprefix(SECRET_PREFIX)
        raise SecretUnusableError(name, "is no signing key", f"Write it as {_WEBHOOK_PREFIX} followed by base64")
    return key


_KINDS: Final[dict[str, Callable[[Auth, Resolve, Message], Proof]]] = {
    "none": _none,
    "basic": _basic,
    "bearer": _bearer,
    "header": _header,
    "query": _query,
    "hmac": _hmac,
}
