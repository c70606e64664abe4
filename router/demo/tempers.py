"""The tempers of the farm's buyers: what each does with a request. Pure, and without chance.

A temper turns what is known of a request into an `Act`: an answer, or one of the ways not to give one. Answers come in
four voices, because buyers speak in four: JSON, the XML `PostResponse`, plain text, and JSON under a wrong header.
"""

import hashlib
from collections.abc import Callable
from typing import Final, Literal

import orjson
from msgspec import Struct

Voice = Literal["json", "xml", "text"]
Said = Literal["accepted", "rejected", "duplicate", "refused", "silent"]
Manner = Literal["answer", "reset_before", "reset_after", "hang", "half"]

SLOW_S: Final = 1.2
HANG_S: Final = 60.0


class Request(Struct, frozen=True):
    """What a temper may look at. `seen` counts earlier requests with this delivery id, `turn` all to this buyer."""

    postal_code: str
    voice: Voice
    turn: int
    seen: int


class Act(Struct, frozen=True, kw_only=True):
    """What the buyer does. `said` is what it means by it; `pause_s` passes before the first byte of the answer."""

    manner: Manner = "answer"
    said: Said = "silent"
    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    pause_s: float = 0.0


def _say(request: Request, said: Said, reason: str = "", *, status: int = 200, pause_s: float = 0.0) -> Act:
    """The answer in the voice that the request speaks."""
    voice = _VOICES[request.voice]
    return Act(said=said, status=status, content_type=voice[0], body=voice[1](said, reason), pause_s=pause_s)


def _json(said: Said, reason: str) -> bytes:
    answer: dict[str, object] = {"status": said, "success": said == "accepted"}
    return orjson.dumps(answer | ({"reason": reason, "message": reason} if reason else {"id": "ref-1"}))


def _xml(said: Said, reason: str) -> bytes:
    valid = "true" if said == "accepted" else "false"
    kind = {"accepted": "Accepted", "duplicate": "Duplicate"}.get(said, "Rejected")
    return (
        f"<PostResponse><isValidPost>{valid}</isValidPost><ResponseType>{kind}</ResponseType>"
        f"<ResponseDetails>{reason}</ResponseDetails></PostResponse>"
    ).encode()


def _text(said: Said, reason: str) -> bytes:
    return {"accepted": b"Match found", "duplicate": b"Duplicate", "rejected": b"No match found"}.get(
        said, reason.encode()
    )


_VOICES: Final[dict[Voice, tuple[str, Callable[[Said, str], bytes]]]] = {
    "json": ("application/json", _json),
    "xml": ("text/xml", _xml),
    "text": ("text/plain", _text),
}


def _accept(request: Request) -> Act:
    return _say(request, "accepted")


def _reject(request: Request) -> Act:
    return _say(request, "rejected", "not today")


def _picky(request: Request) -> Act:
    liked = hashlib.sha256(request.postal_code.encode()).digest()[0] % 3 != 0
    return _say(request, "accepted") if liked else _say(request, "rejected", "score too low")


def _slow(request: Request) -> Act:
    return _say(request, "accepted", pause_s=SLOW_S)


def _flaky(request: Request) -> Act:
    if request.turn % 2:
        return _say(request, "accepted")
    return Act(said="refused", status=503, headers=(("Retry-After", "0"),), body=b'{"message":"try again"}')


def _duplicate(request: Request) -> Act:
    return _say(request, "duplicate", "we have it")


def _forgetful(request: Request) -> Act:
    """Takes the lead, then loses the connection before saying so; says `duplicate` when it comes again."""
    if request.seen:
        return _say(request, "duplicate", "we have it")
    return Act(manner="reset_after", said="accepted")


def _local(request: Request) -> Act:
    if request.postal_code[-1:] in "13579":
        return _say(request, "rejected", "postal code not served")
    return _say(request, "accepted")


def _sandbox(request: Request) -> Act:
    temper = SANDBOX.get(request.postal_code[-2:])
    return TEMPERS[temper][1](request) if temper else _accept(request)


def _fixed(act: Act) -> Callable[[Request], Act]:
    return lambda request: act


#: temper -> (what it does, how). The path `/buyer/TEMPER` picks one.
TEMPERS: Final[dict[str, tuple[str, Callable[[Request], Act]]]] = {
    "accept": ("takes everything", _accept),
    "reject": ("takes nothing", _reject),
    "picky": ("takes about two in three, always the same postal codes", _picky),
    "local": ("refuses odd postal codes", _local),
    "slow": (f"takes everything, after {SLOW_S} s", _slow),
    "flaky": ("503, then takes it, and so on in turns", _flaky),
    "duplicate": ("has had every lead before", _duplicate),
    "forgetful": ("takes it and loses the connection; `duplicate` when asked again", _forgetful),
    "hang": (f"reads and says nothing for {HANG_S:.0f} s", _fixed(Act(manner="hang"))),
    "reset-before": ("drops the connection before reading", _fixed(Act(manner="reset_before"))),
    "reset-after": ("reads, then drops the connection", _fixed(Act(manner="reset_after"))),
    "half": (
        "announces more than it sends",
        _fixed(Act(manner="half", body=b'{"status":"accepted"')),
    ),
    "refusal-200": (
        "status 200 around a refusal",
        _fixed(Act(said="rejected", body=b'{"status":"rejected","success":false,"reason":"credit"}')),
    ),
    "wrong-type": (
        "JSON that calls itself HTML",
        _fixed(Act(said="accepted", content_type="text/html", body=b'{"status":"accepted","success":true}')),
    ),
    "match": (
        "plain text: Match found",
        _fixed(Act(said="accepted", content_type="text/plain", body=b"Match found")),
    ),
    "no-match": (
        "plain text: No match found",
        _fixed(Act(said="rejected", content_type="text/plain", body=b"No match found")),
    ),
    "post-response": (
        "XML PostResponse that accepts",
        _fixed(Act(said="accepted", content_type="text/xml", body=_xml("accepted", ""))),
    ),
    "redirect": ("302 to a thank-you page", _fixed(Act(status=302, headers=(("Location", "/thanks"),)))),
    "moved": ("308 to another address", _fixed(Act(said="refused", status=308, headers=(("Location", "/moved"),)))),
    "puzzle": ("200 and something nobody agreed on", _fixed(Act(body=b'{"queued":"maybe"}'))),
    "busy": ("429, come back in 1 s", _fixed(Act(said="refused", status=429, headers=(("Retry-After", "1"),)))),
    "unavailable": ("503 always", _fixed(Act(said="refused", status=503))),
    "broken": ("500 always: nobody knows whether it took the lead", _fixed(Act(status=500))),
    "locked-out": ("401: our credentials have expired", _fixed(Act(said="refused", status=401))),
    "gone": ("410: this address is no more", _fixed(Act(said="refused", status=410))),
    "bad-request": ("400 without a reason", _fixed(Act(said="refused", status=400))),
    "sandbox": ("the postal code's last two digits choose the temper; see SANDBOX", _sandbox),
}

#: The `sandbox` buyer, as test systems of real buyers do it: the last two digits of the postal code choose.
SANDBOX: Final[dict[str, str]] = {
    "90": "reject",
    "91": "duplicate",
    "92": "unavailable",
    "93": "slow",
    "94": "hang",
    "95": "reset-after",
    "96": "puzzle",
    "97": "busy",
    "98": "broken",
    "99": "half",
}
