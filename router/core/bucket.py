"""A contract's rate: a token bucket told as one instant, that gives back exactly the token that was taken.

`full_at_ns` is when every token taken will have come back; a lead may go while that is no further off than the burst
allows. A token comes back by itself as time passes, so what a release gives back depends on what was taken after it:
one whose place was refilled long ago gives back nothing. Hence the takes that may still be released are kept in order,
and a release works out anew what would be if that one had never been. All instants are of the steady clock.
"""

from msgspec import Struct, field


class Take(Struct, array_like=True):
    """One token: when it was taken, how long it takes to come back, and by whom; empty text once it is spent."""

    at_ns: int
    interval_ns: int
    delivery_id: str


class Bucket(Struct):
    """When all tokens are back; and the takes from the first one on that may still be given back.

    `before_ns` is when all would be back without those.
    """

    full_at_ns: int = 0
    before_ns: int = 0
    takes: list[Take] = field(default_factory=list)

    def take(self, delivery_id: str, at_ns: int, interval_ns: int) -> None:
        """A token is taken."""
        if self.full_at_ns <= at_ns:  # all are back: whatever is given back of the past changes nothing any more
            self.takes.clear()
        if not self.takes:
            self.before_ns = self.full_at_ns
        self.takes.append(Take(at_ns, interval_ns, delivery_id))
        self.full_at_ns = max(self.full_at_ns, at_ns) + interval_ns

    def spend(self, delivery_id: str) -> None:
        """The token is spent for good."""
        for one in self.takes:
            if one.delivery_id == delivery_id:
                one.delivery_id = ""
                break
        self._settle()

    def give_back(self, delivery_id: str) -> None:
        """The token was never spent: all is as if it had not been taken."""
        kept = [one for one in self.takes if one.delivery_id != delivery_id]
        if len(kept) < len(self.takes):
            self.takes = kept
            self._settle()
            self.full_at_ns = self.before_ns
            for one in self.takes:
                self.full_at_ns = max(self.full_at_ns, one.at_ns) + one.interval_ns

    def _settle(self) -> None:
        """Of the takes before the first that may be given back only their sum is kept."""
        spent = 0
        for one in self.takes:
            if one.delivery_id:
                break
            self.before_ns = max(self.before_ns, one.at_ns) + one.interval_ns
            spent += 1
        del self.takes[:spent]
