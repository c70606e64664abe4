"""What the standing rules said last, remembered per board until time or an event can change it.

A set bit in `blocked` is a contract that `core.rules.standing` refuses now; a clear one, outside `unasked`, one that it
does not. Every answer says until when it holds, so the hour turning over or a cap filling costs a mask operation, and
only the contracts a lead actually reaches are asked again, if nobody asked ahead. Nothing here is state: all of it can
be thrown away and asked anew (`forget`), which is what a clock that steps back does.
"""

from collections.abc import Iterable
from functools import reduce
from heapq import heappop, heappush
from operator import or_
from typing import Final

from router.core.calendar import FOREVER
from router.core.index import Board
from router.core.masks import bits
from router.core.rules.finding import Finding
from router.core.rules.standing import Moment, StandingRule, open_until, rules_for
from router.core.state import State

#: What contracts of one buyer use up together.
_SHARED: Final = ("balance_exhausted", "cap_reached", "concurrency_limited")


class Standings:
    """The remembered answers of one board's contracts."""

    def __init__(self, board: Board) -> None:
        self.board: Final = board
        self.blocked = 0
        self.by_code: dict[str, int] = {}
        #: The contracts that a lead which reaches them has to ask.
        self.unasked = board.all
        self._findings: dict[int, Finding] = {}
        self._rules: list[tuple[StandingRule, ...] | None] = [None] * board.size
        self._due: dict[int, int] = {}
        self._times: list[int] = []
        self._next_ns = FOREVER  # the earliest of `_times`
        self._last_ns = 0
        self._throttled: tuple[tuple[str, ...], int] = ((), 0)
        #: Who is refused in words that no recorded decision has, and by rank the words that stand in the history.
        self.unsaid = 0
        self._said: dict[int, tuple[str, str, str]] = {}

    def throttled(self, state: State) -> int:
        """The contracts that a guard throttles: worked out again only when others are."""
        listed, mask = self._throttled
        if listed is not state.throttled:
            ranks = (self.board.rank_of.get(contract_id) for contract_id in state.throttled)
            mask = sum(1 << rank for rank in ranks if rank is not None)
            self._throttled = (state.throttled, mask)
        return mask

    @property
    def full(self) -> int:
        """The contracts that wait for what their buyer's contracts have together."""
        return reduce(or_, [self.by_code.get(code, 0) for code in _SHARED])

    def touch(self, mask: int) -> None:
        """Something happened to these contracts: ask them again when a lead reaches them."""
        self.unasked |= mask

    def forget(self) -> None:
        """Ask everybody again."""
        self.unasked = self.board.all

    def blocking(self, mask: int, state: State, moment: Moment) -> int:
        """Of some contracts those that a standing rule refuses now."""
        now = moment.at_ns
        if now >= self._next_ns:
            self._turn_over(now)
        elif now < self._last_ns:
            self.forget()
        self._last_ns = now
        unknown = mask & self.unasked
        if unknown:
            self._ask(unknown, state, moment)
        return mask & self.blocked

    def _turn_over(self, now: int) -> None:
        """Forget every answer whose time is over."""
        times = self._times
        while times and times[0] <= now:
            self.unasked |= self._due.pop(heappop(times))
        self._next_ns = times[0] if times else FOREVER

    def say(self, refused: Iterable[int]) -> dict[str, tuple[str, str, str]]:
        """Of those that a decision refuses the words that are new: (code, expected, actual) by contract id."""
        unsaid = reduce(or_, refused) & self.unsaid
        self.unsaid ^= unsaid
        words: dict[str, tuple[str, str, str]] = {}
        for rank in bits(unsaid):
            words[self.board.ids[rank]] = self._said[rank] = self._findings[rank][:3]
        return words

    def finding(self, rank: int) -> Finding | None:
        """What refused a contract, as last asked."""
        return self._findings.get(rank)

    def _ask(self, unknown: int, state: State, moment: Moment) -> None:
        self.unasked ^= unknown
        self.unsaid ^= self.unsaid & unknown
        known = unknown & self.blocked
        if known:
            for rank in bits(known):
                self.by_code[self._findings.pop(rank).code] ^= 1 << rank
            self.blocked ^= known
        board = self.board
        for rank in bits(unknown):
            plan = board.plans[rank]
            found = self._first(rank, state, moment)
            bit = 1 << rank
            until_ns = open_until(plan, state, moment)
            if found is None:
                self._wake(until_ns, bit)
                continue
            self.blocked |= bit
            self.by_code[found.code] = self.by_code.get(found.code, 0) | bit
            self._findings[rank] = found
            if self._said.get(rank) != found[:3]:
                self.unsaid |= bit
            self._wake(min(found.until_ns, until_ns), bit)

    def _first(self, rank: int, state: State, moment: Moment) -> Finding | None:
        plan, price = self.board.plans[rank], self.board.prices[rank]
        rules = self._rules[rank]
        if rules is None:
            rules = self._rules[rank] = rules_for(plan)
        for rule in rules:
            for finding in rule(plan, state, moment, price):
                return finding
        return None

    def _wake(self, until_ns: int, bit: int) -> None:
        if until_ns >= FOREVER:
            return
        if until_ns in self._due:
            self._due[until_ns] |= bit
        else:
            self._due[until_ns] = bit
            heappush(self._times, until_ns)
            self._next_ns = self._times[0]
