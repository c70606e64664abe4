"""Fields in the query of a URL, percent-encoded; a space is `%20`, which every server reads."""

from collections.abc import Iterable
from urllib.parse import quote

from router.buyers.flat import pairs
from router.terms.template import Tree


def with_fields(url: str, tree: dict[str, Tree]) -> str:
    """The URL with the fields of a rendered body after the query it has."""
    return with_pairs(url, pairs(tree))


def with_pairs(url: str, added: Iterable[tuple[str, str]]) -> str:
    """The URL with these names and values after the query it has; unchanged when there are none."""
    text = "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in added])
    if not text:
        return url
    head, mark, query = url.partition("?")
    return f"{head}?{query}{'&' if query and not query.endswith('&') else ''}{text}" if mark else f"{head}?{text}"


def _quoted(text: str) -> str:
    if text.isalnum() and text.isascii():
        return text
    return quote(text, safe="", encoding="utf-8", errors="replace")
