"""Persons who are never to be sent to anybody, whoever brings them again.

A person is told by a phone number and by an e-mail address, in whatever field of a lead they stand. Kept are digests:
a person may be forgotten and still never be sent. A digest of a phone number hides it from a reader, not from somebody
who tries all numbers.
"""

from collections.abc import Iterator
from typing import Final, get_args

from msgspec import Struct

from router.core.consumers import mark_of
from router.model.lead import Contact, Lead
from router.terms.schema import LeadType

_CONTACTS: Final[tuple[Contact, ...]] = get_args(Contact)


class Suppression(Struct, frozen=True):
    """Who said first that a person is not to be sent, and when."""

    by: str
    at_ns: int


def contact_mark(contact: Contact, value: str) -> bytes:
    """The digest of a phone number (E.164) or of an e-mail address."""
    return mark_of((contact,), (value,))


def contacts_of(lead: Lead, lead_type: LeadType | None) -> Iterator[tuple[Contact, bytes]]:
    """Every phone number and e-mail address of a lead, as marks.

    Of a lead whose type is not in the terms any more every text may be one: it can still be on its way to a buyer.
    """
    for name, value in lead.fields.items():
        if isinstance(value, str):
            for contact in _CONTACTS:
                if lead_type is None or (name in lead_type.fields and lead_type.fields[name].type == contact):
                    yield contact, contact_mark(contact, value)
