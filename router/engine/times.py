"""Until when a lead may be sold."""

from router.core.state import OpenLead
from router.terms.book import Book


def deadline_of(lead: OpenLead, book: Book) -> int:
    """The instant from which no attempt starts any more, nanoseconds since 1970 UTC."""
    return lead.selling_from_ns + book.lead_types[lead.lead.lead_type].deadline
