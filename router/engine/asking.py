"""Asks buyers for bids: all contracts of a lead together, each within its ping's time.

A ping is no intent to send. Who is asked is durable before anybody is, so that an acknowledged lead is what is asked
about; but nothing is reserved or promised, and after a crash the lead is simply routed again. When the last bid is in,
or the wait is over, the seller decides. Requests may go on after that: what still comes is recorded and cannot win.

Pings have a lane of their own beside the buyer's, so that they take no connection from its deliveries.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from msgspec import Struct, structs

from router.buyers.auth import SecretUnusableError, hide_secrets
from router.buyers.ping import PingAnswer, read_bid
from router.buyers.render import RenderContext, render_ping
from router.dispatch import accepted_fields
from router.engine.deliveries import Deliveries
from router.engine.journal import Batch, Journal
from router.engine.patience import Patience, Pinged
from router.model.decision import Bid
from router.model.facts import Asked, Bidden
from router.model.lead import Lead
from router.model.times import NS_MS, NS_S, format_duration
from router.terms.book import ContractPlan

log = logging.getLogger(__name__)

#: Pings to one buyer on their way, or waiting for a connection, at a time.
PINGS_MAX: Final = 1_024
#: A buyer's pings go by a lane of this name after its own.
PINGS: Final = ":ping"


class Round(Struct, frozen=True, kw_only=True):
    """One lead's asking. `within_ns`: bids that come after it do not count, whatever the pings allow."""

    lead: Lead
    plans: tuple[ContractPlan, ...]
    by: str | None
    within_ns: int | None = None


class _Heard(NamedTuple):
    """What came of one ping; `silent`: nothing that would tell a working endpoint."""

    bid: Bid
    silent: bool


class Asker:
    """Every lead that waits for bids. `told` is the seller's: it gets a lead's bids, and who wanted it routed."""

    def __init__(self, journal: Journal, deliveries: Deliveries) -> None:
        self.told: Callable[[str, tuple[Bid, ...], str | None], None]
        self.on_bid: Callable[[Bid, bool], None] = lambda _, __: None  # and whether it came late
        self._journal = journal
        self._deliveries = deliveries
        self._patience = Patience(journal.clock.mono_ns)
        self._leads: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pings: set[asyncio.Task[_Heard]] = set()
        self._flying: Counter[str] = Counter()
        self._closed = False

    def __contains__(self, lead_id: str) -> bool:
        return lead_id in self._leads

    def __len__(self) -> int:
        return len(self._leads)

    def ask(self, batch: Batch, fact: Asked, round_: Round) -> None:
        """Note who is asked; the asking begins when that is durable."""
        self._leads.add(fact.lead_id)
        self._journal.note(batch, fact)
        batch.after.append(partial(self._begin, round_))

    async def close(self) -> None:
        """Ask nobody any more. Who waits for bids is routed by the next start."""
        self._closed = True
        under_way = [*self._tasks, *self._pings]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _begin(self, round_: Round, durable: bool) -> None:
        if not durable or self._closed:
            self._leads.discard(round_.lead.lead_id)
            return
        task = asyncio.get_running_loop().create_task(self._ask(round_))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._journal.fail(error)

    async def _ask(self, round_: Round) -> None:
        bids = await asyncio.gather(*(self._in_time(round_, plan) for plan in round_.plans))
        self._leads.discard(round_.lead.lead_id)
        for bid in bids:
            self.on_bid(bid, False)
        self.told(round_.lead.lead_id, tuple(bids), round_.by)

    async def _in_time(self, round_: Round, plan: ContractPlan) -> Bid:
        """What a contract says within its time, or that it said nothing."""
        assert plan.endpoint.ping is not None
        lead, endpoint = round_.lead, Pinged(plan.buyer_id, plan.endpoint.version)
        within_ns = plan.endpoint.ping.timeout_ns
        if round_.within_ns is not None:
            within_ns = min(within_ns, round_.within_ns)
        if self._flying[plan.buyer_id] >= PINGS_MAX:
            return Bid(contract_id=plan.id, price=None, actual=f"{PINGS_MAX} pings on their way to this buyer")
        if self._patience.rests(endpoint):
            return Bid(contract_id=plan.id, price=None, actual="not asked: it left the last pings unanswered")
        ping = asyncio.get_running_loop().create_task(self._ping(lead, plan))
        self._pings.add(ping)
        ping.add_done_callback(self._pings.discard)
        began_ns = self._journal.clock.mono_ns()
        await asyncio.wait([ping], timeout=within_ns / NS_S)
        took_ns = self._journal.clock.mono_ns() - began_ns
        heard = ping.result() if ping.done() else None
        if heard is not None and not heard.silent:
            self._patience.answered(endpoint)
        elif self._patience.unanswered(endpoint):
            log.warning("pings_unanswered", extra={"contract_id": plan.id, "buyer_id": plan.buyer_id})
        if heard is not None and heard.bid.took_ms * NS_MS <= within_ns:
            return heard.bid
        ping.add_done_callback(partial(self._late, lead.lead_id))
        silence = f"no answer within {format_duration(within_ns)}"
        return Bid(contract_id=plan.id, price=None, actual=silence, took_ms=round(took_ns / NS_MS, 3))

    async def ask_one(self, lead: Lead, plan: ContractPlan) -> Bid:
        """What one contract's endpoint bids, however long it takes; nothing is recorded. Never raises."""
        return (await self._ping(lead, plan)).bid

    async def _ping(self, lead: Lead, plan: ContractPlan) -> _Heard:
        """Ask one contract. Never raises."""
        self._flying[plan.buyer_id] += 1
        began_ns = self._journal.clock.mono_ns()
        try:
            answer = await self._exchange(lead, plan)
        except SecretUnusableError as error:
            answer = _unprovable(plan, error)
        except Exception as error:  # however odd an answer is, it costs its own bid alone
            log.exception("bid_not_understood", extra={"contract_id": plan.id, "error": type(error).__name__})
            answer = PingAnswer(None, None, "not understood")
        finally:
            self._flying[plan.buyer_id] -= 1
        took_ms = round((self._journal.clock.mono_ns() - began_ns) / NS_MS, 3)
        bid = Bid(
            contract_id=plan.id,
            price=answer.bid,
            actual=answer.actual,
            reference=answer.reference,
            took_ms=took_ms,
        )
        return _Heard(bid, answer.silent)

    async def _exchange(self, lead: Lead, plan: ContractPlan) -> PingAnswer:
        endpoint, ping, secrets = plan.endpoint, plan.endpoint.ping, self._deliveries.secrets
        assert ping is not None
        context = RenderContext(lead=lead, delivery_id="", contract_id=plan.id, accepted=accepted_fields(plan))
        request = render_ping(endpoint, context, secrets, now_s=self._journal.clock.wall_ns() // NS_S)
        assert request is not None
        carried = await self._deliveries.courier.send(
            plan.buyer_id + PINGS, endpoint, request, secrets, within_ns=ping.timeout_ns
        )
        found = read_bid(ping, carried.answer)
        return structs.replace(found, reference=hide_secrets(found.reference, endpoint.auth, secrets, carried.token))

    def _late(self, lead_id: str, ping: "asyncio.Task[_Heard]") -> None:
        """An answer nobody waits for any more: if it is a bid, it is recorded."""
        if self._closed or ping.cancelled() or ping.result().bid.price is None:
            return
        bid = ping.result().bid
        self.on_bid(bid, True)
        batch = self._journal.batch()
        self._journal.note(batch, Bidden(lead_id=lead_id, bids=(bid,), late=True))
        self._journal.commit(batch, keep=True)


def _unprovable(plan: ContractPlan, error: SecretUnusableError) -> PingAnswer:
    log.error("secret_unusable", extra={"contract_id": plan.id, "words": str(error), "hint": error.mend})
    return PingAnswer(None, None, "secret")
