"""Who is asking: a bearer token's SHA-256 is looked up among sources, buyers and operators.

Tokens themselves are never stored, so what is compared are digests: finding one by dict lookup tells an attacker
nothing about a token. Operators are compared in constant time all the same, because there are few of them.
"""

import hmac
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Final

from msgspec import Struct

from router.terms.book import Book
from router.web.problems import Problem


class Who(StrEnum):
    """What a token stands for."""

    SOURCE = "source"
    BUYER = "buyer"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMIN = "admin"


#: Operators' roles, each holding the ones before it.
ROLES: Final = (Who.AUDITOR, Who.OPERATOR, Who.ADMIN)


class Principal(Struct, frozen=True):
    """Who asks: `who` and its id (a source's, a buyer's, or an operator's name)."""

    who: Who
    id: str

    @property
    def by(self) -> str:
        """How it stands in facts: `operator:alice`, `buyer:brightroof`, `source:acme-web`."""
        return f"operator:{self.id}" if self.is_operator else f"{self.who.value}:{self.id}"

    @property
    def is_operator(self) -> bool:
        """Whether this is one of `[operators]`, whatever the role."""
        return self.who in ROLES

    def may(self, allowed: frozenset[Who]) -> bool:
        """Whether this principal, or a role it holds, is among `allowed`."""
        if self.is_operator:
            return any(role in allowed for role in ROLES[: ROLES.index(self.who) + 1])
        return self.who in allowed


def bearer_digest(headers: Sequence[str]) -> str:
    """The lower-case hex SHA-256 of the token in the Authorization header lines. Raises Problem (401)."""
    if len(headers) != 1:
        raise _unauthorized(
            "Send one header line: Authorization: Bearer TOKEN" if headers else "Send Authorization: Bearer TOKEN"
        )
    scheme, _, token = headers[0].partition(" ")
    token = token.strip(" \t")
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("Send Authorization: Bearer TOKEN")
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def principals(book: Book, digest: str) -> list[Principal]:
    """Everybody that a token with this digest stands for."""
    found = []
    if (source_id := book.source_by_token.get(digest)) is not None:
        found.append(Principal(Who.SOURCE, source_id))
    if (buyer_id := book.buyer_by_token.get(digest)) is not None:
        found.append(Principal(Who.BUYER, buyer_id))
    for name, operator in book.router.operators.items():
        if hmac.compare_digest(operator.token_sha256, digest):
            found.append(Principal(Who(operator.role), name))
    return found


def authenticate(book: Book, headers: Sequence[str], allowed: frozenset[Who]) -> Principal:
    """Who the Authorization header lines say is asking, if that is one of `allowed`. Raises Problem (401, 403)."""
    digest = bearer_digest(headers)
    if Who.SOURCE in allowed and (source_id := book.source_by_token.get(digest)) is not None:
        return Principal(Who.SOURCE, source_id)
    found = principals(book, digest)
    if not found:
        raise _unauthorized(_unknown_token(book, allowed))
    for principal in found:
        if principal.may(allowed):
            return principal
    raise Problem("forbidden", f"This is for {_wanted(allowed)}; the token is that of {_are(found)}.")


def _unknown_token(book: Book, allowed: frozenset[Who]) -> str:
    if not book.router.operators and not allowed.isdisjoint(ROLES):
        return (
            "No operator is configured, so nobody gets in. Make a token with `lead-router token new` and add its "
            "SHA-256 under [operators] in router.toml, then reload."
        )
    return "The token is not known; a rotated or mistyped one, perhaps."


def _wanted(allowed: frozenset[Who]) -> str:
    kinds = [who for who in (Who.SOURCE, Who.BUYER) if who in allowed]
    lowest = next((role for role in ROLES if role in allowed), None)
    said = [f"a {who.value}" for who in kinds]
    if lowest is not None:
        said.append(f"an operator with role {lowest.value}" + ("" if lowest is Who.ADMIN else " or above"))
    return " or ".join(said)


def _are(found: Sequence[Principal]) -> str:
    return " and ".join(
        f"an operator with role {at.who.value}" if at.is_operator else f"a {at.who.value}" for at in found
    )


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="lead-router"'})
