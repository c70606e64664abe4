"""The public, stable words of the product: refusal codes in rule order, statuses, outcomes, reasons."""

from typing import Final, Literal

LeadStatus = Literal["routing", "queued", "sold", "unsold", "duplicate", "in_doubt", "expired", "erased"]
UnsoldReason = Literal["no_coverage", "no_eligible_contract", "all_declined", "deadline"]
Outcome = Literal["accepted", "rejected", "duplicate", "failed", "in_doubt"]

#: The rules of a decision in their order, each with the codes it may refuse with (SPEC section 3).
RULES: Final[dict[str, tuple[str, ...]]] = {
    "lifecycle": ("contract_inactive", "buyer_inactive", "paused"),
    "source": ("source_not_allowed",),
    "coverage": ("out_of_coverage",),
    "fields": ("field_missing", "field_invalid"),
    "consent": ("consent_missing", "consent_expired", "consent_seller_not_named", "certificate_missing"),
    "criteria": ("criteria_failed",),
    "age": ("lead_too_old", "too_late"),
    "schedule": ("out_of_schedule",),
    "guard": ("guard_paused", "guard_throttled", "endpoint_unhealthy"),
    "dedup": ("duplicate", "suppressed"),
    "price": ("below_floor", "below_margin", "bid_too_low", "no_bid"),
    "wallet": ("balance_exhausted",),
    "capacity": ("cap_reached", "ramp_reached", "paced", "rate_limited", "concurrency_limited"),
}
REFUSAL_CODES: Final = tuple(code for codes in RULES.values() for code in codes)

#: Refusals that pass by themselves within moments: a lead nobody else may have waits for them until its deadline.
MOMENTARY: Final = frozenset({"paced", "rate_limited", "concurrency_limited"})
