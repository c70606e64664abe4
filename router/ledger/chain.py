"""The hash chain: why history cannot be edited, removed or reordered without it showing.

Each fact's hash covers the hash before it and a canonical *envelope* of everything its row holds. The lead of a
`Received` is covered by a salted digest only: with body and salt gone, nobody can guess the person back from the
digest, and the chain still verifies. Pure functions over bytes; nothing here knows SQLite.
"""

import struct
from hashlib import sha256
from typing import Final

#: The hash before the first fact.
GENESIS: Final = sha256(b"lead-router ledger 1").digest()
SALT_BYTES: Final = 16

_HEAD = struct.Struct(">QqBBB")  # seq, at_ns, and the lengths of kind, lead_id, digest


def envelope(seq: int, at_ns: int, kind: str, lead_id: str | None, digest: bytes | None, body: bytes) -> bytes:
    """The canonical bytes of one fact's row.

    Lengths stand before the variable parts and the body comes last, so no two different rows share their bytes.
    Raises struct.error if `kind` or `lead_id` is over 255 bytes.
    """
    kind_bytes = kind.encode()
    lead_bytes = lead_id.encode() if lead_id else b""
    digest_bytes = digest or b""
    head = _HEAD.pack(seq, at_ns, len(kind_bytes), len(lead_bytes), len(digest_bytes))
    return b"".join((head, kind_bytes, lead_bytes, digest_bytes, body))


def link(previous: bytes, row: bytes) -> bytes:
    """The hash (32 bytes) of a fact whose envelope is `row` and whose predecessor's hash is `previous`."""
    return sha256(previous + row).digest()


def personal_digest(salt: bytes, body: bytes) -> bytes:
    """What the chain knows of a lead: SHA-256 over `salt` (SALT_BYTES random bytes) and the lead's JSON."""
    return sha256(salt + body).digest()
