"""Random terms, leads and events for property tests, small enough to collide often."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st
from msgspec import convert
from msgspec.structs import replace

from router.core.bidding import Bids, stand_ins, taken_in
from router.core.calendar import Calendar
from router.core.consumers import Identity
from router.core.decide import Choice, choose, decided_fact, named, recheck, reserve
from router.core.index import Board
from router.core.live import Live, identity_of
from router.core.masks import bits
from router.core.rules.standing import Moment, clock_of
from router.core.selling import End, Offer, copies_of, next_move, payout_once
from router.core.state import Held, OpenLead, State
from router.engine.times import deadline_of
from router.model.codes import Outcome
from router.model.decision import Bid
from router.model.facts import (
    AnyFact,
    Asked,
    Attempted,
    Bidden,
    Deposited,
    Ended,
    Entry,
    Overridden,
    Paused,
    Received,
    Repeating,
    Reserved,
    Restored,
    Resumed,
    Settled,
    Words,
)
from router.model.lead import Consent, Contact, Lead
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_S, parse_instant
from router.terms.book import Book, ContractPlan
from router.terms.compile import TermsError, compile_book
from router.terms.schema import CoverageTerms
from router.terms.steps import at_once
from tests import factory
from tests.property.dice import Dice
from tests.property.reference import Reference, names

CALENDAR = Calendar()
CODES = ["78701", "78702", "78710", "10001", "10002", "90210"]
NEAR = [*CODES, "78703", "78722"]  # and some that entries name and no lead bears
PHONES = ["+15125550147", "+15125550148", "+15125550149"]
#: Few leads have these, so that suppressing them leaves something to decide.
RARE: list[tuple[Contact, str]] = [("phone", "+15125550150"), ("email", "eve@example.com")]


TODAY = date(2026, 11, 24)
ZONES = ("America/New_York", "Asia/Kolkata")
#: Hours before something odd happens to somebody's clock, and whose it is.
STARTS: list[tuple[int, tuple[str, ...]]] = [
    (parse_instant(text), zones)
    for text, zones in [
        ("2026-11-24T17:00:00Z", ZONES),
        ("2026-11-24T18:29:00Z", ("Asia/Kolkata", "Asia/Kathmandu")),  # midnight at half past, and at a quarter past
        ("2026-11-01T04:00:00Z", ("America/New_York", "America/Havana")),  # an hour comes twice; midnight does
        ("2026-03-08T04:30:00Z", ("America/New_York", "America/Havana")),  # an hour is missing; midnight is
        ("2026-04-04T13:00:00Z", ("Australia/Lord_Howe", "UTC")),  # half an hour comes twice
        ("2026-10-03T14:00:00Z", ("Australia/Lord_Howe", "UTC")),  # half an hour is missing
        ("2026-04-23T21:00:00Z", ("Africa/Cairo", "UTC")),  # midnight is missing
        ("2026-10-24T20:00:00Z", ("Asia/Beirut", "UTC")),  # the hour before midnight comes twice
        ("2026-12-31T23:00:00Z", ("UTC", "Europe/London")),  # week, month and year turn over
    ]
]
HOURS = [
    ["Mon-Fri 08:00-18:00", "Sat 22:00-02:00"],
    ["00:00-24:00"],
    ["23:30-01:15"],
    ["Mon-Sun 00:30-12:00", "Mon-Sun 13:00-23:45"],
    ["Sun 01:00-03:00", "Sat-Sun 12:00-13:00"],
]


def criteria(dice: Dice, depth: int = 2) -> dict[str, Any]:
    """A criteria tree over the test lead type's fields."""
    kinds = ("min", "max", "equals", "one_of", "bool", "pattern") + (("all", "any", "not") if depth else ())
    kind = dice.of(*kinds)
    if kind == "not":
        return {"not": criteria(dice, depth - 1)}
    if kind in ("all", "any"):
        return {kind: [criteria(dice, depth - 1) for _ in range(dice.of(1, 2))]}
    missing = {"missing": "pass"} if dice.one_in(2) else {}
    if kind in ("min", "max"):
        return {"field": "credit_score", kind: dice.of(600, 650), **missing}
    if kind == "equals":
        return {"field": "utility", "equals": dice.of("oncor", "pec"), **missing}
    if kind == "one_of":
        return {"field": "utility", dice.of("one_of", "not_one_of"): ["oncor"], **missing}
    if kind == "bool":
        return {"field": "homeowner", "equals": dice.of(True, False), **missing}
    return {"field": "utility", "pattern": "onc.*", **missing}


@st.composite
def coverage(draw: Any) -> dict[str, Any]:
    """Coverage by code, prefix, range or everywhere, with exclusions."""
    return area(Dice(draw))


def area(dice: Dice) -> dict[str, Any]:
    """The same: never one that leaves out all it names, which is an error."""
    entries = [] if dice.one_in(2) else dice.some(3, *CODES, "787*", "78700-78705", "10001-10002", least=1)
    tree: dict[str, Any] = {"postal_codes": entries} if entries else {"everywhere": True}
    if dice.one_in(4):
        without = dice.some(2, *CODES, "7870*", least=1)
        kept = (code for code in NEAR if not any(names(entry, code) for entry in without))
        if not entries or any(names(entry, code) for code in kept for entry in entries):
            tree["exclude"] = {"postal_codes": without}
    return tree


def covering_otherwise(book: Book, plan: ContractPlan, tree: dict[str, Any]) -> Book:
    """The same terms with another coverage for one contract; as they are, where it would cover nothing."""
    terms = replace(plan.terms, coverage=convert(tree, CoverageTerms))
    contracts = tuple(terms if one.id == plan.id else one for one in plan.buyer.contracts)
    buyers = {**book.terms.buyers, plan.buyer_id: replace(plan.buyer, contracts=contracts)}
    try:
        return compile_book(replace(book.terms, buyers=buyers), book)
    except TermsError:
        return book


def caps(dice: Dice) -> list[dict[str, Any]]:
    """Small caps, so that they fill."""
    found = []
    for index in range(dice.of(0, 1, 2)):
        per = dice.of("day", "minute", "hour", "week", "month", "total")
        size = {"limit": dice.of(3, 2, 1, 1, 0)} if dice.one_in(2) else {"spend": "25.00"}
        window = {"window": "rolling"} if dice.one_in(2) and per != "total" else {}
        found.append({"id": f"cap{index}", "per": per, **size, **window})
    return found


def contract(
    dice: Dice, id_: str, tiers: list[str], *, stateless: bool = False, today: date = TODAY, asked: bool = False
) -> dict[str, Any]:
    """One contract with a few random terms; `asked` for a bid or not.

    Every term is there often, and all at once seldom: what nobody may ever have shows only that refusals are the same.
    """
    tree = factory.contract(
        id_,
        price=dice.of("10.00", "5.00", "12.50"),
        exclusive_price=dice.of(None, None, "15.00"),
        priority=dice.of(1, 2),
        weight=dice.of(1, 2, 3),
        share=dice.of(0.1, 0.2),
        tier=dice.of(*tiers),
        coverage=area(dice),
        status=dice.of(*["live"] * 8, "draft", "paused"),
        criteria=[criteria(dice) for _ in range(dice.of(0, 0, 0, 1, 1, 2))],
        sources=dice.of(*[["*"]] * 6, ["web"], ["other"]),
    )
    if dice.one_in(4):
        tree["fields"] = {
            "required": dice.of([], ["email"], ["credit_score"], ["credit_score", "email"], ["email", "credit_score"]),
            "rules": {
                "credit_score": dice.of({"min": 600}, {"max": 650}, {"one_of": [650]}, {"pattern": "6.*"}),
                "birth_date": {"min_age": 25, "max_age": 74},
            },
        }
    if dice.one_in(4):
        tree["consent"] = {
            "required": dice.of(False, True),
            "text": dice.of(False, True),
            "certificates": dice.of([], ["jornaya"], ["trustedform", "jornaya"]),
            "names_seller": dice.of("Bright Roof", "Bright Roof", "Other"),
            "max_age": dice.of("7d", "1h"),
        }
    if dice.one_in(4):
        tree["sla"] = {"max_lead_age": "10m", "deliver_within": "30s"}
    if asked:
        tree["min_bid"] = dice.of(None, "9.00")
    if stateless:
        return tree
    tree["caps"] = caps(dice)
    if dice.one_in(3):
        tree["rate"] = {"leads": dice.of(1, 2, 3), "per": "minute", "burst": dice.of(1, 2)}
    if dice.one_in(3):
        tree["schedule"] = {"open": dice.of(*HOURS), "closed_dates": dice.of([], [], [today.isoformat()])}
    if dice.one_in(4):
        tree["ramp"] = {"start": 1, "step": 1, "every": dice.of("1d", "2d"), "until": 3}
        tree["ramp"] |= dice.of({}, {"hold_below_acceptance": 0.6})
        tree["go_live"] = (today + timedelta(days=dice.of(-3, -1, 0, 1))).isoformat()
    if dice.one_in(4):
        tree["pacing"] = "even"
        tree["caps"] = [*tree["caps"], {"id": "daily", "per": "day", "limit": 4}]
    if dice.one_in(3):
        tree["dedup"] = {
            "keys": dice.of([["phone"]], [["phone"], ["email"]], [["phone", "email"]]),
            "window": dice.of("1h", "30d"),
            "scope": dice.of("contract", "buyer", "lead_type"),
            "counts": dice.of("accepted", "delivered"),
        }
    return tree


WALLETS: list[dict[str, str]] = [
    {"mode": "none"}, {"mode": "none"}, {"mode": "prepay"}, {"mode": "postpay", "credit_limit": "30.00"},
]  # fmt: skip
PING = {"ping": {"url": "http://127.0.0.1:9/ping", "bid": "price", "body": {"zip": "{{postal_code}}"}}}
#: What a buyer may bid, minor units.
BIDS = st.sampled_from([None, 700, 899, 900, 1000, 1250, 1500, 2600])
METHODS = ("price", "priority", "weighted", "percentage", "round_robin")


@st.composite
def books(draw: Any, *, stateless: bool = False, today: date = TODAY, zones: tuple[str, ...] = ZONES) -> Book:
    """A Book of a few buyers with a few contracts each."""
    dice = Dice(draw)
    tiers = ["main", "rest"][: dice.of(1, 2)]
    kind = {
        "tiers": [
            {"name": name, "method": dice.of(*METHODS), "secondary": dice.of(*METHODS)} for name in tiers
        ],
        "sell": {
            "mode": dice.of("exclusive", "shared", "best"), "max_copies": dice.of(1, 2, 3), "parallel": dice.of(1, 2),
            **({"floor": "8.00", "margin_floor": "1.00"} if dice.one_in(4) else {}),
        },
    }  # fmt: skip
    asked = [dice.one_in(3) for _ in range(dice.of(1, 2, 3, 4))]
    buyers = [
        factory.buyer(
            f"b{number}",
            *[
                contract(dice, f"b{number}-c{each}", tiers, stateless=stateless, today=today, asked=pings)
                for each in range(dice.of(1, 2))
            ],
            time_zone=dice.of(*zones),
            status="live" if stateless else dice.of(*["live"] * 8, "paused", "closed"),
            max_in_flight=dice.of(64, 1, 2),
            caps=[] if stateless else caps(dice),
            wallet={"mode": "none"} if stateless else dice.of(*WALLETS),
            endpoint={"idempotent": dice.of(False, True)} | (PING if pings else {}),
        )
        for number, pings in enumerate(asked)
    ]
    payout = dice.of("3.00", {"amount": "3.00", "per": "sold_copy"})
    return factory.book(*buyers, lead_type=kind, source={"payout": {"solar": payout}})


@st.composite
def leads(draw: Any, number: int = 0, at_ns: int = factory.NOON) -> Lead:
    """A lead that may miss anything."""
    dice = Dice(draw)
    consent = Consent(
        given_at_ns=dice.of(at_ns - NS_MINUTE, at_ns - NS_MINUTE, at_ns - 2 * NS_HOUR, None),
        text=dice.of("I agree", "I agree", None),
        jornaya_lead_id=dice.of(
            "0F8FAD5B-D9CB-469F-A165-70867728950E", "0F8FAD5B-D9CB-469F-A165-70867728950E", "no", None
        ),
        sellers=dice.of(("bright  roof",), ("bright  roof",), (), ("Other", "More")),
    )
    return factory.lead(
        f"lead-{number}",
        at_ns=at_ns,
        age_ns=dice.of(0, 0, 0, 11 * NS_MINUTE),
        consent=None if dice.one_in(4) else consent,
        postal_code=dice.of(*CODES, None),
        phone=dice.of(*PHONES, *PHONES, RARE[0][1], None),
        email=dice.of("ana@example.com", "ana@example.com", "bo@example.com", "bo@example.com", RARE[1][1], None),
        credit_score=dice.of(650, 600, 700, 599, None),
        utility=dice.of("oncor", "pec", None),
        homeowner=dice.of(True, False, None),
        birth_date=dice.of("1980-11-24", "1980-11-24", "2010-01-01", "1930-01-01", None),
        test=dice.one_in(10),
    )


class World:
    """A Book, its state and boards, and the facts so far: what the engine does, without ledger and network.

    Beside it goes the `Reference`: it is told of the same events, and asked the same questions.
    """

    def __init__(self, book: Book, start_ns: int = factory.NOON) -> None:
        self.book = book
        self.state = State(identity_of(book))
        self.live = Live(book)
        self.reference = Reference(book.terms, kept=self.state.identity.keep_ns, remembers=self.remembers)
        self.entries: list[Any] = []
        self.found: dict[str, Any] = {}  # what refused each contract that the last decision blocked
        self.words: dict[str, dict[str, Words]] = {}  # by board: what decisions said of contracts last
        self.now_ns = start_ns
        self.steady_ns = start_ns
        self.offset_ns = 0
        self.flying: list[str] = []
        self.doubted: set[str] = set()  # deliveries that are on their way once more after a crash
        self.rankings: dict[str, tuple[str, ...]] = {}
        self.count = 0
        self._snapshot, self._followed = self.state.dump(), 0

    def remembers(self, lead_id: str) -> bool:
        """Whether dedup still knows of a lead."""
        return lead_id in self.state.consumers.seen

    def edit(self, book: Book) -> None:
        """Other terms come into force."""
        self.book = book
        self.live = at_once(Live.building(book, self.live))
        self.reference.terms = book.terms

    def moment(self) -> Moment:
        """Now."""
        self.reference.now, self.reference.steady = self.now_ns, self.steady_ns
        if self.now_ns - self.steady_ns != self.offset_ns:  # as the engine does when the wall clock was set
            self.offset_ns = self.now_ns - self.steady_ns
            self.live.forget()
        return Moment(self.now_ns, self.steady_ns, CALENDAR)

    def note(self, fact: AnyFact, lead: Lead | None = None) -> None:
        """Apply a fact as the engine does."""
        held = self.state.held.get(fact.delivery_id) if isinstance(fact, Settled) else None
        entry = factory.entry(fact, self.now_ns, lead)
        self.state.apply(entry)
        self.entries.append(entry)
        if isinstance(fact, Reserved):
            self.live.told(fact, fact.contract_id, fact.buyer_id, self.state)
        elif held is not None:
            self.live.told(fact, held.contract_id, held.buyer_id, self.state)
        elif isinstance(fact, (Overridden, Restored)):
            self.live.told(fact, fact.id, fact.id, self.state)
            self.reference.now = self.now_ns
            limits = (fact.until_ns, fact.caps, fact.spends) if isinstance(fact, Overridden) else (0, {}, {})
            self.reference.overridden(f"{fact.subject}:{fact.id}", *limits)
        elif isinstance(fact, Paused):
            self.live.told(fact, fact.id, fact.id, self.state)
            self.reference.paused[f"{fact.subject}:{fact.id}"] = fact.until_ns
        elif isinstance(fact, Resumed):
            self.live.told(fact, fact.id, fact.id, self.state)
            self.reference.paused.pop(f"{fact.subject}:{fact.id}", None)
        elif isinstance(fact, Deposited):
            self.live.told(fact, "", fact.buyer_id, self.state)
            self.reference.deposits[fact.buyer_id] = self.reference.deposits.get(fact.buyer_id, 0) + fact.amount

    def ask(self, lead: Lead, bids: Bids | None = None) -> list[Choice]:
        """The fast decision on every board of the lead type; without `bids` nobody was asked for one."""
        self.reference.stand_ins = lead.test
        self.reference.bids = {} if bids is None else {name: bid.price for name, bid in bids.by_contract.items()}
        sell = self.book.lead_types["solar"].sell
        return [
            choose(
                standings,
                self.state,
                lead,
                self.moment(),
                released_at_ns=lead.received_at_ns,
                copies=copies_of(sell, standings.board.mode)[0],
                payout=payout_once(self.book.sources[lead.source_id].payout.get("solar")),
                bids=stand_ins(standings.board) if lead.test else bids,
            )
            for standings in self.live.modes(lead)
        ]

    def take_bids(self, lead: Lead, bids: dict[str, int | None]) -> Bids:
        """Contracts were asked for bids, and this is what they bid."""
        told = tuple(Bid(contract_id=name, price=price, actual=str(price)) for name, price in bids.items())
        self.note(Asked(lead_id=lead.lead_id, terms_version=self.book.version, contracts=tuple(bids)))
        self.note(Bidden(lead_id=lead.lead_id, bids=told))
        return taken_in(self.state.open[lead.lead_id])

    def take(self, lead: Lead) -> None:
        """Take a lead in."""
        self.note(
            Received(
                lead_id=lead.lead_id, source_id="web", lead_type="solar", test=lead.test, steady_ns=self.steady_ns
            ),
            lead,
        )

    def sell(self, lead: Lead, bids: Bids | None = None) -> Choice:
        """Decide about a lead, taken in before or now, and reserve for the winners."""
        if lead.lead_id not in self.state.open:
            self.take(lead)
        choice = max(self.ask(lead, bids), key=lambda one: one.expected(self.state))
        standings = self.live.standings(lead, choice.board.mode)
        assert standings is not None
        self.found = {choice.board.ids[rank]: standings.finding(rank) for rank in bits(sum(choice.blocked.values()))}
        decided = self.decided = decided_fact(choice, standings, lead)
        self.note(decided)
        self.words.setdefault(decided.board, {}).update(decided.said)
        ranking = self.rankings[lead.lead_id] = named(choice.board, decided.ranking)
        if not lead.test:
            winners = [choice.board.ids[rank] for rank in choice.winners]
            self.reference.decided(list(ranking), winners, choice.board.mode)
        _, at_once = copies_of(self.book.lead_types["solar"].sell, choice.board.mode)
        for place, rank in enumerate(choice.winners[:at_once]):
            self._reserve(choice.board, rank, lead, place, choice.bids)
        if not choice.winners:
            self.note(Ended(lead_id=lead.lead_id, status="unsold", reason="no_eligible_contract"))
        return choice

    def _reserve(self, board: Board, rank: int, lead: Lead, place: int, bids: Bids | None) -> None:
        self.count += 1
        delivery_id = f"d{self.count}"
        self.note(
            reserve(board, rank, self.state, lead, self.moment(), delivery_id=delivery_id, place=place, bids=bids)
        )
        self.reference.reserved(delivery_id, board.ids[rank], lead, board.mode)
        self.flying.append(delivery_id)

    def attempt(self, delivery_id: str, outcome: Outcome, *, sent: bool = True) -> None:
        """An attempt of a delivery ends."""
        self.note(
            Attempted(
                delivery_id=delivery_id, n=self.state.held[delivery_id].attempts + 1, sent_at_ns=self.now_ns, took_ms=1,
                request_sha256="", outcome=outcome, rule="t", sent=sent,
            )
        )  # fmt: skip

    def repeat(self, delivery_id: str) -> None:
        """One more attempt of a delivery begins; one that was cut short has its number too."""
        held = self.state.held[delivery_id]
        begun = held.attempts + (held.repeating or not held.attempts)
        self.note(Repeating(delivery_id=delivery_id, n=begun + 1))

    def fail_one(self, which: int, *, sent: bool, again: bool) -> None:
        """The attempt of a delivery that is under way fails; it waits to be tried once more, and perhaps is."""
        ids = self.under_way()
        delivery_id = ids[which % len(ids)]
        self.attempt(delivery_id, "failed", sent=sent)
        if again:
            self.repeat(delivery_id)

    def restart(self, at: int) -> None:
        """The process dies and starts: state of a snapshot of the first `at` facts and those after it; boards anew."""
        state = State.load(folded(self.state.identity, self.entries[:at]).dump())
        for entry in self.entries[at:]:
            state.apply(entry)
        assert state.dump() == self.state.dump()
        self.state, self.live = state, Live(self.book)

    def follow(self) -> None:
        """Load the snapshot that was taken last, apply what happened since: it is the state; take a snapshot of it."""
        state = State.load(self._snapshot)
        for entry in self.entries[self._followed :]:
            state.apply(entry)
        self._snapshot, self._followed = state.dump(), len(self.entries)
        assert self._snapshot == self.state.dump()

    def take_up(self) -> None:
        """After a start: deliveries that were under way come to what is known of them, and every lead goes on."""
        for delivery_id, held, outcome in self.interrupted():
            self.reference.settled(delivery_id, outcome, None, held.sent or outcome == "in_doubt")
        for lead_id, lead in list(self.state.open.items()):
            if lead.status == "routing":
                self.advance(lead_id)

    def interrupted(self) -> list[tuple[str, Held, Outcome]]:
        """What the process left under way when it died; gives back what has ended, and as what.

        What waited to be tried again after a failure has failed. Anything else may have been sent: an idempotent
        endpoint is asked again with the same bytes, before the deadline, and otherwise it is in doubt.
        """
        ended: list[tuple[str, Held, Outcome]] = []
        for delivery_id in self.under_way():
            held = self.state.held[delivery_id]
            waited = held.attempts > 0 and not held.repeating and delivery_id not in self.doubted
            assert held.doubted == (delivery_id in self.doubted)
            if waited:
                self.note(Settled(delivery_id=delivery_id, outcome="failed", reason="restart", by="restart"))
                self.flying.remove(delivery_id)
                ended.append((delivery_id, held, "failed"))
            elif self._may_ask_again(held):
                self.doubted.add(delivery_id)
                self.repeat(delivery_id)
            else:
                self.note(Settled(delivery_id=delivery_id, outcome="in_doubt", reason="crash", by="restart"))
                ended.append((delivery_id, held, "in_doubt"))
        return ended

    def under_way(self) -> list[str]:
        """The deliveries whose outcome nobody knows yet."""
        return [delivery_id for delivery_id in self.flying if self.state.held[delivery_id].status == "in_flight"]

    def _may_ask_again(self, held: Held) -> bool:
        plan, lead = self.book.contracts.get(held.contract_id), self.state.open.get(held.lead_id)
        if plan is None or lead is None or held.terms_version != self.book.version:
            return False
        return plan.endpoint.idempotent and self.steady_ns < deadline_of(lead, self.book)

    def settle(self, delivery_id: str, outcome: Outcome, *, cheaper: bool = False, sent: bool = True) -> None:
        """A delivery's attempt ends, and with it the delivery, or its doubt is resolved; then the next in rank."""
        held = self.state.held[delivery_id]
        if outcome == "failed" and delivery_id in self.doubted:  # that proves nothing about the attempt before
            outcome = "in_doubt"
        price = (held.price - cheaper) if outcome == "accepted" else None
        if held.status == "in_flight":
            self.attempt(delivery_id, outcome, sent=sent)
        self.note(Settled(delivery_id=delivery_id, outcome=outcome, price=price))
        self.reference.settled(delivery_id, outcome, price, held.sent or held.status == "in_doubt")
        if outcome != "in_doubt":
            self.flying.remove(delivery_id)
        self.advance(held.lead_id)

    def advance(self, lead_id: str, *, exhausted: bool = False) -> None:
        """Offer the lead to the next in rank, or end it, as the engine does."""
        lead = self.state.open.get(lead_id)
        if lead is None:
            return
        sell, now = self.book.lead_types["solar"].sell, self.steady_ns
        deadline_ns = deadline_of(lead, self.book)
        move = next_move(lead, sell, now_ns=now, deadline_ns=deadline_ns, exhausted=exhausted)
        if isinstance(move, Offer):
            if self._offer(lead, move.copies) == move.copies:
                return
            move = next_move(lead, sell, now_ns=now, deadline_ns=deadline_ns, exhausted=True)
        if isinstance(move, End):
            self.note(Ended(lead_id=lead_id, status=move.status, reason=move.reason, copies=lead.copies))

    def _offer(self, lead: OpenLead, copies: int) -> int:
        """Reserve for the next in rank, each judged again; how many could be."""
        standings = self.live.standings(lead.lead, lead.mode)
        offered, released_ns = 0, clock_of(self.moment(), lead.released_steady_ns)
        bids = taken_in(lead) if standings is None or not lead.lead.test else stand_ins(standings.board)
        self.reference.stand_ins = lead.lead.test
        self.reference.bids = {name: bid.price for name, bid in lead.bids.items()}
        for place, name in enumerate(self.rankings.get(lead.lead.lead_id, ()) if standings is not None else ()):
            plan = self.book.contracts.get(name)
            if plan is None or plan.buyer_id in lead.buyers or standings is None:
                continue
            rank = recheck(
                standings.board, standings, self.state, lead.lead, self.moment(), contract_id=name,
                released_at_ns=released_ns, bids=bids,
            )  # fmt: skip
            refusals = self.reference.refusals(plan.buyer, plan.terms, lead.lead, lead.mode, released_ns)
            assert (rank is None) == bool(refusals), (name, refusals)
            if rank is not None:
                self._reserve(standings.board, rank, lead.lead, place, bids)
                offered += 1
                if offered == copies:
                    break
        return offered


def folded(identity: Identity, entries: Iterable[Entry]) -> State:
    """The state that facts come to."""
    state = State(identity)
    for entry in entries:
        state.apply(entry)
    return state


STEPS = [NS_S, 20 * NS_S, NS_MINUTE, NS_HOUR, 5 * NS_HOUR, NS_DAY]
#: How far somebody sets the wall clock.
SET = [30 * NS_S, NS_HOUR, NS_DAY, 365 * NS_DAY]
