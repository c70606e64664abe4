"""Coverage turned over: who covers a code, put together beforehand or when asked; boards kept over a reload."""

from typing import Any

import pytest
from msgspec.structs import replace

from router.core import cover
from router.core.index import Board
from router.core.live import Live
from router.terms.compile import compile_book
from router.terms.geography import us
from router.terms.steps import at_once
from tests import factory

NOT_IN_USE = "00001"
#: What a field without a type may hold: it was kept as it came.
ODD = ("", "abc", "7870", "0001", "+0001", "787012", "787", "\uff17\uff18\uff17\uff10\uff11", "-8701", "7_701")
COVERAGES: tuple[dict[str, Any], ...] = (
    {"everywhere": True, "exclude": {"states": ["TX"]}},
    {"states": ["TX"]},
    {"states": ["TX", "OK"], "exclude": {"postal_codes": ["78701", "7870*", NOT_IN_USE]}},
    {"postal_codes": ["787*", "73301"]},
    {"postal_codes": ["787*", "78701", NOT_IN_USE]},
    {"cities": ["Austin, TX"], "counties": ["Travis, TX"]},
    {"postal_codes": ["78700-78799", "10001"]},
    *({"postal_codes": [f"787{number:02d}", "787*", "10001"]} for number in range(10, 40)),
)


@pytest.mark.parametrize("room", [0, 4_000, cover._MERGED_BYTES_MAX])
def test_every_code_finds_whom_coverage_allows(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every code of two areas and some that are not in use, with no, little and enough room for merged masks."""
    monkeypatch.setattr(cover, "_MERGED_BYTES_MAX", room)
    book = factory.book(
        *(factory.buyer(f"b{n}", factory.contract(f"c{n}", coverage=one)) for n, one in enumerate(COVERAGES))
    )
    board = Board(book, "solar", "exclusive")
    for code in (*us().starting("78"), *us().starting("733"), "10001", "10002", "74101", NOT_IN_USE, "78799", *ODD):
        found = board.covering(factory.lead(postal_code=code))
        allowed = {plan.id for plan in book.contracts.values() if plan.coverage.allows(code)}
        assert {id_ for rank, id_ in enumerate(board.ids) if found >> rank & 1} == allowed, code


def test_codes_of_another_country_are_found() -> None:
    """Where codes are not numbers, those that are named and those under a prefix."""
    coverage = {"country": "CA", "postal_codes": ["K1A", "M5V 3L9"]}
    book = factory.book(factory.buyer("b", factory.contract("c", coverage=coverage)))
    index = cover.CoverIndex(1, "CA")
    index.add(book.contracts["c"], 0)
    at_once(index.seal())
    codes = ("K1A 0B1", "M5V 3L9", "M5V 3L8")
    assert [index.covering(code) for code in codes] == [book.contracts["c"].coverage.allows(code) for code in codes]
    assert index.covering("M5V 3L9")


def test_a_board_is_kept_where_nothing_changed_for_it() -> None:
    """An edit of a buyer makes the boards of its lead type anew; one of a source makes none, and is heeded."""
    terms = factory.terms(factory.buyer("b", factory.contract("c", price="50.00")))
    book = compile_book(terms)
    live = Live(book)
    payout = factory.terms(source={"payout": {"solar": {"amount": "49.00"}}}).sources
    dearer = compile_book(replace(book.terms, sources=payout), book)
    kept = at_once(Live.building(dearer, live)).standings["solar", "exclusive"]
    board = live.standings["solar", "exclusive"].board
    assert kept.board.rank_of is board.rank_of
    assert kept.board.book is dearer
    assert board.book is book

    edited = factory.terms(factory.buyer("b", factory.contract("c", price="60.00"))).buyers
    other = compile_book(replace(book.terms, buyers=edited), book)
    assert at_once(Live.building(other, live)).standings["solar", "exclusive"].board.prices == (6000,)
