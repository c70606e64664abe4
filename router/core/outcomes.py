"""What came of a contract's attempts, and what its guards are at: all that guards and breaker judge by.

Outcomes are kept one by one, never as rates, so that a guard whose terms change judges what really happened. What is
kept is bounded: everything (to `OUTCOMES_MAX`) where the contract had guards when the delivery was reserved, the
breaker's few minutes elsewhere. Instants are read off the clock that never steps.

Both are part of the routing state: only facts change them.
"""

from bisect import bisect_right
from typing import Final, Literal

from msgspec import Struct, field

from router.model.codes import Outcome
from router.model.times import NS_MINUTE
from router.terms.book import OUTCOMES_MAX

#: What one sample says, as bits of its byte.
ATTEMPT: Final = 1
ACCEPTED: Final = 2
DECLINED: Final = 4
ERROR: Final = 8
TIMEOUT: Final = 16
LATE: Final = 32
UNHEALTHY: Final = 64
RETURNED: Final = 128
#: A probe that ended in doubt failed, whatever it was to show.
DOUBTFUL: Final = DECLINED | ERROR | TIMEOUT | LATE | UNHEALTHY | RETURNED

#: The name of the guard every contract has, and how far back it looks.
BREAKER: Final = "breaker"
BREAKER_NS: Final = 5 * NS_MINUTE
_SLACK: Final = 1_000
_IDS_KEPT: Final = 50
UNMEASURED: Final = -1

_OF_OUTCOME: Final[dict[Outcome, int]] = {
    "accepted": ATTEMPT | ACCEPTED,
    "rejected": ATTEMPT | DECLINED,
    "duplicate": ATTEMPT | DECLINED,
    "failed": ATTEMPT | ERROR,
    "in_doubt": ATTEMPT | ERROR,
}


def bits_of(outcome: Outcome, *, timed_out: bool, late: bool, unhealthy: bool) -> int:
    """What an attempt says."""
    return _OF_OUTCOME[outcome] | timed_out * TIMEOUT | late * LATE | unhealthy * UNHEALTHY


class Outcomes(Struct):
    """Samples of one contract in the order they came: `at`, `bits` and `took_us` side by side.

    `ids` names the deliveries of the last of them (empty text where nobody will ask). `dropped` counts what was
    forgotten before the first, so that a sample has a number for good.
    """

    at: list[int] = field(default_factory=list)
    bits: bytearray = field(default_factory=bytearray)
    took_us: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    dropped: int = 0
    running: int = 0  # attempts in a row that found the endpoint unhealthy
    unhealthy_at_ns: int = 0  # the latest of them

    @property
    def total(self) -> int:
        """How many samples there ever were: the number of the next one."""
        return self.dropped + len(self.at)

    def add(self, at_ns: int, bits: int, delivery_id: str, took_us: int, *, guarded: bool) -> None:
        """Something came of a delivery. `guarded`: more than the breaker will ask."""
        at = self.at
        if at and at_ns < at[-1]:
            at_ns = at[-1]
        at.append(at_ns)
        self.bits.append(bits)
        self.took_us.append(took_us if guarded else UNMEASURED)
        self.ids.append(delivery_id if guarded or bits & UNHEALTHY else "")
        if len(self.ids) > 2 * _IDS_KEPT:
            del self.ids[:-_IDS_KEPT]
        if bits & UNHEALTHY:
            self.running += 1
            self.unhealthy_at_ns = at_ns
        elif bits & ATTEMPT:
            self.running = 0
        if len(at) > OUTCOMES_MAX + _SLACK:
            self._drop(len(at) - OUTCOMES_MAX)
        elif not guarded and at[0] <= at_ns - 2 * BREAKER_NS:
            self._drop(bisect_right(at, at_ns - BREAKER_NS))

    def _drop(self, count: int) -> None:
        self.dropped += count
        del self.at[:count], self.bits[:count], self.took_us[:count]
        del self.ids[: max(0, len(self.ids) - len(self.at))]

    def start(self, number: int, since_ns: int | None) -> int:
        """The place of the first sample from `number` on that is younger than `since_ns`."""
        first = max(0, number - self.dropped, len(self.at) - OUTCOMES_MAX)
        return first if since_ns is None else max(first, bisect_right(self.at, since_ns))

    def named(self, start: int) -> list[tuple[str, int, int]]:
        """(delivery id, bits, took_us) of those samples from a place on that have a name, oldest first."""
        first = max(start, len(self.at) - len(self.ids))
        shift = len(self.at) - len(self.ids)
        rows = ((self.ids[one - shift], self.bits[one], self.took_us[one]) for one in range(first, len(self.at)))
        return [row for row in rows if row[0]]


class Probe(Struct, frozen=True, array_like=True):
    """What a probe came to; no bits while it is on its way."""

    bits: int = 0
    took_us: int = UNMEASURED


class Phase(Struct):
    """What a guard that tripped once is at. `until_ns` is of the steady clock; `value` and `sample` are why it tripped.

    A `closed` one counts outcomes from number `start` on.
    """

    state: Literal["closed", "tripped", "probing"]
    action: Literal["warn", "throttle", "pause"]
    since_ns: int  # wall clock when it tripped first
    value: float
    sample: int
    until_ns: int = 0
    start: int = 0
    causes: tuple[str, ...] = ()
    detail: str | None = None
    turns: int = 0  # leads a throttle has counted
    probes_max: int = 0
    probes: dict[str, Probe] = field(default_factory=dict)

    def begin_probe(self, delivery_id: str) -> None:
        """A delivery sets out; it is a probe where one is still wanted."""
        if self.state == "probing" and len(self.probes) < self.probes_max:
            self.probes[delivery_id] = Probe()

    def end_probe(self, delivery_id: str, result: Probe | None) -> None:
        """A delivery ended. None: it never left, so another may be the probe."""
        if self.probes.get(delivery_id) == Probe():
            if result is None:
                del self.probes[delivery_id]
            else:
                self.probes[delivery_id] = result

    @property
    def answered(self) -> bool:
        """Whether all probes are back."""
        return (
            self.state == "probing"
            and len(self.probes) >= self.probes_max
            and all(probe.bits for probe in self.probes.values())
        )
