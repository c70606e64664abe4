"""TLS towards buyers: whose certificates are believed, and which one we show where a buyer wants to see one.

A context costs tens of milliseconds and most of a megabyte, because it holds every authority the system trusts. So one
serves all requests that show nothing, and one is kept for each identity; they are made when secrets are judged, away
from the event loop.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from router.model.delivery import ClientIdentity

_CONTEXTS_MAX: Final = 512


class IdentityError(ValueError):
    """A certificate and key that cannot be used together, in words for the operator."""


@lru_cache(maxsize=_CONTEXTS_MAX)
def tls_context(extra_ca: str | None = None, identity: ClientIdentity | None = None) -> ssl.SSLContext:
    """Verification by the system's certificate store, plus the PEM file `extra_ca`; TLS 1.2 or later.

    Shows `identity` to servers that ask. Raises IdentityError.
    """
    context = ssl.create_default_context()
    if extra_ca is not None:
        context.load_verify_locations(cafile=extra_ca)
    context.set_alpn_protocols(["http/1.1"])
    if identity is not None:
        _show(context, identity)
    return context


def _show(context: ssl.SSLContext, identity: ClientIdentity) -> None:
    context.post_handshake_auth = True  # servers may ask only for some of their paths
    for what, text in (("CERTIFICATE", identity.cert), ("PRIVATE KEY", identity.key)):
        if f"{what}-----" not in text:
            raise IdentityError(f"there is no -----BEGIN {what}----- in it")
    try:
        with _as_file(f"{identity.key}\n{identity.cert}\n") as path:
            context.load_cert_chain(path, password=lambda: "")  # never ask on a terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise IdentityError("the key does not belong to the certificate") from None
        raise IdentityError("it cannot be read as PEM, or the key is encrypted") from None


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """The text under a path, which is all that OpenSSL's loader takes; it is in memory alone, never on a disk."""
    number = os.memfd_create("identity")
    try:
        with open(number, "wb", closefd=False) as file:
            file.write(text.encode())
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


#: Alerts by which a server says that it wants another certificate from us. Its TLS says so, before its HTTP is asked.
_REFUSALS: Final = frozenset((
    "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN", "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED", "TLSV13_ALERT_CERTIFICATE_REQUIRED",
))  # fmt: skip


def refused_us(error: BaseException) -> bool:
    """Whether this is a server's refusal of our certificate.

    In TLS 1.3 our side of the handshake has ended by then and the request may be written already; the server has not
    let it through.
    """
    inner = error if isinstance(error, ssl.SSLError) else error.__cause__
    return isinstance(inner, ssl.SSLError) and inner.reason in _REFUSALS
