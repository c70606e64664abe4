"""Routing state, and the one way it changes: `State.apply(entry)`.

State is a fold of facts. Live routing, restart, snapshot checks and backtests all run this same fold, so it is total
and deterministic: it reads no clock and no terms; what a fact needs of them, the fact carries.
Everything here is keyed by ids, so that terms can change underneath it.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from router.core.bucket import Bucket
from router.core.consumers import Consumers, Identity, Sent
from router.core.easing import Easing
from router.core.outcomes import ACCEPTED, BREAKER, DECLINED, DOUBTFUL, UNMEASURED, Outcomes, Phase, Probe, bits_of
from router.core.overrides import Override
from router.core.recency import Recency
from router.core.suppression import Suppression
from router.core.turns import take_turn
from router.core.usage import Usage
from router.model.codes import LeadStatus, Outcome
from router.model.decision import Bid
from router.model.facts import (
    AnyFact,
    Asked,
    Attempted,
    Bidden,
    Certified,
    Contracts,
    Contradicted,
    Decided,
    Deposited,
    Ended,
    Entry,
    GuardProbing,
    GuardRecovered,
    GuardTripped,
    Overridden,
    PassedOver,
    Paused,
    Queued,
    Received,
    Reopened,
    Repeating,
    Reserved,
    Restored,
    Resumed,
    Settled,
    Suppressed,
    TermsLoaded,
    Turn,
)
from router.model.lead import Lead
from router.model.times import NS_DAY

KEYS_KEPT_NS: Final = 7 * NS_DAY
RECENT_ANSWERS: Final = 100
RECENT_OUTCOMES: Final = 20
_DAYS_KEPT: Final = 400
#: How many memories past their time go with each new one: more than come, so that they do not pile up.
_FORGOTTEN_AT_ONCE: Final = 2
#: The rule an attempt without an answer in time was classified by.
TIMED_OUT: Final = "transport:read_timeout"


#: Raised with every change to what a fact does to the state: a snapshot of another fold is not trusted.
FOLD_VERSION: Final = 17


class Held(Struct):
    """A delivery that holds its reservation: in flight, or in doubt."""

    lead_id: str
    contract_id: str
    buyer_id: str
    at_ns: int
    steady_ns: int
    price: int
    day: str
    rate_interval_ns: int
    test: bool
    status: Literal["in_flight", "in_doubt"] = "in_flight"
    attempts: int = 0
    repeating: bool = False  # an attempt after the recorded ones may have left
    doubted: bool = False  # some attempt ended in doubt, or was cut short by a crash
    sent: bool = False  # some byte may have left
    guarded: bool = False
    bits: int = DOUBTFUL  # what the last attempt said (see `core.outcomes`)
    took_us: int = UNMEASURED
    counted: tuple[str, ...] = ()  # the rotations ("lead_type/tier#epoch") that count it as sold
    terms_version: str = ""  # under which its body was, or will be, rendered
    reference: str | None = None  # of the buyer's bid


class OpenLead(Struct):
    """A lead whose routing has not ended, or that a doubt may yet reopen."""

    lead: Lead
    status: LeadStatus = "routing"
    terms_version: str = ""
    mode: Literal["exclusive", "shared"] = "exclusive"
    area: str = ""
    ranking: Contracts = ()
    decided: bool = False
    # Of the steady clock: receipt; from which `deliver_within` counts (receipt, or release from the queue); from which
    # the deadline counts (the same, or when routing was taken up again).
    received_steady_ns: int = 0
    released_steady_ns: int = 0
    selling_steady_ns: int = 0
    buyers: dict[str, str] = field(default_factory=dict)  # buyer -> contract it was offered through
    deliveries: dict[str, Outcome | None] = field(default_factory=dict)
    copies: int = 0
    revenue: int = 0
    redirect_url: str | None = None
    throttled: tuple[str, ...] = ()  # contracts whose throttle counted the lead at its decision
    asked: Asked | None = None  # who was asked for a bid, until it is decided
    bids: dict[str, Bid] = field(default_factory=dict)  # what they said, by contract, as long as the ranking is walked


class Pause(Struct):
    """Why and until when a contract, buyer or source is paused."""

    reason: str
    by: str
    at_ns: int
    until_ns: int | None = None


class Answers(Struct):
    """A contract's answers: the last hundred (`1` accepted, `0` not, newest last), and counts per local day.

    `outcomes` are the first letters of how the last deliveries ended at first, doubts and failures too, newest last.
    """

    recent: str = ""
    outcomes: str = ""
    days: dict[str, tuple[int, int]] = field(default_factory=dict)  # day -> (accepted, answered)
    auth_failures: int = 0  # running


class Overpriced(Struct):
    """A contract's answers that named more than was reserved: how many since when, and the last one."""

    since_ns: int
    at_ns: int
    count: int
    price: int
    reserved: int


class Certificate(Struct):
    """An endpoint's last certification, and the version it last passed at (none: never)."""

    version: str
    at_ns: int
    passed: bool
    failed: tuple[str, ...]
    by: str
    postal_code: str | None = None
    passed_version: str | None = None
    passed_at_ns: int = 0


class Rotation(Struct):
    """Where a stateful tier stands. weighted: `current` credit; percentage: `eligible` leads and `sold` ones.

    Another `roster` begins another `epoch`, whose counts know nothing of what was sold before.
    """

    roster: str
    epoch: int = 0
    current: dict[str, int] = field(default_factory=dict)
    eligible: dict[str, int] = field(default_factory=dict)
    sold: dict[str, int] = field(default_factory=dict)


class Key(Struct):
    """A lead already taken under an Idempotency-Key or external id."""

    lead_id: str
    steady_ns: int
    body_sha256: bytes = b""


class State(Struct):
    """The fold. Owners are `contract:ID`, `buyer:ID`, `source:ID`."""

    identity: Identity
    usage: dict[str, Usage] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)  # buyer -> deliveries on their way to it
    rates: dict[str, Bucket] = field(default_factory=dict)  # by contract
    recency: dict[str, Recency] = field(default_factory=dict)  # by contract
    held: dict[str, Held] = field(default_factory=dict)
    open: dict[str, OpenLead] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    overpriced: dict[str, Overpriced] = field(default_factory=dict)  # by contract
    outcomes: dict[str, Outcomes] = field(default_factory=dict)  # by contract
    guards: dict[str, dict[str, Phase]] = field(default_factory=dict)  # contract -> guard -> what it is at
    throttled: tuple[str, ...] = ()  # contracts that some tripped guard throttles, or that come back from a pause
    easing: dict[str, Easing] = field(default_factory=dict)  # contract -> how it comes back from a pause
    overrides: dict[str, Override] = field(default_factory=dict)  # by owner
    rotations: dict[str, Rotation] = field(default_factory=dict)  # "lead_type/tier"
    paused: dict[str, Pause] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)  # by "buyer/endpoint"
    deposits: dict[str, int] = field(default_factory=dict)  # buyer -> minor units since ever
    payments: dict[str, int] = field(default_factory=dict)  # "buyer\0reference" -> amount
    consumers: Consumers = field(default_factory=Consumers)
    suppressed: dict[bytes, Suppression] = field(default_factory=dict)  # by the mark of a contact
    keys: dict[str, Key] = field(default_factory=dict)  # "source\0key", oldest first
    externals: dict[str, Key] = field(default_factory=dict)  # "source\0external_id", oldest first
    terms_version: str = ""
    steady_ns: int = 0  # the latest reading of the steady clock
    last_at_ns: int = 0

    # -- the fold --------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """One fact happened. Total: a fact about something unknown changes nothing."""
        if entry.at_ns > self.last_at_ns:
            self.last_at_ns = entry.at_ns
        fact = entry.fact
        _APPLY[type(fact)](self, entry, fact)

    def _received(self, entry: Entry, fact: Received) -> None:
        lead = entry.lead
        if not fact.test:
            self._usage(f"source:{fact.source_id}").add(entry.at_ns, 0)
        if lead is None:  # the person was forgotten: nothing to route, nothing to compare with
            return
        steady_ns = fact.steady_ns or entry.at_ns
        if fact.steady_ns > self.steady_ns:
            self.steady_ns = fact.steady_ns
        self._remember(entry, fact, lead, steady_ns)
        if fact.duplicate_of is None:
            self.open[fact.lead_id] = OpenLead(
                lead=lead, received_steady_ns=steady_ns, released_steady_ns=steady_ns, selling_steady_ns=steady_ns
            )
        if fact.test:
            return
        self.consumers.remember(
            self.identity, lead, duplicate=fact.duplicate_of is not None, at_ns=entry.at_ns, steady_ns=steady_ns
        )

    def _asked(self, _entry: Entry, fact: Asked) -> None:
        lead = self.open.get(fact.lead_id)
        if lead is not None:
            lead.asked, lead.bids = fact, {}
            self._throttled(fact.throttled)

    def _bidden(self, _entry: Entry, fact: Bidden) -> None:
        lead = self.open.get(fact.lead_id)
        if lead is not None and not fact.late:
            lead.bids = {bid.contract_id: bid for bid in fact.bids}

    def _decided(self, entry: Entry, fact: Decided) -> None:
        lead = self.open.get(fact.lead_id)
        if lead is None:
            return
        lead.decided = True
        lead.status = "routing"
        lead.mode = fact.mode
        lead.area = fact.area
        lead.ranking = fact.ranking
        lead.terms_version = fact.terms_version
        lead.throttled = fact.throttled
        if lead.asked is not None:
            lead.throttled = (*lead.asked.throttled, *fact.throttled)
            lead.asked = None
        if fact.throttled:
            self._throttled(fact.throttled)
        if fact.by == "queue":
            lead.released_steady_ns = lead.selling_steady_ns = fact.steady_ns or entry.at_ns
        for turn in fact.turns:
            self._turn(lead.lead.lead_type, turn)

    def _turn(self, lead_type: str, turn: Turn) -> None:
        place = f"{lead_type}/{turn.tier}"
        rotation = self.rotations.get(place)
        if rotation is None or rotation.roster != turn.roster:
            rotation = self.rotations[place] = Rotation(turn.roster, rotation.epoch + 1 if rotation else 0)
        if turn.method == "percentage":
            for member in turn.members:
                rotation.eligible[member] = rotation.eligible.get(member, 0) + 1
            return
        take_turn(rotation.current, turn.members, turn.weights, turn.picked)

    def _reserved(self, entry: Entry, fact: Reserved) -> None:
        at_ns, delivery_id, contract_id, buyer_id, price = (
            entry.at_ns, fact.delivery_id, fact.contract_id, fact.buyer_id, fact.price,
        )  # fmt: skip
        self.held[delivery_id] = Held(
            fact.lead_id,
            contract_id,
            buyer_id,
            at_ns,
            fact.steady_ns,
            price,
            fact.day,
            fact.rate_interval_ns,
            fact.test,
            guarded=fact.guarded,
            terms_version=fact.terms_version,
            reference=fact.reference,
        )
        lead = self.open.get(fact.lead_id)
        if lead is not None:
            lead.deliveries[delivery_id] = None
            lead.buyers[buyer_id] = contract_id
        if fact.test:
            return
        if fact.steady_ns > self.steady_ns:
            self.steady_ns = fact.steady_ns
        self._usage(f"contract:{contract_id}").add(at_ns, price)
        self._usage(f"buyer:{buyer_id}").add(at_ns, price)
        self.in_flight[buyer_id] = self.in_flight.get(buyer_id, 0) + 1
        recency = self.recency.get(contract_id)
        if recency is None:
            recency = self.recency[contract_id] = Recency()
        recency.at.append(fact.steady_ns)
        if self.guards:
            for phase in self.guards.get(contract_id, {}).values():
                phase.begin_probe(delivery_id)
        if fact.rate_interval_ns:
            bucket = self.rates.get(contract_id)
            if bucket is None:
                bucket = self.rates[contract_id] = Bucket()
            bucket.take(delivery_id, fact.steady_ns, fact.rate_interval_ns)
        if self.rotations:
            self.held[delivery_id].counted = self._count_sold(contract_id)
        sent = Sent(contract_id, buyer_id, at_ns, steady_ns=fact.steady_ns)
        self.consumers.send(self.identity, fact.lead_id, delivery_id, sent)

    def _repeating(self, _entry: Entry, fact: Repeating) -> None:
        held = self.held.get(fact.delivery_id)
        if held is not None:
            held.repeating = True
            if fact.n - 1 > held.attempts:  # a crash cut one short: it was never recorded, and may have been taken
                held.attempts, held.doubted = fact.n - 1, True

    def _attempted(self, _entry: Entry, fact: Attempted) -> None:
        held = self.held.get(fact.delivery_id)
        if held is None:
            return
        held.attempts = fact.n
        held.repeating = False
        held.sent = held.sent or fact.sent
        held.doubted = held.doubted or fact.outcome == "in_doubt"
        answers = self._answers(held.contract_id)
        answers.auth_failures = answers.auth_failures + 1 if fact.auth_failed else 0
        if held.test:
            return
        self.steady_ns = max(self.steady_ns, fact.steady_ns)
        held.bits = bits_of(fact.outcome, timed_out=fact.rule == TIMED_OUT, late=fact.late, unhealthy=fact.unhealthy)
        held.took_us = round(fact.took_ms * 1000) if fact.sent else UNMEASURED
        self._outcome(held.contract_id).add(
            fact.steady_ns or self.steady_ns, held.bits, fact.delivery_id, held.took_us, guarded=held.guarded
        )

    def _settled(self, entry: Entry, fact: Settled) -> None:
        held = self.held.get(fact.delivery_id)
        if held is None:
            return
        if held.status == "in_flight" and not held.test and fact.by is None:
            answers = self._answers(held.contract_id)
            answers.outcomes = (answers.outcomes + fact.outcome[0])[-RECENT_OUTCOMES:]
            if fact.answer_price is not None:
                self._overprice(entry, held, fact.answer_price)
        lead = self.open.get(held.lead_id)
        if lead is not None:
            lead.deliveries[fact.delivery_id] = fact.outcome
            if fact.outcome == "failed" and fact.by == "restart":  # it never left: the buyer may be asked again
                lead.buyers.pop(held.buyer_id, None)
            if fact.outcome == "accepted":
                lead.copies += 1
                lead.revenue += held.price if fact.price is None else fact.price
                lead.redirect_url = lead.redirect_url or fact.redirect_url
        if not held.test:
            self._probed(held, fact)
        self.consumers.settle(self.identity, held.lead_id, fact.delivery_id, fact.outcome)
        if fact.outcome == "in_doubt":  # the reservation stays; but the exchange is over, and its connection free
            self._landed(held)
            held.status = "in_doubt"
            self._spend_token(fact.delivery_id, held)
            return
        del self.held[fact.delivery_id]
        if not held.test:
            self._unhold(held, fact)

    def _overprice(self, entry: Entry, held: Held, price: int) -> None:
        seen = self.overpriced.get(held.contract_id)
        if seen is None or entry.at_ns - seen.at_ns > NS_DAY:
            seen = self.overpriced[held.contract_id] = Overpriced(entry.at_ns, entry.at_ns, 0, price, held.price)
        seen.at_ns, seen.count, seen.price, seen.reserved = entry.at_ns, seen.count + 1, price, held.price

    def _probed(self, held: Held, fact: Settled) -> None:
        """A probe is answered; and a doubt that somebody could resolve is an answer after all."""
        for phase in self.guards.get(held.contract_id, {}).values() if self.guards else ():
            never_left = fact.by == "restart" and fact.outcome == "failed"
            doubtful = fact.outcome == "in_doubt"
            phase.end_probe(
                fact.delivery_id,
                None if never_left else Probe(DOUBTFUL) if doubtful else Probe(held.bits, held.took_us),
            )
        if resolves_a_doubt(held, fact):
            self.steady_ns = max(self.steady_ns, fact.steady_ns)
            bits = ACCEPTED if fact.outcome == "accepted" else DECLINED
            self._outcome(held.contract_id).add(
                fact.steady_ns or self.steady_ns, bits, fact.delivery_id, UNMEASURED, guarded=held.guarded
            )

    def _landed(self, held: Held) -> None:
        """A delivery is no longer on its way to the buyer."""
        if held.status == "in_flight" and not held.test:
            self.in_flight[held.buyer_id] -= 1

    def _unhold(self, held: Held, fact: Settled) -> None:
        """Confirm the reservation or release it, once."""
        self._landed(held)
        if fact.outcome in ("accepted", "rejected", "duplicate"):
            self._answered(held, fact.outcome == "accepted")
        owners = (f"contract:{held.contract_id}", f"buyer:{held.buyer_id}")
        if held.sent or fact.outcome == "accepted":
            self._spend_token(fact.delivery_id, held)
        elif held.rate_interval_ns:
            self.rates[held.contract_id].give_back(fact.delivery_id)
        if fact.outcome == "accepted":
            self.recency[held.contract_id].confirm(held.steady_ns)
            billed = held.price if fact.price is None else fact.price
            if billed != held.price:
                for owner in owners:
                    self._usage(owner).reprice(held.at_ns, held.price, billed)
            return
        self.recency[held.contract_id].release(held.steady_ns)
        for owner in owners:
            self._usage(owner).remove(held.at_ns, held.price)
        for place, rotation in self.rotations.items() if held.counted else ():
            if f"{place}#{rotation.epoch}" in held.counted:
                rotation.sold[held.contract_id] -= 1

    def _spend_token(self, delivery_id: str, held: Held) -> None:
        """A byte left, or may have left: the rate token is not given back any more."""
        if held.rate_interval_ns and not held.test:
            self.rates[held.contract_id].spend(delivery_id)

    def _answered(self, held: Held, accepted: bool) -> None:
        answers = self._answers(held.contract_id)
        answers.recent = (answers.recent + ("1" if accepted else "0"))[-RECENT_ANSWERS:]
        took, all_ = answers.days.get(held.day, (0, 0))
        answers.days[held.day] = (took + accepted, all_ + 1)
        if len(answers.days) > _DAYS_KEPT:
            del answers.days[min(answers.days)]

    def _count_sold(self, contract_id: str) -> tuple[str, ...]:
        """Count a sale in every rotation the contract takes part in; says in which."""
        counted = []
        for place, rotation in self.rotations.items():
            if contract_id in rotation.eligible:
                rotation.sold[contract_id] = rotation.sold.get(contract_id, 0) + 1
                counted.append(f"{place}#{rotation.epoch}")
        return tuple(counted)

    def _ended(self, _entry: Entry, fact: Ended) -> None:
        lead = self.open.get(fact.lead_id)
        if lead is not None:
            lead.status = fact.status
            self._close(fact.lead_id, lead)

    def _queued(self, _entry: Entry, fact: Queued) -> None:
        lead = self.open.get(fact.lead_id)
        if lead is not None:
            lead.status = "queued"

    def _reopened(self, entry: Entry, fact: Reopened) -> None:
        lead = self.open.get(fact.lead_id)
        if lead is None and entry.lead is not None:
            steady_ns = (fact.steady_ns or entry.at_ns) - entry.at_ns + entry.lead.received_at_ns
            lead = self.open[fact.lead_id] = OpenLead(
                lead=entry.lead,
                received_steady_ns=steady_ns,
                released_steady_ns=steady_ns,
                buyers=dict(fact.offered),
                copies=fact.copies,
                revenue=fact.revenue,
            )
        if lead is not None:
            lead.status = "routing"
            lead.selling_steady_ns = fact.steady_ns or entry.at_ns

    def _paused(self, entry: Entry, fact: Paused) -> None:
        self.paused[f"{fact.subject}:{fact.id}"] = Pause(fact.reason, fact.by, entry.at_ns, fact.until_ns)
        self._ease(fact, entry.at_ns, entry.at_ns if fact.until_ns is None else fact.until_ns)

    def _resumed(self, entry: Entry, fact: Resumed) -> None:
        self.paused.pop(f"{fact.subject}:{fact.id}", None)
        if fact.subject == "contract" and fact.id in self.answers:
            self.answers[fact.id].auth_failures = 0
            self.answers[fact.id].outcomes = ""  # whoever resumes has looked at them
        self._ease(fact, entry.at_ns, entry.at_ns)

    def _ease(self, fact: Paused | Resumed, at_ns: int, from_ns: int) -> None:
        """The contracts come back over the time that was said last; those that have are forgotten."""
        for contract_id in (fact.id,) if fact.subject == "contract" else fact.contracts:
            self.easing.pop(contract_id, None)
            if fact.ramp_ns:
                self.easing[contract_id] = Easing(fact.by, from_ns, fact.ramp_ns)
            self._list_throttled(contract_id)
        for contract_id in [name for name, easing in self.easing.items() if easing.until_ns <= at_ns]:
            del self.easing[contract_id]
            self._list_throttled(contract_id)

    def _overridden(self, entry: Entry, fact: Overridden) -> None:
        self._forget_overrides(entry.at_ns)
        self.overrides[f"{fact.subject}:{fact.id}"] = Override(
            reason=fact.reason,
            by=fact.by,
            at_ns=entry.at_ns,
            until_ns=fact.until_ns,
            caps=dict(fact.caps),
            spends=dict(fact.spends),
            guards_off=fact.guards_off,
        )

    def _restored(self, entry: Entry, fact: Restored) -> None:
        self._forget_overrides(entry.at_ns)
        self.overrides.pop(f"{fact.subject}:{fact.id}", None)

    def _forget_overrides(self, at_ns: int) -> None:
        """Let go of those that are over."""
        self.overrides = {owner: one for owner, one in self.overrides.items() if at_ns < one.until_ns}

    def _guard_tripped(self, entry: Entry, fact: GuardTripped) -> None:
        phases = self.guards.setdefault(fact.contract_id, {})
        before = phases.get(fact.guard)
        phases[fact.guard] = Phase(
            state="tripped",
            action=fact.action,
            since_ns=before.since_ns if before is not None and fact.again else entry.at_ns,
            value=fact.value,
            sample=fact.sample,
            until_ns=fact.steady_until_ns,
            turns=before.turns if before is not None and fact.again else 0,
            causes=fact.causes,
            detail=before.detail if before is not None and fact.again else fact.detail,
        )
        self._list_throttled(fact.contract_id)

    def _guard_probing(self, _entry: Entry, fact: GuardProbing) -> None:
        phase = self.guards.get(fact.contract_id, {}).get(fact.guard)
        if phase is not None:
            phase.state = "probing"
            phase.probes_max = fact.probes
            self._list_throttled(fact.contract_id)

    def _guard_recovered(self, _entry: Entry, fact: GuardRecovered) -> None:
        phase = self.guards.get(fact.contract_id, {}).get(fact.guard)
        if phase is not None:
            outcomes = self._outcome(fact.contract_id)
            if fact.guard == BREAKER:
                outcomes.running = 0
            self.guards[fact.contract_id][fact.guard] = Phase(
                state="closed",
                action=phase.action,
                since_ns=phase.since_ns,
                value=phase.value,
                sample=phase.sample,
                start=outcomes.total,
            )
            self._list_throttled(fact.contract_id)

    def _list_throttled(self, contract_id: str) -> None:
        phases = self.guards.get(contract_id, {}).values()
        others = [one for one in self.throttled if one != contract_id]
        guarded = any(phase.state == "tripped" and phase.action == "throttle" for phase in phases)
        if guarded or contract_id in self.easing:
            others.append(contract_id)
        self.throttled = tuple(others)

    def _throttled(self, contracts: tuple[str, ...]) -> None:
        """A lead was one for which these would have been eligible: each of their throttles counts it."""
        for contract_id in contracts:
            for phase in self.guards.get(contract_id, {}).values():
                if phase.state == "tripped" and phase.action == "throttle":
                    phase.turns += 1
            if contract_id in self.easing:
                self.easing[contract_id].turns += 1

    def _deposited(self, _entry: Entry, fact: Deposited) -> None:
        self.deposits[fact.buyer_id] = self.deposits.get(fact.buyer_id, 0) + fact.amount
        self.payments[f"{fact.buyer_id}\0{fact.reference}"] = fact.amount

    def _suppressed(self, entry: Entry, fact: Suppressed) -> None:
        for mark in fact.marks.values():
            self.suppressed.setdefault(mark, Suppression(fact.by, entry.at_ns))

    def _certified(self, entry: Entry, fact: Certified) -> None:
        key = f"{fact.buyer_id}/{fact.endpoint}"
        before = self.certificates.get(key)
        passed_version = before.passed_version if before is not None else None
        passed_at_ns = before.passed_at_ns if before is not None else 0
        self.certificates[key] = Certificate(
            version=fact.version,
            at_ns=entry.at_ns,
            passed=fact.passed,
            failed=fact.failed,
            by=fact.by,
            postal_code=fact.postal_code,
            passed_version=fact.version if fact.passed else passed_version,
            passed_at_ns=entry.at_ns if fact.passed else passed_at_ns,
        )

    def _terms_loaded(self, _entry: Entry, fact: TermsLoaded) -> None:
        self.terms_version = fact.terms_version

    # -- parts -----------------------------------------------------------------------------------

    def _usage(self, owner: str) -> Usage:
        usage = self.usage.get(owner)
        if usage is None:
            usage = self.usage[owner] = Usage()
        return usage

    def _answers(self, contract_id: str) -> Answers:
        answers = self.answers.get(contract_id)
        if answers is None:
            answers = self.answers[contract_id] = Answers()
        return answers

    def _outcome(self, contract_id: str) -> Outcomes:
        outcomes = self.outcomes.get(contract_id)
        if outcomes is None:
            outcomes = self.outcomes[contract_id] = Outcomes()
        return outcomes

    def _close(self, lead_id: str, lead: OpenLead) -> None:
        """Let go of a lead that has ended and holds nothing."""
        if lead.status not in ("routing", "queued") and not any(d in self.held for d in lead.deliveries):
            self.open.pop(lead_id, None)

    def _remember(self, entry: Entry, fact: Received, lead: Lead, steady_ns: int) -> None:
        if entry.idempotency is not None:
            key = f"{fact.source_id}\0{entry.idempotency.key}"
            self.keys[key] = Key(fact.lead_id, steady_ns, entry.idempotency.body_sha256)
        if lead.external_id is not None:
            self.externals[f"{fact.source_id}\0{lead.external_id}"] = Key(fact.lead_id, steady_ns)
        for kept in (self.keys, self.externals):
            for _ in range(_FORGOTTEN_AT_ONCE):
                if not kept or kept[oldest := next(iter(kept))].steady_ns >= steady_ns - KEYS_KEPT_NS:
                    break
                del kept[oldest]

    # -- reading ---------------------------------------------------------------------------------

    def acceptance(self, contract_id: str) -> float:
        """Accepted over answered of the last 100 answers; 1 below 20 (SPEC section 3, `best`)."""
        answers = self.answers.get(contract_id)
        if answers is None or len(answers.recent) < 20:
            return 1.0
        return answers.recent.count("1") / len(answers.recent)

    # -- snapshots -------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The whole state as bytes: equal states give equal bytes."""
        for usage in self.usage.values():
            usage.sums = {}
        return msgspec.msgpack.encode(self)

    @classmethod
    def load(cls, image: bytes) -> "State":
        """The state that `dump` wrote. Raises msgspec.DecodeError when it is not one."""
        return msgspec.msgpack.decode(image, type=cls)

    @classmethod
    def trusted(cls, image: bytes, identity: Identity) -> "State | None":
        """The state that a snapshot holds, if it is one and remembers what is needed now."""
        try:
            state = cls.load(image)
        except msgspec.MsgspecError:
            return None
        return state if state.identity == identity else None


def resolves_a_doubt(held: Held, fact: Settled) -> bool:
    """Whether somebody learned what a doubt came to. What terms assume of one is nobody's answer."""
    return held.status == "in_doubt" and fact.outcome in ("accepted", "rejected") and fact.by != "terms"


#: Each takes the kind of fact that it stands beside, and no other: which is more than a dict's type can say.
_APPLY: Final[dict[type[AnyFact], Callable[[State, Entry, AnyFact], None]]] = {
    Received: State._received,  # type: ignore[dict-item]
    Asked: State._asked,  # type: ignore[dict-item]
    Bidden: State._bidden,  # type: ignore[dict-item]
    Decided: State._decided,  # type: ignore[dict-item]
    Reserved: State._reserved,  # type: ignore[dict-item]
    PassedOver: lambda _state, _entry, _fact: None,  # it tells why, and changes nothing
    Repeating: State._repeating,  # type: ignore[dict-item]
    Attempted: State._attempted,  # type: ignore[dict-item]
    Settled: State._settled,  # type: ignore[dict-item]
    Contradicted: lambda _state, _entry, _fact: None,  # what was resolved stands
    Ended: State._ended,  # type: ignore[dict-item]
    Queued: State._queued,  # type: ignore[dict-item]
    Reopened: State._reopened,  # type: ignore[dict-item]
    Paused: State._paused,  # type: ignore[dict-item]
    Resumed: State._resumed,  # type: ignore[dict-item]
    Overridden: State._overridden,  # type: ignore[dict-item]
    Restored: State._restored,  # type: ignore[dict-item]
    GuardTripped: State._guard_tripped,  # type: ignore[dict-item]
    GuardProbing: State._guard_probing,  # type: ignore[dict-item]
    GuardRecovered: State._guard_recovered,  # type: ignore[dict-item]
    Deposited: State._deposited,  # type: ignore[dict-item]
    Suppressed: State._suppressed,  # type: ignore[dict-item]
    Certified: State._certified,  # type: ignore[dict-item]
    TermsLoaded: State._terms_loaded,  # type: ignore[dict-item]
}
