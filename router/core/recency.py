"""When a contract was sold last, for round robin: a reservation counts as a sale until it is released.

By the steady clock: a wall clock that was set ahead for a while would leave whom it saw sold to last in turn until
the day it said.
"""

from bisect import bisect_left

from msgspec import Struct, field


class Recency(Struct):
    """Instants of reservations not released, oldest first; nothing before the latest confirmed one, which stays."""

    at: list[int] = field(default_factory=list)

    @property
    def last_ns(self) -> int:
        """The latest; 0 when there never was one."""
        return self.at[-1] if self.at else 0

    def confirm(self, at_ns: int) -> None:
        """That reservation will not be released: those before it do not matter any more."""
        del self.at[: bisect_left(self.at, at_ns)]

    def release(self, at_ns: int) -> None:
        """That reservation never was."""
        place = bisect_left(self.at, at_ns)
        if self.at[place : place + 1] == [at_ns]:
            del self.at[place]
