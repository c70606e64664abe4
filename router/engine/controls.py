"""What operators and buyers may do to the running engine: pause, resume, resolve, reroute, reload. All recorded."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from msgspec import structs

from router.core.delivery import contradicts
from router.core.live import Live
from router.core.overrides import in_force
from router.core.rules.standing import balance
from router.core.suppression import contact_mark
from router.engine.engine import Engine
from router.engine.slices import Slices
from router.engine.views import Refused, ReloadResult
from router.model.facts import (
    AnyFact,
    Contradicted,
    Deposited,
    Overridden,
    Paused,
    Received,
    Reopened,
    Reserved,
    Restored,
    Resumed,
    Settled,
    Suppressed,
)
from router.model.lead import Contact
from router.terms.book import CapPlan
from router.terms.candidate import Candidate
from router.terms.checks.certified import judging_certified
from router.terms.compile import compiling

log = logging.getLogger(__name__)

Subject = Literal["contract", "buyer", "source"]


#: Reads and judges the terms as they stand on disk now, beside the loop.
ReadTerms = Callable[[], Awaitable[Candidate]]


class Controls:
    """Acts on the engine in somebody's name. `by` is `operator:NAME` or `buyer:ID`."""

    def __init__(self, engine: Engine, read_terms: ReadTerms) -> None:
        self._engine = engine
        self._read_terms = read_terms
        self.changing = asyncio.Lock()  # held by whoever puts other terms in force

    async def pause(
        self, subject: Subject, id_: str, *, reason: str, by: str, until_ns: int | None = None, ramp_ns: int = 0
    ) -> None:
        """No new leads for a contract, buyer or source, until then or until resumed. Raises Refused(404).

        When it ends by itself, contracts come back over `ramp_ns`.
        """
        self._known(subject, id_)
        await self._engine.write(
            [
                Paused(
                    subject=subject,
                    id=id_,
                    reason=reason,
                    by=by,
                    until_ns=until_ns,
                    ramp_ns=ramp_ns,
                    contracts=self._contracts_of(subject, id_),
                )
            ]
        )

    async def resume(self, subject: Subject, id_: str, *, by: str, ramp_ns: int = 0) -> bool:
        """Take a pause back; False when there was none. Contracts come back over `ramp_ns`. Raises Refused(404)."""
        self._known(subject, id_)
        if f"{subject}:{id_}" not in self._engine.state.paused:
            return False
        contracts = self._contracts_of(subject, id_)
        await self._engine.write([Resumed(subject=subject, id=id_, by=by, ramp_ns=ramp_ns, contracts=contracts)])
        return True

    def caps_of(self, subject: Subject, id_: str) -> list[CapPlan]:
        """A contract's own caps, or a buyer's over all of its contracts. Raises Refused(404)."""
        self._known(subject, id_)
        plans, owner = self._engine.book.contracts.values(), f"{subject}:{id_}"
        plan = next((plan for plan in plans if owner in (plan.owner, plan.buyer_owner)), None)
        return [cap for cap in plan.caps if cap.owner == owner] if plan is not None else []

    async def override(self, fact: Overridden) -> None:
        """Other limits for a while, instead of all that was set before; from `until_ns` on the terms hold again."""
        await self._engine.write([fact])

    async def restore(self, subject: Literal["contract", "buyer"], id_: str, *, by: str) -> bool:
        """Take an override back before it is over; False when there was none. Raises Refused(404)."""
        self._known(subject, id_)
        if in_force(self._engine.state.overrides, f"{subject}:{id_}", self._engine.now_ns()) is None:
            return False
        await self._engine.write([Restored(subject=subject, id=id_, by=by)])
        return True

    def _contracts_of(self, subject: Subject, id_: str) -> tuple[str, ...]:
        """A buyer's, for the facts about it: the fold knows no terms."""
        part = self._engine.book.parts.get(id_) if subject == "buyer" else None
        return tuple(plan.id for plan in part.plans) if part is not None else ()

    async def deposit(self, buyer_id: str, amount: int, reference: str, *, by: str) -> int:
        """Put money into a buyer's wallet; the new balance, minor units.

        Raises Refused: 404 unknown buyer, 409 no wallet in its terms, or the reference was booked already.
        """
        self._known("buyer", buyer_id)
        state, buyer = self._engine.state, self._engine.book.buyers[buyer_id]
        if balance(buyer, state) is None:
            raise Refused(409, "no_wallet", "the buyer's terms have no wallet: set wallet.mode first")
        if f"{buyer_id}\0{reference}" in state.payments:
            raise Refused(409, "already_booked", "a deposit of that reference was booked before")
        plain = int(amount)  # facts are written down as plain numbers; Money is none to the ledger
        await self._engine.write([Deposited(buyer_id=buyer_id, amount=plain, reference=reference, by=by)])
        left = balance(buyer, self._engine.state)
        assert left is not None
        return left

    async def suppress(self, contacts: Mapping[Contact, str], *, by: str) -> None:
        """Never send whoever has this phone number or this e-mail address, normalised; durable on return.

        Leads on their way to a buyer reach it; the person's others, and whatever still comes, are sold to nobody.
        """
        marks = {contact: contact_mark(contact, value) for contact, value in contacts.items()}
        await self._engine.write([Suppressed(marks=marks, by=by)])

    def _known(self, subject: Subject, id_: str) -> None:
        book = self._engine.book
        known: dict[str, Mapping[str, object]] = {
            "contract": book.contracts,
            "buyer": book.buyers,
            "source": book.sources,
        }
        if id_ not in known[subject]:
            raise Refused(404, "not_found", f"no {subject} of that id")

    async def resolve(
        self, delivery_id: str, outcome: Literal["accepted", "rejected"], *, by: str, buyer_id: str | None = None
    ) -> None:
        """Settle a delivery in doubt. Raises Refused: 404 unknown (or another buyer's), 409 not in doubt (any more).

        A word against what a doubt was resolved as changes nothing, and is put on record: two buyers may have the lead.
        """
        held = self._engine.state.held.get(delivery_id)
        if held is not None and (buyer_id is None or held.buyer_id == buyer_id):
            if held.status == "in_doubt":
                await self._engine.resolve(delivery_id, outcome, by=by)
                return
            raise Refused(409, "in_flight", "the delivery is still in flight: its outcome is not known yet")
        told = await self._told(delivery_id, buyer_id) if held is None else None
        if told is None:
            raise Refused(404, "not_found", "no delivery of that id")
        if contradicts(told, outcome, by):
            log.warning("doubt_contradicted", extra={"delivery_id": delivery_id, "outcome": outcome, "by": by})
            await self._engine.write([Contradicted(delivery_id=delivery_id, outcome=outcome, by=by)])
        raise Refused(409, "already_settled", "the delivery has an outcome already")

    async def _told(self, delivery_id: str, buyer_id: str | None) -> list[AnyFact] | None:
        """All facts of a delivery; None when there is none of that id, or it is another buyer's."""
        lead_id = await self._engine.ledger.lead_of(delivery_id)
        entries = await self._engine.ledger.entries_of(lead_id) if lead_id is not None else []
        facts = [entry.fact for _, entry in entries if getattr(entry.fact, "delivery_id", None) == delivery_id]
        mine = any(isinstance(one, Reserved) and buyer_id in (None, one.buyer_id) for one in facts)
        return facts if mine else None

    async def reroute(self, lead_id: str, *, by: str) -> None:
        """Run an ended lead again now.

        Raises Refused: 404 unknown; 409 while anything is in flight or in doubt, once an exclusive lead is sold, or
        when its person was forgotten.
        """
        engine = self._engine
        busy = engine.state.open.get(lead_id)
        if busy is not None:
            state = "in doubt" if busy.status == "in_doubt" else "in flight or waiting"
            raise Refused(409, "still_routing", f"the lead is still {state}")
        entries = await engine.ledger.entries_of(lead_id)
        lead = next((entry.lead for _, entry in entries if isinstance(entry.fact, Received)), None)
        if not entries:
            raise Refused(404, "not_found", "no lead of that id")
        if lead is None:
            raise Refused(409, "erased", "the lead's person was forgotten: there is nothing to route")
        if lead.lead_type not in engine.book.lead_types:
            raise Refused(409, "lead_type_gone", "the lead's type is not in the terms any more")
        reserved = {one.fact.delivery_id: one.fact for _, one in entries if isinstance(one.fact, Reserved)}
        settled = {one.fact.delivery_id: one.fact for _, one in entries if isinstance(one.fact, Settled)}
        sold = [fact for fact in settled.values() if fact.outcome == "accepted"]
        if sold and engine.book.lead_types[lead.lead_type].sell.mode != "shared":
            raise Refused(409, "already_sold", "an exclusive lead is sold once")
        if lead_id in engine.state.open:  # somebody was quicker
            raise Refused(409, "still_routing", "the lead is being routed")
        await engine.reopen(
            Reopened(
                lead_id=lead_id,
                by=by,
                offered={fact.buyer_id: fact.contract_id for fact in reserved.values()},
                copies=len(sold),
                revenue=sum(fact.price or 0 for fact in sold),
                steady_ns=engine.moment().steady_ns,
            ),
            lead,
        )

    async def candidate(self) -> Candidate:
        """The terms on disk as they stand now, judged; changes nothing."""
        candidate = await self._read_terms()
        if not candidate.good or candidate.terms is None:
            return candidate
        certificates = self._engine.state.certificates
        certified = {key: certificate.passed_version for key, certificate in certificates.items()}
        found = await Slices(self._engine.clock).run(judging_certified(candidate.terms, certified))
        return structs.replace(candidate, problems=(*candidate.problems, *found))

    async def reload(self, *, by: str) -> ReloadResult:
        """Read and judge the terms on disk beside the loop, then put them in force; errors change nothing."""
        async with self.changing:
            return await self.adopt(await self.candidate(), by=by)

    async def adopt(self, candidate: Candidate, *, by: str) -> ReloadResult:
        """Compile terms a little at a time, then swap them in; errors change nothing. The caller holds `changing`."""
        engine = self._engine
        if not candidate.good or candidate.terms is None:
            return ReloadResult(version=engine.book.version, changed=False, problems=candidate.problems)
        slices = Slices(engine.clock)
        book = await slices.run(compiling(candidate.terms, engine.book, candidate.read))
        changed = book.version != engine.book.version
        live = await slices.run(Live.building(book, engine.live))
        gone: list[object] = [*candidate.read.values(), *candidate.terms.buyers.values()]
        gone += [*engine.book.parts.values(), *engine.live.all()]
        secrets, problems = candidate.secrets, candidate.problems
        del candidate
        await engine.adopt(book, live, secrets, by=by)
        engine.transport.update(book.router.network)
        await slices.let_go(gone)
        return ReloadResult(version=book.version, changed=changed, problems=problems)
