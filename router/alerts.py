"""Alerts: what an operator should know before a buyer says it, each with what happened and what to do.

An alert is a verdict over terms, routing state and a moment; nothing here remembers, waits or sends. What is open and
since when, and who is told, is `engine.watch`'s business. The rules are in tables, one function each, so that every
kind stands in docs/alerts.md with its threshold. Nothing personal stands in an alert, nor anything a buyer said.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from router.core.guards import BREAKER_PLAN, all_guards, seen, stage, wanted
from router.core.outcomes import Phase
from router.core.overrides import caps_now
from router.core.rules.standing import Moment, balance, cap_used, cap_window, clock_of, is_certified, standing
from router.core.state import Held, State
from router.core.usage import Usage
from router.model.money import format_money
from router.model.times import NS_DAY, NS_HOUR, NS_MINUTE, format_duration, format_instant
from router.terms.book import CapPlan, ContractPlan, GuardPlan
from router.terms.schema import Buyer

Kind = Literal[
    "endpoint_paused", "endpoint_unhealthy", "guard_tripped", "silent_failures", "doubt_ageing", "cap_nearly_full",
    "price_above_reserved", "buyer_quiet", "balance_low", "certification_failed", "not_certified", "clock_jumped",
    "ledger_unwritable",
]  # fmt: skip

#: A doubt that nobody resolved for so long is forgotten by everybody unless somebody is told.
DOUBT_OLD_NS: Final = NS_HOUR
#: Share of a cap from which it is nearly full; shorter windows turn over before anybody could act.
CAP_FULL_SHARE: Final = 0.9
_CAP_WINDOWS: Final = frozenset({"day", "week", "month", "total"})
#: Silent failures: so many of a contract's last outcomes (at most 20) failed or are in doubt.
FAILURES_SAMPLE_MIN: Final = 10
FAILURES_SHARE: Final = 0.3
_FAILED: Final = frozenset("fi")
#: A higher answer price is news for so long after the last one.
OVERPRICE_NS: Final = NS_DAY
#: Sales in the same hours on every day compared with, below which a buyer has no rhythm to fall out of.
QUIET_USUAL_MIN: Final = 10
_QUIET_SPANS_NS: Final = (NS_HOUR, 3 * NS_HOUR, 6 * NS_HOUR, NS_DAY)
#: Days of history -> the days before that today is compared with.
_QUIET_DAYS: Final = ((15, (7, 14)), (8, (1, 7)), (4, (1, 2, 3)))
#: A balance that pays for fewer leads than this, or for less than the last day's, is low.
BALANCE_LEADS_MIN: Final = 10
CLOCK_JUMP_NS: Final = 10 * NS_MINUTE
_SHOWN_MAX: Final = 10
_NOTHING: Final = Usage()
_DOES: Final = {"warn": "a guard warns", "throttle": "a guard throttles the contract", "pause": "a guard paused it"}


class Alert(Struct, frozen=True, kw_only=True):
    """Something an operator should act on. `subject` is `contract:ID`, `buyer:ID`, `endpoint:BUYER/NAME` or `router`.

    `since_ns` is when it began, as far as the state tells; None: when it was first seen. `detail` tells alerts of one
    kind and subject apart.
    """

    kind: Kind
    subject: str
    message: str
    mend: str
    detail: str = ""
    since_ns: int | None = None

    @property
    def id(self) -> str:
        """The same for the same trouble, so that it is raised once."""
        return ":".join(part for part in (self.kind, self.subject, self.detail) if part)


class Outlook(Struct, frozen=True):
    """What verdicts look at: the state, a moment, and the doubts of each contract, oldest first."""

    state: State
    moment: Moment
    doubts: Mapping[str, Sequence[Held]]


def outlook(state: State, moment: Moment) -> Outlook:
    """The state, prepared once for looking at every contract."""
    doubts: dict[str, list[Held]] = {}
    for held in state.held.values():
        if held.status == "in_doubt" and not held.test:
            doubts.setdefault(held.contract_id, []).append(held)
    for held_ones in doubts.values():
        held_ones.sort(key=lambda held: held.at_ns)
    return Outlook(state, moment, doubts)


def of_contract(plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    """Everything there is to say about one contract now."""
    for rule in _CONTRACT_RULES:
        yield from rule(plan, out)


def of_buyer(buyer: Buyer, plans: Sequence[ContractPlan], out: Outlook) -> Iterator[Alert]:
    """Everything there is to say about one buyer now; `plans` are its contracts."""
    if plans:
        for rule in _BUYER_RULES:
            yield from rule(buyer, plans, out)


# -- contracts -----------------------------------------------------------------------------------


def endpoint_paused(plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    """The router paused the contract by itself: 410, or credentials refused."""
    pause = out.state.paused.get(plan.owner)
    if pause is not None and pause.by == "endpoint":
        yield Alert(
            kind="endpoint_paused",
            subject=plan.owner,
            since_ns=pause.at_ns,
            message=f"the router paused the contract: {pause.reason}",
            mend=f"When the endpoint works again: `lead-router resume {plan.id}`",
        )


def guards_tripped(plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    """A guard of the contract, or the breaker of its endpoint, tripped and is not closed again."""
    phases = out.state.guards.get(plan.id, {})
    for guard in all_guards(plan) if phases else ():
        phase = phases.get(guard.key)
        at = stage(guard, phase, out.moment.steady_ns)
        if phase is not None and at != "closed":
            yield _guard(plan, guard, phase, None if at == "probing" else clock_of(out.moment, phase.until_ns))


def _guard(plan: ContractPlan, guard: GuardPlan, phase: Phase, until_ns: int | None) -> Alert:
    until = "it is being probed" if until_ns is None else f"until {format_instant(until_ns)}, then it is probed"
    what = f"{seen(guard, phase.value, phase.sample)}; wanted: {wanted(guard)}; {until}"
    where = f"GET /v1/contracts/{plan.id} names the deliveries that caused it"
    if guard is not BREAKER_PLAN:
        return Alert(
            kind="guard_tripped",
            subject=plan.owner,
            detail=guard.key,
            since_ns=phase.since_ns,
            message=f"{_DOES[guard.action]}: {what}",
            mend=f"Ask the buyer what changed; {where}. It recovers by itself when its probes do well",
        )
    last = f" (last: {phase.detail})" if phase.detail else ""
    return Alert(
        kind="endpoint_unhealthy",
        subject=plan.owner,
        since_ns=phase.since_ns,
        message=f"the breaker is open and leads go elsewhere: {what}{last}",
        mend=f"{where}: look at what was answered. Where the buyer changed its answers (`unclassified`, `contract`), "
        "write a response rule for them; else ask the buyer. It recovers by itself when its probe does well",
    )


def silent_failures(plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    """Deliveries end without an answer that means anything, too few at a time for the breaker to open."""
    answers = out.state.answers.get(plan.id)
    outcomes = answers.outcomes if answers is not None else ""
    if len(outcomes) < FAILURES_SAMPLE_MIN:
        return
    failed = sum(outcome in _FAILED for outcome in outcomes)
    if failed < FAILURES_SHARE * len(outcomes):
        return
    doubts = outcomes.count("i")
    yield Alert(
        kind="silent_failures",
        subject=plan.owner,
        message=f"of the last {len(outcomes)} deliveries {failed - doubts} failed and {doubts} are in doubt",
        mend="Look at the attempts of one (`lead-router trace LEAD`): status, rule and detail say what the endpoint "
        "answers. A response rule that is missing shows as `unclassified` or `contract`",
    )


def doubt_ageing(plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    """Deliveries in doubt that hold their leads and nothing will resolve by itself."""
    held = out.doubts.get(plan.id)
    if not held or plan.endpoint.in_doubt_resolves is not None:
        return
    old = [one for one in held if out.moment.at_ns - one.at_ns >= DOUBT_OLD_NS]
    if old:
        yield Alert(
            kind="doubt_ageing",
            subject=plan.owner,
            since_ns=old[0].at_ns + DOUBT_OLD_NS,
            message=f"{len(old)} deliveries in doubt for over {format_duration(DOUBT_OLD_NS)}, the oldest since "
            f"{format_instant(old[0].at_ns)}: their leads are sold to nobody else",
            mend="Ask the buyer which of them it has and say so: `lead-router resolve DELIVERY accepted|rejected` "
            f"(its ids: GET /v1/contracts/{plan.id}). For the future set idempotent or in_doubt_resolves",
        )


def price_above_reserved(plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    """The buyer's answers name more than was agreed: billed is what was agreed."""
    seen = out.state.overpriced.get(plan.id)
    if seen is not None and out.moment.at_ns - seen.at_ns < OVERPRICE_NS:
        yield Alert(
            kind="price_above_reserved",
            subject=plan.owner,
            since_ns=seen.since_ns,
            message=f"{seen.count} answers named a higher price than was reserved, the last {format_money(seen.price)} "
            f"instead of {format_money(seen.reserved)}; the lower one is billed",
            mend="Ask the buyer which price holds; correct the contract's price, or the response rule's `price`",
        )


def caps_nearly_full(plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    """The contract's own caps of a day and longer."""
    for cap in caps_now(out.state.overrides, plan, out.moment.at_ns):
        if cap.owner == plan.owner:
            yield from _cap(cap, plan, out)


def _cap(cap: CapPlan, plan: ContractPlan, out: Outlook) -> Iterator[Alert]:
    limit = cap.limit if cap.limit is not None else cap.spend
    usage = out.state.usage.get(cap.owner)
    if usage is None or not limit or cap.per not in _CAP_WINDOWS:
        return
    window = cap_window(cap, plan, out.moment)
    used = cap_used(cap, usage, window)
    if used < CAP_FULL_SHARE * limit:
        return
    form = str if cap.limit is not None else format_money
    what = "leads" if cap.limit is not None else "of spend"
    turns = "" if cap.rolling or cap.per == "total" else f"; it turns over {format_instant(window.end_ns)}"
    yield Alert(
        kind="cap_nearly_full",
        subject=cap.owner,
        detail=cap.id,
        message=f"cap {cap.id} per {cap.per}: {form(used)} {what} of {form(limit)} are used{turns}",
        mend="Nothing, if that is what the buyer wants: the next in rank gets the leads. "
        "Else agree on more and raise the cap",
    )


# -- buyers --------------------------------------------------------------------------------------


def buyer_caps_nearly_full(_buyer: Buyer, plans: Sequence[ContractPlan], out: Outlook) -> Iterator[Alert]:
    """The caps over all contracts of a buyer."""
    for cap in caps_now(out.state.overrides, plans[0], out.moment.at_ns):
        if cap.owner == plans[0].buyer_owner:
            yield from _cap(cap, plans[0], out)


def balance_low(buyer: Buyer, plans: Sequence[ContractPlan], out: Outlook) -> Iterator[Alert]:
    """A wallet that will soon stop the buyer's leads."""
    left = balance(buyer, out.state)
    live = [plan for plan in plans if plan.terms.status == "live"]
    if left is None or buyer.status != "live" or not live:
        return
    dearest = max(max(plan.price, plan.exclusive_price) for plan in live)
    usage = out.state.usage.get(f"buyer:{buyer.id}", _NOTHING)
    day = sum(usage.amount[bisect_left(usage.at, out.moment.at_ns - NS_DAY) :])
    if left < max(BALANCE_LEADS_MIN * dearest, day):
        raise_credit = " or raise wallet.credit_limit" if buyer.wallet and buyer.wallet.mode == "postpay" else ""
        yield Alert(
            kind="balance_low",
            subject=f"buyer:{buyer.id}",
            message=f"the balance of {format_money(left)} pays for {max(0, left) // dearest if dearest else 0} more "
            f"leads at {format_money(dearest)}; the last 24 hours took {format_money(day)}",
            mend=f"Ask for a payment and book it (POST /v1/wallets/{buyer.id}:deposit){raise_credit}",
        )


def buyer_quiet(buyer: Buyer, plans: Sequence[ContractPlan], out: Outlook) -> Iterator[Alert]:
    """A buyer that takes nothing at hours at which it always did, though its terms would let it."""
    usage = out.state.usage.get(f"buyer:{buyer.id}")
    quiet = fallen_quiet(usage, out.moment.at_ns) if usage is not None else None
    if usage is None or quiet is None or not any(_open(plan, out) for plan in plans):
        return
    span_ns, usual = quiet
    yield Alert(
        kind="buyer_quiet",
        subject=f"buyer:{buyer.id}",
        since_ns=usage.last_at(),
        message=f"it took nothing in the last {format_duration(span_ns)}, and at least {usual} leads in the same hours "
        f"of the days it is compared with; its last was at {format_instant(usage.last_at())}",
        mend="Send it a test lead (`lead-router certify`), look at what it was offered and what it answered "
        "(`lead-router trace LEAD`); then ask the buyer",
    )


def fallen_quiet(usage: Usage, at_ns: int) -> tuple[int, int] | None:
    """The shortest span without a sale in which at least `QUIET_USUAL_MIN` were usual, and how many; None: not quiet.

    Usual is the smallest number of sales in the same span of the days compared with: the same weekday of the last two
    weeks where there is history enough, so that a quiet weekend is no news.
    """
    if not usage.at:
        return None
    days = next((days for least, days in _QUIET_DAYS if at_ns - usage.at[0] >= least * NS_DAY), ())
    for span_ns in _QUIET_SPANS_NS if days else ():
        if usage.leads(at_ns - span_ns, at_ns + 1):
            return None  # nor in any longer span
        usual = min(usage.leads(at_ns - day * NS_DAY - span_ns, at_ns - day * NS_DAY) for day in days)
        if usual >= QUIET_USUAL_MIN:
            return span_ns, usual
    return None


def certification_failed(buyer: Buyer, plans: Sequence[ContractPlan], out: Outlook) -> Iterator[Alert]:
    """An endpoint's last certification went wrong: what passed before does not any more, or never did."""
    for key, plan in {plan.endpoint_key: plan for plan in plans if _is_live(plan)}.items():
        certificate = out.state.certificates.get(key)
        if certificate is None or certificate.passed or certificate.version != plan.endpoint.version:
            continue
        passed = f", and passed {format_instant(certificate.passed_at_ns)}" if is_certified(plan, out.state) else ""
        failed = ", ".join(certificate.failed)
        yield Alert(
            kind="certification_failed",
            subject=f"endpoint:{key}",
            since_ns=certificate.at_ns,
            message=f"the test of {format_instant(certificate.at_ns)} failed at {failed}{passed}",
            mend=f"`lead-router certify {buyer.id} --endpoint {plan.endpoint.name}` shows every step with its mend",
        )


def uncertified(plans: Iterable[ContractPlan], out: Outlook) -> Iterator[str]:
    """The endpoints of live contracts that are not certified as they are now, `"buyer/endpoint"`, each once."""
    yield from dict.fromkeys(
        plan.endpoint_key for plan in plans if _is_live(plan) and not is_certified(plan, out.state)
    )


def not_certified(endpoints: Sequence[str], *, required: bool) -> Alert:
    """All of them in one alert: after a first start there are many."""
    shown = ", ".join(endpoints[:_SHOWN_MAX]) + (", …" if len(endpoints) > _SHOWN_MAX else "")
    they = " and get no leads (onboarding.require_certified)" if required else ""
    return Alert(
        kind="not_certified",
        subject="router",
        message=f"{len(endpoints)} endpoints of live contracts are not certified as they are now{they}: {shown}",
        mend="`lead-router certify BUYER` posts test leads to their test_url and shows every step",
    )


def _is_live(plan: ContractPlan) -> bool:
    return plan.terms.status == "live" and plan.buyer.status == "live"


def _open(plan: ContractPlan, out: Outlook) -> bool:
    """Whether nothing in terms or state keeps the contract from leads: otherwise its silence has a known cause."""
    return next(standing(plan, out.state, out.moment, plan.price), None) is None


# -- the router ----------------------------------------------------------------------------------


def clock_jumped(by_ns: int, at_ns: int) -> Alert:
    """The wall clock moved against the steady one; `by_ns` how far, `at_ns` what it read then."""
    where = "ahead" if by_ns > 0 else "back"
    return Alert(
        kind="clock_jumped",
        subject="router",
        since_ns=at_ns,
        message=f"the wall clock went {where} by {format_duration(abs(by_ns) // NS_MINUTE * NS_MINUTE)}",
        mend="See to time synchronisation on this machine (or was it asleep?). Leads sold meanwhile stand in the "
        "windows of the time that was read: caps hold, day totals may be off",
    )


def ledger_unwritable(problem: str, hint: str) -> Alert:
    """Nothing can be recorded, so nothing is taken."""
    return Alert(
        kind="ledger_unwritable",
        subject="router",
        message=f"no lead is taken: {problem}",
        mend=hint[:1].upper() + hint[1:] or "Look at the log",
    )


ContractRule = Callable[[ContractPlan, Outlook], Iterable[Alert]]
BuyerRule = Callable[[Buyer, Sequence[ContractPlan], Outlook], Iterable[Alert]]
_CONTRACT_RULES: Final[tuple[ContractRule, ...]] = (
    endpoint_paused,
    guards_tripped,
    silent_failures,
    doubt_ageing,
    price_above_reserved,
    caps_nearly_full,
)
_BUYER_RULES: Final[tuple[BuyerRule, ...]] = (
    buyer_caps_nearly_full,
    balance_low,
    buyer_quiet,
    certification_failed,
)
