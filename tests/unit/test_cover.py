"""Coverage turned over: who covers a code, put together beforehand or when asked; boards kept over a reload."""

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from router.core import areas
from router.core.cover import CoverIndex
from router.core.index import Board, members
from router.core.live import Live
from router.terms.book import Book
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


CODES = (*us().starting("78")[::7], *us().starting("733"), "10001", "10002", "74101", NOT_IN_USE, "78799", *ODD)


@pytest.mark.parametrize("area", ["", "US7", "US1", "US"])
def test_every_code_finds_whom_coverage_allows(area: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every code of two towns and some that are not in use, on the board of all and on those of areas."""
    monkeypatch.setattr(areas, "WHOLE_MAX", 0)
    book = covered(*COVERAGES)
    board = Board(book, "solar", "exclusive", area)
    assert board.size == {"": 37, "US7": 37, "US1": 32, "US": 1}[area]
    assert_true(board, [code for code in CODES if area in ("", "US") or code[:1] == area[2:]], book)


@pytest.mark.parametrize("area", ["", "US7"])
@pytest.mark.parametrize("old", range(9))
@pytest.mark.parametrize("new", range(9))
def test_an_edited_coverage_is_as_if_made_anew(area: str, old: int, new: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any coverage instead of any other, on the same board: every code finds whom coverage allows."""
    monkeypatch.setattr(areas, "WHOLE_MAX", 0)
    before, after = covered(COVERAGES[old], *COVERAGES[:7]), covered(COVERAGES[new], *COVERAGES[:7])
    board = Board(before, "solar", "exclusive", area)
    edited = at_once(board.under(after, members(after, "solar", area)))
    assert edited is not None
    codes = [code for code in CODES if not area or code[:1] == "7"]
    assert_true(edited, codes, after)
    assert_true(board, codes, before)


def covered(*coverages: dict[str, Any]) -> Book:
    """Terms with a contract for each coverage."""
    return factory.book(
        *(factory.buyer(f"b{n}", factory.contract(f"c{n}", coverage=one)) for n, one in enumerate(coverages))
    )


def assert_true(board: Board, codes: Iterable[str], book: Book) -> None:
    """Each code finds whom coverage allows."""
    for code in codes:
        found = board.covering(factory.lead(postal_code=code))
        allowed = {plan.id for plan in board.plans if book.contracts[plan.id].coverage.allows(code)}
        assert {id_ for rank, id_ in enumerate(board.ids) if found >> rank & 1} == allowed, code


def test_codes_of_another_country_are_found() -> None:
    """Where codes are not numbers, those that are named and those under a prefix."""
    coverage = {"country": "CA", "postal_codes": ["K1A", "M5V 3L9"]}
    book = factory.book(factory.buyer("b", factory.contract("c", coverage=coverage)))
    index = CoverIndex(1, "CA")
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
    kept = at_once(Live.building(dearer, live)).all()[0]
    board = live.all()[0].board
    assert kept.board.rank_of is board.rank_of
    assert kept.board.book is dearer
    assert board.book is book

    edited = factory.terms(factory.buyer("b", factory.contract("c", price="60.00"))).buyers
    other = compile_book(replace(book.terms, buyers=edited), book)
    assert at_once(Live.building(other, live)).all()[0].board.prices == (6000,)
