"""Places in a buyer's answer: JMESPath, XPath and header names, compiled to functions that never raise.

A finder gives the values it found (none: nothing is there), or None when the answer is not of its kind at all: a path
has nothing to say about an HTML page, nor one that computes about an answer too large for that. Namespaces of an XML
answer are dropped when it is read, so an XPath names elements without prefixes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from lxml import etree

from router.terms.answers import Reading
from router.terms.xpath_shape import ShapeError, judge_shape

Find = Callable[[Reading], Sequence[Any] | None]

_PLAIN_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


_LENGTH_MAX: Final = 500
_FLATTENS_MAX: Final = 3


class PathError(ValueError):
    """A path that cannot be used, in words for the operator."""


@lru_cache(maxsize=1024)
def compile_path(text: str) -> Find:
    """A JMESPath -> its finder. Raises PathError when it is none."""
    if _PLAIN_PATH.fullmatch(text):
        return _plain_path(text.split("."))
    try:
        expression = jmespath.compile(text)
        _known_functions(expression.parsed)
    except (JMESPathError, RecursionError) as error:
        raise PathError(f'"{text}" is not a JMESPath: {str(error).splitlines()[0].rstrip(":")}') from None
    if len(text) > _LENGTH_MAX or _flattens(expression.parsed) > _FLATTENS_MAX:
        raise PathError(f'"{text}" could run for long: keep it under {_LENGTH_MAX} characters and {_FLATTENS_MAX} []')

    def find(reading: Reading) -> Sequence[Any] | None:
        if reading.kind != "json" or reading.is_large:
            return None
        try:
            value = expression.search(reading.data)
        except Exception:  # it meets whatever a buyer sent, and its functions raise what they like
            return ()
        return () if value is None else (value,)

    return find


def _plain_path(names: Sequence[str]) -> Find:
    """`a.b.c`, by far the most common path, without the expression machinery."""

    def find(reading: Reading) -> Sequence[Any] | None:
        if reading.kind != "json":
            return None
        value = reading.data
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return () if value is None else (value,)

    return find


def _flattens(node: Mapping[str, Any]) -> int:
    """How often a path makes one list of several, which can double them each time."""
    below = sum(_flattens(child) for child in node.get("children", ()) if isinstance(child, dict))
    return below + int(node["type"] == "flatten")


def _known_functions(node: Mapping[str, Any]) -> None:
    """JMESPath looks functions up when it runs; we want to know before. Raises PathError."""
    if node["type"] == "function_expression":
        known = Functions.FUNCTION_TABLE.get(node["value"])
        if known is None:
            raise PathError(f"there is no function {node['value']}() in JMESPath")
        signature: Sequence[Mapping[str, Any]] = known["signature"]
        wanted, given = len(signature), len(node["children"])
        if given < wanted or (given > wanted and not any(part.get("variadic") for part in signature)):
            raise PathError(f"{node['value']}() wants {wanted} arguments, not {given}")
    for child in node.get("children", ()):
        if isinstance(child, dict):
            _known_functions(child)


@lru_cache(maxsize=1024)
def compile_xpath(text: str) -> Find:
    """An XPath 1.0 -> its finder. Raises PathError when it is none."""
    try:
        expression = etree.XPath(text, smart_strings=False)
        expression(etree.Element("sample"))
    except etree.XPathError as error:
        raise PathError(f'"{text}" is not an XPath: {error}; names are written without a namespace prefix') from None
    try:
        judge_shape(text)
    except ShapeError as error:
        raise PathError(f'the XPath "{text}" could run for long: {error}') from None

    def find(reading: Reading) -> Sequence[Any] | None:
        if reading.root is None:
            return None
        try:
            return _nodes(expression(reading.root.getroottree()))
        except etree.XPathError:
            return ()

    return find


def _nodes(found: Any) -> Sequence[Any]:
    """What an XPath gave, as values: the text of nodes, or the one text, number or boolean it computed."""
    if isinstance(found, list):
        return [_node_text(node) for node in found]
    if isinstance(found, bool):
        return (True,) if found else ()
    if isinstance(found, float):
        return () if found != found else (found,)  # NaN: nothing there
    return (found.strip(),) if found else ()


def _node_text(node: Any) -> str:
    text = etree.tostring(node, method="text", encoding="unicode", with_tail=False) if _is_element(node) else str(node)
    return text.strip()


def _is_element(node: Any) -> bool:
    return isinstance(node, etree._Element)


def compile_header(name: str) -> Find:
    """A response header -> its finder. Raises PathError for what is no header name."""
    if not _HEADER_NAME.fullmatch(name):
        raise PathError(f'"{name}" is not a header name')
    small = name.lower()

    def find(reading: Reading) -> Sequence[Any]:
        value = reading.header(small)
        return () if value is None else (value.strip(),)

    return find


def compile_extraction(text: str) -> Find:
    """A path to a value in an answer: an XPath when it starts with `/` or `.`, else a JMESPath. Raises PathError."""
    return compile_xpath(text) if text.startswith(("/", ".")) else compile_path(text)


def first(find: Find | None, reading: Reading) -> Any:
    """The first value an extraction finds in the answer, or None."""
    found = find(reading) if find is not None else None
    return found[0] if found else None
