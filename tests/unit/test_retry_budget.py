"""Retries of one endpoint: a floor, a share of its first attempts, a window that slides."""

from router.core.retry_budget import FIRSTS_FOR_ONE, FLOOR, WINDOW_NS, RetryBudget, RetryBudgets


def taken(budget: RetryBudget, now_ns: int) -> int:
    """How many retries are in the budget; they are taken."""
    count = 0
    while budget.take(now_ns):
        count += 1
        assert count < 10_000
    return count


def test_the_floor_is_there_without_any_traffic() -> None:
    """An endpoint that gets few leads may be tried again as its terms say."""
    assert taken(RetryBudget(), 0) == FLOOR


def test_each_first_attempt_adds_its_share() -> None:
    """Half of them on top of the floor: who fails every other time is tried again in full."""
    budget = RetryBudget()
    for _ in range(1_000):
        budget.first(5)
    assert taken(budget, 6) == FLOOR + 1_000 // FIRSTS_FOR_ONE


def test_the_window_slides() -> None:
    """What was taken at the end of one window counts at the beginning of the next, and ever less from there."""
    budget = RetryBudget()
    assert taken(budget, WINDOW_NS - 1) == FLOOR
    assert taken(budget, WINDOW_NS) == 0
    assert taken(budget, WINDOW_NS + WINDOW_NS // 2) == FLOOR // 2
    assert taken(budget, 3 * WINDOW_NS) == FLOOR  # nothing was taken in the window before


def test_first_attempts_count_as_long_as_the_retries() -> None:
    """Leads that came just before an outage still carry its retries."""
    budget = RetryBudget()
    for _ in range(1_000):
        budget.first(WINDOW_NS - 1)
    assert taken(budget, WINDOW_NS + WINDOW_NS // 2) == FLOOR + 500 // FIRSTS_FOR_ONE


def test_no_window_ever_holds_more() -> None:
    """Over any ten seconds of a long storm: the floor, the share, and at most one window's rounding twice."""
    budget, at = RetryBudget(), []
    for now_ns in range(0, 10 * WINDOW_NS, WINDOW_NS // 200):
        budget.first(now_ns)
        at += [now_ns] * taken(budget, now_ns)
    most = max(sum(1 for other in at if now_ns <= other < now_ns + WINDOW_NS) for now_ns in set(at))
    assert most <= 2 * (FLOOR + 200 // FIRSTS_FOR_ONE)
    assert len(at) <= 11 * (FLOOR + 200 // FIRSTS_FOR_ONE)


def test_endpoints_have_budgets_of_their_own() -> None:
    """One buyer's outage takes no retry from another, nor from its own other endpoint."""
    budgets = RetryBudgets()
    taken(budgets.of("a/crm", 0), 0)
    assert not budgets.of("a/crm", 0).take(0)
    assert budgets.of("a/other", 0).take(0)
    assert budgets.of("b/crm", 0).take(0)


def test_what_is_idle_is_forgotten() -> None:
    """So many endpoints at most, unless all of them are busy."""
    budgets = RetryBudgets(endpoints_max=3)
    for name in "abc":
        budgets.of(f"{name}/crm", 0).first(0)
    budgets.of("c/crm", 0).first(3 * WINDOW_NS)
    budgets.of("d/crm", 3 * WINDOW_NS)
    assert len(budgets) == 2
    assert budgets.of("c/crm", 0).firsts == 1


def test_many_busy_endpoints_are_not_looked_through_each_time() -> None:
    """Where none is idle, the next look is when there are twice as many: a crowd of endpoints costs each its share."""

    class Counting(RetryBudgets):
        looks = 0

        def _forget_idle(self, now_ns: int) -> None:
            self.looks += 1
            super()._forget_idle(now_ns)

    budgets = Counting(endpoints_max=4)
    for number in range(1_000):
        budgets.of(f"{number}/crm", 0).first(0)
    assert len(budgets) == 1_000
    assert budgets.looks <= 9
