"""What an owner (a contract, a buyer, a source) has used: its reservations in time order.

Counts are never kept apart from what they count. A window's use is the number of entries inside its stretch of
instants, so editing terms zeroes nothing, a new cap sees what was already sold, and a clock that steps back finds the
old window as full as it was. Looking a count up is a bisection; sums of money are remembered for the windows in use.
"""

from bisect import bisect_left, bisect_right
from typing import Final

from msgspec import Struct, field

from router.model.times import NS_DAY

#: An entry goes when so many days with entries came after its own: longer than any window but `total`, which is counted
#: apart. Days of business, not of the clock: one that is set a year ahead and back again costs no count.
_DAYS_KEPT: Final = 40
_SUMS_MAX: Final = 8
#: As a mask over the number of entries: what is too old is looked for at every 256th.
_PRUNED_EVERY: Final = 255


class Usage(Struct, omit_defaults=True):
    """Entries not released: `at` (instants, sorted) and `amount` (minor units) side by side; totals since ever."""

    at: list[int] = field(default_factory=list)
    amount: list[int] = field(default_factory=list)
    leads_total: int = 0
    spend_total: int = 0
    sums: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, at_ns: int, amount: int) -> None:
        """A reservation was taken at an instant for an amount."""
        at = self.at
        self.leads_total += 1
        self.spend_total += amount
        if self.sums:
            self._adjust(at_ns, amount)
        if at and at_ns < at[-1]:
            place = bisect_right(at, at_ns)
            at.insert(place, at_ns)
            self.amount.insert(place, amount)
            return
        at.append(at_ns)
        self.amount.append(amount)
        if not len(at) & _PRUNED_EVERY:
            self._prune()

    def remove(self, at_ns: int, amount: int) -> None:
        """That reservation was released."""
        self.leads_total -= 1
        self.spend_total -= amount
        place = self._place(at_ns, amount)
        if place is not None:
            self._adjust(at_ns, -amount)
            del self.at[place], self.amount[place]

    def reprice(self, at_ns: int, amount: int, billed: int) -> None:
        """That reservation was confirmed at another (lower) price."""
        self.spend_total += billed - amount
        place = self._place(at_ns, amount)
        if place is not None:
            self._adjust(at_ns, billed - amount)
            self.amount[place] = billed

    def leads(self, start_ns: int, end_ns: int) -> int:
        """How many stand in `start_ns <= t < end_ns`."""
        at = self.at
        if not at or at[-1] < start_ns:
            return 0
        return (len(at) if at[-1] < end_ns else bisect_left(at, end_ns)) - bisect_left(at, start_ns)

    def spend(self, start_ns: int, end_ns: int) -> int:
        """How much stands in `start_ns <= t < end_ns`, minor units."""
        known = self.sums.get((start_ns, end_ns))
        if known is None:
            if len(self.sums) >= _SUMS_MAX:
                self.sums.clear()
            known = sum(self.amount[bisect_left(self.at, start_ns) : bisect_left(self.at, end_ns)])
            self.sums[start_ns, end_ns] = known
        return known

    def last_at(self) -> int:
        """The instant of the latest reservation not released; 0 when there never was one."""
        return self.at[-1] if self.at else 0

    def oldest_since(self, start_ns: int, skip: int = 0) -> int | None:
        """The instant of the `skip`-th entry at or after `start_ns`, or None: when a rolling window has room again."""
        place = bisect_left(self.at, start_ns) + skip
        return self.at[place] if place < len(self.at) else None

    def _place(self, at_ns: int, amount: int) -> int | None:
        place = bisect_left(self.at, at_ns)
        while place < len(self.at) and self.at[place] == at_ns:
            if self.amount[place] == amount:
                return place
            place += 1
        return None

    def _adjust(self, at_ns: int, amount: int) -> None:
        for (start, end), value in self.sums.items():
            if start <= at_ns < end:
                self.sums[start, end] = value + amount

    def _prune(self) -> None:
        """Forget what no window can reach."""
        old = len(self.at)
        for _ in range(_DAYS_KEPT):
            old = bisect_left(self.at, self.at[old - 1] // NS_DAY * NS_DAY, 0, old)
            if not old:
                return
        del self.at[:old], self.amount[:old]
