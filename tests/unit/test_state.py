"""The fold, where random worlds are too short to reach."""

from router.core.consumers import Identity
from router.core.live import identity_of
from router.core.state import FOLD_VERSION, State
from router.model.facts import Received, Reserved, Settled
from router.model.times import NS_DAY, NS_S
from tests import factory
from tests.factory import NOON
from tests.property.worlds import World
from tests.simulation.router_world import ACCEPTED, RouterWorld, answer


def sold(state: State, number: int, outcome: str, at_ns: int = NOON) -> None:
    """One delivery of contract `c`, reserved and settled."""
    reserved = Reserved(
        delivery_id=f"d{number}",
        lead_id=f"l{number}",
        contract_id="c",
        buyer_id="b",
        lead_type="solar",
        terms_version="v",
        rank=0,
        price=1000,
        day="2026-11-24",
        steady_ns=at_ns,
    )
    state.apply(factory.entry(reserved, at_ns))
    state.apply(factory.entry(Settled(delivery_id=f"d{number}", outcome=outcome), at_ns))  # type: ignore[arg-type]


def test_a_snapshot_holds_more_answers_than_fit_a_machine_word() -> None:
    """A hundred and fifty answers later the last hundred are remembered, and the image loads to the same state."""
    world = World(factory.book(factory.buyer("b", factory.contract("c"))))
    for number in range(150):
        sold(world.state, number, "accepted" if number % 4 else "rejected")
    assert world.state.acceptance("c") == 0.75
    again = State.load(world.state.dump())
    assert again.dump() == world.state.dump()
    assert len(again.answers["c"].recent) == 100


def test_acceptance_is_one_until_twenty_answers() -> None:
    """A new contract is not judged by its first few refusals."""
    world = World(factory.book(factory.buyer("b", factory.contract("c"))))
    for number in range(19):
        sold(world.state, number, "rejected")
    assert world.state.acceptance("c") == 1
    sold(world.state, 19, "rejected")
    assert world.state.acceptance("c") == 0


def test_what_no_window_can_reach_is_forgotten_but_totals_stay() -> None:
    """Two years of one sale a day: the entries kept are bounded, the total counts all, the last sale is known."""
    world = World(factory.book(factory.buyer("b", factory.contract("c"))))
    for number in range(730):
        sold(world.state, number, "accepted", NOON + number * NS_DAY)
    usage = world.state.usage["contract:c"]
    assert usage.leads_total == 730
    assert usage.spend_total == 730_000
    assert len(usage.at) <= 33 + 256
    assert usage.last_at() == NOON + 729 * NS_DAY


def test_dedup_forgets_after_its_window() -> None:
    """What no dedup window reaches any more is not remembered."""
    dedup = {"keys": [["phone"]], "window": "1h"}
    world = World(factory.book(factory.buyer("b", factory.contract("c", dedup=dedup))))
    for number in range(5):
        at_ns = NOON + number * 3000 * NS_S
        lead = factory.lead(f"l{number}", at_ns=at_ns, phone=f"+1512555014{number}")
        received = Received(lead_id=lead.lead_id, source_id="web", lead_type="solar")
        world.state.apply(factory.entry(received, at_ns, lead))
    assert list(world.state.consumers.seen) == ["l3", "l4"]
    assert len(world.state.consumers.taken["solar"]) == 2


def test_a_doubt_holds_caps_but_no_connection() -> None:
    """`max_in_flight` bounds what is being sent: a buyer with open doubts still gets leads, as its caps allow."""
    caps = [{"id": "daily", "per": "day", "limit": 2}]
    world = World(factory.book(factory.buyer("b", factory.contract("c", caps=caps), max_in_flight=1)))
    sold(world.state, 1, "in_doubt")
    assert (world.state.in_flight["b"], world.state.usage["contract:c"].leads_total) == (0, 1)
    sold(world.state, 2, "in_doubt")
    again = State.load(world.state.dump())
    for number, outcome in ((1, "rejected"), (2, "accepted")):
        again.apply(factory.entry(Settled(delivery_id=f"d{number}", outcome=outcome)))  # type: ignore[arg-type]
    assert (again.in_flight["b"], again.usage["contract:c"].leads_total) == (0, 1)


def test_a_buyer_with_an_open_doubt_gets_the_next_lead() -> None:
    """A doubt may stay open for hours: it is not what a lead waits for with the buyer's other deliveries."""
    odd = answer(body=b"who are you?")
    book = factory.book(factory.buyer("b", factory.contract("c"), endpoint={"idempotent": False}, max_in_flight=1))
    world = RouterWorld(book, lambda _lane, _request, number: (0.2, ACCEPTED if number else odd))

    async def story(w: RouterWorld) -> list[str]:
        return [(await w.sell(factory.lead(f"l{n}", phone=f"+1512555014{n}"))).status for n in range(2)]

    assert world.play(story) == ["in_doubt", "sold"]


def test_a_snapshot_of_another_fold_is_not_trusted() -> None:
    """What an older version of the fold wrote compares unequal, so a start folds all facts anew."""
    identity = identity_of(factory.book(factory.buyer("b", factory.contract("c"))))
    assert identity.fold == FOLD_VERSION
    older = State.load(State(Identity(identity.keys, identity.keep_ns)).dump())
    assert older.identity != identity
