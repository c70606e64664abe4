"""What the farm looks for in a request, whatever its format: the postal code, and what it was presented with. Pure."""

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote_plus

import orjson
from lxml import etree

from router.demo.courses import WORDS

_POSTAL_NAME: Final = re.compile(r"zip|postal|post_?code", re.IGNORECASE)
_MARKUP: Final = re.compile(r"[<>&]")
_USUAL_HEADERS: Final = frozenset(
    {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length", "idempotency-key"}
)
Kind = Literal["json", "xml", "form"]
Fields = list[tuple[str, str]]


def kind_of(content_type: str) -> Kind:
    """The format that a content type speaks of."""
    if "xml" in content_type:
        return "xml"
    return "json" if "json" in content_type else "form"


def fields_of(kind: Kind, query: Fields, body: bytes) -> Fields:
    """Every leaf of the query and the body, as (name, text); an unreadable body has none.

    One inside others is named with dots: `contact.phone`.
    """
    found = [(name, text) for name, text in query if name not in WORDS]
    try:
        match kind:
            case "xml":
                parser = etree.XMLParser(resolve_entities=False, no_network=True)
                found += [(_local_name(leaf.tag), leaf.text or "") for leaf in etree.fromstring(body, parser).iter()]
            case "json":
                found += [(path[1:], text) for path, text in _leaves("", orjson.loads(body))]
            case "form":
                found += parse_qsl(body.decode("utf-8", "replace"))
    except (ValueError, etree.XMLSyntaxError):
        return found
    return found


def postal_code_of(fields: Fields) -> str:
    """The first leaf whose name speaks of a postal code; empty where there is none."""
    return next((text for name, text in fields if _POSTAL_NAME.search(name.rpartition(".")[2])), "")


def presented(headers: Iterable[tuple[str, str]], query: str) -> str:
    """What the asker presented to be known by, in one line: headers of its own, and its query."""
    own = [text for name, text in headers if name.lower() not in _USUAL_HEADERS]
    return _MARKUP.sub(" ", " ".join([*own, query]))


def basic(authorization: str) -> tuple[str | None, str | None]:
    """User and password of a Basic `Authorization`; nothing where it is none."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None, None
    try:
        user, _, password = b64decode(coded, validate=True).decode().partition(":")
    except ValueError:
        return None, None
    return unquote_plus(user), unquote_plus(password)


def _local_name(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _leaves(name: str, value: object) -> Fields:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in _leaves(f"{name}.{key}", part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in _leaves(name, part)]
    return [(name, "" if value is None else str(value))]
