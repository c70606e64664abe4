"""Terms in pieces, and back."""

from typing import Any

import msgspec
import pytest

from router.core.index import Board
from router.terms.book import Book
from router.terms.codes import Packed
from router.terms.compile import compile_book
from router.terms.geography import us
from router.terms.pieces import in_memory
from router.terms.revive import found, revive, written
from router.terms.schema import Terms
from router.terms.sharing import Pool
from tests import factory

TEXAS = {"states": ["TX"]}


def texans(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Buyers that all take Texas."""
    return [
        factory.buyer(f"b{number}", factory.contract(f"c{number}", coverage=TEXAS, **changes))
        for number in range(count)
    ]


def test_what_many_mean_is_written_once_and_held_once() -> None:
    """Three buyers in Texas name one list of codes, in the ledger as in memory, and so does a Book read again."""
    book = factory.book(*texans(3))
    pieces = dict(written(book))
    assert sum(len(piece) > 10_000 for piece in pieces.values()) == 1
    again = revive(book.version, pieces.__getitem__, book)
    entries = {id(plan.coverage.entries[0]) for one in (book, again) for plan in one.contracts.values()}
    assert len(entries) == 1


def test_an_entry_is_let_go_with_the_last_who_means_it() -> None:
    """Memory of long lists ends with the terms that name them."""
    codes = [f"{number:05d}" for number in range(20_000, 20_100)]
    odd = factory.contract("odd", coverage={"postal_codes": codes[::-1]})
    book = factory.book(factory.buyer("b", odd))
    (address,) = book.parts["b"].entries
    assert in_memory[address].codes == tuple(codes)
    del book
    assert address not in in_memory


@pytest.mark.parametrize("others", [(), ("00001",), ("787*",)])
@pytest.mark.parametrize("turned", [False, True])
def test_long_lists_are_packed_and_come_back(others: tuple[str, ...], turned: bool) -> None:
    """As written and in order, by what was compiled and what was read again: the same lists, the same bytes."""
    codes = [*us().starting("787")[:: -1 if turned else 1], *others]
    book = factory.book(factory.buyer("b", factory.contract("c", coverage={"postal_codes": codes})))
    pieces = dict(written(book))
    again = revive(book.version, pieces.__getitem__)
    assert dict(written(again)) == pieces
    for one in (book, again):
        plan = one.contracts["c"]
        assert plan.coverage == book.contracts["c"].coverage
        assert plan.terms.coverage is not None
        assert plan.terms.coverage.postal_codes == tuple(codes)
        assert plan.coverage.entries[0].codes == tuple(sorted(codes if others != ("787*",) else codes[:-1]))
        assert isinstance(plan.terms.coverage.postal_codes, Packed) == (not others)
        assert isinstance(plan.coverage.entries[0].codes, Packed) == (others != ("00001",))
        if not others and not turned:
            assert plan.coverage.entries[0].codes is plan.terms.coverage.postal_codes


def test_an_edit_writes_one_piece_and_two_pages() -> None:
    """Whatever else there is: the buyer, its index page, the title page."""
    book = factory.book(*texans(30))
    edited = factory.terms(*texans(30, price="7.00")).buyers["b7"]
    terms = msgspec.structs.replace(book.terms, buyers={**book.terms.buyers, "b7": edited})
    assert len(dict(written(compile_book(terms, book), book))) == 3


def test_one_and_true_are_not_one_part() -> None:
    """Parts are shared when they are written alike: `1` is not `true`, though Python has them equal."""
    trees = [
        factory.buyer(f"b{place}", factory.contract(f"c{place}", criteria=[{"field": "homeowner", "equals": equals}]))
        for place, equals in enumerate((1, True, 1.0, True))
    ]
    pool = Pool()
    shared = [pool.buyer(buyer).contracts[0].criteria for buyer in factory.terms(*trees).buyers.values()]
    assert [repr(criteria[0].equals) for criteria in shared] == ["1", "True", "1.0", "True"]
    assert shared[1] is shared[3]


def test_a_part_that_is_gone_is_missed() -> None:
    """Any piece or page: `found` walks over all there is, and says of exactly that one that it is not there."""
    book = factory.book(*texans(2))
    pieces = dict(written(book))
    assert dict(found(book.version, pieces.get)) == pieces
    for address in pieces:
        rest = {other: piece for other, piece in pieces.items() if other != address}
        assert [where for where, piece in found(book.version, rest.get) if piece is None] == [address]


class Whole(msgspec.Struct):
    """Terms as they were once stored."""

    rules: int
    coverage: dict[str, Any]
    terms: Terms


def test_terms_stored_in_one_piece_can_still_be_read() -> None:
    """What was written before there were pieces gives the same boards, under the version it had."""
    book = factory.book(*texans(2))
    coverage = {plan.id: plan.coverage for plan in book.contracts.values()}
    whole = Whole(1, coverage, book.terms)
    text = msgspec.json.encode(whole, enc_hook=lambda value: list(value) if isinstance(value, Packed) else int(value))
    old = revive("of-old", lambda _: text)
    assert old.version == "of-old"
    assert [plan.coverage for plan in old.contracts.values()] == list(coverage.values())
    assert Board(old, "solar", "exclusive").ids == Board(book, "solar", "exclusive").ids


def test_what_is_no_piece_is_told() -> None:
    """Bytes that we do not write are an error of their own, not terms."""
    book: Book = factory.book(*texans(1))
    pieces = dict(written(book))
    with pytest.raises(msgspec.MsgspecError):
        revive(book.version, {**pieces, book.version: b'{"what": "else"}'}.__getitem__)
    with pytest.raises(msgspec.MsgspecError):
        revive(book.version, {**pieces, book.parts["b0"].address: b"[]"}.__getitem__)
