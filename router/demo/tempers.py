"""The tempers of the farm's buyers: what each does with a request. Pure, and without chance.

A temper turns what is known of a request into an `Act`: an answer in the buyer's voice, or one of the ways not to give
one.
"""

import hashlib
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from router.demo.voices import HTML, JSON, TEXT, VOICES, XML, Said

Manner = Literal["answer", "reset_before", "reset_after", "hang", "half"]

SLOW_S: Final = 1.2
HANG_S: Final = 60.0
_LOSSY_EVERY: Final = 8


class Request(Struct, frozen=True):
    """What a temper may look at. `seen` counts earlier requests with this delivery id, `turn` all to this buyer."""

    postal_code: str
    voice: str
    turn: int
    seen: int


class Act(Struct, frozen=True, kw_only=True):
    """What the buyer does. `said` is what it means by it; `pause_s` passes before the first byte of the answer."""

    manner: Manner = "answer"
    said: Said = "silent"
    status: int = 200
    content_type: str = JSON
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    pause_s: float = 0.0


def _say(request: Request, said: Said, reason: str = "", *, pause_s: float = 0.0) -> Act:
    """The answer in the voice of this buyer."""
    spoken = VOICES[request.voice](said, reason)
    return Act(
        said=said,
        status=spoken.status,
        content_type=spoken.content_type,
        body=spoken.body,
        headers=spoken.headers,
        pause_s=pause_s,
    )


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


def _lossy(request: Request) -> Act:
    if request.turn % _LOSSY_EVERY == _LOSSY_EVERY // 2:
        return Act(manner="reset_after")
    return _say(request, "accepted")


def _local(request: Request) -> Act:
    if request.postal_code[-1:] in "13579":
        return _say(request, "rejected", "postal code not served")
    return _say(request, "accepted")


def _sandbox(request: Request) -> Act:
    temper = SANDBOX.get(request.postal_code[-2:])
    return TEMPERS[temper][1](request) if temper else _accept(request)


def _fixed(act: Act) -> Callable[[Request], Act]:
    return lambda request: act


def _status(status: int, said: Said = "refused", *headers: tuple[str, str]) -> Callable[[Request], Act]:
    return _fixed(Act(said=said, status=status, headers=headers))


def _body(said: Said, content_type: str, body: bytes) -> Callable[[Request], Act]:
    return _fixed(Act(said=said, content_type=content_type, body=body))


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
    "lossy": (f"takes everything, but one in {_LOSSY_EVERY} times loses the connection instead", _lossy),
    "hang": (f"reads and says nothing for {HANG_S:.0f} s", _fixed(Act(manner="hang"))),
    "reset-before": ("drops the connection before reading", _fixed(Act(manner="reset_before"))),
    "reset-after": ("reads, then drops the connection", _fixed(Act(manner="reset_after"))),
    "half": ("announces more than it sends", _fixed(Act(manner="half", body=b'{"status":"accepted"'))),
    "refusal-200": ("status 200 around a refusal", _body("rejected", JSON, b'{"status":"rejected","success":false}')),
    "wrong-type": ("JSON that calls itself HTML", _body("accepted", HTML, b'{"status":"accepted","success":true}')),
    "match": ("plain text: Match found", _body("accepted", TEXT, b"Match found")),
    "no-match": ("plain text: No match found", _body("rejected", TEXT, b"No match found")),
    "post-response": ("XML PostResponse that accepts", _body("accepted", XML, VOICES["xml"]("accepted", "").body)),
    "redirect": ("302 to a thank-you page", _status(302, "silent", ("Location", "/thanks"))),
    "moved": ("308 to another address", _status(308, "refused", ("Location", "/moved"))),
    "puzzle": ("200 and something nobody agreed on", _body("silent", JSON, b'{"queued":"maybe"}')),
    "busy": ("429, come back in 1 s", _status(429, "refused", ("Retry-After", "1"))),
    "unavailable": ("503 always", _status(503)),
    "broken": ("500 always: nobody knows whether it took the lead", _status(500, "silent")),
    "locked-out": ("401: our credentials have expired", _status(401)),
    "gone": ("410: this address is no more", _status(410)),
    "bad-request": ("400 without a reason", _status(400)),
    "sandbox": ("the postal code's last two digits choose the temper", _sandbox),
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
