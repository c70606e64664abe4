"""Days in virtual time from one seed: random buyers, terms, faults, arrivals, crashes. Safety, then liveness."""

import asyncio
import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from router.core.calendar import calendar_window
from router.core.live import identity_of
from router.core.state import State
from router.demo.farm import Received as Request
from router.demo.tempers import TEMPERS
from router.engine import Refused
from router.model.delivery import HttpRequest
from router.model.facts import Attempted, Decided, Ended, Entry, Received, Reserved, Settled
from router.model.times import NS_MS, NS_S
from router.terms.book import Book
from tests import factory
from tests.simulation.router_world import DOWN, Answer, RouterWorld
from tests.tempers.virtual import VirtualFarm

#: Tempers of the farm, by how often they are met; `down` is a buyer that nobody reaches. A 410 closes a contract.
MOODS = Counter(
    {temper: 1 for temper in TEMPERS if temper not in ("gone", "410")} | {"accept": 30, "reject": 15, "down": 3}
)
LEADS = 120


def believable_book(chance: random.Random) -> Book:
    """A handful of buyers whose terms collide often."""
    buyers = []
    for number in range(chance.randint(2, 5)):
        contracts = [
            factory.contract(
                f"b{number}-c{each}",
                price=chance.choice(["5.00", "10.00", "20.00"]),
                weight=chance.randint(1, 3),
                coverage={"everywhere": True} if chance.random() < 0.6 else {"postal_codes": ["787*"]},
                caps=[{"id": "daily", "per": "day", "limit": chance.randint(3, 15)}] if chance.random() < 0.6 else [],
                at_cap=chance.choice(["skip", "queue"]),
                dedup={"keys": [["phone"]], "window": "1h", "scope": "buyer"} if chance.random() < 0.4 else None,
            )
            for each in range(chance.randint(1, 2))
        ]
        for tree in contracts:
            if tree["dedup"] is None:
                del tree["dedup"]
            if chance.random() < 0.3:
                tree["rate"] = {"leads": chance.randint(2, 20), "per": "minute", "burst": chance.randint(1, 3)}
            if chance.random() < 0.3:
                tree["schedule"] = {"open": ["Mon-Sun 09:00-20:00"], "when_closed": chance.choice(["skip", "queue"])}
        doubts = chance.choice([{"idempotent": True}, {"idempotent": False}, {"in_doubt_resolves": "accepted"}])
        resolves = {"in_doubt_resolves": chance.choice(["accepted", "rejected"]), "in_doubt_after": "2h"}
        buyers.append(
            factory.buyer(f"b{number}", *contracts, endpoint=resolves | doubts, max_in_flight=chance.choice([1, 3, 64]))
        )
    mode = chance.choice(["exclusive", "shared", "best"])
    method = chance.choice(["price", "priority", "weighted", "round_robin"])
    kind = {
        "sell": {"mode": mode, "max_copies": 2, "parallel": chance.randint(1, 2)},
        "tiers": [{"name": "main", "method": method}],
        "queue": {"hold_max": "6h"},
        "dedup": {"keys": [["phone", "email"]], "window": "1h"},
    }
    return factory.book(*buyers, lead_type=kind, source={"payout": {"solar": "1.00"}})


async def days(world: RouterWorld, chance: random.Random) -> tuple[list[str], list[Entry]]:
    """Leads come over two days; the process crashes and the disk fills now and then. The leads taken, and all facts."""
    taken: list[str] = []
    for number in range(LEADS):
        await asyncio.sleep(chance.choice([0.05, 1, 30, 1500, 3600]))
        lead = factory.lead(
            f"lead-{number}",
            at_ns=world.clock.wall_ns(),
            phone=f"+1512555{chance.randint(100, 160):04d}",
            email=f"p{chance.randint(1, 40)}@example.com",
            postal_code=chance.choice(["78701", "10001"]),
        )
        try:
            await world.take(lead)
            taken.append(lead.lead_id)
        except Refused as refused:
            assert refused.status == 503  # noqa: PT017 - anything else would be a refusal for no reason
        fate = chance.random()
        if fate < 0.03:
            await world.restart()
        elif fate < 0.06:
            world.ledger.fill_disk()
            await asyncio.sleep(chance.choice([0.1, 3]))
            world.ledger.make_room()
    await asyncio.sleep(3 * 86_400)
    return taken, [entry async for part in world.ledger.facts_after(0) for _, entry in part]


@pytest.mark.parametrize("seed", range(12))
def test_days_of_trouble(seed: int) -> None:
    """Whatever happens: nothing is sold twice or over cap, nobody is asked behind a doubt, and every lead ends."""
    check_days(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(12, 400))
def test_many_days_of_trouble(seed: int) -> None:
    """The same, many more seeds."""
    check_days(seed)


def check_days(seed: int) -> None:
    """Play a seed and look at the facts."""
    chance = random.Random(seed)
    book = believable_book(chance)
    farm = VirtualFarm()
    outage = (begin_s := chance.randint(0, 40_000), begin_s + chance.randint(60, 20_000), chance.choice(list(MOODS)))
    moods = MOODS + Counter({"gone": chance.choice([0, 0, 0, 1])})

    def script(lane: str, request: HttpRequest, _number: int) -> tuple[float, Answer]:
        [mood] = chance.choices(list(moods), list(moods.values()))
        if outage[0] <= world.loop.time() < outage[1] and lane == "b0":
            mood = outage[2]
        more_s = chance.choice([0.01, 0.3, 2.0])
        if mood == "down":
            return more_s, DOWN
        seconds, answer = farm.meet(lane, mood, request)
        return min(seconds + more_s, request.timeout_ns / NS_S), answer

    world = RouterWorld(book, script)
    farm.loop = world.loop
    taken, entries = world.play(lambda w: days(w, chance))
    assert [entry.fact.lead_id for entry in entries if isinstance(entry.fact, Received)] == taken
    never_sold_twice(entries, book)
    never_over_cap(entries, book)
    never_while_another_could_have_it(entries, farm.received)
    never_billed_above_what_was_reserved(entries)
    ended = {entry.fact.lead_id: entry.fact.status for entry in entries if isinstance(entry.fact, Ended)}
    assert set(ended) == set(taken)
    unresolved = {buyer for buyer in book.buyers.values() if buyer.endpoints["crm"].in_doubt_resolves is None}
    assert unresolved or "in_doubt" not in ended.values()
    folded = State(identity_of(book))
    for entry in entries:
        folded.apply(entry)
    assert folded.dump() == world.engine.state.dump()


def never_sold_twice(entries: list[Any], book: Book) -> None:
    """At most `copies` accepted per lead, to distinct buyers; behind an open or doubtful one nothing exclusive."""
    most = book.lead_types["solar"].sell.max_copies
    reserved = {entry.fact.delivery_id: entry.fact for entry in entries if isinstance(entry.fact, Reserved)}
    accepted: dict[str, Counter[str]] = defaultdict(Counter)
    open_of: dict[str, set[str]] = defaultdict(set)
    modes: dict[str, str] = {}
    for entry in entries:
        fact = entry.fact
        if hasattr(fact, "mode"):
            modes[fact.lead_id] = fact.mode
        if isinstance(fact, Reserved):
            if modes[fact.lead_id] == "exclusive":
                assert not open_of[fact.lead_id], f"{fact.lead_id} offered behind a delivery that may be taken"
                assert not accepted[fact.lead_id], f"{fact.lead_id} offered after it was sold"
            open_of[fact.lead_id].add(fact.delivery_id)
        if isinstance(fact, Settled):
            lead_id = reserved[fact.delivery_id].lead_id
            if fact.outcome != "in_doubt":
                open_of[lead_id].discard(fact.delivery_id)
            if fact.outcome == "accepted":
                accepted[lead_id][reserved[fact.delivery_id].buyer_id] += 1
    for lead_id, buyers in accepted.items():
        assert all(count == 1 for count in buyers.values())
        assert len(buyers) <= (1 if modes[lead_id] == "exclusive" else most)


def never_while_another_could_have_it(entries: list[Entry], received: list[Request]) -> None:
    """Seen from the farm: an exclusive lead came to a second buyer only after the first said no, or by somebody's word.

    The word is that of the terms here: `in_doubt_resolves`.
    """
    reserved = {entry.fact.delivery_id: entry.fact for entry in entries if isinstance(entry.fact, Reserved)}
    shared = {
        entry.fact.lead_id for entry in entries if isinstance(entry.fact, Decided) and entry.fact.mode == "shared"
    }
    over = {
        entry.fact.delivery_id: (entry.at_ns - factory.NOON) // NS_MS
        for entry in entries
        if isinstance(entry.fact, Settled) and entry.fact.by == "terms"
    }
    last: dict[str, dict[str, Request]] = defaultdict(dict)
    for one in received:
        lead_id = reserved[one.delivery_id].lead_id
        for before in last[lead_id].values() if lead_id not in shared else ():
            another = before.delivery_id != one.delivery_id
            assert not another or not before.could_have or over.get(before.delivery_id, one.at_ms + 1) <= one.at_ms
        last[lead_id][one.delivery_id] = one


def never_billed_above_what_was_reserved(entries: list[Entry]) -> None:
    """Whatever price a buyer names."""
    reserved = {entry.fact.delivery_id: entry.fact for entry in entries if isinstance(entry.fact, Reserved)}
    for entry in entries:
        if isinstance(entry.fact, Settled) and entry.fact.price is not None:
            assert entry.fact.price <= reserved[entry.fact.delivery_id].price


def never_over_cap(entries: list[Any], book: Book) -> None:
    """Whatever is confirmed or held at any time stays within every day cap, and `max_in_flight` too."""
    held: dict[str, tuple[str, str]] = {}
    flying: dict[str, str] = {}
    standing: dict[tuple[str, str], int] = defaultdict(int)
    slots: dict[str, int] = defaultdict(int)
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, Reserved):
            plan = book.contracts[fact.contract_id]
            window = calendar_window("day", entry.at_ns, plan.zone).key
            held[fact.delivery_id] = (fact.contract_id, window)
            flying[fact.delivery_id] = fact.buyer_id
            standing[fact.contract_id, window] += 1
            slots[fact.buyer_id] += 1
            limit = min((cap.limit for cap in plan.caps if cap.limit is not None), default=LEADS)
            assert standing[fact.contract_id, window] <= limit
            assert slots[fact.buyer_id] <= plan.buyer.max_in_flight
        if isinstance(fact, Settled) and fact.delivery_id in flying:
            slots[flying.pop(fact.delivery_id)] -= 1
        if isinstance(fact, Settled) and fact.outcome != "in_doubt":
            contract_id, window = held.pop(fact.delivery_id)
            if fact.outcome != "accepted":
                standing[contract_id, window] -= 1
        if isinstance(fact, Attempted):
            assert fact.sent_at_ns <= entry.at_ns + NS_S
