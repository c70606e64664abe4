"""Each rule of a decision, on terms and leads small enough to check by eye."""

from collections.abc import Iterable
from typing import Any

import pytest

from router.core.bucket import Bucket
from router.core.calendar import Calendar
from router.core.consumers import Consumers, Identity, Sent, marks_of
from router.core.explain import allowances
from router.core.rules.finding import Finding
from router.core.rules.history import age_rule, dedup_rule
from router.core.rules.standing import Moment, schedule_rule, standing
from router.core.rules.static import (
    consent_rule,
    coverage_rule,
    criteria_rule,
    fields_rule,
    price_rule,
    source_rule,
)
from router.core.state import Answers, State
from router.core.usage import Usage
from router.model.facts import Paused
from router.model.lead import Consent, Lead
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, NS_S, format_age, parse_instant
from router.terms.book import Book, ContractPlan
from tests import factory
from tests.factory import NOON

ONCOR_OR_BILL = [{"field": "utility", "equals": "oncor"}, {"field": "monthly_bill", "min": 120}]
JORNAYA = "0F8FAD5B-D9CB-469F-A165-70867728950E"
TRUSTEDFORM = "https://cert.trustedform.com/" + "0123456789abcdef" * 2 + "01234567"


def one(**terms: Any) -> tuple[Book, ContractPlan]:
    """A Book with one contract of those terms."""
    buyer = terms.pop("buyer", {})
    book = factory.book(factory.buyer("b", factory.contract("c", **terms), **buyer))
    return book, book.contracts["c"]


def codes(found: Iterable[Finding]) -> list[str]:
    """The refusal codes of some findings."""
    return [finding.code for finding in found]


def test_source() -> None:
    """Only the named sources, and never an excluded one."""
    book, plan = one(sources=["*"], exclude_sources=["web"])
    assert codes(source_rule(book, plan, factory.lead())) == ["source_not_allowed"]
    assert not codes(source_rule(book, plan, factory.lead(source="other")))


def test_coverage_and_exclusion() -> None:
    """A code is covered by exact entry, range or prefix; an exclusion wins over everything; the country must match."""
    book, plan = one(coverage={"postal_codes": ["787*", "10001-10003"], "exclude": {"postal_codes": ["78799"]}})
    covered = ["78701", "10001", "10003"]
    assert [codes(coverage_rule(book, plan, factory.lead(postal_code=code))) for code in covered] == [[], [], []]
    for code in ("78799", "10004", None):
        assert codes(coverage_rule(book, plan, factory.lead(postal_code=code))) == ["out_of_coverage"]
    assert codes(coverage_rule(book, plan, factory.lead(country="CA"))) == ["out_of_coverage"]
    (refusal,) = coverage_rule(book, plan, factory.lead(postal_code="78799"))
    assert "78799" in refusal.expected


def test_fields_required_and_rules() -> None:
    """Required is its own rule; a field rule applies only where the field is present; values never show."""
    book, plan = one(
        fields={
            "required": ["first_name", "email"],
            "rules": {
                "email": {"not_domains": ["mailinator.com"]},
                "birth_date": {"min_age": 25, "max_age": 74},
                "phone": {"line_types": ["mobile", "fixed_line_or_mobile"]},
                "credit_score": {"min": 600},
            },
        }
    )
    bad = factory.lead(
        email="x@sub.mailinator.com", birth_date="2010-01-01", phone="+18002345678", credit_score=599, first_name=None
    )
    found = list(fields_rule(book, plan, bad))
    assert codes(found) == ["field_missing"] + ["field_invalid"] * 4
    assert not any("mailinator.com" in finding.actual or "2345678" in finding.actual for finding in found)
    good = factory.lead(first_name="Ana", birth_date="1980-01-01")
    assert not codes(fields_rule(book, plan, good))


@pytest.mark.parametrize(("born", "allowed"), [("2001-11-24", True), ("2001-11-25", False), ("1951-11-24", False)])
def test_ages_are_counted_to_the_day_of_receipt(born: str, allowed: bool) -> None:
    """On the birthday one is as old as one gets; the limits themselves are allowed."""
    book, plan = one(fields={"rules": {"birth_date": {"min_age": 25, "max_age": 74}}})
    assert (not codes(fields_rule(book, plan, factory.lead(birth_date=born)))) is allowed


@pytest.mark.parametrize(
    ("criteria", "fields", "passes"),
    [
        ([{"field": "credit_score", "min": 650}], {"credit_score": 650}, True),
        ([{"field": "credit_score", "min": 650}], {}, False),
        ([{"field": "credit_score", "min": 650, "missing": "pass"}], {}, True),
        ([{"not": {"field": "credit_score", "min": 650}}], {}, False),  # not keeps unknown, and unknown fails
        ([{"not": {"field": "credit_score", "min": 650}}], {"credit_score": 600}, True),
        ([{"any": ONCOR_OR_BILL}], {"monthly_bill": 130.0}, True),
        ([{"any": ONCOR_OR_BILL}], {"monthly_bill": 100.0}, False),
        ([{"all": ONCOR_OR_BILL}], {"monthly_bill": 130.0}, False),
        ([{"field": "homeowner", "equals": True}], {"homeowner": True}, True),
        ([{"field": "utility", "not_one_of": ["oncor"]}], {"utility": "pec"}, True),
        ([{"field": "utility", "pattern": "onc.r"}], {"utility": "oncor2"}, False),
    ],
)  # fmt: skip
def test_criteria(criteria: list[dict[str, Any]], fields: dict[str, Any], passes: bool) -> None:
    """Three-valued: a missing field makes its leaf unknown, and an unknown result fails."""
    book, plan = one(criteria=criteria)
    assert (not codes(criteria_rule(book, plan, factory.lead(**fields)))) is passes


def test_no_consent_at_all_is_one_refusal() -> None:
    """Without consent nothing else is said about it; optional consent may be absent."""
    terms = {"certificates": ["jornaya"], "text": True, "names_seller": "Bright"}
    book, plan = one(consent=terms)
    assert codes(consent_rule(book, plan, factory.lead())) == ["consent_missing"]
    book, plan = one(consent=terms | {"required": False})
    assert not codes(consent_rule(book, plan, factory.lead()))


def test_every_failing_consent_rule_gives_its_code() -> None:
    """Text, age, seller and certificate are judged apart; one good certificate is enough."""
    terms = {"certificates": ["trustedform", "jornaya"], "text": True, "names_seller": "Bright Roof", "max_age": "7d"}
    book, plan = one(consent=terms)
    old = Consent(given_at_ns=NOON - 8 * NS_DAY, jornaya_lead_id="nonsense", sellers=("Other",))
    found = list(consent_rule(book, plan, factory.lead(consent=old)))
    assert codes(found) == [
        "consent_missing",
        "consent_expired",
        "consent_seller_not_named",
        "certificate_missing",
    ]
    assert found[0].expected == "text"
    for certificate in ({"jornaya_lead_id": JORNAYA}, {"trustedform_cert_url": TRUSTEDFORM}):
        good = Consent(given_at_ns=NOON - NS_DAY, text="I agree", sellers=("bright  ROOF",), **certificate)  # type: ignore[arg-type]
        assert not codes(consent_rule(book, plan, factory.lead(consent=good)))


def test_price_floor_and_margin() -> None:
    """Never below the floor; the margin is counted over what the source is paid for a copy."""
    book = factory.book(
        factory.buyer("b", factory.contract("c")),
        lead_type={"sell": {"floor": "9.00", "margin_floor": "2.00"}},
        source={"payout": {"solar": "8.50"}},
    )
    plan = book.contracts["c"]
    assert codes(price_rule(book, plan, factory.lead(), 899, "exclusive")) == ["below_floor", "below_margin"]
    assert codes(price_rule(book, plan, factory.lead(), 1049, "exclusive")) == ["below_margin"]
    assert not codes(price_rule(book, plan, factory.lead(), 1050, "exclusive"))
    assert not codes(price_rule(book, plan, factory.lead(), 900, "shared"))  # judged on the sum of the copies


def test_age_and_lateness() -> None:
    """`max_lead_age` from submission, `deliver_within` from receipt; the instant of the limit is too late."""
    book, plan = one(sla={"max_lead_age": "10m", "deliver_within": "30s"})
    lead = factory.lead(age_ns=NS_MINUTE)
    assert not codes(age_rule(book, plan, lead, NOON + 29 * NS_S, NOON))
    assert codes(age_rule(book, plan, lead, NOON + 30 * NS_S, NOON)) == ["too_late"]
    assert codes(age_rule(book, plan, lead, NOON + 9 * NS_MINUTE + 1, NOON + 9 * NS_MINUTE)) == ["lead_too_old"]


def test_a_closed_date_is_named() -> None:
    """Open every hour but on that date: it says which, for the hours alone would contradict it."""
    _, plan = one(schedule={"closed_dates": ["2026-11-24"]})
    [found] = schedule_rule(plan, State(Identity()), Moment(NOON, NOON, Calendar()), 0)
    assert found.expected == "00:00-24:00, not on 2026-11-24"
    assert found.actual == "2026-11-24, until 2026-11-25T05:00:00.000Z"


def test_what_allowed_a_lead_in_time_says_when_it_was() -> None:
    """Age, time to deliver and opening hours with what they were at the reservation; the lead type's age too."""
    contract = factory.contract(
        "c", sla={"max_lead_age": "10m", "deliver_within": "30s"}, schedule={"open": ["08:00-18:00"]}
    )
    book = factory.book(factory.buyer("b", contract), lead_type={"max_age": "1d"})
    lead, at_ns = factory.lead(age_ns=NS_MINUTE), NOON + 5 * NS_S
    found = allowances(book, book.contracts["c"], lead, (), 1000, at_ns=at_ns, released_at_ns=NOON)
    assert [(one.rule, one.expected, one.actual) for one in found if one.rule in ("age", "schedule")] == [
        ("age", "less than 1d old", "1m 5s"),
        ("age", "at most 10m old", "1m 5s"),
        ("age", "within 30s of receipt", "5s"),
        ("schedule", "08:00-18:00", "Tue 12:00"),
    ]


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0ms"), (-5, "0ms"), (5_332_000_000, "5s 332ms"), (3_600_390_999_999, "1h 390ms"), (30 * NS_DAY, "30d")],
)
def test_ages_are_read_in_their_units(ns: int, text: str) -> None:
    """Whole milliseconds, rounded down."""
    assert format_age(ns) == text


def refused(plan: ContractPlan, state: State, at_ns: int = NOON) -> list[Finding]:
    """What the standing rules say at a moment."""
    return list(standing(plan, state, factory.moment(at_ns), plan.price))


def used(contract: str, *at: int, price: int = 1000) -> State:
    """A state in which a contract has reservations at those instants."""
    state = State(Identity())
    usage = state.usage[f"contract:{contract}"] = Usage()
    for one_at in at:
        usage.add(one_at, price)
    return state


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"status": "draft"}, "contract_inactive"),
        ({"status": "closed"}, "contract_inactive"),
        ({"status": "paused"}, "paused"),
        ({"go_live": "2026-11-25"}, "contract_inactive"),
        ({"buyer": {"status": "draft"}}, "buyer_inactive"),
        ({"buyer": {"status": "paused"}}, "paused"),
        ({"caps": [{"per": "day", "limit": 0}]}, "cap_reached"),
        ({"schedule": {"open": ["Sat 09:00-13:00"]}}, "out_of_schedule"),
        ({"rate": {"leads": 0, "per": "minute"}}, "rate_limited"),
        ({"buyer": {"max_in_flight": 0}}, "concurrency_limited"),
    ],
)
def test_what_stands_against_a_contract(terms: dict[str, Any], code: str) -> None:
    """Lifecycle, schedule and capacity each give their code on an untouched contract."""
    _, plan = one(**terms)
    assert codes(refused(plan, State(Identity()))) == [code]


def test_a_pause_ends_when_it_says() -> None:
    """Paused until an instant: refused before it, and not from it on."""
    _, plan = one()
    state = State(Identity())
    pause = Paused(subject="buyer", id="b", reason="trial", by="operator:alice", until_ns=NOON + NS_HOUR)
    state.apply(factory.entry(pause))
    assert codes(refused(plan, state)) == ["paused"]
    assert refused(plan, state)[0].until_ns == NOON + NS_HOUR
    assert not refused(plan, state, NOON + NS_HOUR)


def test_calendar_and_rolling_caps() -> None:
    """Yesterday evening counts in a rolling day and not in today; each refusal says when it is over."""
    evening = NOON - 14 * NS_HOUR
    state = used("c", evening, NOON - NS_HOUR)
    calendar = one(caps=[{"per": "day", "limit": 2}])[1]
    assert not refused(calendar, state)
    rolling = one(caps=[{"per": "day", "limit": 2, "window": "rolling"}])[1]
    (finding,) = refused(rolling, state)
    assert (finding.code, finding.until_ns) == ("cap_reached", evening + NS_DAY)
    assert not refused(rolling, state, evening + NS_DAY)
    spend = one(caps=[{"per": "month", "spend": "29.99"}])[1]
    assert codes(refused(spend, state)) == ["cap_reached"]
    assert not refused(one(caps=[{"per": "month", "spend": "30.00"}])[1], state)


def test_a_clock_that_steps_back_finds_the_old_window_as_full_as_it_was() -> None:
    """The day turns over, the clock is set back: yesterday is still full."""
    _, plan = one(caps=[{"per": "day", "limit": 1}])
    state = used("c", NOON)
    assert not refused(plan, state, NOON + NS_DAY)
    assert codes(refused(plan, state, NOON + NS_HOUR)) == ["cap_reached"]


def test_a_ramp_grows_by_whole_local_days_and_skips_a_step_below_acceptance() -> None:
    """start + step x days, at most until; a day on which the buyer refused half is not rewarded."""
    ramp = {"start": 1, "step": 2, "every": "1d", "until": 6, "hold_below_acceptance": 0.8}
    _, plan = one(ramp=ramp, go_live="2026-11-22")
    assert refused(plan, used("c", *[NOON] * 5))[0].expected == "at most 5 today"
    state = used("c", *[NOON] * 3)
    state.answers["c"] = Answers(days={"2026-11-22": (5, 10)})
    assert refused(plan, state)[0].expected == "at most 3 today"
    assert not refused(plan, used("c", *[NOON + 9 * NS_DAY] * 5), NOON + 9 * NS_DAY)
    assert refused(plan, used("c", *[NOON + 9 * NS_DAY] * 6), NOON + 9 * NS_DAY)[0].code == "ramp_reached"


def test_pacing_spreads_the_day_cap_over_the_open_hours() -> None:
    """Four of ten open hours have passed: four of ten leads at most, and the refusal says when the fifth may go."""
    _, plan = one(
        pacing="even",
        caps=[{"per": "day", "limit": 10}],
        schedule={"open": ["Mon-Fri 08:00-18:00"]},
        buyer={"time_zone": "America/New_York"},
    )
    assert not refused(plan, used("c", *[NOON - NS_HOUR] * 3))
    (finding,) = refused(plan, used("c", *[NOON - NS_HOUR] * 4))
    assert finding.code == "paced"
    assert not refused(plan, used("c", *[NOON - NS_HOUR] * 4), finding.until_ns)
    assert refused(plan, used("c", *[NOON - NS_HOUR] * 4), finding.until_ns - NS_S)


def test_a_rate_gives_its_burst_at_once_and_then_one_by_one() -> None:
    """Two a minute, burst two: the third waits half a minute."""
    _, plan = one(rate={"leads": 2, "per": "minute", "burst": 2})
    state = State(Identity())
    for count in range(2):
        assert not refused(plan, state), count
        assert plan.rate is not None
        state.rates.setdefault("c", Bucket()).take(f"d{count}", NOON, plan.rate.interval_ns)
    (finding,) = refused(plan, state)
    assert finding.until_ns == NOON + 30 * NS_S
    assert not refused(plan, state, finding.until_ns)


def test_a_wallet_pays_as_long_as_it_covers_the_price() -> None:
    """Prepaid: what was deposited less what was sold or is held; postpaid: the credit on top."""
    state = used("c", NOON)
    state.usage["buyer:b"] = state.usage["contract:c"]
    state.deposits["b"] = 1999
    prepaid = one(buyer={"wallet": {"mode": "prepay"}})[1]
    assert [(one.code, one.actual) for one in refused(prepaid, state)] == [("balance_exhausted", "9.99")]
    state.deposits["b"] = 2000
    assert not refused(prepaid, state)
    state.deposits["b"] = 0
    assert not refused(one(buyer={"wallet": {"mode": "postpay", "credit_limit": "20.00"}})[1], state)
    assert refused(one(buyer={"wallet": {"mode": "postpay", "credit_limit": "19.99"}})[1], state)


@pytest.mark.parametrize(
    ("scope", "counts", "outcome", "contract", "buyer", "refuses"),
    [
        ("contract", "accepted", "accepted", "c", "b", True),
        ("contract", "accepted", None, "c", "b", True),  # in flight
        ("contract", "accepted", "in_doubt", "c", "b", True),
        ("contract", "accepted", "rejected", "c", "b", False),
        ("contract", "delivered", "rejected", "c", "b", True),
        ("contract", "delivered", "failed", "c", "b", False),
        ("contract", "accepted", "accepted", "other", "b", False),
        ("buyer", "accepted", "accepted", "other", "b", True),
        ("buyer", "accepted", "accepted", "other", "another", False),
        ("lead_type", "accepted", "accepted", "other", "another", True),
    ],
)
def test_dedup_scopes(scope: str, counts: str, outcome: Any, contract: str, buyer: str, refuses: bool) -> None:
    """Whose earlier delivery of the same consumer counts, and which outcomes do."""
    _, plan = one(dedup={"keys": [["phone"], ["email"]], "window": "1h", "scope": scope, "counts": counts})
    identity = Identity(
        ((("phone",), ("email",))), 10**18, scopes=("buyer", "contract", "lead_type"), declined=counts == "delivered"
    )
    consumers = Consumers()
    earlier = factory.lead("earlier", email="ana@example.com")
    consumers.remember(identity, earlier, duplicate=False, at_ns=NOON - NS_MINUTE, steady_ns=NOON - NS_MINUTE)
    then = NOON - NS_MINUTE
    consumers.send(identity, "earlier", "d", Sent(contract, buyer, then, steady_ns=then))
    if outcome is not None:
        consumers.settle(identity, "earlier", "d", outcome)

    def said(lead: Lead, at_ns: int) -> list[str]:
        return codes(dedup_rule(plan, lead, marks_of(lead, identity.keys), consumers, factory.moment(at_ns)))

    lead = factory.lead(email="other@example.com")
    assert bool(said(lead, NOON)) is refuses
    assert not said(lead, NOON + NS_HOUR)
    assert not said(factory.lead(phone="+15125550199", email="other@example.com"), NOON)


def test_go_live_counts_from_the_local_midnight() -> None:
    """Live from 2026-11-25 in Kolkata is live half a day before New York's midnight."""
    _, plan = one(go_live="2026-11-25", buyer={"time_zone": "Asia/Kolkata"})
    begins = parse_instant("2026-11-24T18:30:00Z")
    assert refused(plan, State(Identity()), begins - NS_S)
    assert not refused(plan, State(Identity()), begins)
