"""Overrides: what an operator put in the place of a contract's or buyer's terms, until an instant that was named then.

Terms do not change by it, and nobody has to remember to take it back: from `until` on, the terms hold as they stand.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct, field, structs

from router.model.money import format_money
from router.model.times import format_instant
from router.terms.book import CapPlan, ContractPlan


class Override(Struct):
    """Other limits for some caps, by id: `caps` of leads, `spends` of minor units; or guards that turn nobody away."""

    reason: str
    by: str
    at_ns: int
    until_ns: int
    caps: dict[str, int] = field(default_factory=dict)
    spends: dict[str, int] = field(default_factory=dict)
    guards_off: bool = False

    def limit_of(self, cap: CapPlan) -> int | None:
        """The limit it sets for a cap, of the kind that the cap is; None: it sets none."""
        return (self.caps if cap.spend is None else self.spends).get(cap.id)

    def limits(self) -> dict[str, int | str]:
        """What it sets, as anybody may read it."""
        return limits_of(self.caps, self.spends)


def limits_of(caps: Mapping[str, int], spends: Mapping[str, int]) -> dict[str, int | str]:
    """Limits by cap id: leads, and money as decimal text."""
    return {**caps, **{name: format_money(spend) for name, spend in spends.items()}}


#: Those of `contract:ID` and `buyer:ID`.
Overrides = Mapping[str, Override]


def in_force(overrides: Overrides, owner: str, at_ns: int) -> Override | None:
    """What stands in the place of an owner's terms at a moment."""
    found = overrides.get(owner)
    return found if found is not None and at_ns < found.until_ns else None


def of_contract(overrides: Overrides, plan: ContractPlan, at_ns: int) -> Iterator[tuple[str, Override]]:
    """What is in force for a contract now, its own and its buyer's, by owner."""
    for owner in (plan.owner, plan.buyer_owner) if overrides else ():
        found = in_force(overrides, owner, at_ns)
        if found is not None:
            yield owner, found


def caps_now(overrides: Overrides, plan: ContractPlan, at_ns: int) -> tuple[CapPlan, ...]:
    """A contract's caps and its buyer's, in the order of its terms, each with the limit that holds now."""
    if not overrides:
        return plan.caps
    found = dict(of_contract(overrides, plan, at_ns))
    return tuple(_limited(cap, found.get(cap.owner)) for cap in plan.caps) if found else plan.caps


def _limited(cap: CapPlan, override: Override | None) -> CapPlan:
    other = None if override is None else override.limit_of(cap)
    if other is None:
        return cap
    return structs.replace(cap, limit=other) if cap.spend is None else structs.replace(cap, spend=other)


def day_limit_now(overrides: Overrides, plan: ContractPlan, at_ns: int) -> int | None:
    """The smallest calendar day cap on leads among the contract's own, which pacing spreads."""
    if not overrides:
        return plan.day_limit
    own = (cap for cap in caps_now(overrides, plan, at_ns) if cap.owner == plan.owner and not cap.rolling)
    return min((cap.limit for cap in own if cap.per == "day" and cap.limit is not None), default=None)


def guards_hold(overrides: Overrides, plan: ContractPlan, at_ns: int) -> bool:
    """Whether the contract's guards may turn leads away now."""
    return not any(override.guards_off for _, override in of_contract(overrides, plan, at_ns))


def ends_ns(overrides: Overrides, plan: ContractPlan, at_ns: int) -> int | None:
    """When the first of the contract's overrides is over; None: there is none."""
    return min((override.until_ns for _, override in of_contract(overrides, plan, at_ns)), default=None)


def note(overrides: Overrides, cap: CapPlan, at_ns: int) -> str:
    """What to add to a cap's limit where an override set it: who, until when and why."""
    override = in_force(overrides, cap.owner, at_ns)
    if override is None or override.limit_of(cap) is None:
        return ""
    return f" (set by {override.by} until {format_instant(override.until_ns)}: {override.reason})"
