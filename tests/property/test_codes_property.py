"""A packed list is the tuple of the same texts, whatever is done with it."""

import pickle
from bisect import bisect_left

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from router.terms.codes import Packed, packed
from router.terms.coverage import Entry
from router.terms.geography import us
from router.terms.pieces import address_of, entry_piece, read_entry
from tests.examples import examples

in_use = st.sampled_from(us().starting("787") + us().starting("0") + us().starting("99"))
others = st.sampled_from(
    ["00001", "99999", "787", "787*", "", "K1A 0B1", "SW1A", " 78701", "\uff17\uff18\uff17\uff10\uff11"]
)
lists = st.lists(in_use, min_size=17, max_size=60) | st.lists(in_use | others, max_size=60)
places = st.none() | st.integers(-70, 70)


@examples(300)
@given(lists, lists, in_use | others, places, places, st.sampled_from([None, -2, -1, 1, 2]))
def test_it_is_the_tuple(
    drawn: list[str], other: list[str], code: str, first: int | None, last: int | None, step: int | None
) -> None:
    """Length, order, items, slices, membership, equality, hash; of codes in use, of others, and of both."""
    plain, held = tuple(drawn), packed(drawn)
    assert isinstance(held, Packed) == (len(drawn) > 16 and us().in_use.issuperset(drawn))
    assert packed(held) is held
    assert (len(held), list(held), list(reversed(held)), repr(held)) == (len(plain), drawn, drawn[::-1], repr(plain))
    assert held == plain
    assert plain == held
    assert hash(held) == hash(plain)
    assert (held == packed(other), held == tuple(other)) == (drawn == other, drawn == other)
    assert held != drawn
    assert held[first:last:step] == plain[first:last:step]
    assert [held[place] for place in range(-len(plain), len(plain))] == [*plain, *plain]
    assert (code in held, held.count(code), 5 in held) == (code in plain, plain.count(code), False)
    assert pickle.loads(pickle.dumps(held)) == plain


@examples(300)
@given(lists, in_use | others)
def test_an_entry_holds_what_it_did(drawn: list[str], code: str) -> None:
    """Sorted, looked up, written down and read again: as if its codes were a tuple."""
    ordered = tuple(sorted(set(drawn)))
    held = packed(drawn)
    if isinstance(held, Packed):
        assert held.in_order() == ordered
        assert (held.in_order() is held) == (drawn == list(ordered))
    entry = Entry("files: x", ordered)
    assert entry.holds(code) == (code in ordered)
    assert bisect_left(entry.codes, code) == bisect_left(ordered, code)
    piece = entry_piece(entry)
    assert msgspec.json.decode(piece)["codes"] == list(ordered)
    assert read_entry(address_of(piece), piece) == entry
