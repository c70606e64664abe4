"""What is equal is one object: a hundred thousand contracts say much the same, and need not hold it each for itself."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from router.terms.schema import Buyer, Contract

#: The parts of a contract that others may well have word for word.
_PARTS: Final = (
    "sources", "exclude_sources", "criteria", "dedup", "caps", "rate", "ramp", "schedule", "fields", "consent", "sla",
    "returns",
)  # fmt: skip


class Pool:
    """Parts by how they are written: `1`, `1.0` and `true` are equal to Python, and not the same terms."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, bytes], Any] = {}

    def buyer(self, buyer: Buyer) -> Buyer:
        """The buyer, made of shared parts."""
        return replace(buyer, contracts=tuple(map(self._contract, buyer.contracts)))

    def _contract(self, contract: Contract) -> Contract:
        changes = dict(self._others(contract))
        return replace(contract, **changes) if changes else contract

    def _others(self, contract: Contract) -> Iterator[tuple[str, Any]]:
        for name in _PARTS:
            part = getattr(contract, name)
            if part:
                shared = self.parts.setdefault((name, msgspec.json.encode(part, enc_hook=int)), part)
                if shared is not part:
                    yield name, shared
