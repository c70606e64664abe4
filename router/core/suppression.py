"""Persons who are never to be sent to anybody, whoever brings them again.

A person is told by a phone number and by an e-mail address, in whatever field of a lead they stand. Kept are digests:
a person may be forgotten and still never be sent. A digest of a phone number hides it from a reader, not from somebody
who tries all numbers.
"""

from collections.abc import Iterator

from msgspec import Struct

from router.core.consumers import mark_of
from router.model.lead import Contact, Lead
from router.terms.schema import LeadType


class Suppression(Struct, frozen=True):
    """Who said first that a person is not to be sent, and when."""

    by: str
    at_ns: int


def contact_mark(contact: Contact, value: str) -> bytes:
    """The digest of a phone number (E.164) or of an e-mail address."""
    return mark_of((contact,), (value,))


def contacts_of(lead: Lead, lead_type: LeadType) -> Iterator[tuple[Contact, bytes]]:
    """Every phone number and e-mail address of a lead, as marks, in the order of its type's fields."""
    for name, terms in lead_type.fields.items():
        value = lead.fields.get(name)
        if (terms.type == "phone" or terms.type == "email") and isinstance(value, str):
            yield terms.type, contact_mark(terms.type, value)
