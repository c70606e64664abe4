"""Looks at the router with `router.alerts` every few seconds, and tells when something is wrong and when it is over.

It looks in slices, so that a hundred thousand contracts do not hold up a lead, and spends at most a twentieth of its
time looking. Facts that are news by themselves make it look at once. What is open is not stored: it follows from the
state, so a restart finds the same alerts again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from router import alerts
from router.alerts import Alert, Outlook
from router.core.rules.standing import Moment
from router.engine.engine import Engine
from router.engine.feed import AlertTold
from router.model.times import NS_HOUR, NS_S
from router.terms.book import ContractPlan

_log: Final = logging.getLogger(__name__)
LOOK_EVERY_NS: Final = 5 * NS_S
#: The least time between two looks, however much happens.
LOOK_AGAIN_S: Final = 0.5
_REST: Final = 20  # times as long as a look took
_SLICE: Final = 50
#: A jump of the clock is news for so long.
JUMP_TOLD_NS: Final = NS_HOUR


class Watch:
    """Which alerts are open. `on_told` hears of each that is raised or over."""

    def __init__(self, engine: Engine) -> None:
        self.on_told: list[Callable[[AlertTold], None]] = [_say]
        self._engine = engine
        self._open: dict[str, AlertTold] = {}
        self._news = asyncio.Event()
        engine.feed.on_news = self._news.set
        self._looking = asyncio.Lock()
        self._mono_ns = engine.clock.mono_ns
        self._looked_ns = -LOOK_EVERY_NS
        self._rest_ns = LOOK_EVERY_NS
        self._offset_ns = self._clock_offset()
        self._jump: Alert | None = None
        self._jump_seen_ns = 0

    @property
    def open(self) -> list[AlertTold]:
        """What is open, oldest first."""
        return sorted(self._open.values(), key=lambda told: (told.since_ns, told.alert.id))

    async def fresh(self) -> list[AlertTold]:
        """What is open, after another look if one is due."""
        async with self._looking:
            if self._news.is_set() or self._mono_ns() - self._looked_ns >= self._rest_ns:
                await self._look()
        return self.open

    async def look(self) -> None:
        """Look at everything once."""
        async with self._looking:
            await self._look()

    async def run(self) -> None:
        """Look whenever it is due. Runs until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_AGAIN_S)
            try:
                await asyncio.wait_for(self._news.wait(), self._rest_ns / NS_S)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        self._news.clear()
        book, found, busy_ns = self._engine.book, list(self._of_router()), 0
        out = alerts.outlook(self._engine.state, self._engine.moment())
        uncertified: list[str] = []
        parts = _parts((part.plans for part in book.parts.values() if part.plans), out, uncertified)
        while True:
            began_ns = self._mono_ns()
            more = list(islice(parts, _SLICE))
            busy_ns += self._mono_ns() - began_ns
            for one in more:
                found += one
            if len(more) < _SLICE:
                break
            await asyncio.sleep(0)
            if self._engine.book is not book or self._engine.state is not out.state:
                self._news.set()  # half of it would be about terms or a state that is gone
                return
        if uncertified:
            found.append(alerts.not_certified(uncertified, required=book.router.onboarding.require_certified))
        self._looked_ns, self._rest_ns = self._mono_ns(), max(LOOK_EVERY_NS, busy_ns * _REST)
        self._compare(found, out.moment)

    def _compare(self, found: Iterable[Alert], moment: Moment) -> None:
        """What is new is raised, what is not there any more is over; what stays keeps its beginning."""
        now = {alert.id: alert for alert in found}
        before, self._open = self._open, {}
        for id_, alert in now.items():
            known = before.get(id_)
            since_ns = known.since_ns if known is not None else alert.since_ns or moment.at_ns
            self._open[id_] = AlertTold(alert, True, since_ns)
            if known is None:
                self._tell(self._open[id_])
        for id_, told in before.items():
            if id_ not in now:
                self._tell(told._replace(raised=False))

    def _tell(self, told: AlertTold) -> None:
        self._engine.feed.alert(told, self._engine.now_ns())
        for hear in self.on_told:
            hear(told)

    # -- the router itself -----------------------------------------------------------------------

    def _of_router(self) -> Iterator[Alert]:
        problem = self._engine.ledger.problem
        if problem is not None:
            yield alerts.ledger_unwritable(str(problem), problem.hint)
        clock = self._engine.clock
        offset_ns = self._clock_offset()
        by_ns = offset_ns - self._offset_ns
        if abs(by_ns) > alerts.CLOCK_JUMP_NS:
            self._offset_ns, self._jump_seen_ns = offset_ns, clock.mono_ns()
            self._jump = alerts.clock_jumped(by_ns, clock.wall_ns())
        if self._jump is not None and clock.mono_ns() - self._jump_seen_ns < JUMP_TOLD_NS:
            yield self._jump

    def _clock_offset(self) -> int:
        return self._engine.clock.wall_ns() - self._engine.clock.mono_ns()


def _parts(plans: Iterable[Sequence[ContractPlan]], out: Outlook, uncertified: list[str]) -> Iterator[list[Alert]]:
    """The verdicts, a contract or a buyer at a time; endpoints that are not certified are gathered."""
    for own in plans:
        for plan in own:
            yield list(alerts.of_contract(plan, out))
        uncertified += alerts.uncertified(own, out)
        yield list(alerts.of_buyer(own[0].buyer, own, out))


def _say(told: AlertTold) -> None:
    alert = told.alert
    _log.log(
        logging.WARNING if told.raised else logging.INFO,
        "alert_raised" if told.raised else "alert_cleared",
        extra={"code": alert.kind, "key": alert.id, "words": alert.message, "mend": alert.mend},
    )
