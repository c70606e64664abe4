"""The bench of changes, in small: its files are the market's terms, and its figures are there."""

from pathlib import Path

from bench.market import market
from bench.reload import GOALS, events, lay_out
from router.configuration.disk import read_candidate
from router.terms.compile import compile_book


def test_the_files_say_what_the_market_says(tmp_path: Path) -> None:
    """A market of thirty contracts, written as files and read again: the same contracts at the same prices."""
    terms = market(30)
    lay_out(terms, tmp_path / "config")
    read = read_candidate(tmp_path / "config", tmp_path / "state")
    assert read.good, [problem.line() for problem in read.problems]
    assert read.terms is not None
    one, other = compile_book(terms), compile_book(read.terms)
    assert {
        plan.id: (plan.price, plan.coverage, plan.caps, plan.terms.criteria) for plan in one.contracts.values()
    } == {plan.id: (plan.price, plan.coverage, plan.caps, plan.terms.criteria) for plan in other.contracts.values()}


def test_every_event_has_its_figure() -> None:
    """Pauses, caps that fill and reset, an hour: each is timed, and every contract was asked again at midnight."""
    found = events(30)
    for title, name, key in GOALS:
        if title == "events":
            assert found[name][key] >= 0
    assert found["midnight, caps reset"]["asked"] == 30
