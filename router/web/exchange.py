"""One request on its way through a listener: who asks, what is in it, and how an answer is made."""

from collections.abc import Collection, Iterator
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
import orjson
from aiohttp import web
from msgspec import Struct
from msgspec.structs import fields
from multidict import CIMultiDict, istr

from router.core.intake.refusal import FieldError, shown_name
from router.model.times import parse_instant
from router.web.auth import Principal
from router.web.leads import parsed
from router.web.problems import Problem

JSON: Final = "application/json"
SMALL_BODY_MAX: Final = 16 * 1024
_T = TypeVar("_T", bound=Struct)
_CONTENT_TYPE: Final = istr("Content-Type")


class Exchange:
    """A request that found its route. `principal` is None on routes open to anybody, `id` the id in the path."""

    __slots__ = ("id", "request", "who")

    def __init__(self, request: web.BaseRequest, who: Principal | None, subject_id: str) -> None:
        self.request = request
        self.who = who
        self.id = subject_id

    @property
    def principal(self) -> Principal:
        """Who asks, on a route that is not open to anybody."""
        assert self.who is not None, "this route lets anybody in"
        return self.who

    def query(self, known: Collection[str]) -> dict[str, str]:
        """The query parameters, empty ones left out. Raises Problem (400) for an unknown or repeated one."""
        found: dict[str, str] = {}
        for name, value in self.request.rel_url.query.items():
            if name not in known:
                raise Problem(
                    "bad_parameter",
                    f"There is no such query parameter here; known are: {', '.join(sorted(known)) or 'none'}.",
                )
            if name in found:
                raise Problem("bad_parameter", f"`{name}` is given twice.")
            found[name] = value
        return {name: value for name, value in found.items() if value}


def instant_of(query: dict[str, str], name: str) -> int | None:
    """A query parameter as an instant, nanoseconds since 1970 UTC; None when it is not given. Raises Problem (400)."""
    text = query.get(name)
    if text is None:
        return None
    try:
        return parse_instant(text.replace(" ", "+"))  # an unescaped + of a zone arrives as a space
    except ValueError as error:
        raise Problem("bad_parameter", f"`{name}`: {error}.") from None


def flag(query: dict[str, str], name: str) -> bool:
    """A query parameter that is 1 or 0 (true, false); 0 when it is not given. Raises Problem (400)."""
    text = query.get(name, "0").lower()
    if text not in ("0", "1", "true", "false"):
        raise Problem("bad_parameter", f"`{name}` is 1 or 0.")
    return text in ("1", "true")


def media_type(request: web.BaseRequest) -> str:
    """The Content-Type without its parameters, lower case; `""` when there is none. Raises Problem (415).

    A charset other than UTF-8 and a Content-Encoding are refused here: nothing is unpacked.
    """
    headers = request.headers
    encoding = headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise Problem("unsupported_media_type", "Send the body as it is, without Content-Encoding.")
    kind, _, parameters = headers.get(_CONTENT_TYPE, "").partition(";")
    if parameters and "charset" in parameters.lower():
        charset = parameters.lower().partition("charset")[2].lstrip(" =").split(";")[0].strip(' "')
        if charset not in ("utf-8", "utf8", "us-ascii"):
            raise Problem("unsupported_media_type", "The charset is UTF-8 here.")
    return kind.strip().lower()


def require_type(request: web.BaseRequest, accepted: Collection[str]) -> str:
    """The Content-Type, if it is one of `accepted`. Raises Problem (415) that names them."""
    kind = media_type(request)
    if kind not in accepted:
        raise Problem(
            "unsupported_media_type",
            f"Send Content-Type: {' or '.join(accepted)}.",
            headers={"Accept-Post": ", ".join(accepted)},
        )
    return kind


def has_length(request: web.BaseRequest) -> bool:
    """Whether the request says where its body ends: a Content-Length, or chunked."""
    return "Content-Length" in request.headers or "Transfer-Encoding" in request.headers


async def read_body(request: web.BaseRequest, bytes_max: int) -> bytes:
    """The whole body. Raises Problem: 411 without a length, 413 over `bytes_max`, before reading where it says so."""
    length = request.content_length
    if length is None:
        if "Transfer-Encoding" not in request.headers:
            raise Problem("length_required", "Send Content-Length, or the body in chunks.")
        return await _read_chunks(request, bytes_max)
    if length > bytes_max:
        raise _too_large(bytes_max)
    return await request.content.read()


async def _read_chunks(request: web.BaseRequest, bytes_max: int) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body)


def _too_large(bytes_max: int) -> Problem:
    return Problem("too_large", f"A body has at most {bytes_max} bytes here.")


async def read_small(request: web.BaseRequest, kind: type[_T], *, required: bool) -> _T:
    """An operator's small JSON body as `kind`; where none is required, no body is an empty object.

    Raises Problem: 400 not JSON, 411, 413, 415, 422 with the place at fault.
    """
    body = b"" if not has_length(request) and not required else await read_body(request, SMALL_BODY_MAX)
    if not body and not required:
        return msgspec.convert({}, kind)
    require_type(request, (JSON,))
    given = parsed(JSON, body)
    faults = [*_faults(given, kind)]
    if faults:
        raise Problem("invalid", errors=faults)
    return msgspec.convert(given, kind)


def _faults(given: dict[str, Any], kind: type[Struct]) -> Iterator[FieldError]:
    """Every key that is unknown, missing or of another kind, by name; what was sent is never repeated."""
    known = {field.encode_name: field for field in fields(kind)}
    for name in given:
        if name not in known:
            yield FieldError(
                shown_name(name), "unknown_field", f"is not known here; known are {', '.join(known) or 'none'}"
            )
    for name, field in known.items():
        if name in given:
            try:
                msgspec.convert(given[name], field.type)
            except msgspec.ValidationError:
                yield FieldError(name, "invalid", f"is not {_wanted(field.type)}")
        elif field.required:
            yield FieldError(name, "required", "is missing")


def _wanted(kind: Any) -> str:
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return f"one of {', '.join(choices)}" if choices else "text"


def json_answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer that nobody keeps."""
    return bytes_answer(orjson.dumps(value), status=status, headers=headers)


def bytes_answer(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON that is bytes already."""
    lines: CIMultiDict[str] = CIMultiDict({_CONTENT_TYPE: JSON, "Cache-Control": "no-store"})
    if headers:
        lines.update(headers)
    return web.Response(status=status, body=body, headers=lines)
