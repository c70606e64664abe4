"""The bench that shows what enforced terms are worth plays the same every time, and shows what it says."""

from bench.returns import REASONS, play


def test_what_terms_exclude_does_not_come_back_where_they_are_enforced() -> None:
    """Only what no rule can know beforehand is given back: an answer that came late, a number nobody answers."""
    found = play(600, 30, 3, seed=7)
    enforced, by_city = found["enforced"], found["by city"]
    assert enforced["sold"] > 50
    assert {reason for reason in REASONS if enforced["by_reason"][reason]} <= {"late_delivery"}
    assert by_city["by_reason"]["out_of_coverage"] > 0
    assert by_city["return_rate"] > 4 * enforced["return_rate"]


def test_a_seed_plays_the_same_again() -> None:
    """Nothing is drawn outside the seed."""
    assert play(150, 10, 2, seed=3) == play(150, 10, 2, seed=3)
