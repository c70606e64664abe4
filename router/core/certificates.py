"""Consent certificates, judged by their form alone: whether a claim to one could be genuine at all.

Whoever claims a certificate posts credentials to its address, so only the exact host over https counts: no port, no
user name, no look-alike characters, nothing behind the id.
"""

import re
from typing import Final

#: 40 hexadecimal digits; longer ids, to 255 characters, exist.
_TRUSTEDFORM: Final = re.compile(
    r"https://cert\.trustedform\.com/(?:[0-9A-Fa-f]{40}|[0-9A-Za-z_-][0-9A-Za-z._-]{40,254})", re.ASCII
)
_JORNAYA: Final = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}", re.ASCII)


def trustedform_ok(url: str) -> bool:
    """Whether a text is the address of a TrustedForm certificate."""
    return _TRUSTEDFORM.fullmatch(url) is not None


def jornaya_ok(lead_id: str) -> bool:
    """Whether a text is a Jornaya LeadiD: a GUID of 36 characters."""
    return _JORNAYA.fullmatch(lead_id) is not None
