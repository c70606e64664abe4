"""How many retries one endpoint is given: a share of what it is sent for the first time, and a floor.

`retry.attempts` bounds what one delivery may cost. It does not bound what an outage costs: an endpoint that says 429
or 503 to everybody would be sent every lead `attempts` times, when it can bear least, and each lead would reach the
next in rank that much later. So retries come out of a budget. When it is spent, a delivery that certainly failed is not
tried again: it has failed, and what follows for the lead follows at once.

Counted are retries alone: repeats of a doubt ask what became of a lead, and nothing but the deadline bounds those.

The window slides by weighing the one before: constant in size, the same for the same instants. It is no routing state:
after a restart the budget is whole.
"""

from typing import Final

from msgspec import Struct

from router.model.times import NS_S

WINDOW_NS: Final = 10 * NS_S
#: Retries in a window that an endpoint has anyway.
FLOOR: Final = 100
#: One more for so many first attempts in the window: who fails every other time is tried again in full.
FIRSTS_FOR_ONE: Final = 2
ENDPOINTS_MAX: Final = 4_096


class RetryBudget(Struct):
    """One endpoint's. Instants are read off the clock that never steps."""

    window: int = 0
    firsts: int = 0
    retries: int = 0
    firsts_before: int = 0  # in the window before this one
    retries_before: int = 0

    def first(self, now_ns: int) -> None:
        """A delivery is sent for the first time."""
        self._turn(now_ns)
        self.firsts += 1

    def take(self, now_ns: int) -> bool:
        """Whether one more retry is in the budget; then it is taken out."""
        self._turn(now_ns)
        left_ns = WINDOW_NS - now_ns % WINDOW_NS
        firsts = self.firsts + self.firsts_before * left_ns // WINDOW_NS
        retries = self.retries + self.retries_before * left_ns // WINDOW_NS
        if retries >= FLOOR + firsts // FIRSTS_FOR_ONE:
            return False
        self.retries += 1
        return True

    def _turn(self, now_ns: int) -> None:
        """Begin a new window where one is due."""
        window = now_ns // WINDOW_NS
        if window == self.window:
            return
        follows = window == self.window + 1
        self.firsts_before, self.retries_before = (self.firsts, self.retries) if follows else (0, 0)
        self.window, self.firsts, self.retries = window, 0, 0


class RetryBudgets:
    """Those of all endpoints. An endpoint that nothing was sent to for a while is forgotten when there are many."""

    def __init__(self, endpoints_max: int = ENDPOINTS_MAX) -> None:
        self._endpoints_max = endpoints_max
        self._look_at = endpoints_max  # how many there are when it is next looked for idle ones
        self._of: dict[str, RetryBudget] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, endpoint_key: str, now_ns: int) -> RetryBudget:
        """The budget of one endpoint, by `ContractPlan.endpoint_key`."""
        found = self._of.get(endpoint_key)
        if found is None:
            if len(self._of) >= self._look_at:
                self._forget_idle(now_ns)
            found = self._of[endpoint_key] = RetryBudget()
        return found

    def _forget_idle(self, now_ns: int) -> None:
        """Where all are busy they are looked through again only when there are twice as many."""
        recent = now_ns // WINDOW_NS - 1
        self._of = {known: budget for known, budget in self._of.items() if budget.window >= recent}
        self._look_at = max(self._endpoints_max, 2 * len(self._of))
