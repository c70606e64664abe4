"""Until when a lead may be sold.

How long something may take is judged by the steady clock, so that a wall clock that is set makes nobody late and
nothing wait longer. How old a lead is counts from what its source said, and that is an instant of the wall clock.
"""

from router.core.rules.standing import Moment
from router.core.state import OpenLead
from router.model.lead import Lead
from router.terms.book import Book


def deadline_of(lead: OpenLead, book: Book) -> int:
    """The instant of the steady clock from which no attempt starts any more; past, when its type is gone."""
    lead_type = book.lead_types.get(lead.lead.lead_type)
    return lead.selling_steady_ns + (lead_type.deadline if lead_type is not None else 0)


def is_young(lead: Lead, book: Book, at_ns: int) -> bool:
    """Whether a lead may still be sold: its type is in the terms, and it is younger than `max_age`."""
    lead_type = book.lead_types.get(lead.lead_type)
    if lead_type is None:
        return False
    return lead_type.max_age is None or at_ns - lead.submitted_at_ns < lead_type.max_age


def steady_of(moment: Moment, at_ns: int) -> int:
    """The steady clock at an instant of the wall clock, as far as one can tell now."""
    return moment.steady_ns + at_ns - moment.at_ns
