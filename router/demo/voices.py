"""How buyers speak: what each says in its own format when it takes a lead, declines it, or has it already. Pure.

The first three are general. Each of the others is what one endpoint of the sample configuration expects, and so a
check of its response rules: status in a header, in a keyword, in XML, in the status code, deep in JSON.
"""

from collections.abc import Callable
from typing import Final, Literal

import orjson
from msgspec import Struct

#: What a buyer means. `silent`: nobody outside can know; `refused`: surely not taken; `bid`, `no_bid`: about a price;
#: `unknown`: it does not know who asks.
Said = Literal["accepted", "rejected", "duplicate", "refused", "silent", "bid", "no_bid", "unknown"]

JSON: Final = "application/json"
XML: Final = "text/xml; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"


class Spoken(Struct, frozen=True):
    """An answer: status, content type, body, and further headers."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


Voice = Callable[[Said, str], Spoken]


def _json(said: Said, reason: str) -> Spoken:
    if said == "bid" or said == "no_bid":
        return _document(200, {"price": reason or None, "bid": reason or None, "ping_id": "ping-{n}"})
    answer: dict[str, object] = {"status": said, "success": said == "accepted"}
    return _document(200, answer | ({"reason": reason, "error": {"message": reason}} if reason else {"id": "ref-1"}))


def _xml(said: Said, reason: str) -> Spoken:
    valid = "true" if said == "accepted" else "false"
    kind = {"accepted": "Accepted", "duplicate": "Duplicate"}.get(said, "Rejected")
    body = (
        f"<PostResponse><isValidPost>{valid}</isValidPost><ResponseType>{kind}</ResponseType>"
        f"<ResponseDetails>{reason}</ResponseDetails></PostResponse>"
    )
    return Spoken(200, XML, body.encode())


def _text(said: Said, _: str) -> Spoken:
    return Spoken(200, TEXT, {"accepted": b"Match found", "duplicate": b"Duplicate"}.get(said, b"No match found"))


def _document(status: int, value: object) -> Spoken:
    return Spoken(status, JSON, orjson.dumps(value))


def _prospect(said: Said, reason: str) -> Spoken:
    """The status code decides."""
    if said == "accepted":
        return _document(201, {"prospect": {"id": "P-1042"}})
    return _document(409 if said == "duplicate" else 422, {"errors": [{"detail": reason}]})


def _keyword(said: Said, reason: str) -> Spoken:
    """A word somewhere in a web page."""
    word = {"accepted": "SUCCESS", "duplicate": "DUPE"}.get(said, "REJECT")
    return Spoken(200, HTML, f"<html><body>{word}: {reason or 'thank you'}</body></html>".encode())


def _result(said: Said, reason: str) -> Spoken:
    return _document(200, {"result": "ok"} if said == "accepted" else {"result": "declined", "why": reason})


def _bid(said: Said, reason: str) -> Spoken:
    """Names the price it takes the lead for."""
    return _document(200, {"ok": True, "bid": "13.25"} if said == "accepted" else {"ok": False, "reason": reason})


def _created(said: Said, reason: str) -> Spoken:
    return _document(201, {"id": 77120}) if said == "accepted" else _document(422, {"code": reason.replace(" ", "_")})


def _full(said: Said, _: str) -> Spoken:
    return _document(200, {"status": "ok" if said == "accepted" else "full"})


def _soap(said: Said, reason: str) -> Spoken:
    code = {"accepted": 0, "duplicate": 2}.get(said, 1)
    body = (
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><SubmitLeadResult>'
        f"<Code>{code}</Code><Text>{reason}</Text></SubmitLeadResult></soap:Body></soap:Envelope>"
    )
    return Spoken(200, XML, body.encode())


def _sold(said: Said, reason: str) -> Spoken:
    """JSON that calls itself HTML."""
    answer = {"result": {"sold": said == "accepted", "message": reason}}
    return Spoken(200, HTML, orjson.dumps(answer))


def _flag(said: Said, reason: str) -> Spoken:
    if said == "accepted":
        return _document(200, {"accepted": True, "thank_you_url": "https://safehaven.example/thanks"})
    return _document(400, {"error": reason})


def _verdict(said: Said, reason: str) -> Spoken:
    word = "ACCEPT" if said == "accepted" else "DECLINE"
    more = "<PolicyLeadId>S-9</PolicyLeadId>" if said == "accepted" else f"<Reason>{reason}</Reason>"
    return Spoken(200, XML, f"<Response><Status>{word}</Status>{more}</Response>".encode())


def _header(said: Said, _: str) -> Spoken:
    """An empty body; a header says it."""
    return Spoken(200, TEXT, b"", (("X-Lead-Status", "taken" if said == "accepted" else "declined"),))


VOICES: Final[dict[str, Voice]] = {
    "json": _json,
    "xml": _xml,
    "text": _text,
    "prospect": _prospect,
    "keyword": _keyword,
    "result": _result,
    "bid": _bid,
    "created": _created,
    "full": _full,
    "soap": _soap,
    "sold": _sold,
    "flag": _flag,
    "verdict": _verdict,
    "header": _header,
}
