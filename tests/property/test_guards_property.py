"""Guards over random terms, leads, outcomes and clocks: the fast way says what the slow way says, at every step."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from router.core.decide import decided_fact, named, recheck, reserve
from router.core.explain import explain
from router.core.guards import all_guards, is_probed_out, stage
from router.core.masks import bits
from router.core.rules.standing import clock_of, standing
from router.model.facts import Attempted, Ended, GuardProbing, GuardTripped, Received, Reserved, Settled
from router.model.times import NS_HOUR, NS_MINUTE, NS_S
from router.terms.book import Book, GuardPlan
from tests import factory
from tests.examples import examples
from tests.guarded import GuardedWorld
from tests.property.dice import Dice
from tests.property.worlds import contract, folded, leads

pytestmark = pytest.mark.usefixtures("few_codes")

STEPS = [NS_S, 20 * NS_S, NS_MINUTE, 6 * NS_MINUTE, NS_HOUR]


def guards(dice: Dice) -> list[dict[str, Any]]:
    """One or two guards that trip on a handful of outcomes."""
    found = []
    for over in ["1h", 4][: dice.of(1, 2)]:
        metric = dice.of("acceptance_rate", "error_rate", "timeout_rate", "late_rate", "latency_p95")
        action = dice.of("pause", "throttle", "throttle", "warn")
        found.append(
            {
                "metric": metric,
                "over": over,
                "min_sample": dice.of(1, 2, 3),
                "trip": "200ms" if metric == "latency_p95" else 0.4,
                "action": action,
                "cool_down": dice.of("20s", "5m"),
                "probes": dice.of(1, 2, 3),
                **({"throttle_to": dice.of(0.25, 0.4, 0.5)} if action == "throttle" else {}),
            }
        )
    return found


@st.composite
def guarded_books(draw: Any) -> Book:
    """A few buyers whose contracts are guarded, beside whatever else their terms say."""
    dice = Dice(draw)
    mode = dice.of("exclusive", "shared", "best")
    trees = []
    for number in range(dice.of(1, 2, 3)):
        tree = contract(dice, f"c{number}", ["main"], stateless=dice.of(True, True, False))
        tree |= {"status": "live", "coverage": {"everywhere": True}, "criteria": [], "sources": ["*"]}
        tree.pop("fields", None)
        tree.pop("consent", None)
        if not dice.one_in(4):
            tree["sla"] = {"deliver_within": "30s", "guards": guards(dice)}
        trees.append(factory.buyer(f"b{number}", tree, endpoint={"idempotent": dice.of(False, True)}))
    kind = {"tiers": [{"name": "main"}], "sell": {"mode": mode, "max_copies": 2, "parallel": 1}}
    return factory.book(*trees, lead_type=kind)


class GuardsMachine(RuleBasedStateMachine):
    """Leads, outcomes of every kind, time, clock steps, restarts and edits; guards trip, probe and recover by it."""

    @initialize(book=guarded_books())
    def begin(self, book: Book) -> None:
        """Start with random terms and nothing sold."""
        self.world = GuardedWorld(book)
        self.number = 0
        self.never_left: set[str] = set()

    @rule(data=st.data())
    def a_lead_comes(self, data: st.DataObject) -> None:
        """Decided as the slow way decides; every throttle that counts it is named, and says which lead it is."""
        world = self.world
        self.number += 1
        lead = data.draw(leads(self.number, world.now_ns))
        world.note(
            Received(
                lead_id=lead.lead_id, source_id="web", lead_type="solar", test=lead.test, steady_ns=world.steady_ns
            ),
            lead,
        )
        for choice in (choices := world.ask(lead)):
            slow = explain(
                choice.board, world.state, lead, world.moment(), released_at_ns=lead.received_at_ns, choice=choice
            )
            assert {choice.board.ids[rank] for rank in bits(choice.eligible)} == set(slow.ranking)
            said = {(one.contract_id, one.code): (one.expected, one.actual) for one in reversed(slow.refusals)}
            for code, mask in choice.blocked.items():
                for rank in bits(mask):
                    contract_id = choice.board.ids[rank]
                    assert (contract_id, code) in said or code == "below_margin"
                    if code == "guard_throttled":
                        told = said[contract_id, code]
                        counted = contract_id in choice.throttled
                        assert choice.details[contract_id] == told if counted else "probes sent" in told[1]
        choice = max(choices, key=lambda one: one.expected(world.state))
        standings = world.live.standings(lead, choice.board.mode)
        assert standings is not None
        fact = decided_fact(choice, standings, lead)
        before = self.turns()
        world.note(fact)
        counted = {(id_, key): turns for (id_, key), turns in self.turns().items() if id_ in fact.throttled}
        assert all(turns == before[name] + 1 for name, turns in counted.items())
        for place, rank in enumerate(choice.winners[:1]):
            self.send(choice.board, rank, lead, place)

    def send(self, board: Any, rank: int, lead: Any, place: int) -> None:
        """Reserve for a contract."""
        world = self.world
        world.count += 1
        name = f"d{world.count}"
        world.note(reserve(board, rank, world.state, lead, world.moment(), delivery_id=name, place=place))
        world.flying.append(name)

    def turns(self) -> dict[tuple[str, str], int]:
        """What every throttle has counted."""
        return {
            (contract_id, key): phase.turns
            for contract_id, phases in self.world.state.guards.items()
            for key, phase in phases.items()
            if phase.state == "tripped" and phase.action == "throttle"
        }

    @rule(which=st.integers(0, 2), count=st.integers(1, 4), good=st.booleans())
    def a_run_of_outcomes(self, which: int, count: int, good: bool) -> None:
        """Deliveries to one contract that all end well, or badly in every respect; each only if rules let it leave."""
        world = self.world
        plan = world.book.by_type["solar"][which % len(world.book.by_type["solar"])]
        standings = world.live.holding(plan)[0]
        rank = standings.board.rank_of[plan.id]
        for _ in range(count):
            world.wait(NS_S)
            if standings.blocking(1 << rank, world.state, world.moment()):
                return
            self.send(standings.board, rank, factory.lead(f"run-{world.count}"), 0)
            name = world.flying.pop()
            world.answer(name, "accepted" if good else "rejected", took_ms=10 if good else 500, late=not good)

    @precondition(lambda self: self.world.flying)
    @rule(
        which=st.integers(0, 100),
        outcome=st.sampled_from(["accepted", "rejected", "failed", "in_doubt"]),
        took_ms=st.sampled_from([10.0, 500.0]),
        late=st.booleans(),
        unhealthy=st.booleans(),
        timed_out=st.booleans(),
    )
    def a_delivery_settles(
        self, which: int, outcome: Any, took_ms: float, late: bool, unhealthy: bool, timed_out: bool
    ) -> None:
        """An outcome is noted with what the guards make of it; then the next in rank, if rules still let it."""
        world = self.world
        delivery_id = world.flying[which % len(world.flying)]
        held = world.state.held[delivery_id]
        if held.status == "in_doubt":
            if outcome in ("accepted", "rejected"):
                world.note(
                    Settled(delivery_id=delivery_id, outcome=outcome, by="operator:t", steady_ns=world.steady_ns)
                )
                world.flying.remove(delivery_id)
            return
        rule_ = "transport:read_timeout" if timed_out and outcome == "in_doubt" else "t"
        world.note(
            Attempted(
                delivery_id=delivery_id, n=1, sent_at_ns=0, took_ms=took_ms, request_sha256="", outcome=outcome,
                rule=rule_, late=late, unhealthy=unhealthy, steady_ns=world.steady_ns,
            )
        )  # fmt: skip
        world.note(Settled(delivery_id=delivery_id, outcome=outcome))
        if outcome != "in_doubt":
            world.flying.remove(delivery_id)
            self.go_on(held.lead_id)

    def go_on(self, lead_id: str) -> None:
        """The first in the ranking who may still have the lead gets it, or the lead ends."""
        world = self.world
        lead = world.state.open[lead_id]
        standings = world.live.standings(lead.lead, lead.mode)
        for place, name in enumerate(named(standings.board, lead.ranking) if standings is not None else ()):
            plan = world.book.contracts.get(name)
            if standings is None or plan is None or plan.buyer_id in lead.buyers:
                continue
            rank = recheck(
                standings.board, standings, world.state, lead.lead, world.moment(), contract_id=name,
                released_at_ns=clock_of(world.moment(), lead.released_steady_ns), throttled=lead.throttled,
            )  # fmt: skip
            if rank is not None:
                self.send(standings.board, rank, lead.lead, place)
                return
        world.note(Ended(lead_id=lead_id, status="unsold"))

    @rule(step=st.sampled_from(STEPS))
    def time_passes(self, step: int) -> None:
        """On both clocks."""
        self.world.wait(step)

    @rule(step=st.sampled_from([NS_HOUR, -NS_HOUR, -20 * NS_S]))
    def the_wall_clock_steps(self, step: int) -> None:
        """Somebody sets it."""
        self.world.now_ns += step

    @precondition(lambda self: self.world.under_way())
    @rule(which=st.integers(0, 100), sent=st.booleans(), again=st.booleans())
    def an_attempt_fails(self, which: int, sent: bool, again: bool) -> None:
        """The delivery waits to be tried once more, and perhaps is."""
        self.world.fail_one(which, sent=sent, again=again)

    @rule(snapshot=st.integers(0, 100))
    def the_process_dies_and_starts(self, snapshot: int) -> None:
        """State is that of a snapshot and of the facts after it; a probe that never left is none."""
        world = self.world
        world.restart(len(world.entries) * snapshot // 100)
        for delivery_id, held, outcome in world.interrupted():
            if outcome == "failed":
                self.never_left.add(delivery_id)
                self.go_on(held.lead_id)

    @invariant()
    def remembered_standings_are_true(self) -> None:
        """What the boards remember equals asking every contract now."""
        world = getattr(self, "world", None)
        for standings in world.live.all() if world is not None else ():
            board = standings.board
            blocked = standings.blocking(board.all, world.state, world.moment())
            for rank, plan in enumerate(board.plans):
                now = next(standing(plan, world.state, world.moment(), board.prices[rank]), None)
                found = standings.finding(rank) if blocked >> rank & 1 else None
                assert (now and now.code) == (found and found.code), (plan.id, now, found)

    @invariant()
    def probes_are_counted(self) -> None:
        """Never more than the guard's number are sent, and one that paused lets nobody else through meanwhile."""
        world = getattr(self, "world", None)
        for plan in world.book.contracts.values() if world is not None else ():
            phases = world.state.guards.get(plan.id, {})
            refused = {finding.code for finding in standing(plan, world.state, world.moment(), plan.price)}
            for guard in all_guards(plan):
                phase = phases.get(guard.key)
                if phase is None:
                    continue
                assert len(phase.probes) == (self.sent_since_probing(plan.id, guard) if phase.state == "probing" else 0)
                assert not phase.answered
                shut = stage(guard, phase, world.steady_ns) == "tripped" or is_probed_out(phase)
                if shut and guard.action == "pause":
                    assert refused & {"guard_paused", "endpoint_unhealthy"}

    def sent_since_probing(self, contract_id: str, guard: GuardPlan) -> int:
        """How many leads went to a contract since a guard of it let probes pass, as far as they were wanted then."""
        probes: set[str] = set()
        for fact in (entry.fact for entry in self.world.entries):
            if isinstance(fact, GuardProbing) and (fact.contract_id, fact.guard) == (contract_id, guard.key):
                probes.clear()
            elif isinstance(fact, Reserved) and fact.contract_id == contract_id and not fact.test:
                if len(probes) < guard.probes:  # a guard that only warns lets others pass too
                    probes.add(fact.delivery_id)
            elif isinstance(fact, Settled) and fact.delivery_id in self.never_left:
                probes.discard(fact.delivery_id)
        return len(probes)

    @invariant()
    def trips_name_who_caused_them(self) -> None:
        """Every trip on a sample names at least one delivery, each of this contract."""
        world = getattr(self, "world", None)
        if world is None:
            return
        sent = {entry.fact.delivery_id for entry in world.entries if hasattr(entry.fact, "rank")}
        for move in world.moves():
            if isinstance(move, GuardTripped):
                assert move.causes, move
                assert set(move.causes) <= sent

    @invariant()
    def the_fold_is_the_same_at_every_prefix(self) -> None:
        """Folding a snapshot and the facts after it equals folding all facts: a snapshot after every step."""
        world = getattr(self, "world", None)
        if world is not None:
            world.follow()

    def teardown(self) -> None:
        """Folding all facts from nothing comes to the same."""
        world = getattr(self, "world", None)
        if world is not None:
            assert folded(world.state.identity, world.entries).dump() == world.state.dump()


@pytest.mark.hypothesis
def test_guards() -> None:
    """Whatever happens in whatever order, the promises of the machine hold."""
    run_state_machine_as_test(GuardsMachine, settings=settings(examples(15), stateful_step_count=30))
