"""Until when a lead may be sold."""

from router.core.state import OpenLead
from router.model.lead import Lead
from router.terms.book import Book


def deadline_of(lead: OpenLead, book: Book) -> int:
    """The instant from which no attempt starts any more, nanoseconds since 1970 UTC; past, when its type is gone."""
    lead_type = book.lead_types.get(lead.lead.lead_type)
    return lead.selling_from_ns + (lead_type.deadline if lead_type is not None else 0)


def is_young(lead: Lead, book: Book, at_ns: int) -> bool:
    """Whether a lead may still be sold: its type is in the terms, and it is younger than `max_age`."""
    lead_type = book.lead_types.get(lead.lead_type)
    if lead_type is None:
        return False
    return lead_type.max_age is None or at_ns - lead.submitted_at_ns < lead_type.max_age
