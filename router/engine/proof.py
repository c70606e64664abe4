"""Why: explanations of what would be decided, traces of what was, and how contracts stand now. Reads, never acts."""

from typing import Any, Final

from router.clock import Clock
from router.core.bidding import stand_ins
from router.core.calendar import calendar_window
from router.core.decide import choose
from router.core.easing import share_ppm
from router.core.explain import allowances, as_json, as_recorded, explain, stopped
from router.core.guards import BREAKER_PLAN, Reading, read, stage, wanted
from router.core.index import Board, members
from router.core.overrides import caps_now, of_contract
from router.core.rules.standing import (
    Moment,
    balance,
    cap_used,
    cap_window,
    clock_of,
    is_certified,
    ramp_limit,
    standing,
)
from router.core.rules.static import Mode
from router.core.selling import copies_of, payout_once
from router.core.state import Answers, Held
from router.core.usage import Usage
from router.engine import archive
from router.engine.bids_told import bids_told
from router.engine.bids_told import line as bids_line
from router.engine.engine import Engine
from router.engine.slices import Slices
from router.ledger.protocol import Ledger
from router.model.facts import (
    Asked,
    Attempted,
    Bidden,
    Contradicted,
    Decided,
    Ended,
    Entry,
    PassedOver,
    Queued,
    Received,
    Reopened,
    Repeating,
    Reserved,
    Settled,
)
from router.model.lead import Lead
from router.model.money import format_money
from router.model.times import format_instant
from router.terms.book import Book, CapPlan, ContractPlan, GuardPlan

BOOKS_KEPT: Final = 4
DOUBTS_SHOWN: Final = 20


class Library:
    """Books of past terms versions, revived from the ledger when somebody asks; the last few are kept."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._books: dict[str, Book] = {}
        self._boards: dict[tuple[str, str, Mode, str], Board] = {}

    async def book(self, version: str, current: Book) -> Book | None:
        """The Book of a terms version; None when the ledger does not know it."""
        if version == current.version:
            return current
        book = self._books.get(version)
        if book is None:
            book = await archive.fetch(version, current, self._ledger, self._clock)
            if book is None:
                return None
            self._books[version] = book
            while len(self._books) > BOOKS_KEPT:
                self._drop(next(iter(self._books)))
        return book

    async def board(self, book: Book, lead_type: str, mode: Mode, area: str) -> Board:
        """A board of a Book; the same one again while the Book is kept."""
        key = (book.version, lead_type, mode, area)
        board = self._boards.get(key)
        if board is None:
            steps = Board.building(book, lead_type, mode, area, members(book, lead_type, area))
            board = self._boards[key] = await Slices(self._clock).run(steps)
        return board

    def _drop(self, version: str) -> None:
        del self._books[version]
        for key in [key for key in self._boards if key[0] == version]:
            del self._boards[key]


class Proof:
    """Answers "why" over an engine and its ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._library = Library(engine.ledger, engine.clock)

    # -- what would be ---------------------------------------------------------------------------

    def explain(self, lead: Lead) -> dict[str, Any]:
        """The full decision for a lead: every contract of its type, every failure. Nothing is recorded or reserved.

        A `duplicate_of` another lead it would be taken, and nobody be asked.
        """
        engine = self._engine
        sell = engine.book.lead_types[lead.lead_type].sell
        source = engine.book.sources.get(lead.source_id)
        once = payout_once(source.payout.get(lead.lead_type) if source is not None else None)
        moment = engine.moment()
        answers = []
        for standings in engine.live.modes(lead):
            copies, _ = copies_of(sell, standings.board.mode)
            choice = choose(
                standings,
                engine.state,
                lead,
                moment,
                released_at_ns=lead.received_at_ns,
                copies=copies,
                payout=once,
                bids=stand_ins(standings.board) if lead.test else None,
            )
            answers.append((choice.expected(engine.state), standings, choice))
        _, standings, choice = max(answers, key=lambda answer: answer[0])
        decision = explain(
            standings.board, engine.state, lead, moment, released_at_ns=lead.received_at_ns, choice=choice
        )
        twin = engine.duplicate_of(lead, moment)
        return {**as_json(decision), "mode": standings.board.mode, "duplicate_of": twin}

    # -- what was --------------------------------------------------------------------------------

    async def trace(self, lead_id: str, contract: str | None = None) -> dict[str, Any] | None:
        """Everything about one lead, from its facts; None for an unknown one.

        `contract` asks about that contract alone, whoever it is. Once the person is forgotten, refusals that would have
        to be worked out from the lead are left out.
        """
        numbered = await self._engine.ledger.entries_of(lead_id)
        entries = [entry for _, entry in numbered]
        first = next((entry for entry in entries if isinstance(entry.fact, Received)), None)
        if first is None or not isinstance(first.fact, Received):
            return None
        view = await self._engine.view(lead_id)
        received = first.fact
        return {
            "lead_id": lead_id,
            "status": view.status if view is not None else "routing",
            "reason": view.reason if view is not None else None,
            "source_id": received.source_id,
            "lead_type": received.lead_type,
            "received_at": format_instant(first.at_ns),
            "test": received.test,
            "duplicate_of": received.duplicate_of,
            "copies": view.copies if view is not None else 0,
            "payout": format_money(view.payout if view is not None else 0),
            "postal_code": first.lead.postal_code if first.lead is not None else None,
            "decisions": [
                await self._decision(entries, place, seq, first.lead, contract)
                for place, (seq, entry) in enumerate(numbered)
                if isinstance(entry.fact, Decided)
            ],
            "deliveries": [
                await self._delivery(entries, entry, entry.fact, first.lead)
                for entry in entries
                if isinstance(entry.fact, Reserved) and contract in (None, entry.fact.contract_id)
            ],
            "bids": bids_told(entries, contract),
            "history": [line for entry in entries if (line := _history(entry)) is not None],
        }

    async def _decision(
        self, entries: list[Entry], place: int, seq: int, lead: Lead | None, contract: str | None
    ) -> dict[str, Any]:
        entry = entries[place]
        fact = entry.fact
        assert isinstance(fact, Decided)
        winners = tuple(_reserved_next(entries, place))
        book = await self._library.book(fact.terms_version, self._engine.book)
        if lead is None or book is None:
            return {
                "terms_version": fact.terms_version,
                "decided_at": format_instant(entry.at_ns),
                "refusals": [],
                "ranking": [] if isinstance(fact.ranking, bytes) else list(fact.ranking),
                "winners": list(winners),
                "mode": fact.mode,
                "by": fact.by,
            }
        board = await self._library.board(book, lead.lead_type, fact.mode, fact.area)
        words = await self._engine.ledger.said([*stopped(board, lead, fact, contract)], fact.board, seq)
        decision, counts = as_recorded(
            board,
            lead,
            fact,
            winners,
            at_ns=entry.at_ns,
            released_at_ns=_released_at_ns(entries[: place + 1], lead),
            words=words,
            only=contract,
        )
        return {**as_json(decision), "mode": fact.mode, "by": fact.by, "others": counts}

    async def _delivery(self, entries: list[Entry], entry: Entry, fact: Reserved, lead: Lead | None) -> dict[str, Any]:
        book = await self._library.book(fact.terms_version, self._engine.book)
        plan = book.contracts.get(fact.contract_id) if book is not None else None
        allowed = []
        if book is not None and plan is not None and lead is not None:
            released_at_ns = _released_at_ns(entries[: entries.index(entry)], lead)
            allowed = allowances(
                book, plan, lead, fact.claims, fact.price, at_ns=entry.at_ns, released_at_ns=released_at_ns
            )
        settled = [one for one in entries if isinstance(one.fact, Settled) and one.fact.delivery_id == fact.delivery_id]
        last = settled[-1].fact if settled else None
        assert last is None or isinstance(last, Settled)
        price = fact.price if last is None or last.price is None else last.price
        return {
            "delivery_id": fact.delivery_id,
            "contract_id": fact.contract_id,
            "buyer_id": fact.buyer_id,
            "outcome": last.outcome if last is not None else None,
            "state": "in_flight" if last is None else "in_doubt" if last.outcome == "in_doubt" else "settled",
            "reason": last.reason if last is not None else None,
            "price": format_money(price),
            "rank": fact.rank + 1,
            "reserved_at": format_instant(entry.at_ns),
            "late": last.late if last is not None else False,
            "reference": last.reference if last is not None else None,
            "resolved_by": last.by if last is not None else None,
            "test": fact.test,
            "terms_version": fact.terms_version,
            "allowed_by": [{"rule": one.rule, "expected": one.expected, "actual": one.actual} for one in allowed],
            "attempts": [
                _attempt(one.fact)
                for one in entries
                if isinstance(one.fact, Attempted) and one.fact.delivery_id == fact.delivery_id
            ],
            "contradicted": [
                {"at": format_instant(one.at_ns), "outcome": one.fact.outcome, "by": one.fact.by}
                for one in entries
                if isinstance(one.fact, Contradicted) and one.fact.delivery_id == fact.delivery_id
            ],
        }

    # -- what is ---------------------------------------------------------------------------------

    def contracts(self) -> list[dict[str, Any]]:
        """Terms and live state of every contract, by id."""
        plans, held = self._engine.book.contracts, self._held()
        return [self._contract(plans[contract_id], held) for contract_id in sorted(plans)]

    def contract(self, contract_id: str) -> dict[str, Any] | None:
        """Terms and live state of one contract; None when unknown."""
        plan = self._engine.book.contracts.get(contract_id)
        return self._contract(plan, self._held()) if plan is not None else None

    def _held(self) -> dict[str, dict[str, Held]]:
        """What each contract and buyer has in flight or in doubt: owner -> delivery id -> it."""
        found: dict[str, dict[str, Held]] = {}
        for delivery_id, one in self._engine.state.held.items():
            if not one.test:
                found.setdefault(f"contract:{one.contract_id}", {})[delivery_id] = one
                found.setdefault(f"buyer:{one.buyer_id}", {})[delivery_id] = one
        return found

    def _contract(self, plan: ContractPlan, held: dict[str, dict[str, Held]]) -> dict[str, Any]:
        engine, state = self._engine, self._engine.state
        moment = engine.moment()
        pauses = {name: state.paused.get(name) for name in (f"contract:{plan.id}", f"buyer:{plan.buyer_id}")}
        lifted = [
            {
                "subject": name,
                "reason": pause.reason,
                "by": pause.by,
                "until": format_instant(pause.until_ns) if pause.until_ns is not None else None,
            }
            for name, pause in pauses.items()
            if pause is not None and (pause.until_ns is None or moment.at_ns < pause.until_ns)
        ]
        refusals = [
            {"code": one.code, "expected": one.expected, "actual": one.actual}
            for one in standing(plan, state, moment, plan.price if plan.least_bid is None else plan.least_bid)
        ]
        return {
            "contract_id": plan.id,
            "buyer_id": plan.buyer_id,
            "lead_type": plan.lead_type,
            "status": plan.terms.status,
            "paused": bool(lifted) or "paused" in (plan.terms.status, plan.buyer.status),
            "pauses": lifted,
            "resuming": self._resuming(plan, moment),
            "overrides": self._overrides(plan, moment),
            "eligible_now": not refusals,
            "refusals": refusals,
            "tier": plan.tier.name,
            "price": format_money(plan.price),
            "priority": plan.terms.priority,
            "caps": [
                self._cap(plan, cap, list(held.get(cap.owner, {}).values()))
                for cap in caps_now(state.overrides, plan, moment.at_ns)
            ],
            "balance": None if (left := balance(plan.buyer, state)) is None else format_money(left),
            "ramp": self._ramp(plan),
            "guards": [self._guard(plan, guard, moment) for guard in plan.guards],
            "breaker": self._guard(plan, BREAKER_PLAN, moment),
            "in_flight": state.in_flight.get(plan.buyer_id, 0),
            "in_doubt": _doubts(held.get(plan.owner, {})),
            "rotation": self._rotation(plan),
            "endpoint": self._endpoint(plan),
        }

    def _resuming(self, plan: ContractPlan, moment: Moment) -> dict[str, Any] | None:
        """The share of leads a contract gets on its way back from a pause."""
        easing = self._engine.state.easing.get(plan.id)
        step = None if easing is None else easing.step(moment.at_ns)
        if easing is None or step is None:
            return None
        until = format_instant(easing.until_ns)
        return {"share": share_ppm(step) / 1_000_000, "until": until, "by": easing.by, "leads": easing.turns}

    def _overrides(self, plan: ContractPlan, moment: Moment) -> list[dict[str, Any]]:
        """What somebody set for a while in the place of the contract's terms or its buyer's."""
        return [
            {
                "subject": owner,
                "reason": one.reason,
                "by": one.by,
                "until": format_instant(one.until_ns),
                "caps": one.limits(),
                "guards": "off" if one.guards_off else "on",
            }
            for owner, one in of_contract(self._engine.state.overrides, plan, moment.at_ns)
        ]

    def _cap(self, plan: ContractPlan, cap: CapPlan, owned: list[Held]) -> dict[str, Any]:
        state, moment = self._engine.state, self._engine.moment()
        window = cap_window(cap, plan, moment)
        whole = cap_used(cap, state.usage.get(cap.owner, Usage()), window)
        inside = [one for one in owned if cap.per == "total" or window.start_ns <= one.at_ns < window.end_ns]
        held = len(inside) if cap.limit is not None else sum(one.price for one in inside)
        form = str if cap.limit is not None else format_money
        limit = cap.limit if cap.limit is not None else cap.spend
        plain = cap.limit is not None
        ends = None if cap.rolling or cap.per == "total" else format_instant(window.end_ns)
        return {
            "id": cap.id,
            "owner": cap.owner,
            "per": cap.per,
            "window": "rolling" if cap.rolling else "calendar",
            "limit": limit if plain else form(limit or 0),
            "used": whole - held if plain else form(whole - held),
            "held": held if plain else form(held),
            "resets_at": ends,
        }

    def _ramp(self, plan: ContractPlan) -> dict[str, Any] | None:
        if plan.ramp is None:
            return None
        state, moment = self._engine.state, self._engine.moment()
        today = calendar_window("day", moment.at_ns, plan.zone)
        used = state.usage.get(f"contract:{plan.id}", Usage()).leads(today.start_ns, today.end_ns)
        limit = ramp_limit(plan, plan.ramp, state.answers.get(plan.id, Answers()), moment)
        return {"limit": limit, "used": used, "until": plan.ramp.until, "resets_at": format_instant(today.end_ns)}

    def _guard(self, plan: ContractPlan, guard: GuardPlan, moment: Moment) -> dict[str, Any]:
        """What a guard is at: what tripped it while it is not closed, else what it reads now."""
        state = self._engine.state
        outcomes, phase = state.outcomes.get(plan.id), state.guards.get(plan.id, {}).get(guard.key)
        at = stage(guard, phase, moment.steady_ns)
        reading = read(guard, outcomes, phase, moment.steady_ns)
        if phase is not None and at != "closed":
            reading = Reading(phase.value, phase.sample)
        holds = phase is not None and at in ("tripped", "throttled")
        probes = phase.probes if phase is not None and at == "probing" else {}
        return {
            "metric": guard.metric,
            "state": at,
            "value": round(reading.value, 4) if reading is not None else None,
            "sample": reading.sample if reading is not None else 0,
            "until": format_instant(clock_of(moment, phase.until_ns)) if phase is not None and holds else None,
            "action": guard.action,
            "wants": wanted(guard),
            "min_sample": guard.min_sample,
            "deliveries": list(phase.causes) if phase is not None and at != "closed" else [],
            "probes": {
                "wanted": guard.probes,
                "sent": len(probes),
                "answered": sum(1 for probe in probes.values() if probe.bits),
            },
            **({"running": outcomes.running if outcomes is not None else 0} if guard is BREAKER_PLAN else {}),
        }

    def _endpoint(self, plan: ContractPlan) -> dict[str, Any]:
        """How the contract's endpoint stands: is it certified as it is now, and how did the last test go."""
        certificate = self._engine.state.certificates.get(plan.endpoint_key)
        return {
            "name": plan.endpoint.name,
            "version": plan.endpoint.version,
            "certified": is_certified(plan, self._engine.state),
            "last_test": None
            if certificate is None
            else {
                "at": format_instant(certificate.at_ns),
                "version": certificate.version,
                "passed": certificate.passed,
                "failed": list(certificate.failed),
                "by": certificate.by,
            },
        }

    def _rotation(self, plan: ContractPlan) -> dict[str, Any]:
        state = self._engine.state
        usage = state.usage.get(f"contract:{plan.id}")
        last = usage.last_at() if usage is not None else 0
        answers = state.answers.get(plan.id)
        turned = state.rotations.get(f"{plan.lead_type}/{plan.tier.name}")
        return {
            "last_sale": format_instant(last) if last else None,
            "acceptance": round(state.acceptance(plan.id), 4),
            "answers": len(answers.recent) if answers is not None else 0,
            "credit": turned.current.get(plan.id) if turned is not None else None,
        }


def _doubts(held: dict[str, Held]) -> list[dict[str, Any]]:
    """The oldest deliveries in doubt, for whoever resolves them."""
    doubts = sorted((one.at_ns, delivery_id, one) for delivery_id, one in held.items() if one.status == "in_doubt")
    return [
        {"delivery_id": delivery_id, "lead_id": one.lead_id, "since": format_instant(at_ns)}
        for at_ns, delivery_id, one in doubts[:DOUBTS_SHOWN]
    ]


def _released_at_ns(entries: list[Entry], lead: Lead) -> int:
    """From when `deliver_within` counts at the last of these facts: receipt, or the last release from the queue."""
    released = (one.at_ns for one in reversed(entries) if isinstance(one.fact, Decided) and one.fact.by == "queue")
    return next(released, lead.received_at_ns)


def _reserved_next(entries: list[Entry], place: int) -> list[str]:
    """The contracts that won a decision: those reserved together with it, in the same moment."""
    won = []
    for entry in entries[place + 1 :]:
        if not isinstance(entry.fact, Reserved) or entry.at_ns != entries[place].at_ns:
            break
        won.append(entry.fact.contract_id)
    return won


def _attempt(fact: Attempted) -> dict[str, Any]:
    return {
        "n": fact.n,
        "at": format_instant(fact.sent_at_ns),
        "took_ms": fact.took_ms,
        "request_sha256": fact.request_sha256,
        "status": fact.status,
        "outcome": fact.outcome,
        "rule": fact.rule,
        "reason": fact.reason,
        "detail": fact.detail,
        "peer": fact.peer,
    }


def _history(entry: Entry) -> dict[str, Any] | None:
    """One line of a lead's story, for what is neither decision nor attempt."""
    fact, at = entry.fact, format_instant(entry.at_ns)
    match fact:
        case Received():
            return {"at": at, "what": "received", "detail": f"from {fact.source_id}"}
        case PassedOver():
            return {
                "at": at,
                "what": "passed_over",
                "detail": ", ".join(f"{contract_id} ({said[0]})" for contract_id, said in fact.refusals.items()),
                "refusals": [
                    {"contract_id": contract_id, "code": code, "expected": expected, "actual": actual}
                    for contract_id, (code, expected, actual) in fact.refusals.items()
                ],
            }
        case Asked() | Bidden():
            return {"at": at, "what": "asked" if isinstance(fact, Asked) else "bids", "detail": bids_line(fact)}
        case Queued():
            return {"at": at, "what": "queued", "detail": None}
        case Reopened():
            return {"at": at, "what": "reopened", "detail": f"by {fact.by}"}
        case Repeating():
            return {"at": at, "what": "repeating", "detail": f"attempt {fact.n} of {fact.delivery_id}"}
        case Settled():
            return {"at": at, "what": "settled", "detail": f"{fact.delivery_id} {fact.outcome}", "by": fact.by}
        case Contradicted():
            return {"at": at, "what": "contradicted", "detail": f"{fact.delivery_id} {fact.outcome}", "by": fact.by}
        case Ended():
            return {"at": at, "what": "ended", "detail": fact.status + (f" ({fact.reason})" if fact.reason else "")}
        case _:
            return None
