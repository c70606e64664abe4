"""The tempers of the farm's buyers: what each does with a request. Pure, and without chance.

A temper turns what is known of a request into an `Act`: an answer in the buyer's voice, or one of the ways not to give
one. How an act is performed on the wire, and within which bounds, is said in `manners`.
"""

import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import Final, Literal

import orjson
from msgspec import Struct, structs

from router.demo.voices import HTML, JSON, TEXT, VOICES, XML, Said, Spoken, Voice

Manner = Literal[
    "answer",
    "hang",  # nothing, for HANG_S
    "reset_before",  # the connection is dropped before the body was read
    "reset_after",
    "half",  # less body than announced, then the connection ends
    "drip",  # the body byte by byte
    "drip_head",  # the head byte by byte
    "endless",  # body without end
    "endless_head",  # headers without end
    "continues",  # "100 Continue" without end
    "raw",  # `body` instead of an HTTP answer
    "twice",  # the same answer two times in one breath, for one request
]

SLOW_S: Final = 1.2
HANG_S: Final = 60.0
FLOOD_BYTES: Final = 1024 * 1024
BOMB_BYTES: Final = 32 * 1024 * 1024
_LOSSY_EVERY: Final = 8
_BID: Final = "12.50"


class Request(Struct, frozen=True):
    """What a temper may look at. `seen` counts earlier requests with this delivery id, `turn` all to this buyer.

    `price` is what the URL asks the buyer to name; `echo` what it sent to be known by: `echo` alone looks at it.
    """

    postal_code: str
    voice: Voice
    turn: int
    seen: int
    price: str = ""
    echo: str = ""


class Act(Struct, frozen=True, kw_only=True):
    """What the buyer does. `said` is what it means by it; `pause_s` passes before the first byte of the answer."""

    manner: Manner = "answer"
    said: Said = "silent"
    status: int = 200
    content_type: str = JSON
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    pause_s: float = 0.0


Temper = Callable[[Request], Act]


def _spoken(said: Said, spoken: Spoken, *, manner: Manner = "answer", pause_s: float = 0.0) -> Act:
    return Act(
        manner=manner,
        said=said,
        status=spoken.status,
        content_type=spoken.content_type,
        body=spoken.body,
        headers=spoken.headers,
        pause_s=pause_s,
    )


def say(request: Request, said: Said, reason: str = "", *, manner: Manner = "answer", pause_s: float = 0.0) -> Act:
    """The answer in the voice of this buyer; `{n}` in it is the number of the request."""
    act = _spoken(said, request.voice(said, reason), manner=manner, pause_s=pause_s)
    return (
        structs.replace(act, body=act.body.replace(b"{n}", str(request.turn).encode())) if b"{n}" in act.body else act
    )


def _accept(request: Request) -> Act:
    return say(request, "accepted") if not request.price else _priced(request, request.price)


def _reject(request: Request) -> Act:
    return say(request, "rejected", "not today")


def _picky(request: Request) -> Act:
    liked = hashlib.sha256(request.postal_code.encode()).digest()[0] % 3 != 0
    return say(request, "accepted") if liked else say(request, "rejected", "score too low")


def _slow(request: Request) -> Act:
    return say(request, "accepted", pause_s=SLOW_S)


def _flaky(request: Request) -> Act:
    if request.turn % 2:
        return say(request, "accepted")
    return Act(said="refused", status=503, headers=(("Retry-After", "0"),), body=b'{"message":"try again"}')


def _fault(request: Request) -> Act:
    return say(request, "refused", "our fault, please try again")


def _duplicate(request: Request) -> Act:
    return say(request, "duplicate", "we have it")


def _forgetful(request: Request) -> Act:
    """Takes the lead, then loses the connection before saying so; says `duplicate` when it comes again."""
    if request.seen:
        return say(request, "duplicate", "we have it")
    return Act(manner="reset_after", said="accepted")


def _wavering(request: Request) -> Act:
    return say(request, "rejected", "on second thoughts") if request.seen else Act(manner="reset_after")


def _lossy(request: Request) -> Act:
    if request.turn % _LOSSY_EVERY == _LOSSY_EVERY // 2:
        return Act(manner="reset_after")
    return say(request, "accepted")


def _local(request: Request) -> Act:
    if request.postal_code[-1:] in "13579":
        return say(request, "rejected", "postal code not served")
    return say(request, "accepted")


def _sandbox(request: Request) -> Act:
    temper = SANDBOX.get(request.postal_code[-2:])
    return TEMPERS[temper][1](request) if temper else _accept(request)


def _manner(manner: Manner) -> Temper:
    """Accepts, in this manner."""
    return lambda request: say(request, "accepted", manner=manner)


def _echo(request: Request) -> Act:
    return say(request, "rejected", request.echo)


def _bomb(request: Request) -> Act:
    spoken = request.voice("accepted", "")
    headers = (*spoken.headers, ("Content-Encoding", "gzip"))
    return _spoken("accepted", Spoken(spoken.status, spoken.content_type, _bomb_of(spoken.body), headers))


@cache
def _bomb_of(body: bytes) -> bytes:
    """An answer and blanks behind it: few bytes on the wire, BOMB_BYTES for whoever unpacks them."""
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(body) + packer.compress(b" " * BOMB_BYTES) + packer.flush()


def _flood(request: Request) -> Act:
    spoken = request.voice("accepted", "")
    body = spoken.body + b" " * (FLOOD_BYTES - len(spoken.body))
    return _spoken("accepted", Spoken(spoken.status, spoken.content_type, body, spoken.headers))


def _price(default: str) -> Temper:
    return lambda request: _priced(request, request.price or default)


def _priced(request: Request, price: str) -> Act:
    """Accepts and names a price: JSON under `price` and `bid`, `<Price>` in XML; other voices name none."""
    spoken = request.voice("accepted", "")
    if spoken.content_type == JSON:
        body = orjson.dumps(orjson.loads(spoken.body) | {"price": price, "bid": price})
        return _spoken("accepted", Spoken(spoken.status, JSON, body, spoken.headers))
    body = spoken.body.replace(b"</PostResponse>", b"<Price>%s</Price></PostResponse>" % price.encode())
    return _spoken("accepted", Spoken(spoken.status, spoken.content_type, body, spoken.headers))


def _bid(default: str | None, *, pause_s: float = 0.0) -> Temper:
    """Answers a ping: a price under `price` and `bid`, and a reference under `ping_id`. None: it does not want it.

    A buyer with a voice of its own says both in its own words.
    """

    def act(request: Request) -> Act:
        if default is None:
            return structs.replace(say(request, "no_bid"), said="refused")
        return say(request, "bid", request.price or default, pause_s=pause_s)

    return act


def _fixed(act: Act) -> Temper:
    return lambda request: act


def _status(status: int, said: Said = "refused", *headers: tuple[str, str]) -> Temper:
    return _fixed(Act(said=said, status=status, headers=headers))


def _body(said: Said, content_type: str, body: bytes) -> Temper:
    return _fixed(Act(said=said, content_type=content_type, body=body))


_RAW: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

#: temper -> (what it does, how). The path `/buyer/TEMPER` picks one.
_NAMED: Final[dict[str, tuple[str, Temper]]] = {
    "accept": ("takes everything", _accept),
    "reject": ("takes nothing", _reject),
    "picky": ("takes about two in three, always the same postal codes", _picky),
    "local": ("refuses odd postal codes", _local),
    "slow": (f"takes everything, after {SLOW_S} s", _slow),
    "flaky": ("503, then takes it, and so on in turns", _flaky),
    "duplicate": ("has had every lead before", _duplicate),
    "forgetful": ("takes it and loses the connection; `duplicate` when asked again", _forgetful),
    "wavering": ("reads, loses the connection; declines when asked again", _wavering),
    "lossy": (f"takes everything, but one in {_LOSSY_EVERY} times loses the connection instead", _lossy),
    "hang": (f"reads and says nothing for {HANG_S:.0f} s", _fixed(Act(manner="hang"))),
    "reset-before": ("drops the connection before reading", _fixed(Act(manner="reset_before"))),
    "reset-after": ("reads, then drops the connection", _fixed(Act(manner="reset_after"))),
    "half": ("announces more than it sends", _manner("half")),
    "drip": ("accepts, ten bytes of the body a second", _manner("drip")),
    "drip-head": ("accepts, ten bytes of the head a second", _manner("drip_head")),
    "endless": ("accepts, with a body that does not end", _manner("endless")),
    "endless-head": ("headers that do not end", _manner("endless_head")),
    "flood": (f"accepts, with a body of {FLOOD_BYTES // 1024} KiB at once", _flood),
    "bomb": (f"accepts, in gzip that unpacks to {BOMB_BYTES // 1024 // 1024} MiB", _bomb),
    "continues": ("`100 Continue` without end", _manner("continues")),
    "twice": ("accepts twice in one breath, for one request", _manner("twice")),
    "not-http": ("answers in another protocol", _fixed(Act(manner="raw", body=b"SSH-2.0-OpenSSH_9.2\r\n"))),
    "bad-chunk": (
        "accepts in chunks that are none",
        _fixed(Act(manner="raw", body=_RAW + b'Transfer-Encoding: chunked\r\n\r\nzz\r\n{"status":"accepted"}\r\n')),
    ),
    "bad-length": (
        "accepts with two lengths that differ",
        _fixed(Act(manner="raw", body=_RAW + b'Content-Length: 5\r\nContent-Length: 21\r\n\r\n{"status":"accepted"}')),
    ),
    "refusal-200": ("status 200 around a refusal", _body("rejected", JSON, b'{"status":"rejected","success":false}')),
    "wrong-type": ("JSON that calls itself HTML", _body("accepted", HTML, b'{"status":"accepted","success":true}')),
    "match": ("plain text: Match found", _body("accepted", TEXT, b"Match found")),
    "no-match": ("plain text: No match found", _body("rejected", TEXT, b"No match found")),
    "post-response": ("XML PostResponse that accepts", _body("accepted", XML, VOICES["xml"]("accepted", "").body)),
    "redirect": ("302 to a thank-you page", _status(302, "silent", ("Location", "/thanks"))),
    "moved": ("308 to another address", _status(308, "refused", ("Location", "/moved"))),
    "puzzle": ("200 and something nobody agreed on", _body("silent", JSON, b'{"queued":"maybe"}')),
    "empty": ("200 and nothing else", _body("silent", JSON, b"")),
    "echo": ("declines and repeats how it was asked to know us", _echo),
    "lower-price": ("accepts, for 1.00", _price("1.00")),
    "higher-price": ("accepts, for 100000.00", _price("100000.00")),
    "odd-price": ("accepts, for a price that is none", _price("call us")),
    "fault": ("says that it failed, and did not take it", _fault),
    "busy": ("429, come back in 1 s", _status(429, "refused", ("Retry-After", "1"))),
    "storm": ("429, come back in an hour", _status(429, "refused", ("Retry-After", "3600"))),
    "unavailable": ("503 always", _status(503)),
    "broken": ("500 always: nobody knows whether it took the lead", _status(500, "silent")),
    "locked-out": ("401: our credentials have expired", _status(401)),
    "gone": ("410: this address is no more", _status(410)),
    "bad-request": ("400 without a reason", _status(400)),
    "bid": (f"a ping's answer: bids {_BID}", _bid(_BID)),
    "late-bid": (f"the same, after {SLOW_S} s", _bid(_BID, pause_s=SLOW_S)),
    "odd-bid": ("a bid that is no amount", _bid("a lot")),
    "no-bid": ("a ping's answer without a bid", _bid(None)),
    "sandbox": ("the postal code's last two digits choose the temper", _sandbox),
}


def _meaning(status: int) -> Said:
    """What a buyer of the trade means by a bare status."""
    if status in (302, 303) or status < 300 or (status >= 500 and status != 503):
        return "silent"
    return "refused"


def _bare(status: int) -> Temper:
    location = (("Location", "/elsewhere"),) if 300 <= status < 400 else ()
    return _status(status, _meaning(status), *location)


_STATUSES: Final = (201, 204, 301, 302, 303, 307, 308, 401, 403, 404, 405, 408, 410, 422, 429, 500, 502, 503, 504)

TEMPERS: Final[dict[str, tuple[str, Temper]]] = _NAMED | {
    str(status): (f"a bare {status} {HTTPStatus(status).phrase}", _bare(status)) for status in _STATUSES
}

#: The `sandbox` buyer, as test systems of real buyers do it: the last two digits of the postal code choose.
SANDBOX: Final[dict[str, str]] = {
    "80": "flaky",
    "81": "forgetful",
    "82": "drip",
    "83": "endless",
    "84": "bomb",
    "85": "redirect",
    "86": "moved",
    "87": "bad-request",
    "88": "lower-price",
    "89": "higher-price",
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
