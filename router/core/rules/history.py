"""Rules that look at this lead's time and at this consumer's history: age, dedup and suppression.

How long ago something was sent is the less that either clock says: a wall clock set forward re-opens no window, and
neither does a process that begins with a wrong one.
"""

from collections.abc import Iterator

from router.core.consumers import Consumers, Marks, Sent, marks_of
from router.core.rules.finding import Finding
from router.core.rules.standing import Moment
from router.core.state import State
from router.core.suppression import contacts_of
from router.model.lead import Lead
from router.model.times import format_age, format_duration, format_instant
from router.terms.book import Book, ContractPlan, DedupPlan
from router.terms.schema import IntakeDedup


def age_rule(book: Book, plan: ContractPlan, lead: Lead, at_ns: int, released_at_ns: int) -> Iterator[Finding]:
    """`lead_too_old` at the moment of sending; `too_late` when `deliver_within` can no longer be met.

    The lead type's `max_age` refuses every contract, from that age on; a contract's `max_lead_age` beyond it.
    """
    sla, oldest = plan.terms.sla, book.lead_types[plan.lead_type].max_age
    age = at_ns - lead.submitted_at_ns
    if oldest is not None and age >= oldest:
        yield Finding("lead_too_old", f"less than {format_duration(oldest)} old", format_age(age))
    elif sla is not None and sla.max_lead_age is not None and age > sla.max_lead_age:
        yield Finding("lead_too_old", f"at most {format_duration(sla.max_lead_age)} old", format_age(age))
    waited = at_ns - released_at_ns
    if sla is not None and sla.deliver_within is not None and waited >= sla.deliver_within:
        yield Finding("too_late", f"within {format_duration(sla.deliver_within)} of receipt", format_age(waited))


def dedup_rule(plan: ContractPlan, lead: Lead, marks: Marks, consumers: Consumers, moment: Moment) -> Iterator[Finding]:
    """`duplicate`: this consumer was already sent within the window, as the contract's dedup counts it.

    `marks` are the lead's. A delivery in flight or in doubt counts as accepted.
    """
    dedup = plan.dedup
    if dedup is None:
        return
    whose = {"contract": plan.id, "buyer": plan.buyer_id, "lead_type": plan.lead_type}[dedup.scope]
    for sent in consumers.sent(lead, dedup.keys, marks, dedup.scope, whose):
        age_ns = min(moment.at_ns - sent.at_ns, moment.steady_ns - sent.steady_ns)
        if age_ns < dedup.window_ns and _counts(dedup, sent):
            ago = format_age(max(0, age_ns))
            wanted = f"not sent to this {dedup.scope.replace('_', ' ')} within {format_duration(dedup.window_ns)}"
            yield Finding("duplicate", wanted, f"{sent.outcome or 'in flight'} {ago} ago")
            return


def _counts(dedup: DedupPlan, sent: Sent) -> bool:
    if sent.outcome in (None, "accepted", "in_doubt"):
        return True
    return dedup.counts == "delivered" and sent.outcome in ("rejected", "duplicate")


def suppressed_rule(book: Book, lead: Lead, state: State) -> Iterator[Finding]:
    """`suppressed`: somebody said that this person is never to be sent. It refuses every contract; no test lead."""
    if lead.test or not state.suppressed:
        return
    for contact, mark in contacts_of(lead, book.lead_types.get(lead.lead_type)):
        told = state.suppressed.get(mark)
        if told is not None:
            actual = f"{contact} suppressed by {told.by} at {format_instant(told.at_ns)}"
            yield Finding("suppressed", "nobody who is suppressed", actual)
            return


def intake_duplicate(dedup: IntakeDedup, lead: Lead, state: State, steady_ns: int) -> str | None:
    """The earlier lead of the same consumer and lead type that makes this one a duplicate, or None.

    A duplicate does not itself extend the window; with `counts = "sold"` only sold leads count.
    """
    sold, window_ns = dedup.counts == "sold", int(dedup.window)
    marks = marks_of(lead, dedup.keys)
    for lead_id, seen in state.consumers.latest(lead, dedup.keys, marks, sold=sold):
        age_ns = min(lead.received_at_ns - seen.at_ns, steady_ns - seen.steady_ns)
        if age_ns < window_ns and (seen.sold or not sold):
            return lead_id
    return None
