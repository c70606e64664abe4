"""A body as XML 1.0 or SOAP 1.1: each key an element, `"@name"` an attribute, `"#text"` the element's own text.

Names were judged when terms were loaded; values are escaped here. Characters XML cannot hold are dropped, a carriage
return is written as a reference because a parser would turn it into a line feed. A list repeats its element.
"""

import re
from collections.abc import Iterator
from typing import Final

from router.terms.filters import as_text
from router.terms.template import Tree
from router.terms.xml_names import Root

CONTENT_TYPE: Final = "application/xml; charset=utf-8"
SOAP_CONTENT_TYPE: Final = "text/xml; charset=utf-8"
SOAP_NAMESPACE: Final = "http://schemas.xmlsoap.org/soap/envelope/"

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_UNHOLDABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL: Final = re.compile("[&<>\"'\t\n\r]")
_IN_TEXT: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_IN_ATTRIBUTE: Final = {**_IN_TEXT, '"': "&quot;", "\t": "&#9;", "\n": "&#10;"}


def encode(tree: dict[str, Tree], root: Root) -> bytes:
    """The document's bytes."""
    return f"{_DECLARATION}{_document(tree, root)}".encode()


def encode_soap(tree: dict[str, Tree], root: Root) -> bytes:
    """The document inside `soap:Envelope/soap:Body`."""
    return (
        f'{_DECLARATION}<soap:Envelope xmlns:soap="{SOAP_NAMESPACE}"><soap:Body>'
        f"{_document(tree, root)}</soap:Body></soap:Envelope>"
    ).encode()


def _document(tree: dict[str, Tree], root: Root) -> str:
    return "".join(_element(root.name, tree if root.around else tree.get(root.name)))


def _element(name: str, value: Tree) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _element(name, item)
        return
    if isinstance(value, dict):
        attributes = "".join(
            [f' {key[1:]}="{_escaped(_text(child), _IN_ATTRIBUTE)}"' for key, child in value.items() if key[0:1] == "@"]
        )
        inner = "".join([piece for key, child in value.items() for piece in _child(key, child)])
    else:
        attributes, inner = "", _escaped(_text(value), _IN_TEXT)
    yield f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"


def _child(key: str, value: Tree) -> Iterator[str]:
    if key == "#text":
        yield _escaped(_text(value), _IN_TEXT)
    elif not key.startswith("@"):
        yield from _element(key, value)


def _text(value: Tree) -> str:
    assert not isinstance(value, dict), "tables in attributes are refused when terms are loaded"
    return "" if value is None else as_text(tuple(map(_text, value)) if isinstance(value, list) else value)


def _escaped(text: str, references: dict[str, str]) -> str:
    if not text.isalnum():
        text = _SPECIAL.sub(lambda match: references.get(match[0], match[0]), _UNHOLDABLE.sub("", text))
    return text
