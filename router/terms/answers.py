"""Reading a buyer's answer: its body as what it is, whatever its header says.

Content-Type lies often (`text/html` around JSON), so the body is looked at: JSON if it parses as JSON, XML if it starts
with `<` and parses, else text. Everything is lazy: an endpoint whose rules never look inside pays for nothing.

An answer is hostile input. XML with a document type is not parsed at all, entities and network are off, a document of
more elements or deeper than an answer ever is counts as text, and nothing here raises for what a buyer sent.
"""

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

import orjson
from lxml import etree

BodyKind = Literal["json", "xml", "text"]

#: Longest text taken over from an answer: words and references, and an address.
TEXT_MAX: Final = 200
URL_MAX: Final = 2_048
#: What is larger is not searched with XPaths (or with JMESPaths that compute), because that would take too long.
ELEMENTS_MAX: Final = 500
_DEPTH_MAX: Final = 32
_TOO_DEEP: Final = etree.XPath(f"boolean({'/*' * (_DEPTH_MAX + 1)})")
VALUES_MAX: Final = 1_000

_XML_PARSER: Final = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=False,
    remove_comments=True, remove_pis=True,
)  # fmt: skip
_DOCTYPE: Final = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.-]{1,32})", re.ASCII | re.IGNORECASE)
#: Encodings an answer may name; any other name is ignored (Python knows some that are slow or no encodings at all).
_CHARSETS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "utf-16": "utf-16", "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be", "iso-8859-1": "cp1252", "latin1": "cp1252", "windows-1252": "cp1252",
    "iso-8859-15": "iso8859-15",
}  # fmt: skip
_AMOUNT: Final = re.compile(r"\$?\s?((?:\d{1,12}|\d{1,3}(?:,\d{3}){1,3})(?:\.\d{1,12})?)", re.ASCII)
_AMOUNT_MAX: Final = Decimal(10) ** 12
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_LINK: Final = re.compile(r"https?://[^\s/\\][^\s\\]*", re.IGNORECASE)


class Reading:
    """One complete answer, read as far as somebody asks. `headers` keep order and case."""

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._read: tuple[BodyKind, Any] | None = None

    def header(self, name: str) -> str | None:
        """All values of a header joined by `, `, or None; `name` in lower case."""
        values = [value for key, value in self.headers if key.lower() == name]
        return ", ".join(values) if values else None

    @property
    def kind(self) -> BodyKind:
        """What the body is."""
        return self._parsed[0]

    @property
    def data(self) -> Any:
        """The body as JSON; None when it is not (or is null)."""
        kind, tree = self._parsed
        return tree if kind == "json" else None

    @property
    def is_large(self) -> bool:
        """Whether JSON holds so many values that computing over it would take long."""
        return self.body.count(b",") >= VALUES_MAX

    @property
    def root(self) -> "etree._Element | None":
        """The body as XML, names without their namespaces; None when it is not."""
        kind, tree = self._parsed
        return tree if kind == "xml" else None

    @cached_property
    def text(self) -> str:
        """The body as text: in the encoding the header names if we know it, else UTF-8, else Windows-1252."""
        named = _CHARSET.search(self.header("content-type") or "")
        for charset in (_CHARSETS.get(named[1].lower()) if named else None, "utf-8-sig"):
            try:
                if charset is not None:
                    return self.body.decode(charset)
            except UnicodeDecodeError:
                continue
        return self.body.decode("cp1252", "replace")

    @cached_property
    def folded(self) -> str:
        """The body as text to look for keywords in: folded case, every run of white space one space."""
        return folded(self.text)

    @property
    def sniffed(self) -> BodyKind | None:
        """How the body was read, when somebody looked inside and the header said something else (or nothing)."""
        if self._read is None:
            return None
        kind = self._read[0]
        return None if kind == self._claimed else kind

    @property
    def _claimed(self) -> BodyKind | None:
        media = (self.header("content-type") or "").partition(";")[0].strip().lower()
        if not media:
            return None
        return "json" if media.endswith("json") else "xml" if media.endswith("xml") else "text"

    @property
    def _parsed(self) -> tuple[BodyKind, Any]:
        """Read once; `cached_property` takes a lock each time before Python 3.12."""
        if self._read is None:
            self._read = self._parse()
        return self._read

    def _parse(self) -> tuple[BodyKind, Any]:
        body = self.body.lstrip(b"\xef\xbb\xbf \t\r\n")
        if body.startswith(b"<"):
            root = _xml(body)
            return ("text", None) if root is None else ("xml", root)
        try:
            return "json", orjson.loads(body)
        except ValueError:
            return self._json_in_other_encoding()

    def _json_in_other_encoding(self) -> tuple[BodyKind, Any]:
        """JSON must be UTF-8, but some is Windows-1252 or UTF-16."""
        text = self.text.lstrip("\ufeff \t\r\n")
        if not text.startswith(("{", "[")) or text.isascii():
            return "text", None
        try:
            return "json", orjson.loads(text)
        except ValueError:
            return "text", None


def _xml(body: bytes) -> "etree._Element | None":
    if body.count(b"<") > 2 * ELEMENTS_MAX or _DOCTYPE.search(body):
        return None
    try:
        root = etree.fromstring(body, _XML_PARSER)
    except (etree.XMLSyntaxError, ValueError, LookupError):
        return None
    if _TOO_DEEP(root):
        return None
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname
    return root


def folded(text: str) -> str:
    """A text as keywords are compared: composed, case folded, every run of white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def holds_words(text: str, words: str) -> bool:
    """Whether `words` stand in `text` as whole words (both folded): "valid" does not stand in "invalid"."""
    pattern, at = _not_inside(words), -1
    while (found := pattern.search(text, at + 1)) is not None:
        at, end = found.span()
        before = text[at - 1] if at else " "
        after = text[end] if end < len(text) else " "
        if not (_joins(before, words[0]) or _joins(words[-1], after)):
            return True
    return False


@lru_cache(maxsize=1024)
def _not_inside(words: str) -> re.Pattern[str]:
    """Where `words` stand, but for most places inside a word: a text may hold thousands of those."""
    text = re.escape(words)
    before = rf"(?<!\w{text})" if _in_word(words[0]) else ""
    after = r"(?!\w)" if _in_word(words[-1]) else ""
    return re.compile(f"{text}{before}{after}")


def _joins(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word, in any script."""
    return _in_word(left) and (_in_word(right) or unicodedata.combining(right) != 0)


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_" or unicodedata.combining(char) != 0


def plain_text(value: Any) -> str | None:
    """A value of an answer as text, to compare or to show: scalars; lists of them joined by `; `; objects as JSON."""
    match value:
        case None:
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case int() | float():
            return str(value)
        case list() if all(isinstance(item, str | int | float) for item in value):
            return "; ".join(plain_text(item) or "" for item in value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # deeper than it can write
        return None


def cleaned(value: Any, limit: int = TEXT_MAX) -> str | None:
    """The buyer's words: one line without control characters, at most `limit` characters; None when nothing is left."""
    if value is None:
        return None
    text = plain_text(value)
    return None if text is None else (_CONTROL.sub(" ", text[: limit * 2]).strip()[:limit].rstrip() or None)


def amount(value: Any) -> int | None:
    """A price in an answer -> minor units, rounded down (`"$1,042.509"` -> 104250); None when it is no amount.

    Numbers and texts are read exactly as decimals. Negative amounts, booleans and other texts are no amounts.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        match = _AMOUNT.fullmatch(value.strip())
        if match is None:
            return None
        value = match[1].replace(",", "")
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    return int(exact * 100) if exact.is_finite() and 0 <= exact < _AMOUNT_MAX else None


def link(value: Any) -> str | None:
    """An address a consumer may be sent to: absolute http or https of at most 2,048 characters; else None."""
    if not isinstance(value, str) or len(value) > URL_MAX or _CONTROL.search(value):
        return None
    return value.strip() if _LINK.fullmatch(value.strip()) else None
