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
