"""A Book made of an earlier one is the Book that would be made of nothing."""

from collections.abc import Iterable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec.structs import replace

from router.terms.book import Book
from router.terms.compile import compile_book
from router.terms.revive import revive, written
from router.terms.schema import Buyer, LeadType, Terms
from tests.examples import examples
from tests.property.worlds import books

pytestmark = pytest.mark.usefixtures("few_codes")


def seen(book: Book) -> dict[str, Any]:
    """Everything a Book says, but the order its buyers were read in, and its parts as values."""
    return {
        "version": book.version,
        "terms": replace(book.terms, places={}),
        "catalog": book.catalog,
        "contracts": {id_: plain(plan) for id_, plan in book.contracts.items()},
        "by_type": {kind: sorted(plan.id for plan in plans) for kind, plans in book.by_type.items()},
        "parts": {id_: (part.address, [plan.id for plan in part.plans]) for id_, part in book.parts.items()},
        "rosters": book.rosters,
        "remembered": book.remembered,
        "tokens": (book.source_by_token, book.buyer_by_token),
    }


def plain(plan: Any) -> dict[str, Any]:
    """A plan as values; what has no value of its own, such as a compiled template, by the endpoint's version."""
    found = {name: getattr(plan, name) for name in plan.__struct_fields__}
    hours = found.pop("hours")
    return found | {"endpoint": plan.endpoint.version, "hours": (hours.spans, hours.closed) if hours else None}


def mixed(one: Terms, other: Terms, kept: Iterable[str]) -> Terms:
    """The first terms, but with the other's buyers where they are not to be kept."""
    buyers: dict[str, Buyer] = {}
    for id_ in sorted({*one.buyers, *other.buyers}):
        source = one if id_ in kept else other
        if id_ in source.buyers:
            buyers[id_] = source.buyers[id_]
    return replace(one, buyers=buyers)


def lead_types_for_both(one: Book, other: Book) -> list[dict[str, LeadType]]:
    """Those of the two whose tiers the contracts of both know."""
    counts = [len(book.terms.lead_types["solar"].tiers) for book in (one, other)]
    return [book.terms.lead_types for book, count in zip((one, other), counts, strict=True) if count == max(counts)]


@examples(100)
@given(books(), books(), st.sets(st.sampled_from(["b0", "b1", "b2", "b3"])), st.booleans())
def test_a_book_made_of_an_earlier_one_is_the_same(one: Book, other: Book, kept: set[str], edited: bool) -> None:
    """Buyers edited, added and taken out, the lead type edited or not: a full compilation says the same, plan by plan.

    What did not change is not even looked into: it is the very same object.
    """
    lead_types = lead_types_for_both(one, other)[-1 if edited else 0]
    terms = replace(mixed(one.terms, other.terms, kept), lead_types=lead_types)
    quick, full = compile_book(terms, one), compile_book(terms)
    assert seen(quick) == seen(full)
    if lead_types is one.terms.lead_types:
        for id_ in kept & one.parts.keys():
            assert quick.parts[id_] is one.parts[id_]


@examples(60)
@given(books(), books(), st.sets(st.sampled_from(["b0", "b1", "b2", "b3"])))
def test_what_is_written_of_a_change_is_all_that_is_needed(one: Book, other: Book, kept: set[str]) -> None:
    """The pieces of one Book, and those that differ in the next: from both, the next can be read again."""
    lead_types = lead_types_for_both(one, other)[-1]
    following = compile_book(replace(mixed(one.terms, other.terms, kept), lead_types=lead_types), one)
    before, change = dict(written(one)), dict(written(following, one))
    assert not [address for address in change if address in before and address != following.version]
    again = revive(following.version, {**before, **change}.__getitem__)
    lent = revive(following.version, {**before, **change}.__getitem__, one)
    assert seen(again) == seen(lent) == seen(following)
