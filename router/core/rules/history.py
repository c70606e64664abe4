"""Rules that look at this lead's time and at this consumer's history: age and dedup.

How long ago something was sent is the less that either clock says: a wall clock set forward re-opens no window, and
neither does a process that begins with a wrong one.
"""

from collections.abc import Iterator

from router.core.rules.finding import Finding
from router.core.rules.standing import Moment
from router.core.state import Seen, Sent, mark_of
from router.model.lead import Lead
from router.model.times import format_duration
from router.terms.book import ContractPlan, DedupPlan


def age_rule(plan: ContractPlan, lead: Lead, at_ns: int, released_at_ns: int) -> Iterator[Finding]:
    """`lead_too_old` at the moment of sending; `too_late` when `deliver_within` can no longer be met."""
    sla = plan.terms.sla
    if sla is None:
        return
    age = at_ns - lead.submitted_at_ns
    if sla.max_lead_age is not None and age > sla.max_lead_age:
        yield Finding("lead_too_old", f"at most {format_duration(sla.max_lead_age)} old", format_duration(age))
    waited = at_ns - released_at_ns
    if sla.deliver_within is not None and waited >= sla.deliver_within:
        yield Finding("too_late", f"within {format_duration(sla.deliver_within)} of receipt", format_duration(waited))


def dedup_rule(plan: ContractPlan, lead: Lead, kin: list[tuple[str, Seen]], moment: Moment) -> Iterator[Finding]:
    """`duplicate`: this consumer was already sent within the window, as the contract's dedup counts it.

    `kin` are earlier leads that share an identity field. A delivery in flight or in doubt counts as accepted.
    """
    dedup = plan.dedup
    if dedup is None:
        return
    for lead_id, seen in kin:
        if lead_id != lead.lead_id and _matches(dedup.keys, seen, lead):
            for sent in seen.sent.values():
                age_ns = min(moment.at_ns - sent.at_ns, moment.steady_ns - sent.steady_ns)
                if _counts(dedup, sent) and _in_scope(dedup, plan, seen, sent) and age_ns < dedup.window_ns:
                    ago = format_duration(max(0, age_ns))
                    wanted = (
                        f"not sent to this {dedup.scope.replace('_', ' ')} within {format_duration(dedup.window_ns)}"
                    )
                    yield Finding("duplicate", wanted, f"{sent.outcome or 'in flight'} {ago} ago")
                    return


def _matches(keys: tuple[tuple[str, ...], ...], seen: Seen, lead: Lead) -> bool:
    return matches(keys, seen.marks, marks_of(lead, keys))


def marks_of(lead: Lead, keys: tuple[tuple[str, ...], ...]) -> dict[str, bytes]:
    """A digest for each field of the key sets that the lead has."""
    return {name: mark_of(name, lead.fields[name]) for key in keys for name in key if name in lead.fields}


def matches(keys: tuple[tuple[str, ...], ...], known: dict[str, bytes], asked: dict[str, bytes]) -> bool:
    """OR of ANDs; a key set with an empty part does not apply."""
    return any(all(name in asked and known.get(name) == asked[name] for name in key) for key in keys)


def _counts(dedup: DedupPlan, sent: Sent) -> bool:
    if sent.outcome in (None, "accepted", "in_doubt"):
        return True
    return dedup.counts == "delivered" and sent.outcome in ("rejected", "duplicate")


def _in_scope(dedup: DedupPlan, plan: ContractPlan, seen: Seen, sent: Sent) -> bool:
    if dedup.scope == "contract":
        return sent.contract_id == plan.id
    if dedup.scope == "buyer":
        return sent.buyer_id == plan.buyer_id
    return seen.lead_type == plan.lead_type


def intake_duplicate(
    keys: tuple[tuple[str, ...], ...],
    window_ns: int,
    counts: str,
    lead: Lead,
    kin: list[tuple[str, Seen]],
    steady_ns: int,
) -> str | None:
    """The earlier lead of the same consumer and lead type that makes this one a duplicate, or None.

    A duplicate does not itself extend the window; with `counts = "sold"` only sold leads count.
    """
    asked = marks_of(lead, keys)
    for lead_id, seen in reversed(kin):
        if (
            seen.lead_type == lead.lead_type
            and not seen.duplicate
            and (counts == "received" or seen.sold)
            and min(lead.received_at_ns - seen.at_ns, steady_ns - seen.steady_ns) < window_ns
            and matches(keys, seen.marks, asked)
        ):
            return lead_id
    return None
