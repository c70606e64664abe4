"""Sells leads: decides, reserves for the winners, walks the ranking, lets leads wait, ends them.

The rule here: decide and note the facts, with no `await` in between. None of these functions is async.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import structs

from router.core.bidding import Bids, stand_ins, taken_in
from router.core.calendar import FOREVER
from router.core.consumers import marks_of
from router.core.decide import (
    Choice,
    choose,
    decided_fact,
    misses_margin,
    recheck,
    reserve,
    stands_against,
)
from router.core.explain import every_refusal
from router.core.index import Board
from router.core.masks import bits
from router.core.rules.finding import Finding
from router.core.rules.history import suppressed_rule
from router.core.rules.standing import Moment, clock_of, passes_ever, standing
from router.core.selling import End, Offer, copies_of, next_move, payout_of, payout_once
from router.core.standings import Standings
from router.core.state import OpenLead
from router.engine.alarms import Alarms
from router.engine.asking import Asker, Round
from router.engine.deliveries import Deliveries
from router.engine.journal import Batch, Journal
from router.engine.orders import Orders
from router.engine.times import deadline_of, is_young, steady_of
from router.engine.views import LeadView
from router.engine.waiting import Waiter, WaitingRoom
from router.model.codes import MOMENTARY
from router.model.decision import Bid
from router.model.facts import Asked, Bidden, Ended, PassedOver, Queued, Reopened
from router.model.lead import Lead
from router.terms.book import ContractPlan
from router.terms.schema import Payout, Sell
from router.terms.steps import Steps

#: A fact names at most so many contracts that a lead passed over.
PASSED_MAX: Final = 16
#: At some sixty microseconds each.
_WOKEN_AT_ONCE: Final = 32


class Seller:
    """Who gets which lead next. `on_end` is told of every lead that ends."""

    def __init__(self, journal: Journal, deliveries: Deliveries, asker: Asker, alarms: Alarms, orders: Orders) -> None:
        self.draining = False
        self.on_end: Callable[[LeadView], None] = lambda _: None
        self._journal = journal
        self._deliveries = deliveries
        self._asker = asker
        self._alarms = alarms
        self._orders = orders
        self._room = WaitingRoom()
        self._gate: deque[str] = deque()
        self._bidden_at_gate: set[str] = set()  # whose bids are in
        deliveries.advance = self.advance
        deliveries.freed = self.freed
        deliveries.landed = self._landed
        asker.told = self._told

    def __len__(self) -> int:
        """How many leads wait for a contract, or for one of `in_flight_max`."""
        return len(self._room) + len(self._gate)

    def waking(self) -> Steps[None]:
        """Terms or the clock changed: everybody who waits tries again, in steps."""
        for contract_id in self._room.lines():
            self._wake(contract_id)
            yield

    def _landed(self) -> None:
        """A delivery ended: whoever waits for one of `in_flight_max` is next."""
        while (
            self._gate and len(self._deliveries) < self._journal.book.router.limits.in_flight_max and not self.draining
        ):
            lead_id = self._gate.popleft()
            lead = self._journal.state.open.get(lead_id)
            bidden = lead_id in self._bidden_at_gate
            self._bidden_at_gate.discard(lead_id)
            if lead is not None:
                batch = self._journal.batch()
                by = "queue" if lead.status == "queued" else "wait" if lead.decided else None
                self.route(batch, lead_id, by, bidden=bidden and lead.asked is not None)
                self._journal.commit(batch)

    def go_on(self, lead_id: str) -> None:
        """After a start or a fold: route a lead that has not ended."""
        lead = self._journal.state.open.get(lead_id)
        if lead is None or lead.status not in ("routing", "queued"):
            return
        batch = self._journal.batch()
        if lead.deliveries:
            self.advance(batch, lead_id)
        elif not any(lead_id == waiting for waiting in self._gate):
            self.route(batch, lead_id, by="queue" if lead.status == "queued" else "restart" if lead.decided else None)
        self._journal.commit(batch)

    def _choose(self, lead: OpenLead, moment: Moment, by: str | None, *, bidden: bool) -> list[Choice]:
        """The fast decision; for `best` on both boards, the better by expected revenue first.

        Who comes out of the queue is released by it: `deliver_within` counts from now.
        """
        one = lead.lead
        released_at_ns = moment.at_ns if by == "queue" else clock_of(moment, lead.released_steady_ns)
        bids = taken_in(lead) if bidden else None
        sell = self._journal.book.lead_types[one.lead_type].sell
        once = payout_once(self.payout(one))
        choices = [
            choose(
                standings,
                self._journal.state,
                one,
                moment,
                released_at_ns=released_at_ns,
                copies=copies_of(sell, standings.board.mode)[0],
                payout=once,
                offered=lead.buyers,
                bids=stand_ins(standings.board) if one.test else bids,
            )
            for standings in self._journal.live.modes(one)
        ]
        if len(choices) > 1:
            choices.sort(key=lambda choice: choice.expected(self._journal.state), reverse=True)
        return choices

    def route(self, batch: Batch, lead_id: str, by: str | None = None, *, bidden: bool = False) -> None:
        """Decide, reserve for the winners, or ask for bids, or wait, or end. Nothing yields in here.

        `bidden`: the bids that the state holds for the lead have just come in.
        """
        if lead_id in self._asker:
            return
        if len(self._deliveries) + len(batch.jobs) >= self._journal.book.router.limits.in_flight_max:
            self._gate.append(lead_id)
            if bidden:
                self._bidden_at_gate.add(lead_id)
            return
        lead = self._journal.state.open[lead_id]
        if lead.lead.lead_type not in self._journal.book.lead_types:
            self.end(batch, lead.lead, Ended(lead_id=lead_id, status="unsold", reason="no_coverage"))
            return
        young = is_young(lead.lead, self._journal.book, batch.moment.at_ns)
        if young and by != "queue" and batch.moment.steady_ns >= deadline_of(lead, self._journal.book):
            self.end(batch, lead.lead, Ended(lead_id=lead_id, status="unsold", reason="deadline"))
            return
        began_ns = self._journal.clock.mono_ns()
        choice, *others = self._choose(lead, batch.moment, by, bidden=bidden)
        if not bidden and self._ask(batch, lead, [choice, *others], by):
            return
        self._journal.on_decided(self._journal.clock.mono_ns() - began_ns)
        if by is None or choice.winners:
            self._record(batch, lead, choice, by)
        if choice.winners:
            self._room.remove(lead_id)
            _, at_once = copies_of(self._journal.book.lead_types[lead.lead.lead_type].sell, choice.board.mode)
            for place, rank in enumerate(choice.winners[:at_once]):
                self._reserve(batch, choice.board, rank, lead, place, choice.bids)
            return
        ended = self._wait_or_end(batch, lead, [choice, *others])
        if ended is not None:
            if by is not None:
                self._record(batch, lead, choice, by)
            self._room.remove(lead_id)
            self.end(batch, lead.lead, ended)

    def _record(self, batch: Batch, lead: OpenLead, choice: Choice, by: str | None) -> None:
        """A decision that is to be proved: the first of a lead, one with winners, and the one it ends by.

        Those in between, while it waits, find what the last one found. Throttles counted the lead at its first.
        """
        standings = next(one for one in self._journal.live.modes(lead.lead) if one.board is choice.board)
        released_ns = batch.moment.steady_ns if by == "queue" else 0
        fact = decided_fact(choice, standings, lead.lead, by, released_ns)
        self._journal.note(batch, fact if by is None or choice.winners else structs.replace(fact, throttled=()))

    def _ask(self, batch: Batch, lead: OpenLead, choices: list[Choice], by: str | None) -> bool:
        """Ask those who would have the lead but for a bid, if there are any; what they bid is decided with then.

        Throttles count the lead now, whether they let a contract be asked or not: else none would ever let one pass.
        """
        one, plans = lead.lead, self._journal.book.contracts
        asked = _contracts(choices, ("no_bid",))
        if not asked or one.test:
            return False
        if self.draining:
            return True
        counted = {name: choice for choice in choices for name in choice.throttled if plans[name].least_bid is not None}
        fact = Asked(
            lead_id=one.lead_id,
            terms_version=self._journal.book.version,
            contracts=asked,
            throttled=tuple(counted),
            held_back={name: choice.details[name] for name, choice in counted.items() if name not in asked},
        )
        left_ns = None if by == "queue" else deadline_of(lead, self._journal.book) - batch.moment.steady_ns
        round_ = Round(lead=one, plans=tuple(plans[name] for name in asked), by=by, within_ns=left_ns)
        self._asker.ask(batch, fact, round_)
        return True

    def _told(self, lead_id: str, bids: tuple[Bid, ...], by: str | None) -> None:
        """The bids for a lead are in: judge everything again with them. It may have ended while it waited."""
        lead, waiter = self._journal.state.open.get(lead_id), self._room.get(lead_id)
        over = lead is None or lead.status not in ("routing", "queued") or lead.asked is None or self.draining
        batch = self._journal.batch()
        self._journal.note(batch, Bidden(lead_id=lead_id, bids=bids, late=over))
        if not over:
            self.route(batch, lead_id, by, bidden=True)
        self._journal.commit(batch)
        if waiter is not None and lead_id not in self._room:
            for contract_id in waiter.contracts:
                self._wake(contract_id)

    def _reserve(self, batch: Batch, board: Board, rank: int, lead: OpenLead, place: int, bids: Bids | None) -> None:
        fact = reserve(
            board,
            rank,
            self._journal.state,
            lead.lead,
            batch.moment,
            delivery_id=self._journal.clock.new_id(),
            place=place,
            bids=bids,
        )
        self._journal.note(batch, fact)
        deadline_ns = deadline_of(lead, self._journal.book)
        job = self._deliveries.job(
            lead.lead, fact.contract_id, fact.delivery_id, fact.price, deadline_ns, fact.reference
        )
        batch.jobs.append(job)

    def _wait_or_end(self, batch: Batch, lead: OpenLead, choices: list[Choice]) -> Ended | None:
        """Nobody may have the lead now: it waits for who may later, in any way it is sold, or says how it ends.

        Who was queued and finds the doors open to a moment's refusal keeps its place, and its time.
        """
        one, now_ns, queued = lead.lead, batch.moment.steady_ns, lead.status == "queued"
        if not is_young(one, self._journal.book, batch.moment.at_ns):
            return Ended(lead_id=one.lead_id, status="expired")
        never = any("suppressed" in choice.alike for choice in choices)  # whatever else stands against somebody
        momentary = () if never else self._momentary(choices)
        queue = () if never else self._queueing(choices)
        hold_ns = self._hold_until(lead, batch.moment)
        if (queue or (queued and momentary)) and now_ns < hold_ns:
            if not queued:
                self._journal.note(batch, Queued(lead_id=one.lead_id))
            self._wait(one.lead_id, (*queue, *momentary), hold_ns, queued=True)
            return None
        give_up_ns = min(deadline_of(lead, self._journal.book), self._too_old_at(one, batch.moment))
        if momentary and now_ns < give_up_ns:
            self._wait(one.lead_id, momentary, give_up_ns, queued=False)
            return None
        if queued and now_ns >= hold_ns:
            return Ended(lead_id=one.lead_id, status="expired")
        covered = any(choice.covering & choice.board.live for choice in choices)
        reason = "deadline" if momentary else "no_eligible_contract" if covered else "no_coverage"
        return Ended(lead_id=one.lead_id, status="unsold", reason=reason)

    def _hold_until(self, lead: OpenLead, moment: Moment) -> int:
        """Until when a lead may be held in the queue: `hold_max` from receipt, `max_age` from submission."""
        queue = self._journal.book.lead_types[lead.lead.lead_type].queue
        held_ns = FOREVER if queue is None else lead.received_steady_ns + queue.hold_max
        return min(held_ns, self._too_old_at(lead.lead, moment))

    def _too_old_at(self, lead: Lead, moment: Moment) -> int:
        max_age = self._journal.book.lead_types[lead.lead_type].max_age
        return FOREVER if max_age is None else steady_of(moment, lead.submitted_at_ns + max_age)

    def _momentary(self, choices: list[Choice]) -> tuple[str, ...]:
        """The contracts that only the moment stands against."""
        plans = self._journal.book.contracts
        return tuple(name for name in _contracts(choices, MOMENTARY) if passes_ever(plans[name]))

    def _queueing(self, choices: list[Choice]) -> tuple[str, ...]:
        """The contracts that say `queue` for what refuses them now."""
        plans = self._journal.book.contracts
        closed = [plans[one] for one in _contracts(choices, ("out_of_schedule",))]
        full = [plans[one] for one in _contracts(choices, ("cap_reached", "ramp_reached"))]
        return (
            *(one.id for one in closed if one.terms.schedule and one.terms.schedule.when_closed == "queue"),
            *(one.id for one in full if one.terms.at_cap == "queue"),
        )

    def _wait(self, lead_id: str, contracts: tuple[str, ...], give_up_ns: int, *, queued: bool) -> None:
        self._room.add(Waiter(lead_id, contracts, give_up_ns, queued))
        self._alarms.at(f"lead:{lead_id}", clock_of(self._journal.moment(), give_up_ns), lambda: self._give_up(lead_id))
        bids = self._journal.state.open[lead_id].bids
        for contract_id in contracts:
            self._arm(contract_id, bids.get(contract_id))

    def _arm(self, contract_id: str, bid: Bid | None) -> None:
        """Wake a contract's line when what refuses it, with the bid it made, is over by itself."""
        plan = self._journal.book.contracts.get(contract_id)
        if plan is None:
            return
        times = []
        if bid is not None and bid.price is not None:
            times += [one.until_ns for one in standing(plan, self._journal.state, self._journal.moment(), bid.price)]
        for standings in self._journal.live.holding(plan):
            finding = standings.finding(standings.board.rank_of[contract_id])
            if finding is not None:
                times.append(finding.until_ns)
        if times:
            self._alarms.at(f"contract:{contract_id}", min(times), lambda: self._wake(contract_id))

    def _wake(self, contract_id: str) -> None:
        """Something changed for a contract: whoever stands in its line tries again, in order, while there is room.

        Of a long line a few at a time, for a lead that comes has its turn too.
        """
        for _ in range(_WOKEN_AT_ONCE):
            waiter = self._room.first(contract_id)
            if waiter is None or self.draining:
                return
            batch = self._journal.batch()
            lead = self._journal.state.open.get(waiter.lead_id)
            if lead is not None and lead.deliveries and not waiter.queued:  # on its way down a ranking
                self.advance(batch, waiter.lead_id)
            else:
                self.route(batch, waiter.lead_id, by="queue" if waiter.queued else "wait")
            self._journal.commit(batch)
            if waiter.lead_id in self._room or waiter.lead_id in self._gate:
                return
        asyncio.get_running_loop().call_soon(self._wake, contract_id)

    def _give_up(self, lead_id: str) -> None:
        """A waiting lead's time is over."""
        waiter, lead = self._room.get(lead_id), self._journal.state.open.get(lead_id)
        if waiter is None or lead is None:
            return
        moment = self._journal.moment()
        if moment.steady_ns < waiter.give_up_ns:
            self._alarms.at(f"lead:{lead_id}", clock_of(moment, waiter.give_up_ns), lambda: self._give_up(lead_id))
            return
        self._room.remove(lead_id)
        batch = self._journal.batch()
        if waiter.queued or not is_young(lead.lead, self._journal.book, batch.moment.at_ns):
            self.end(batch, lead.lead, Ended(lead_id=lead_id, status="expired"))
        else:
            self.end(batch, lead.lead, Ended(lead_id=lead_id, status="unsold", reason="deadline"))
        self._journal.commit(batch, keep=True)

    def advance(self, batch: Batch, lead_id: str, *, exhausted: bool = False) -> None:
        """Offer the lead to the next in rank, or end it."""
        lead = self._journal.state.open.get(lead_id)
        if lead is None:
            return
        lead_type = self._journal.book.lead_types.get(lead.lead.lead_type)
        sell = lead_type.sell if lead_type is not None else Sell()
        deadline_ns = deadline_of(lead, self._journal.book)
        now_ns = batch.moment.steady_ns
        exhausted = exhausted or self.draining or lead_type is None
        old = lead_type is not None and not is_young(lead.lead, self._journal.book, batch.moment.at_ns)
        move = next_move(lead, sell, now_ns=now_ns, deadline_ns=deadline_ns, exhausted=exhausted, too_old=old)
        if isinstance(move, Offer):
            offered, momentary = self._offer(batch, lead, move.copies)
            if offered:
                self._room.remove(lead_id)
            if offered == move.copies:
                return
            move = next_move(lead, sell, now_ns=now_ns, deadline_ns=deadline_ns, exhausted=True)
            give_up_ns = min(deadline_ns, self._too_old_at(lead.lead, batch.moment))
            if momentary and isinstance(move, End) and move.status == "unsold" and now_ns < give_up_ns:
                self._wait(lead_id, momentary, give_up_ns, queued=False)
                return
        if isinstance(move, End) and not (self.draining and move.status == "unsold" and move.reason != "deadline"):
            self.end(batch, lead.lead, self._ended(lead, move))

    def _offer(self, batch: Batch, lead: OpenLead, copies: int) -> tuple[int, tuple[str, ...]]:
        """Reserve for up to so many of the recorded ranking, each re-checked under the terms of this moment.

        How many that were, and the contracts that only the moment stands against.
        """
        one = lead.lead
        standings = self._journal.live.standings(one, lead.mode)
        offered = 0
        passed: dict[str, tuple[str, str, str]] = {}
        momentary: list[str] = []
        bids = None
        if standings is not None and standings.board.pinged:
            bids = stand_ins(standings.board) if one.test else taken_in(lead)
        ranking = self._orders.ranking(lead) if standings is not None else ()
        never = next(suppressed_rule(self._journal.book, one, self._journal.state), None)
        too_little = None if standings is None else self._misses_margin(standings, lead, ranking, batch.moment, bids)
        for place, contract_id in enumerate(ranking):
            plan = self._journal.book.contracts.get(contract_id)
            if plan is None or plan.buyer_id in lead.buyers or standings is None:
                continue
            rank = self._recheck(standings, lead, contract_id, batch.moment, bids)
            if rank is not None and too_little is None:
                self._reserve(batch, standings.board, rank, lead, place, bids)
                offered += 1
                if offered == copies:
                    break
                continue
            finding = never or too_little
            if rank is None and never is None:
                finding = stands_against(standings, self._journal.state, batch.moment, contract_id)
            if finding is not None and finding.code in MOMENTARY and passes_ever(plan):
                momentary.append(contract_id)
            if len(passed) < PASSED_MAX:
                finding = finding or next(iter(self._refusals(plan, lead, batch.moment, bids)), None)
                if finding is not None:
                    passed[contract_id] = finding[:3]
        if passed and one.lead_id not in self._room:  # who waits was told when it began to
            self._journal.note(batch, PassedOver(lead_id=one.lead_id, refusals=passed))
        return offered, tuple(momentary)

    def _recheck(
        self, standings: Standings, lead: OpenLead, contract_id: str, moment: Moment, bids: Bids | None
    ) -> int | None:
        return recheck(
            standings.board,
            standings,
            self._journal.state,
            lead.lead,
            moment,
            contract_id=contract_id,
            released_at_ns=clock_of(moment, lead.released_steady_ns),
            throttled=lead.throttled,
            bids=bids,
        )

    def _misses_margin(
        self, standings: Standings, lead: OpenLead, ranking: tuple[str, ...], moment: Moment, bids: Bids | None
    ) -> Finding | None:
        """What refuses the copies that a shared lead can still be sold in, if together they miss the margin.

        Once one is sold or may be, what is paid for the lead is due: each further copy makes up for some of it.
        """
        sell = self._journal.book.lead_types[lead.lead.lead_type].sell
        if lead.mode != "shared" or sell.margin_floor is None:
            return None
        if any(outcome in (None, "accepted", "in_doubt") for outcome in lead.deliveries.values()):
            return None
        ranks: dict[str, int] = {}
        for contract_id in ranking:
            plan = self._journal.book.contracts.get(contract_id)
            if plan is None or plan.buyer_id in lead.buyers or plan.buyer_id in ranks:
                continue
            rank = self._recheck(standings, lead, contract_id, moment, bids)
            if rank is not None:
                ranks[plan.buyer_id] = rank
                if len(ranks) == copies_of(sell, lead.mode)[0]:
                    break
        payout = payout_once(self.payout(lead.lead))
        return misses_margin(standings.board, tuple(ranks.values()), payout, bids) if ranks else None

    def _refusals(self, plan: ContractPlan, lead: OpenLead, moment: Moment, bids: Bids | None) -> list[Finding]:
        """What stands against a contract and this lead now, rule by rule."""
        state = self._journal.state
        return every_refusal(
            self._journal.book,
            plan,
            lead.lead,
            state,
            moment,
            mode=lead.mode,
            released_at_ns=clock_of(moment, lead.released_steady_ns),
            marks=marks_of(lead.lead, state.identity.keys),
            bids=bids,
        )

    def reopen(self, fact: Reopened, lead: Lead) -> "asyncio.Future[int]":
        """Run an ended lead again; the caller has seen that nothing of it is in flight or in doubt."""
        batch = self._journal.batch()
        self._journal.note(batch, fact, lead=lead)
        self.route(batch, fact.lead_id, by=fact.by)
        return self._journal.commit(batch)

    def freed(self, buyer_id: str) -> None:
        """A slot or some capacity of a buyer may be free again."""
        if len(self._room) and not self.draining:
            buyer = self._journal.book.buyers.get(buyer_id)
            for contract_id in self._room.lines(one.id for one in buyer.contracts) if buyer is not None else ():
                self._wake(contract_id)

    def _ended(self, lead: OpenLead, move: End) -> Ended:
        return Ended(
            lead_id=lead.lead.lead_id,
            status=move.status,
            reason=move.reason,
            copies=lead.copies,
            payout=0 if lead.lead.test else payout_of(self.payout(lead.lead), lead.copies),
            redirect_url=lead.redirect_url,
        )

    def end(self, batch: Batch, lead: Lead, fact: Ended) -> None:
        """A lead ends, for now."""
        self._room.remove(fact.lead_id)
        self._alarms.drop(f"lead:{fact.lead_id}")
        self._journal.note(batch, fact)
        batch.ended.append(fact.lead_id)
        self.on_end(
            LeadView(
                lead_id=fact.lead_id,
                source_id=lead.source_id,
                status=fact.status,
                copies=fact.copies,
                payout=fact.payout,
                reason=fact.reason,
                redirect_url=fact.redirect_url,
                ended=True,
            )
        )

    def payout(self, lead: Lead) -> Payout | None:
        """What the lead's source is paid under the current terms."""
        source = self._journal.book.sources.get(lead.source_id)
        return source.payout.get(lead.lead_type) if source is not None else None


def _contracts(choices: list[Choice], codes: Iterable[str]) -> tuple[str, ...]:
    """The contracts that one of these codes refuses, on any board, each once."""
    found = {
        choice.board.ids[rank]: None
        for choice in choices
        for code in codes
        for rank in bits(choice.blocked.get(code, 0))
    }
    return tuple(found)
