"""What happens, as it happens, for whoever listens: decisions, outcomes, guards, pauses, terms, alerts.

Only what is durable is told. Events are kept as the facts they are and rendered when somebody reads them, so that a
router nobody listens to pays for a deque. A listener that does not keep up is dropped and told so: nobody waits for it.
The last events are kept, so that a listener that lost its connection goes on where it was.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from router.alerts import Alert
from router.core.overrides import limits_of
from router.core.state import Held
from router.model.facts import (
    AnyFact,
    Bidden,
    Certified,
    Contracts,
    Decided,
    Entry,
    GuardFact,
    GuardProbing,
    GuardRecovered,
    GuardTripped,
    Overridden,
    Paused,
    Reserved,
    Restored,
    Resumed,
    Settled,
    TermsLoaded,
)
from router.model.money import format_money
from router.model.times import format_duration, format_instant

RECENT_EVENTS_MAX: Final = 1_000
QUEUED_EVENTS_MAX: Final = 1_000
LISTENERS_MAX: Final = 64


class Where(NamedTuple):
    """Where a delivery goes."""

    lead_id: str
    contract_id: str
    buyer_id: str


class AlertTold(NamedTuple):
    """An alert was raised, or is over."""

    alert: Alert
    raised: bool
    since_ns: int


class Event(NamedTuple):
    """One thing that happened. `about` is what its fact does not say itself: winners, or where a delivery went."""

    number: int
    at_ns: int
    fact: AnyFact | AlertTold
    about: Any = None


class Listener:
    """One who listens. `wait` gives the events that came meanwhile; an empty list when none did in time."""

    def __init__(self, missed: Sequence[Event]) -> None:
        self._events: deque[Event] = deque(missed)
        self._more = asyncio.Event()
        if missed:
            self._more.set()
        self.over = ""  # why nothing comes any more

    def tell(self, event: Event) -> None:
        """One more, unless too many wait already."""
        if len(self._events) >= QUEUED_EVENTS_MAX:
            self.end("too slow: events were left out; come back with Last-Event-ID")
        if not self.over:
            self._events.append(event)
            self._more.set()

    def end(self, why: str) -> None:
        """Nothing comes any more."""
        self.over = self.over or why
        self._more.set()

    async def wait(self, within_s: float) -> list[Event]:
        """What came, at once if something has."""
        try:
            await asyncio.wait_for(self._more.wait(), within_s)
        except TimeoutError:
            return []
        events = list(self._events)
        self._events.clear()
        if not self.over:
            self._more.clear()
        return events


class Feed:
    """Hands events to listeners. `born_ns` tells this process's numbers from those of the one before."""

    def __init__(self, born_ns: int) -> None:
        self._born = str(born_ns // 1_000_000)
        self._number = 0
        self._recent: deque[Event] = deque(maxlen=RECENT_EVENTS_MAX)
        self._listeners: set[Listener] = set()
        self._where: dict[str, Where] = {}
        self._over = ""
        self.on_news: Callable[[], None] = lambda: None  # something happened that is no lead's affair

    # -- telling ---------------------------------------------------------------------------------

    def know(self, held: Mapping[str, Held]) -> None:
        """Deliveries that were under way before anybody told us of them."""
        for delivery_id, one in held.items():
            self._where[delivery_id] = Where(one.lead_id, one.contract_id, one.buyer_id)

    def take(self, entries: Sequence[Entry]) -> None:
        """These facts are durable."""
        for place, entry in enumerate(entries):
            fact = entry.fact
            if isinstance(fact, Reserved):
                self._where[fact.delivery_id] = Where(fact.lead_id, fact.contract_id, fact.buyer_id)
            elif isinstance(fact, Bidden):
                self._put(entry.at_ns, fact)
            elif isinstance(fact, Decided):
                self._put(entry.at_ns, fact, _winners(entries, place))
            elif isinstance(fact, Settled):
                self._put(entry.at_ns, fact, self._where.get(fact.delivery_id))
                if fact.outcome != "in_doubt":
                    self._where.pop(fact.delivery_id, None)
            elif type(fact) in _NAMES:
                self._put(entry.at_ns, fact)
                self.on_news()

    def alert(self, told: AlertTold, at_ns: int) -> None:
        """An alert was raised, or is over."""
        self._put(at_ns, told)

    def _put(self, at_ns: int, fact: AnyFact | AlertTold, about: Any = None) -> None:
        self._number += 1
        event = Event(self._number, at_ns, fact, about)
        self._recent.append(event)
        for listener in self._listeners:
            listener.tell(event)

    # -- listening -------------------------------------------------------------------------------

    def listen(self, after: str | None = None) -> Listener | None:
        """From now on, or after the event of that id if it is known; None when there are listeners enough.

        `after` that is not known, or too long ago, gives what is still there.
        """
        if len(self._listeners) >= LISTENERS_MAX:
            return None
        listener = Listener(self._since(after) if after is not None else ())
        if self._over:
            listener.end(self._over)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """It does not listen any more."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """Nothing happens any more."""
        self._over = "the router is stopping"
        for listener in self._listeners:
            listener.end(self._over)

    def _since(self, after: str) -> list[Event]:
        born, _, number = after.partition("-")
        known = born == self._born and number.isascii() and number.isdigit()
        return [event for event in self._recent if not known or event.number > int(number)]

    def id_of(self, event: Event) -> str:
        """What `Last-Event-ID` says of an event."""
        return f"{self._born}-{event.number}"


def _winners(entries: Sequence[Entry], place: int) -> tuple[str, ...]:
    won = []
    for entry in entries[place + 1 :]:
        if not isinstance(entry.fact, Reserved):
            break
        won.append(entry.fact.contract_id)
    return tuple(won)


# -- how events look -----------------------------------------------------------------------------


def name_of(event: Event) -> str:
    """`bids`, `decision`, `outcome`, `guard`, `paused`, `resumed`, `certified`, `terms` or `alert`."""
    return _NAMES[type(event.fact)]


def as_json(event: Event) -> dict[str, Any]:
    """An event's data: ids, codes, counts and money; nothing of the lead, nothing the buyer said."""
    return {"at": format_instant(event.at_ns), **_DATA[type(event.fact)](event.fact, event.about)}


def _count(contracts: Contracts) -> int:
    """How many contracts are meant: by one mask, or by their ids."""
    return int.from_bytes(contracts, "big").bit_count() if isinstance(contracts, bytes) else len(contracts)


def _bids(fact: Bidden, _: object) -> dict[str, Any]:
    told = [
        {
            "contract_id": bid.contract_id,
            "bid": None if bid.price is None else format_money(bid.price),
            "took_ms": bid.took_ms,
        }
        for bid in fact.bids
    ]
    return {"lead_id": fact.lead_id, "bids": told, "late": fact.late}


def _decision(fact: Decided, winners: tuple[str, ...]) -> dict[str, Any]:
    return {
        "lead_id": fact.lead_id,
        "winners": list(winners),
        "eligible": _count(fact.ranking),
        "refused": {code: _count(contracts) for code, contracts in fact.blocked.items()},
        "mode": fact.mode,
        "by": fact.by,
        "terms_version": fact.terms_version,
    }


def _outcome(fact: Settled, where: Where | None) -> dict[str, Any]:
    return {
        "delivery_id": fact.delivery_id,
        "lead_id": where.lead_id if where else None,
        "contract_id": where.contract_id if where else None,
        "buyer_id": where.buyer_id if where else None,
        "outcome": fact.outcome,
        "price": None if fact.price is None else format_money(fact.price),
        "late": fact.late,
        "by": fact.by,
    }


def _tripped(fact: GuardTripped, _: object) -> dict[str, Any]:
    return {
        **_guard(fact, "tripped_again" if fact.again else "tripped"),
        "action": fact.action,
        "value": fact.value,
        "sample": fact.sample,
        "until": format_instant(fact.until_ns),
        "deliveries": list(fact.causes),
    }


def _probing(fact: GuardProbing, _: object) -> dict[str, Any]:
    return {**_guard(fact, "probing"), "probes": fact.probes}


def _recovered(fact: GuardRecovered, _: object) -> dict[str, Any]:
    return {
        **_guard(fact, "recovered"),
        "value": fact.value,
        "sample": fact.sample,
        "deliveries": list(fact.causes),
        "by": fact.by,
    }


def _guard(fact: GuardFact, step: str) -> dict[str, Any]:
    return {"step": step, "contract_id": fact.contract_id, "guard": fact.guard, "metric": fact.metric}


def _paused(fact: Paused, _: object) -> dict[str, Any]:
    until = None if fact.until_ns is None else format_instant(fact.until_ns)
    subject = f"{fact.subject}:{fact.id}"
    return {"subject": subject, "reason": fact.reason, "by": fact.by, "until": until, "ramp": _ramp(fact)}


def _resumed(fact: Resumed, _: object) -> dict[str, Any]:
    return {"subject": f"{fact.subject}:{fact.id}", "by": fact.by, "ramp": _ramp(fact)}


def _ramp(fact: Paused | Resumed) -> str | None:
    return format_duration(fact.ramp_ns) if fact.ramp_ns else None


def _overridden(fact: Overridden, _: object) -> dict[str, Any]:
    return {
        "subject": f"{fact.subject}:{fact.id}",
        "reason": fact.reason,
        "by": fact.by,
        "until": format_instant(fact.until_ns),
        "caps": limits_of(fact.caps, fact.spends),
        "guards": "off" if fact.guards_off else "on",
    }


def _restored(fact: Restored, _: object) -> dict[str, Any]:
    return {"subject": f"{fact.subject}:{fact.id}", "by": fact.by}


def _certified(fact: Certified, _: object) -> dict[str, Any]:
    subject = f"endpoint:{fact.buyer_id}/{fact.endpoint}"
    return {"subject": subject, "passed": fact.passed, "failed": list(fact.failed), "by": fact.by}


def _terms(fact: TermsLoaded, _: object) -> dict[str, Any]:
    return {"terms_version": fact.terms_version, "by": fact.by}


def _alert(told: AlertTold, _: object) -> dict[str, Any]:
    return {"state": "raised" if told.raised else "cleared", **alert_json(told.alert, told.since_ns)}


def alert_json(alert: Alert, since_ns: int) -> dict[str, Any]:
    """The public shape of an alert."""
    return {
        "id": alert.id,
        "kind": alert.kind,
        "subject": alert.subject,
        "since": format_instant(since_ns),
        "message": alert.message,
        "mend": alert.mend,
    }


_NAMES: Final[dict[type, str]] = {
    Bidden: "bids",
    Decided: "decision",
    Settled: "outcome",
    GuardTripped: "guard",
    GuardProbing: "guard",
    GuardRecovered: "guard",
    Paused: "paused",
    Resumed: "resumed",
    Overridden: "overridden",
    Restored: "restored",
    Certified: "certified",
    TermsLoaded: "terms",
    AlertTold: "alert",
}
_DATA: Final[dict[type, Callable[[Any, Any], dict[str, Any]]]] = {
    Bidden: _bids,
    Decided: _decision,
    Settled: _outcome,
    GuardTripped: _tripped,
    GuardProbing: _probing,
    GuardRecovered: _recovered,
    Paused: _paused,
    Resumed: _resumed,
    Overridden: _overridden,
    Restored: _restored,
    Certified: _certified,
    TermsLoaded: _terms,
    AlertTold: _alert,
}
