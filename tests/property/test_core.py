"""The core's promises over random terms, leads and events."""

from typing import Any
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from router.core import areas
from router.core.bidding import Bids
from router.core.calendar import local
from router.core.consumers import marks_of
from router.core.decide import Choice
from router.core.explain import every_refusal, explain, static_refusals
from router.core.index import Board
from router.core.live import Live, identity_of
from router.core.masks import bits
from router.core.rules.standing import balance, cap_used, cap_window, standing
from router.core.rules.static import covers
from router.core.suppression import contact_mark
from router.core.usage import Usage
from router.model.codes import RULES, Outcome
from router.model.facts import Deposited, Overridden, Paused, Restored, Resumed, Suppressed
from router.model.lead import Contact, Lead
from router.terms.book import Book
from router.terms.revive import revive, written
from tests.examples import examples
from tests.property.worlds import (
    BIDS,
    RARE,
    SET,
    STARTS,
    STEPS,
    World,
    books,
    coverage,
    covering_otherwise,
    folded,
    leads,
)

pytestmark = pytest.mark.usefixtures("few_codes")

#: Codes of the rules that look at a contract and its use alone.
STANDING = {code for rule in ("lifecycle", "schedule", "wallet", "capacity") for code in RULES[rule]}


@examples(150)
@given(books(stateless=True), st.lists(leads(), min_size=1, max_size=4))
def test_masks_equal_the_naive_scan(book: Book, some: list[Lead]) -> None:
    """For every lead the masks let exactly those contracts through that no static rule refuses."""
    live = Live(book)
    for lead in some:
        for board in (standings.board for standings in live.modes(lead)):
            covering = board.covering(lead)
            assert {board.plans[rank].id for rank in bits(covering)} == {
                plan.id for plan in book.by_type["solar"] if covers(plan, lead)
            }
            assert {board.plans[rank].id for rank in bits(board.passing(lead, covering))} == {
                plan.id for plan in book.by_type["solar"] if not static_refusals(book, plan, lead, board.mode)
            }


@examples(60)
@given(books(), st.randoms(use_true_random=False), leads())
def test_decisions_do_not_depend_on_load_order(book: Book, random: Any, lead: Lead) -> None:
    """Buyers and contracts read in another order give the same boards, and the stored terms revive to the same Book."""
    revived = revive(book.version, dict(written(book)).__getitem__)
    assert revived.version == book.version
    shuffled = list(book.contracts.values())
    random.shuffle(shuffled)
    plans = {plan.id: plan for plan in shuffled}
    other = Board(replace(book, contracts=plans, by_type={"solar": tuple(shuffled)}), "solar", "exclusive")
    board = Board(revived, "solar", "exclusive")
    assert [plan.id for plan in other.plans] == [plan.id for plan in board.plans]
    assert other.passing(lead, other.covering(lead)) == board.passing(lead, board.covering(lead))


OUTCOMES: list[Outcome] = ["accepted", "rejected", "duplicate", "failed", "in_doubt"]
WHOLE_MAX = areas.WHOLE_MAX


class RoutingMachine(RuleBasedStateMachine):
    """Leads, outcomes, clock steps, pauses, edits and crashes in any order; after each the core's promises hold."""

    @initialize(data=st.data(), start=st.sampled_from(STARTS))
    def begin(self, data: st.DataObject, start: tuple[int, tuple[str, ...]]) -> None:
        """Start with random terms and nothing sold, a while before something happens to the clocks."""
        self.start_ns, self.zones = start
        areas.WHOLE_MAX = data.draw(st.sampled_from([WHOLE_MAX, 0]), label="contracts on one board")
        self.world = World(data.draw(self.books()), self.start_ns)
        self.number = 0
        self.edited = False

    def books(self) -> st.SearchStrategy[Book]:
        """Terms that fit the day and the zones."""
        return books(today=local(self.start_ns, ZoneInfo(self.zones[0])).date(), zones=self.zones)

    @rule(data=st.data(), count=st.integers(1, 4), outcome=st.sampled_from([None, None, *OUTCOMES]))
    def leads_come(self, data: st.DataObject, count: int, outcome: Outcome | None) -> None:
        """One after the other; what they are sent as ends so at once, or is still under way when more happens."""
        for _ in range(count):
            before = self.world.count
            self.a_lead_comes(data)
            while outcome is not None and f"d{before + 1}" in self.world.flying:
                before += 1
                self.world.settle(f"d{before}", outcome)

    def a_lead_comes(self, data: st.DataObject) -> None:
        """It is decided as the slow way decides, and every covering contract is accounted for once."""
        world = self.world
        self.number += 1
        lead = data.draw(leads(self.number, world.now_ns))
        asked = self.as_explained(lead, None)
        world.take(lead)
        bids = world.take_bids(lead, {name: data.draw(BIDS) for name in asked}) if asked and not lead.test else None
        if bids is not None:
            self.as_explained(lead, bids)
        mode, ranking, winners = world.reference.decide(lead, lead.received_at_ns)
        choice = world.sell(lead, bids)
        words = world.words.get(world.decided.board, {})
        for code in choice.blocked.keys() & STANDING:
            for rank in bits(choice.blocked[code]):
                name = choice.board.ids[rank]
                if choice.bids is None or name not in choice.bids.by_contract:
                    assert words[name] == world.found[name][:3]
        assert mode == choice.board.mode
        assert ranking == list(world.rankings[lead.lead_id])
        assert winners == [choice.board.ids[rank] for rank in choice.winners]

    def as_explained(self, lead: Lead, bids: Bids | None) -> list[str]:
        """Fast is slow, with bids and without; says who is to be asked for one."""
        world = self.world
        choices = world.ask(lead, bids)
        for choice in choices:
            board = choice.board
            slow = explain(board, world.state, lead, world.moment(), released_at_ns=lead.received_at_ns, choice=choice)
            eligible = {board.plans[rank].id for rank in bits(choice.eligible)}
            refused = {one.contract_id for one in slow.refusals}
            assert eligible == set(slow.ranking)
            assert not eligible & refused
            assert eligible | refused == {plan.id for plan in world.book.by_type["solar"]}
            assert slow.ranking[: len(choice.ranked)] == tuple(board.plans[rank].id for rank in choice.ranked)
            assert len({board.plans[rank].buyer_id for rank in choice.winners}) == len(choice.winners)
            marks = marks_of(lead, world.state.identity.keys)
            for code, mask in choice.blocked.items():
                for rank in bits(mask):
                    found = every_refusal(
                        world.book, board.plans[rank], lead, world.state, world.moment(), mode=board.mode,
                        released_at_ns=lead.received_at_ns, marks=marks, bids=choice.bids,
                    )  # fmt: skip
                    if code != "below_margin":
                        assert code == found[0].code
                    if board.ids[rank] in choice.details:
                        assert (code, *choice.details[board.ids[rank]]) in {one[:3] for one in found}
            self.reference_agrees(choice, lead)
        without = [(choice.board, choice.blocked.get("no_bid", 0)) for choice in choices]
        return list(dict.fromkeys(board.ids[rank] for board, mask in without for rank in bits(mask)))

    def reference_agrees(self, choice: Choice, lead: Lead) -> None:
        """Every contract is refused by the codes SPEC says, in that order, or by none."""
        world, board = self.world, choice.board
        marks = marks_of(lead, world.state.identity.keys)
        for plan in world.book.by_type["solar"]:
            if plan.id not in board.rank_of:
                wanted = world.reference.refusals(plan.buyer, plan.terms, lead, board.mode, lead.received_at_ns)
                assert "out_of_coverage" in wanted
                continue
            found = every_refusal(
                world.book, plan, lead, world.state, world.moment(), mode=board.mode,
                released_at_ns=lead.received_at_ns, marks=marks, bids=choice.bids,
            )  # fmt: skip
            codes = list(dict.fromkeys(one.code for one in found))
            wanted = world.reference.refusals(plan.buyer, plan.terms, lead, board.mode, lead.received_at_ns)
            assert codes == wanted, (plan.id, codes, wanted)

    @precondition(lambda self: self.world.flying)
    @rule(
        which=st.integers(0, 100),
        outcome=st.sampled_from(OUTCOMES),
        cheaper=st.booleans(),
        sent=st.booleans(),
    )
    def a_delivery_settles(self, which: int, outcome: Any, cheaper: bool, sent: bool) -> None:
        """Its reservation is confirmed, released once, or held; the next in rank is judged again."""
        world = self.world
        delivery_id = world.flying[which % len(world.flying)]
        if world.state.held[delivery_id].status == "in_doubt":
            outcome = "accepted" if outcome == "accepted" else "rejected"
        world.settle(delivery_id, outcome, cheaper=cheaper, sent=sent or outcome != "failed")

    @rule(step=st.sampled_from(STEPS))
    def time_passes(self, step: int) -> None:
        """Both clocks go on."""
        self.world.now_ns += step
        self.world.steady_ns += step

    @rule(step=st.sampled_from(SET), back=st.booleans())
    def somebody_sets_the_clock(self, step: int, back: bool) -> None:
        """The wall clock alone steps, ahead or back, by as much as a year; or back to the truth."""
        self.world.now_ns += -step if back else step

    @rule()
    def the_clock_is_put_right(self) -> None:
        """The wall clock says again what it would if nobody had set it."""
        self.world.now_ns = self.world.steady_ns

    @rule(which=st.integers(0, 100), pause=st.booleans(), buyer=st.booleans(), until=st.booleans())
    def somebody_pauses_or_resumes(self, which: int, pause: bool, buyer: bool, until: bool) -> None:
        """A contract or a buyer, with or without an end."""
        world = self.world
        plans = list(world.book.contracts.values())
        plan = plans[which % len(plans)]
        subject: Any = "buyer" if buyer else "contract"
        name = plan.buyer_id if buyer else plan.id
        if pause:
            end = world.now_ns + STEPS[3] if until else None
            world.note(Paused(subject=subject, id=name, reason="test", by="operator:test", until_ns=end))
        else:
            world.note(Resumed(subject=subject, id=name, by="operator:test"))

    @rule(which=st.integers(0, 100), buyer=st.booleans(), limit=st.sampled_from([None, 0, 1, 3, 4000]))
    def somebody_sets_limits_for_a_while(self, which: int, buyer: bool, limit: int | None) -> None:
        """All caps of a contract or a buyer, higher or lower; or takes that back."""
        world = self.world
        plans = list(world.book.contracts.values())
        plan = plans[which % len(plans)]
        subject: Any = "buyer" if buyer else "contract"
        name = plan.buyer_id if buyer else plan.id
        if limit is None:
            world.note(Restored(subject=subject, id=name, by="operator:test"))
            return
        self.edited = True
        own = [cap for cap in plan.caps if cap.owner == f"{subject}:{name}"]
        world.note(
            Overridden(
                subject=subject,
                id=name,
                reason="test",
                by="operator:test",
                until_ns=world.now_ns + STEPS[3],
                caps={cap.id: limit for cap in own if cap.spend is None},
                spends={cap.id: limit for cap in own if cap.spend is not None},
            )
        )

    @rule(which=st.integers(0, 100))
    def a_buyer_pays(self, which: int) -> None:
        """Money comes into a wallet."""
        buyers = list(self.world.book.buyers)
        buyer_id = buyers[which % len(buyers)]
        reference = str(len(self.world.entries))
        self.world.note(Deposited(buyer_id=buyer_id, amount=2500, reference=reference, by="operator:test"))

    @rule(one=st.sampled_from(RARE))
    def somebody_is_suppressed(self, one: tuple[Contact, str]) -> None:
        """Whoever has this phone number or address is sent to nobody any more."""
        self.world.note(Suppressed(marks={one[0]: contact_mark(*one)}, by="operator:test"))
        self.world.reference.suppressed.add(one[1])

    @precondition(lambda self: self.world.under_way())
    @rule(which=st.integers(0, 100), sent=st.booleans(), again=st.booleans())
    def an_attempt_fails(self, which: int, sent: bool, again: bool) -> None:
        """The delivery waits to be tried once more, and perhaps is."""
        self.world.fail_one(which, sent=sent, again=again)

    @rule(snapshot=st.integers(0, 100))
    def the_process_dies_and_starts(self, snapshot: int) -> None:
        """State is that of a snapshot and of the facts after it; what was under way is in doubt, or tried again."""
        world = self.world
        world.restart(len(world.entries) * snapshot // 100)
        world.take_up()

    @rule(data=st.data())
    def terms_are_edited(self, data: st.DataObject) -> None:
        """Other terms come into force over the same state: what was counted stays counted."""
        book = data.draw(self.books())
        if identity_of(book) == identity_of(self.world.book):
            self.world.edit(book)
            self.edited = True

    @rule(data=st.data(), which=st.integers(0, 100))
    def a_coverage_is_edited(self, data: st.DataObject, which: int) -> None:
        """One contract takes other codes; nothing else of the terms changes."""
        world = self.world
        plans = list(world.book.contracts.values())
        plan = plans[which % len(plans)]
        world.edit(covering_otherwise(world.book, plan, data.draw(coverage())))

    @invariant()
    def remembered_standings_are_true(self) -> None:
        """What the boards remember equals asking every contract now."""
        world = getattr(self, "world", None)
        for standings in world.live.all() if world is not None else ():
            board = standings.board
            blocked = standings.blocking(board.all, world.state, world.moment())
            for rank, plan in enumerate(board.plans):
                now = next(standing(plan, world.state, world.moment(), board.prices[rank]), None)
                assert bool(blocked >> rank & 1) == (now is not None), (plan.id, now, standings.finding(rank))
                if now is not None:
                    found = standings.finding(rank)
                    assert found is not None
                    assert found.code == now.code
                    assert standings.by_code[now.code] >> rank & 1

    @invariant()
    def no_cap_is_overshot(self) -> None:
        """confirmed + held <= limit in every window, as long as nobody lowered a limit."""
        world = getattr(self, "world", None)
        if world is None or self.edited:
            return
        for plan in world.book.contracts.values():
            for cap in plan.caps:
                window = cap_window(cap, plan, world.moment())
                used = cap_used(cap, world.state.usage.get(cap.owner, Usage()), window)
                whose = cap.owner.partition(":")[0]
                written = plan.terms.caps if whose == "contract" else plan.buyer.caps
                assert used == world.reference.used(
                    plan.buyer, plan.terms, next(one for one in written if one.id == cap.id), whose
                )
                limit = cap.limit if cap.limit is not None else cap.spend
                assert limit is not None
                assert used <= limit, (plan.id, cap, used)
            assert world.state.in_flight.get(plan.buyer_id, 0) <= plan.buyer.max_in_flight
            assert (balance(plan.buyer, world.state) or 0) >= 0

    @invariant()
    def the_fold_is_the_same_at_every_prefix(self) -> None:
        """Folding a snapshot and the facts after it equals folding all facts: a snapshot after every step."""
        world = getattr(self, "world", None)
        if world is not None:
            world.follow()

    def teardown(self) -> None:
        """Folding all facts from nothing comes to the same; and other tests have the boards that users have."""
        areas.WHOLE_MAX = WHOLE_MAX
        world = getattr(self, "world", None)
        if world is not None:
            assert folded(world.state.identity, world.entries).dump() == world.state.dump()


@pytest.mark.hypothesis
def test_routing() -> None:
    """Whatever happens in whatever order, the promises of the machine hold."""
    run_state_machine_as_test(RoutingMachine, settings=settings(examples(40), stateful_step_count=25))
