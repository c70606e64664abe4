"""Answers that come compressed although every request says `Accept-Encoding: identity`.

Some servers never look at it. What they mean is read all the same, up to the length of any answer: a few bytes may
unpack to gigabytes, so no more is ever unpacked than is read. What cannot be unpacked stays as it came, and no rule
knows it.
"""

import zlib
from typing import Final

from msgspec import structs

from router.model.delivery import BODY_MAX, HttpResponse

#: The ways a coding is really written: `deflate` is zlib by the standard and raw in the wild.
_WINDOWS: Final[dict[str, tuple[int, ...]]] = {
    "gzip": (zlib.MAX_WBITS | 16,),
    "x-gzip": (zlib.MAX_WBITS | 16,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}


def decoded(answer: HttpResponse) -> HttpResponse:
    """The answer with its body unpacked; `truncated` when its end is not there or it unpacks to more than is read."""
    if answer.truncated or not answer.body:
        return answer
    named = ",".join([value for name, value in answer.headers if name.lower() == "content-encoding"])
    for window in _WINDOWS.get(named.strip().lower(), ()) if named else ():
        unpacker = zlib.decompressobj(window)
        try:
            body = unpacker.decompress(answer.body, BODY_MAX + 1)
        except zlib.error:
            continue
        return structs.replace(answer, body=body[:BODY_MAX], truncated=len(body) > BODY_MAX or not unpacker.eof)
    return answer
