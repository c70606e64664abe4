"""The bytes of a request: written by us, in one piece, so that what was sent is what was rendered."""

import re
from typing import Final

from router.model.delivery import HttpRequest

_LINE_BREAK = re.compile(r"[\r\n\0]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Methods for which no body and "an empty body" are the same.
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
#: Headers that say where the request goes and where it ends: written here alone.
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "expect", "upgrade"})


def encode(request: HttpRequest, host: str, target: str) -> bytes:
    """The whole request. `host` is the Host header, `target` path and query, both ASCII.

    Raises ValueError, without the value, for a header that cannot be written or is not the caller's to set.
    """
    lines = [f"{request.method} {target} HTTP/1.1\r\nHost: {host}\r\n"]
    for name, value in request.headers:
        if _LINE_BREAK.search(value) or not _TOKEN.fullmatch(name):
            raise ValueError(f"the header {name!r} cannot be written on one line")
        if name.lower() in _OURS:
            raise ValueError(f"the header {name!r} is set by the router itself")
        lines.append(f"{name}: {value}\r\n")
    if request.body or request.method not in _BODILESS:
        lines.append(f"Content-Length: {len(request.body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "surrogateescape") + request.body
