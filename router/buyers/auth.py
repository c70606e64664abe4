"""How a request proves who sends it: one function a kind of auth. A secret's value goes nowhere but into the request.

A buyer that repeats the request in its answer gives our secret back, so it is taken out of what is kept of the answer.

`hmac` is Standard Webhooks 1.0: the delivery id is the message's id, the attempt's second its time, and every secret
signs, so that a buyer can rotate. `mtls` proves it in the TLS handshake, so the request says with which certificate.
`oauth2` adds nothing here: its access token is fetched and put on the request when it is sent (`buyers/oauth2.py`).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

from msgspec import structs

from router.model.delivery import ClientIdentity, Verdict
from router.terms.endpoint import SECRET_PREFIX
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
    identity: ClientIdentity | None = None


class Message(NamedTuple):
    """What there is to sign: the id, the attempt's second since 1970 UTC, the body's bytes."""

    id: str
    at_s: int
    body: bytes


Resolve = Callable[[str], str]


def prove(auth: Auth, secrets: Mapping[str, str], message: Message) -> Proof:
    """What a request is given to prove who sends it. `secrets` maps names to values. Raises SecretUnusableError."""
    return _KINDS[auth.type](auth, resolver(secrets), message)


def resolver(secrets: Mapping[str, str]) -> Resolve:
    """What turns `secret:NAME` into its value; other texts stay what they are. Raises SecretUnusableError."""

    def resolve(text: str) -> str:
        if not text.startswith(SECRET_PREFIX):
            return text
        name = text.removeprefix(SECRET_PREFIX)
        if name not in secrets:
            raise SecretUnusableError(name, "is not there", f"Put its value into secrets/{name}")
        return secrets[name]

    return resolve


def without_secrets(verdict: Verdict, auth: Auth, secrets: Mapping[str, str], token: str | None = None) -> Verdict:
    """The verdict as it may be kept and shown: no secret of the endpoint stands in what the buyer said.

    `token` is the access token that the request carried.
    """
    if auth.type == "none" or not (verdict.reason or verdict.reference or verdict.redirect_url):
        return verdict
    spellings = _spellings(auth, secrets, token)
    said = (verdict.reason, verdict.reference, verdict.redirect_url)
    if not any(spelt in text for text in said if text for spelt in spellings):
        return verdict
    link = verdict.redirect_url
    return structs.replace(
        verdict,
        reason=_hidden(verdict.reason, spellings),
        reference=_hidden(verdict.reference, spellings),
        redirect_url=link if link == _hidden(link, spellings) else None,
    )


def hide_secrets(text: str | None, auth: Auth, secrets: Mapping[str, str], token: str | None = None) -> str | None:
    """One text of the buyer's, as `without_secrets` keeps them."""
    return text if text is None or auth.type == "none" else _hidden(text, _spellings(auth, secrets, token))


def _spellings(auth: Auth, secrets: Mapping[str, str], token: str | None) -> list[str]:
    """How the secrets of an endpoint look in a request, longest first."""
    written = (auth.username, auth.password, auth.token, auth.value, auth.client_secret, *(auth.secrets or ()))
    names = [text.removeprefix(SECRET_PREFIX) for text in written if text and text.startswith(SECRET_PREFIX)]
    found = {spelt for name in names if name in secrets for spelt in _spelt(secrets[name])}
    if token is not None:
        found.update(_spelt(token))
    if auth.type == "basic":
        found.update(value.removeprefix("Basic ") for _, value in prove(auth, secrets, Message("", 0, b"")).headers)
    return sorted((text for text in found if len(text) >= _HIDDEN_LENGTH_MIN), key=len, reverse=True)


@lru_cache(maxsize=1024)
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
    token = base64.b64encode(f"{resolve(auth.username or '')}:{resolve(auth.password or '')}".encode()).decode()
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


def _mtls(auth: Auth, resolve: Resolve, message: Message) -> Proof:
    return Proof(identity=ClientIdentity(resolve(auth.cert or ""), resolve(auth.key or "")))


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
    "oauth2": _none,
    "mtls": _mtls,
}
