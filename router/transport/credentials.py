"""Secrets that are there and cannot be used: found when terms are loaded, not when the first lead is to be sent."""

from collections.abc import Iterable, Iterator, Mapping

from router.buyers.auth import Message, SecretUnusableError, prove
from router.terms.endpoint import secret_names
from router.terms.problems import Problem
from router.terms.schema import Auth, Terms
from router.terms.secrets import live_endpoints
from router.terms.template import below
from router.transport.identity import IdentityError, tls_context

_SAMPLE = Message("sample", 0, b"")


def unusable(terms: Terms, secrets: Mapping[str, str]) -> Iterator[Problem]:
    """A problem for each endpoint whose secrets cannot be sent, an error where leads may be sent to it.

    Missing ones are left out: `Secrets.missing` names them. Keeps the TLS contexts it makes, so that the event loop
    need not make them.
    """
    for buyer in terms.buyers.values():
        live = live_endpoints(buyer)
        for name, endpoint in buyer.endpoints.items():
            found = None
            if all(secret in secrets for secret in secret_names(endpoint.auth)):
                found = _wrong_with(endpoint.auth, secrets)
            if found is not None:
                place = f"{below('endpoints', name)}.auth"
                severity = "error" if name in live else "warning"
                yield Problem(terms.places[f"buyer:{buyer.id}"], place, *found, severity)  # type: ignore[arg-type]


def prepare(auths: Iterable[Auth], secrets: Mapping[str, str]) -> None:
    """Make the TLS contexts of those that need one, where another process has judged them."""
    for auth in auths:
        _wrong_with(auth, secrets)


def _wrong_with(auth: Auth, secrets: Mapping[str, str]) -> tuple[str, str] | None:
    """What is wrong with an endpoint's secrets, and the mend."""
    try:
        identity = prove(auth, secrets, _SAMPLE).identity
        if identity is not None:
            tls_context(None, identity)
    except SecretUnusableError as error:
        return str(error), error.mend
    except IdentityError as error:
        return f"the secrets of cert and key cannot be used: {error}", (
            "cert holds the certificate (with what is between it and its authority), key its key without a passphrase"
        )
    return None
