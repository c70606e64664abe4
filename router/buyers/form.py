"""A body as an HTML form sends it: `application/x-www-form-urlencoded`, UTF-8."""

from urllib.parse import quote_plus

from router.buyers.flat import pairs
from router.terms.template import Tree

CONTENT_TYPE = "application/x-www-form-urlencoded"


def encode(tree: dict[str, Tree]) -> bytes:
    """The bytes of a rendered body. Never raises: half characters are replaced by `?`."""
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in pairs(tree)]).encode()


def _quoted(text: str) -> str:
    if text.isalnum() and text.isascii():
        return text
    return quote_plus(text, encoding="utf-8", errors="replace")
