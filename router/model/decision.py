"""What a decision is made of: values that say which rule spoke, what it wanted and what it saw."""

from msgspec import Struct


class Refusal(Struct, frozen=True):
    """Why a contract is not eligible. `expected` and `actual` are short texts that never hold personal data."""

    contract_id: str
    code: str
    expected: str = ""
    actual: str = ""


class Allowed(Struct, frozen=True):
    """Why a contract was eligible: one rule that passed, in the same words a refusal would use."""

    rule: str
    expected: str
    actual: str


class Bid(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of asking a contract's buyer for a bid. `price` is minor units; without one, `actual` says why.

    `reference` is the buyer's own word for it, which the post gives back.
    """

    contract_id: str
    price: int | None
    actual: str
    reference: str | None = None
    took_ms: float = 0


class Claim(Struct, frozen=True, array_like=True):
    """One window a reservation stands in: "cap 12 of 50". `used` counts this reservation; money is minor units."""

    owner: str  # "contract:ID" | "buyer:ID" | "source:ID"
    cap: str  # the cap's id
    window: str  # the window's key, such as "2026-11-24" or "rolling"
    used: int
    limit: int


class Decision(Struct, frozen=True, kw_only=True):
    """Per lead: all refusals, the ranking (best first), the winners."""

    terms_version: str
    decided_at_ns: int
    refusals: tuple[Refusal, ...]
    ranking: tuple[str, ...]
    winners: tuple[str, ...]
