"""What one buyer of the farm remembers: how often it was asked, for which deliveries, and how its temper turned."""

from collections import Counter
from collections.abc import Collection
from typing import Final

from msgspec import Struct

from router.demo import courses
from router.demo.courses import Course, Turned, While

DELIVERIES_MAX: Final = 100_000


class Spell(Struct, frozen=True):
    """A temper that somebody put on a buyer by hand."""

    temper: str
    lasts: While
    since: Turned


class Memory:
    """The memory of one named buyer. `now_ns` is always read off the same steady clock."""

    def __init__(self) -> None:
        self._turns = 0
        self._turned: Turned | None = None
        self._spell: Spell | None = None
        self._deliveries: Counter[str] = Counter()
        self._people: set[bytes] = set()

    def next_turn(self, course: Course, now_ns: int) -> int:
        """Another request came: its number, from 0 on."""
        turn, self._turns = self._turns, self._turns + 1
        self._turned = self._turned or courses.begins(course, turn, now_ns)
        return turn

    def met(self, delivery_id: str) -> int:
        """How often it had this delivery before; now it has it once more."""
        if len(self._deliveries) >= DELIVERIES_MAX:
            self._deliveries.clear()
        before = self._deliveries[delivery_id]
        self._deliveries[delivery_id] += 1
        return before

    def had(self, marks: Collection[bytes]) -> bool:
        """Whether it took this person before; now it has taken them."""
        if len(self._people) >= DELIVERIES_MAX:
            self._people.clear()
        before = not self._people.isdisjoint(marks)
        self._people.update(marks)
        return before

    def enchant(self, temper: str, lasts: While, now_ns: int) -> None:
        """Another temper from now on, whatever its URL says."""
        self._spell = Spell(temper, lasts, Turned(self._turns, now_ns))

    def disenchant(self) -> None:
        """As its URL says, again."""
        self._spell = None

    def temper(self, course: Course, *, postal_code: str, turn: int, now_ns: int) -> str:
        """The temper that this request meets."""
        spell = self._spell
        if spell is not None and courses.lasts(spell.lasts, spell.since, turn, now_ns):
            return spell.temper
        return courses.temper_now(course, self._turned, postal_code=postal_code, turn=turn, now_ns=now_ns)
