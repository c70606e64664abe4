"""The same decision, rule by rule: every contract, every failure, with expected and actual.

This is what people read and what the fast path is held to. It also expands what a decision recorded (`as_recorded`):
static refusals are worked out again from lead and terms, state refusals are those that were written down.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from router.core.bidding import NO_BIDS, Bids, stand_ins_of
from router.core.calendar import local
from router.core.consumers import Marks, marks_of
from router.core.decide import Choice, in_order, named
from router.core.index import Board, price_in, sale_price
from router.core.masks import bits
from router.core.rules.bids import NOT_ASKED, bid_rule
from router.core.rules.criteria import say
from router.core.rules.finding import Finding, shown
from router.core.rules.history import age_rule, dedup_rule, suppressed_rule
from router.core.rules.standing import (
    Moment,
    caps_rule,
    certified_rule,
    concurrency_rule,
    guard_rule,
    lifecycle_rule,
    pacing_rule,
    pause_rule,
    ramp_rule,
    rate_rule,
    schedule_rule,
    wallet_rule,
)
from router.core.rules.static import (
    Mode,
    certificates_of,
    consent_rule,
    coverage_rule,
    covers,
    criteria_rule,
    fields_rule,
    price_rule,
    source_rule,
)
from router.core.rules.throttle import throttle_rule
from router.core.state import State
from router.model.codes import RULES
from router.model.decision import Allowed, Claim, Decision, Refusal
from router.model.facts import Decided, Words
from router.model.lead import Lead
from router.model.money import format_money
from router.model.times import format_age, format_duration, format_instant
from router.terms.book import Book, ContractPlan

_RULE_OF = {code: rule for rule, codes in RULES.items() for code in codes}


def every_refusal(
    book: Book,
    plan: ContractPlan,
    lead: Lead,
    state: State,
    moment: Moment,
    *,
    mode: Mode,
    released_at_ns: int,
    marks: Marks,
    bids: Bids | None = None,
) -> list[Finding]:
    """All rules of SPEC section 3 for one contract, in their order; empty when it is eligible."""
    bids = bids or NO_BIDS
    bid = bids.of(plan)
    price = price_in(plan, mode) if bid is None or bid.price is None else bid.price
    found = [
        *lifecycle_rule(plan, state, moment, price),
        *certified_rule(plan, state, moment, price),
        *pause_rule(plan, state, moment, price),
        *source_rule(book, plan, lead),
        *coverage_rule(book, plan, lead),
        *fields_rule(book, plan, lead),
        *consent_rule(book, plan, lead),
        *criteria_rule(book, plan, lead),
        *age_rule(book, plan, lead, moment.at_ns, released_at_ns),
        *schedule_rule(plan, state, moment, price),
        *guard_rule(plan, state, moment, price),
        *(() if lead.test else dedup_rule(plan, lead, marks, state.consumers, moment)),
        *suppressed_rule(book, lead, state),
        *(_priced(book, plan, lead, mode) if bid is None else bid_rule(book, plan, lead, bid, mode)),
        *wallet_rule(plan, state, moment, price),
        *caps_rule(plan, state, moment, price),
        *ramp_rule(plan, state, moment, price),
        *pacing_rule(plan, state, moment, price),
        *rate_rule(plan, state, moment, price),
        *concurrency_rule(plan, state, moment, price),
    ]
    if not found and plan.id in bids.held_back:
        found = [Finding("guard_throttled", *bids.held_back[plan.id])]
    elif not found and not lead.test and plan.id not in bids.throttled:
        found = list(throttle_rule(plan, state, moment))
    return found or ([NOT_ASKED] if plan.least_bid is not None and bid is None else [])


def _priced(book: Book, plan: ContractPlan, lead: Lead, mode: Mode) -> Iterable[Finding]:
    """The price rules, where no bid is the price."""
    return price_rule(book, plan, lead, sale_price(plan, mode), mode) if plan.least_bid is None else ()


def static_refusals(book: Book, plan: ContractPlan, lead: Lead, mode: Mode) -> list[Finding]:
    """The static rules for one contract: the same at any time, from lead and terms alone."""
    return [
        *source_rule(book, plan, lead),
        *coverage_rule(book, plan, lead),
        *fields_rule(book, plan, lead),
        *consent_rule(book, plan, lead),
        *criteria_rule(book, plan, lead),
        *_priced(book, plan, lead, mode),
    ]


def explain(board: Board, state: State, lead: Lead, moment: Moment, *, released_at_ns: int, choice: Choice) -> Decision:
    """The full decision over every contract of the lead type. `choice` is the fast path's answer to the same question.

    What `choice` refused as a whole (a shared lead whose copies together miss the margin) is refused here too.
    """
    marks = marks_of(lead, state.identity.keys)
    refusals: list[Refusal] = []
    eligible = 0
    elsewhere = [plan for plan in board.book.by_type[board.lead_type] if plan.id not in board.rank_of]
    for plan in (*reversed(board.plans), *elsewhere):
        on_board = plan.id in board.rank_of
        found = every_refusal(
            board.book,
            plan,
            lead,
            state,
            moment,
            mode=board.mode,
            released_at_ns=released_at_ns,
            marks=marks,
            bids=choice.bids if on_board or not lead.test else stand_ins_of([plan], board.mode),
        )
        refusals += [Refusal(plan.id, one.code, one.expected, one.actual) for one in found]
        if not found:
            eligible |= 1 << board.rank_of[plan.id]
    if "below_margin" in choice.alike:
        refusals += [Refusal(board.ids[rank], "below_margin", *choice.alike["below_margin"]) for rank in bits(eligible)]
        eligible = 0
    return Decision(
        terms_version=board.book.version,
        decided_at_ns=moment.at_ns,
        refusals=tuple(refusals),
        ranking=tuple(board.plans[rank].id for rank in in_order(board, state, lead, eligible, choice.bids)),
        winners=tuple(board.plans[rank].id for rank in choice.winners),
    )


def stopped(board: Board, lead: Lead, fact: Decided, only: str | None = None) -> dict[str, str]:
    """The code by which state refused each contract that covers the lead (or `only`, whoever that is)."""
    codes = {name: code for code, contracts in fact.blocked.items() for name in named(board, contracts)}
    return {
        name: code
        for name, code in codes.items()
        if (name == only if only is not None else covers(board.book.contracts[name], lead))
    }


def as_recorded(
    board: Board,
    lead: Lead,
    fact: Decided,
    winners: tuple[str, ...],
    *,
    at_ns: int,
    released_at_ns: int,
    words: Mapping[str, Words],
    only: str | None = None,
) -> tuple[Decision, dict[str, int]]:
    """A recorded decision, expanded; the board must be of the terms it was made under.

    `words` are those of the contracts that are `stopped`, as they stood then. Returns the decision with the refusals of
    the contracts that cover the lead (or of `only`, whoever that is), and the number of refusals by code of those that
    do not.
    """
    codes = stopped(board, lead, fact, only)
    refusals: list[Refusal] = []
    counts: dict[str, int] = {}
    every = board.book.by_type[board.lead_type]
    if only is not None:
        asked = [plan for plan in every if plan.id == only]
    else:
        asked = [plan for plan in reversed(board.plans) if covers(plan, lead)]
        if len(asked) < len(every):
            counts["out_of_coverage"] = len(every) - len(asked)
    for plan in asked:
        found = [
            Refusal(plan.id, one.code, one.expected, one.actual)
            for one in static_refusals(board.book, plan, lead, board.mode)
        ]
        code = codes.get(plan.id)
        if code is not None:
            begins = (lead.received_at_ns, released_at_ns)  # routed again by hand, a released lead counts from receipt
            ages = {one.code: one for begin in begins for one in age_rule(board.book, plan, lead, at_ns, begin)}
            if code in ages:
                expected, actual = ages[code].expected, ages[code].actual
            elif code in fact.alike and plan.id not in fact.details:
                expected, actual = fact.alike[code]
            elif code == NOT_ASKED.code and plan.id not in fact.details:
                _, expected, actual, _ = NOT_ASKED
            else:
                expected, actual = fact.details.get(plan.id) or words.get(plan.id, ("", "", ""))[1:]
            found.append(Refusal(plan.id, code, expected, actual))
        if code != "suppressed" and "suppressed" in fact.alike:  # it refuses everybody, whatever else does so first
            found.append(Refusal(plan.id, "suppressed", *fact.alike["suppressed"]))
        refusals += sorted(found, key=lambda one: list(RULES).index(_RULE_OF[one.code]))
    decision = Decision(
        terms_version=fact.terms_version,
        decided_at_ns=at_ns,
        refusals=tuple(refusals),
        ranking=named(board, fact.ranking),
        winners=winners,
    )
    return decision, counts


# -- what allowed it -----------------------------------------------------------------------------


def allowances(
    book: Book,
    plan: ContractPlan,
    lead: Lead,
    claims: Iterable[Claim],
    price: int,
    *,
    at_ns: int,
    released_at_ns: int,
) -> list[Allowed]:
    """Every rule that let a contract have a lead: the coverage entry, each field, consent and criterion, each cap.

    `price` is what was reserved at that instant, minor units: the bid, where one was asked for. `deliver_within` counts
    from `released_at_ns`.
    """
    rules: tuple[Callable[[Book, ContractPlan, Lead], list[Allowed]], ...] = (
        _source,
        _coverage,
        _fields,
        _consent,
        _criteria,
    )
    found = [allowed for rule in rules for allowed in rule(book, plan, lead)]
    found += [*_age(book, plan, lead, at_ns, released_at_ns), *_schedule(plan, at_ns)]
    if plan.least_bid is not None:
        least = plan.terms.min_bid
        wanted = "a bid" if least is None else f"at least {format_money(least)}"
        found.append(Allowed("bid", wanted, format_money(price)))
    return found + [_cap(plan, claim) for claim in claims]


def _source(_book: Book, plan: ContractPlan, lead: Lead) -> list[Allowed]:
    return [Allowed("source", ", ".join(plan.terms.sources), lead.source_id)]


def _coverage(_book: Book, plan: ContractPlan, lead: Lead) -> list[Allowed]:
    code = lead.postal_code
    entry = plan.coverage.entry_for(code) if code is not None else None
    label = entry.label if entry is not None else "everywhere"
    return [Allowed("coverage", label, f"{code or 'no postal code'}, {lead.country}")]


def _fields(book: Book, plan: ContractPlan, lead: Lead) -> list[Allowed]:
    schema = book.lead_types[lead.lead_type].fields
    accepted = plan.terms.fields
    found = [
        Allowed("field", f"{name} is present", shown(lead.fields.get(name), schema.get(name)))
        for name in accepted.required
    ]
    for name, rule in accepted.rules.items():
        value = lead.fields.get(name)
        actual = "absent: the rule does not apply" if value is None else shown(value, schema.get(name))
        found.append(Allowed("field_rule", say(rule, name), actual))
    return found


def _consent(_book: Book, plan: ContractPlan, lead: Lead) -> list[Allowed]:
    terms, consent = plan.terms.consent, lead.consent
    if terms is None:
        return []
    if consent is None:
        return [Allowed("consent", "optional", "none")]
    found = [Allowed("consent", "consent", "given")]
    if terms.text:
        found.append(Allowed("consent", "text", "present"))
    if terms.max_age is not None and consent.given_at_ns is not None:
        age = max(0, lead.received_at_ns - consent.given_at_ns)
        wanted = f"given at most {format_duration(terms.max_age)} before receipt"
        found.append(Allowed("consent", wanted, format_age(age)))
    if terms.names_seller is not None:
        found.append(Allowed("consent", f"names {terms.names_seller}", "named"))
    if terms.certificates:
        found.append(Allowed("consent", " or ".join(terms.certificates), ", ".join(certificates_of(consent))))
    return found


def _criteria(book: Book, plan: ContractPlan, lead: Lead) -> list[Allowed]:
    return [Allowed("criterion", say(node), "true") for node in plan.terms.criteria]


def _age(book: Book, plan: ContractPlan, lead: Lead, at_ns: int, released_at_ns: int) -> Iterator[Allowed]:
    sla, oldest, age = plan.terms.sla, book.lead_types[lead.lead_type].max_age, format_age(at_ns - lead.submitted_at_ns)
    if oldest is not None:
        yield Allowed("age", f"less than {format_duration(oldest)} old", age)
    if sla is not None and sla.max_lead_age is not None:
        yield Allowed("age", f"at most {format_duration(sla.max_lead_age)} old", age)
    if sla is not None and sla.deliver_within is not None:
        waited = format_age(at_ns - released_at_ns)
        yield Allowed("age", f"within {format_duration(sla.deliver_within)} of receipt", waited)


def _schedule(plan: ContractPlan, at_ns: int) -> Iterator[Allowed]:
    if plan.terms.schedule is not None:
        yield Allowed("schedule", ", ".join(plan.terms.schedule.open), f"{local(at_ns, plan.zone):%a %H:%M}")


def _cap(plan: ContractPlan, claim: Claim) -> Allowed:
    cap = next((cap for cap in plan.caps if (cap.owner, cap.id) == (claim.owner, claim.cap)), None)
    money = cap is not None and cap.spend is not None
    used, limit = (
        (format_money(claim.used), format_money(claim.limit)) if money else (str(claim.used), str(claim.limit))
    )
    whose = "buyer's " if claim.owner.startswith("buyer:") else ""
    written = None if cap is None else cap.spend if money else cap.limit
    limit_in_words = limit if written in (None, claim.limit) else f"{limit} (set for a while)"
    return Allowed("cap", f"{whose}cap {claim.cap}: at most {limit_in_words}", f"{used} of {limit} in {claim.window}")


def as_json(decision: Decision) -> dict[str, Any]:
    """The public shape of a decision."""
    return {
        "terms_version": decision.terms_version,
        "decided_at": format_instant(decision.decided_at_ns),
        "refusals": [
            {"contract_id": one.contract_id, "code": one.code, "expected": one.expected, "actual": one.actual}
            for one in decision.refusals
        ],
        "ranking": list(decision.ranking),
        "winners": list(decision.winners),
    }
