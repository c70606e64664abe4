"""The bytes of a request: written by us, in one piece, so that what was sent is what was rendered."""

import re
from functools import lru_cache
from typing import Final

from router.model.delivery import HttpRequest

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
#: Methods for which no body and "an empty body" are the same.
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
#: Headers that say where the request goes and where it ends: written here alone.
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "expect", "upgrade"})


def encode(request: HttpRequest, host: str, target: str) -> bytes:
    """The whole request. `host` is the Host header, `target` path and query, both ASCII.

    Raises ValueError, without the value, for a header that cannot be written or is not the caller's to set.
    """
    body = request.body
    lines = [f"{name}: {value}" for name, value in request.headers if _is_free(name)]
    lines.append(f"Content-Length: {len(body)}" if body or request.method not in _BODILESS else "")
    head = "\r\n".join([f"{request.method} {target} HTTP/1.1\r\nHost: {host}", *lines])
    if head.count("\n") != head.count("\r") or head.count("\r") != len(lines) + 1 or "\0" in head:
        raise ValueError("a header holds a line break")
    end = "\r\n\r\n" if lines[-1] else "\r\n"
    return (head + end).encode("utf-8", "surrogateescape") + body


@lru_cache(maxsize=1024)
def _is_free(name: str) -> bool:
    """True; raises ValueError for what is no header's name, or one of ours."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no header's name")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name!r} is set by the router itself")
    return True
