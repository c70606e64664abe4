"""The feed of events: what is durable is told, in order, and nobody waits for a listener."""

import asyncio

import orjson

from router.alerts import Alert
from router.core.state import Held
from router.engine.feed import LISTENERS_MAX, QUEUED_EVENTS_MAX, AlertTold, Feed, Listener, as_json, name_of
from router.model.facts import Decided, Ended, Paused, Queued, Reserved, Settled
from tests.factory import NOON, entry

ALERT = Alert(kind="silent_failures", subject="contract:c", message="m", mend="d")


def reserved(delivery_id: str = "d") -> Reserved:
    """A reservation."""
    return Reserved(
        delivery_id=delivery_id,
        lead_id="l",
        contract_id="c",
        buyer_id="b",
        lead_type="solar",
        terms_version="v",
        rank=0,
        price=1000,
        day="2026-11-24",
        steady_ns=0,
    )


async def came(listener: Listener) -> list[tuple[str, dict[str, object]]]:
    """What waits for a listener, by name and data."""
    return [(name_of(event), as_json(event)) for event in await listener.wait(0.01)]


async def test_a_decision_and_its_outcome() -> None:
    """Winners stand with the decision, lead and buyer with the outcome; masks are counted; nothing else is told."""
    feed = Feed(NOON)
    listener = feed.listen()
    assert listener is not None
    feed.take(
        [
            entry(Decided(lead_id="l", terms_version="v", ranking=("c", "e"), blocked={"cap_reached": b"\xff"})),
            entry(reserved()),
            entry(Queued(lead_id="other")),
        ]
    )
    feed.take([entry(Settled(delivery_id="d", outcome="accepted", price=1000, reason="Ana")), entry(ended())])
    decision, outcome = await came(listener)
    assert decision == (
        "decision",
        {
            "at": "2026-11-24T17:00:00.000Z",
            "lead_id": "l",
            "winners": ["c"],
            "eligible": 2,
            "refused": {"cap_reached": 8},
            "mode": "exclusive",
            "by": None,
            "terms_version": "v",
        },
    )
    assert outcome[0] == "outcome"
    assert outcome[1] | {"lead_id": "l", "contract_id": "c", "buyer_id": "b", "price": "10.00"} == outcome[1]
    assert b"Ana" not in orjson.dumps(outcome[1])


def ended() -> Ended:
    """The end of the lead."""
    return Ended(lead_id="l", status="sold")


async def test_deliveries_of_an_earlier_life_are_known() -> None:
    """A doubt from before the start is told with its lead when it is resolved."""
    feed = Feed(NOON)
    feed.know({"old": Held("l0", "c", "b", NOON, NOON, 1000, "2026-11-24", 0, test=False)})
    listener = feed.listen()
    assert listener is not None
    feed.take([entry(Settled(delivery_id="old", outcome="rejected", by="operator:ann"))])
    ((_, outcome),) = await came(listener)
    assert outcome["lead_id"] == "l0"


async def test_news_is_what_is_no_lead_s_affair() -> None:
    """A pause makes the watch look at once; a decision does not."""
    feed, news = Feed(NOON), asyncio.Event()
    feed.on_news = news.set
    feed.take([entry(Decided(lead_id="l", terms_version="v"))])
    assert not news.is_set()
    feed.take([entry(Paused(subject="contract", id="c", reason="r", by="operator:ann"))])
    assert news.is_set()


async def test_a_listener_that_does_not_keep_up_is_dropped() -> None:
    """It gets what waited, is told why nothing comes any more, and the others go on."""
    feed = Feed(NOON)
    slow, quick = feed.listen(), feed.listen()
    assert slow is not None
    assert quick is not None
    for _ in range(QUEUED_EVENTS_MAX):
        feed.alert(AlertTold(ALERT, True, NOON), NOON)
    assert len(await quick.wait(1)) == QUEUED_EVENTS_MAX
    feed.alert(AlertTold(ALERT, False, NOON), NOON)
    assert "too slow" in slow.over
    assert len(await slow.wait(1)) == QUEUED_EVENTS_MAX
    ((name, data),) = await came(quick)
    assert (name, data["state"], data["mend"]) == ("alert", "cleared", "d")


async def test_going_on_after_the_last_event_seen() -> None:
    """An id of ours gives what came after it; one of another process gives what there is."""
    feed = Feed(NOON)
    first = feed.listen()
    assert first is not None
    for _ in range(3):
        feed.alert(AlertTold(ALERT, True, NOON), NOON)
    ids = [feed.id_of(event) for event in await first.wait(1)]
    for after, count in ((ids[0], 2), (ids[2], 0), ("123-1", 3), ("junk", 3)):
        again = feed.listen(after)
        assert again is not None
        assert len(await again.wait(0.001)) == count


async def test_listeners_are_bounded_and_end_with_the_router() -> None:
    """One too many is refused; all hear that it stops, those who come later too."""
    feed = Feed(NOON)
    listeners = [feed.listen() for _ in range(LISTENERS_MAX)]
    assert feed.listen() is None
    assert listeners[0] is not None
    feed.leave(listeners[0])
    feed.close()
    late = feed.listen()
    assert late is not None
    assert {one.over for one in (*listeners[1:], late) if one is not None} == {"the router is stopping"}
    assert await late.wait(60) == []
