"""Random terms, leads and events for property tests, small enough to collide often."""

from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from router.core.decide import Choice, choose, decided_fact, reserve
from router.core.live import Live, identity_of
from router.core.rules.standing import Moment
from router.core.selling import copies_of
from router.core.state import State
from router.model.facts import AnyFact, Decided, Deposited, Paused, Received, Reserved, Resumed, Settled
from router.model.lead import Consent, Lead
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_S
from router.terms.book import Book
from router.terms.compile import TermsError
from tests import factory

CODES = ["78701", "78702", "78710", "10001", "10002", "90210"]
SCORES = st.sampled_from([None, 599, 600, 650, 700])
PHONES = ["+15125550147", "+15125550148", "+15125550149"]


def _maybe(draw: Any, what: Any) -> Any:
    return draw(st.one_of(st.none(), what))


@st.composite
def criteria(draw: Any, depth: int = 2) -> dict[str, Any]:
    """A criteria tree over the test lead type's fields."""
    kinds = ["min", "max", "equals", "one_of", "bool", "pattern"] + (["all", "any", "not"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    missing = {"missing": "pass"} if draw(st.booleans()) else {}
    if kind in ("min", "max"):
        return {"field": "credit_score", kind: draw(st.sampled_from([600, 650])), **missing}
    if kind == "equals":
        return {"field": "utility", "equals": draw(st.sampled_from(["oncor", "pec"])), **missing}
    if kind == "one_of":
        return {"field": "utility", draw(st.sampled_from(["one_of", "not_one_of"])): ["oncor"], **missing}
    if kind == "bool":
        return {"field": "homeowner", "equals": draw(st.booleans()), **missing}
    if kind == "pattern":
        return {"field": "utility", "pattern": "onc.*", **missing}
    if kind == "not":
        return {"not": draw(criteria(depth=depth - 1))}
    return {kind: draw(st.lists(criteria(depth=depth - 1), min_size=1, max_size=2))}


@st.composite
def coverage(draw: Any) -> dict[str, Any]:
    """Coverage by code, prefix, range or everywhere, with exclusions."""
    tree: dict[str, Any] = {"everywhere": True} if draw(st.booleans()) else {}
    if not tree:
        entries = st.sampled_from([*CODES, "787*", "78700-78705", "10001-10002"])
        tree["postal_codes"] = draw(st.lists(entries, min_size=1, max_size=3))
    if draw(st.integers(0, 3)) == 0:
        tree["exclude"] = {"postal_codes": draw(st.lists(st.sampled_from([*CODES, "7870*"]), min_size=1, max_size=2))}
    return tree


@st.composite
def caps(draw: Any) -> list[dict[str, Any]]:
    """Small caps, so that they fill."""
    found = []
    for index in range(draw(st.integers(0, 2))):
        per = draw(st.sampled_from(["minute", "hour", "day", "week", "month", "total"]))
        size = {"limit": draw(st.integers(0, 3))} if draw(st.booleans()) else {"spend": "25.00"}
        window = {"window": "rolling"} if draw(st.booleans()) and per != "total" else {}
        found.append({"id": f"cap{index}", "per": per, **size, **window})
    return found


@st.composite
def contract(draw: Any, id_: str, tiers: list[str], *, stateless: bool = False) -> dict[str, Any]:
    """One contract with a few random terms."""
    tree = factory.contract(
        id_,
        price=draw(st.sampled_from(["5.00", "10.00", "12.50"])),
        priority=draw(st.integers(1, 2)),
        weight=draw(st.integers(1, 3)),
        share=draw(st.sampled_from([0.1, 0.2])),
        tier=draw(st.sampled_from(tiers)),
        coverage=draw(coverage()),
        status=draw(st.sampled_from(["live", "live", "live", "draft", "paused"])),
        criteria=draw(st.lists(criteria(), max_size=2)),
        sources=draw(st.sampled_from([["*"], ["web"], ["other"]])) if draw(st.integers(0, 3)) == 0 else ["*"],
    )
    if draw(st.integers(0, 2)) == 0:
        tree["fields"] = {
            "required": draw(st.lists(st.sampled_from(["email", "credit_score"]), max_size=2, unique=True)),
            "rules": {
                "credit_score": draw(
                    st.sampled_from([{"min": 600}, {"max": 650}, {"one_of": [650]}, {"pattern": "6.*"}])
                ),
                "birth_date": {"min_age": 25, "max_age": 74},
            },
        }
    if draw(st.integers(0, 3)) == 0:
        tree["consent"] = {
            "required": draw(st.booleans()),
            "text": draw(st.booleans()),
            "certificates": draw(st.sampled_from([[], ["jornaya"], ["trustedform", "jornaya"]])),
            "names_seller": draw(st.sampled_from(["Bright Roof", "Other"])),
            "max_age": draw(st.sampled_from(["1h", "7d"])),
        }
    if draw(st.integers(0, 3)) == 0:
        tree["sla"] = {"max_lead_age": "10m", "deliver_within": "30s"}
    if stateless:
        return tree
    tree["caps"] = draw(caps())
    if draw(st.integers(0, 2)) == 0:
        tree["rate"] = {"leads": draw(st.integers(1, 3)), "per": "minute", "burst": draw(st.integers(1, 2))}
    if draw(st.integers(0, 2)) == 0:
        tree["schedule"] = {"open": ["Mon-Fri 08:00-18:00", "Sat 22:00-02:00"]}
    if draw(st.integers(0, 3)) == 0:
        tree["ramp"] = {"start": 1, "step": 1, "every": "1d", "until": 3, "hold_below_acceptance": 0.6}
        tree["go_live"] = "2026-11-23"
    if draw(st.integers(0, 3)) == 0:
        tree["pacing"] = "even"
        tree["caps"] = [*tree["caps"], {"id": "daily", "per": "day", "limit": 4}]
    if draw(st.integers(0, 2)) == 0:
        tree["dedup"] = {
            "keys": draw(st.sampled_from([[["phone"]], [["phone"], ["email"]], [["phone", "email"]]])),
            "window": draw(st.sampled_from(["1h", "30d"])),
            "scope": draw(st.sampled_from(["contract", "buyer", "lead_type"])),
            "counts": draw(st.sampled_from(["accepted", "delivered"])),
        }
    return tree


WALLETS = st.sampled_from(
    [{"mode": "none"}, {"mode": "prepay"}, {"mode": "postpay", "credit_limit": "30.00"}, {"mode": "none"}]
)
METHODS = ["price", "priority", "weighted", "percentage", "round_robin"]


@st.composite
def books(draw: Any, *, stateless: bool = False) -> Book:
    """A Book of a few buyers with a few contracts each."""
    names = ["main", "rest"][: draw(st.integers(1, 2))]
    tiers = [
        {
            "name": name,
            "method": draw(st.sampled_from(METHODS)),
            "secondary": draw(st.sampled_from(["price", "priority", "round_robin"])),
        }
        for name in names
    ]
    mode = draw(st.sampled_from(["exclusive", "shared", "best"]))
    sell = {"mode": mode, "max_copies": draw(st.integers(1, 3)), "parallel": draw(st.integers(1, 2))}
    if draw(st.integers(0, 3)) == 0:
        sell |= {"floor": "8.00", "margin_floor": "1.00"}
    buyers = [
        factory.buyer(
            f"b{number}",
            *[
                draw(contract(f"b{number}-c{each}", names, stateless=stateless))
                for each in range(draw(st.integers(1, 2)))
            ],
            time_zone=draw(st.sampled_from(["America/New_York", "Asia/Kolkata"])),
            max_in_flight=draw(st.sampled_from([1, 2, 64])),
            caps=[] if stateless else draw(caps()),
            wallet=draw(WALLETS) if not stateless else {"mode": "none"},
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    source = {"payout": {"solar": draw(st.sampled_from(["3.00", {"amount": "3.00", "per": "sold_copy"}]))}}
    try:
        return factory.book(*buyers, lead_type={"tiers": tiers, "sell": sell}, source=source)
    except TermsError:  # a coverage that excludes all it names
        reject()


@st.composite
def leads(draw: Any, number: int = 0, at_ns: int = factory.NOON) -> Lead:
    """A lead that may miss anything."""
    consent = None
    if draw(st.integers(0, 2)):
        consent = Consent(
            given_at_ns=_maybe(draw, st.sampled_from([at_ns - NS_MINUTE, at_ns - 2 * NS_HOUR])),
            text=_maybe(draw, st.just("I agree")),
            jornaya_lead_id=_maybe(draw, st.sampled_from(["0F8FAD5B-D9CB-469F-A165-70867728950E", "no"])),
            sellers=draw(st.sampled_from([(), ("bright  roof",), ("Other", "More")])),
        )
    return factory.lead(
        f"lead-{number}",
        at_ns=at_ns,
        age_ns=draw(st.sampled_from([0, 11 * NS_MINUTE])),
        consent=consent,
        postal_code=_maybe(draw, st.sampled_from(CODES)),
        phone=_maybe(draw, st.sampled_from(PHONES)),
        email=_maybe(draw, st.sampled_from(["ana@example.com", "bo@example.com"])),
        credit_score=draw(SCORES),
        utility=_maybe(draw, st.sampled_from(["oncor", "pec"])),
        homeowner=_maybe(draw, st.booleans()),
        birth_date=_maybe(draw, st.sampled_from(["2010-01-01", "1980-11-24", "1930-01-01"])),
        test=draw(st.integers(0, 9)) == 0,
    )


class World:
    """A Book, its state and boards, and the facts so far: what the engine does, without ledger and network."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.state = State(identity_of(book))
        self.live = Live(book)
        self.entries: list[Any] = []
        self.now_ns = factory.NOON
        self.steady_ns = factory.NOON
        self.flying: list[str] = []
        self.count = 0

    def moment(self) -> Moment:
        """Now."""
        return Moment(self.now_ns, self.steady_ns, factory.moment().calendar)

    def note(self, fact: AnyFact, lead: Lead | None = None) -> None:
        """Apply a fact as the engine does."""
        held = self.state.held.get(fact.delivery_id) if isinstance(fact, Settled) else None
        entry = factory.entry(fact, self.now_ns, lead)
        self.state.apply(entry)
        self.entries.append(entry)
        if isinstance(fact, Reserved):
            self.live.told(fact, fact.contract_id, fact.buyer_id, self.state.in_flight.get(fact.buyer_id, 0))
        elif held is not None:
            self.live.told(fact, held.contract_id, held.buyer_id, self.state.in_flight.get(held.buyer_id, 0))
        elif isinstance(fact, (Paused, Resumed)):
            self.live.told(fact, fact.id, fact.id, 0)
        elif isinstance(fact, Deposited):
            self.live.told(fact, "", fact.buyer_id, 0)

    def ask(self, lead: Lead) -> list[Choice]:
        """The fast decision on every board of the lead type."""
        sell = self.book.lead_types["solar"].sell
        return [
            choose(
                standings,
                self.state,
                lead,
                self.moment(),
                released_at_ns=lead.received_at_ns,
                copies=copies_of(sell, standings.board.mode)[0],
                payout=300,
            )
            for standings in self.live.modes("solar")
        ]

    def sell(self, lead: Lead) -> Choice:
        """Take a lead in, decide, reserve for the winners."""
        self.note(Received(lead_id=lead.lead_id, source_id="web", lead_type="solar", test=lead.test), lead)
        choice = max(self.ask(lead), key=lambda one: one.expected(self.state))
        decided: Decided = decided_fact(choice, self.state, lead)
        self.note(decided)
        for place, rank in enumerate(choice.winners):
            self.count += 1
            delivery_id = f"d{self.count}"
            self.note(
                reserve(choice.board, rank, self.state, lead, self.moment(), delivery_id=delivery_id, place=place)
            )
            self.flying.append(delivery_id)
        return choice


STEPS = [NS_S, 20 * NS_S, NS_MINUTE, NS_HOUR, 5 * NS_HOUR, NS_DAY, -NS_HOUR, -30 * NS_S]
