"""One request to one buyer, written exactly once, and an honest word about where it failed.

Whether a lead may be offered to the next buyer hangs on one question: can this one have it? So every failure says
whether a byte of the request was written, and nothing is ever sent a second time behind the caller's back.

    client.py    `AiohttpTransport`: the exchange itself, over aiohttp's connector and response parser
    lanes.py     what one buyer has to itself: connections, look-ups, origins
    resolver.py  names to addresses, with a budget for each lane, so that hung DNS stays that buyer's trouble
    identity.py  whose certificates are believed, and which one we show
    credentials.py  secrets that are there and cannot be used
    guard.py     which addresses may be connected to, asked of each concrete socket
    wire.py      the bytes of a request
    scripted.py  `ScriptedTransport`: the same door, for simulations in virtual time
"""

from router.transport.client import AiohttpTransport
from router.transport.protocol import Transport
from router.transport.scripted import ScriptedTransport

__all__ = ["AiohttpTransport", "ScriptedTransport", "Transport"]
