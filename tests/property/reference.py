"""A router as SPEC section 3 says it and nothing more: a list of what was sold, counted anew for every question.

Slow and plain on purpose: no masks, no windows, no memory of answers. It shares the words of the terms with the real
one (`router.terms.schema`) and no rule, so that where the two differ one of them is wrong.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from router.model.lead import Lead
from router.terms.checks.caps import cap_id
from router.terms.schema import Buyer, Cap, Contract, Schedule, Terms, Tier

S = 1_000_000_000
ROLLING = {"minute": 60 * S, "hour": 3600 * S, "day": 86400 * S, "week": 7 * 86400 * S, "month": 30 * 86400 * S}
RATE = {"second": S, "minute": 60 * S, "hour": 3600 * S, "day": 86400 * S}
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@dataclass
class Sale:
    """One reservation and what became of it."""

    lead: Lead
    contract: str
    buyer: str
    zone: ZoneInfo
    at: int
    steady: int
    price: int
    interval: int  # what it cost the contract's rate
    outcome: str | None = None  # None: in flight
    sent: bool = True
    answered_on: date | None = None

    @property
    def stands(self) -> bool:
        """Confirmed or held."""
        return self.outcome in (None, "in_doubt", "accepted")


@dataclass
class Turn:
    """A tier with a stateful method decided: who took part with which weight, who was picked, and when."""

    tier: str
    method: str
    roster: tuple[str, ...]
    weights: dict[str, int]
    picked: list[str]
    before: int  # how many sales there were


@dataclass
class Reference:
    """Everything that was sold, and every question SPEC section 3 asks of it."""

    terms: Terms
    sales: list[Sale] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    overrides: dict[str, tuple[int, dict[str, int], dict[str, int]]] = field(
        default_factory=dict
    )  # until, leads, money
    paused: dict[str, int | None] = field(default_factory=dict)  # "contract:ID" -> until
    deposits: dict[str, int] = field(default_factory=dict)
    suppressed: set[object] = field(default_factory=set)  # phone numbers and addresses
    answers: list[tuple[str, str]] = field(default_factory=list)  # (contract, outcome), in order
    by_id: dict[str, Sale] = field(default_factory=dict)
    bids: dict[str, int | None] = field(default_factory=dict)  # for the lead that is asked about, by contract
    stand_ins: bool = False  # it is a test: everybody bids its price
    # Past the longest window by the clock that never steps a consumer may be forgotten, which a wall clock that was set
    # back can show: only of those does the real router say whom it remembers.
    kept: int = 0
    remembers: Callable[[str], bool] = lambda _lead_id: True
    now: int = 0
    steady: int = 0

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers in order; no tiers are one, by price."""
        return self.terms.lead_types["solar"].tiers or (Tier(name="main"),)

    def tier(self, one: Contract) -> Tier:
        """The tier a contract stands in: the first unless it says another."""
        return next((tier for tier in self.tiers if tier.name == one.tier), self.tiers[0])

    def contracts(self) -> list[tuple[Buyer, Contract]]:
        """All contracts with their buyers."""
        return [(buyer, one) for buyer in self.terms.buyers.values() for one in buyer.contracts]

    # -- what happens ----------------------------------------------------------------------------

    def decided(self, ranking: list[str], winners: list[str], mode: str) -> None:
        """Tiers with a stateful method remember who took part and who was picked."""
        by_name = {one.id: one for _, one in self.contracts()}
        ranked = [by_name[name] for name in ranking]
        for group in list(dict.fromkeys(self._group(one, mode) for one in ranked)):
            members = {one.id: one.weight for one in ranked if self._group(one, mode) == group}
            picked = [name for name in winners if name in members]
            for method in dict.fromkeys(self._methods(by_name[min(members)])):
                if picked and method in ("weighted", "percentage"):
                    self.turns.append(Turn(group[0], method, self.roster(group[0]), members, picked, len(self.sales)))

    def reserved(self, delivery_id: str, name: str, lead: Lead, mode: str) -> None:
        """A contract won: it holds a reservation."""
        buyer, one = next((buyer, one) for buyer, one in self.contracts() if one.id == name)
        interval = 0 if lead.test else interval_of(one)
        sale = Sale(lead, name, buyer.id, self.zone(buyer), self.now, self.steady, self.price(one, mode), interval)
        self.sales.append(sale)
        self.by_id[delivery_id] = sale

    def settled(self, delivery_id: str, outcome: str, billed: int | None, sent: bool) -> None:
        """A delivery has an outcome."""
        sale = self.by_id[delivery_id]
        sale.outcome, sale.sent = outcome, sent
        if outcome == "accepted" and billed is not None:
            sale.price = billed
        if outcome in ("accepted", "rejected", "duplicate") and not sale.lead.test:
            sale.answered_on = day_of(self.now, sale.zone)
            self.answers.append((sale.contract, outcome))

    def overridden(self, owner: str, until: int, leads: dict[str, int], money: dict[str, int]) -> None:
        """An operator set other limits, or (until 0) took them back. Those that were over by then never come back."""
        self.overrides = {name: one for name, one in self.overrides.items() if self.now < one[0]}
        self.overrides[owner] = (until, leads, money)

    # -- refusals --------------------------------------------------------------------------------

    def refusals(self, buyer: Buyer, one: Contract, lead: Lead, mode: str, released: int) -> list[str]:
        """Every code that refuses the contract now, in the order of SPEC section 3, each once."""
        found = self._lifecycle(buyer, one) + static(one, self.zone(buyer), lead)
        if one.sla is not None and one.sla.max_lead_age is not None:
            found += ["lead_too_old"] * (self.now - lead.submitted_at_ns > one.sla.max_lead_age)
        if one.sla is not None and one.sla.deliver_within is not None:
            found += ["too_late"] * (self.now - released >= one.sla.deliver_within)
        found += ["out_of_schedule"] * (not self._open(buyer, one, self.now))
        found += ["duplicate"] * (not lead.test and self._duplicate(buyer, one, lead))
        found += ["suppressed"] * (not lead.test and not self.suppressed.isdisjoint(lead.fields.values()))
        found += self._price(one, lead, mode) + self._wallet(buyer, one, mode) + self._capacity(buyer, one, mode)
        if not found and self.pings(one) and not self.stand_ins and one.id not in self.bids:
            found = ["no_bid"]
        return list(dict.fromkeys(found))

    def pings(self, one: Contract) -> bool:
        """Whether the contract is asked for a bid."""
        buyer = next(buyer for buyer, each in self.contracts() if each.id == one.id)
        return buyer.endpoints[one.endpoint].ping is not None

    def _lifecycle(self, buyer: Buyer, one: Contract) -> list[str]:
        early = one.go_live is not None and day_of(self.now, self.zone(buyer)) < date.fromisoformat(one.go_live)
        owners = (f"contract:{one.id}", f"buyer:{buyer.id}")
        ends = [self.paused[owner] for owner in owners if owner in self.paused]
        paused = any(until is None or self.now < until for until in ends)
        return (
            ["contract_inactive"] * (one.status in ("draft", "closed") or early)
            + ["buyer_inactive"] * (buyer.status in ("draft", "closed"))
            + ["paused"] * (paused or "paused" in (one.status, buyer.status))
        )

    def _duplicate(self, buyer: Buyer, one: Contract, lead: Lead) -> bool:
        dedup = one.dedup
        counted = {None, "accepted", "in_doubt"}
        if dedup is None:
            return False
        if dedup.counts == "delivered":
            counted |= {"rejected", "duplicate"}
        for sale in self.sales:
            mine = {"contract": sale.contract == one.id, "buyer": sale.buyer == buyer.id, "lead_type": True}
            if (
                not sale.lead.test
                and sale.lead.lead_id != lead.lead_id
                and sale.outcome in counted
                and mine[dedup.scope]
                and min(self.now - sale.at, self.steady - sale.steady) < dedup.window
                and (self.steady - sale.steady <= self.kept or self.remembers(sale.lead.lead_id))
                and any(all(same_person(sale.lead, lead, name) for name in key) for key in dedup.keys)
            ):
                return True
        return False

    def price(self, one: Contract, mode: str) -> int:
        """What a copy is billed at; where a bid is to say so and has not, the least it could be."""
        if self.pings(one) and not self.stand_ins:
            bid = self.bids.get(one.id)
            return max(1, one.min_bid or 0) if bid is None else bid
        return int(one.exclusive_price if mode == "exclusive" and one.exclusive_price is not None else one.price)

    def _price(self, one: Contract, lead: Lead, mode: str) -> list[str]:
        if self.pings(one) and not self.stand_ins:
            if one.id not in self.bids:
                return []
            if self.bids[one.id] is None:
                return ["no_bid"]
        sell, price = self.terms.lead_types["solar"].sell, self.price(one, mode)
        payout = self.terms.sources[lead.source_id].payout.get("solar")
        found = ["below_floor"] * (sell.floor is not None and price < sell.floor)
        together = payout is not None and payout.per == "accepted_lead" and mode == "shared"
        if sell.margin_floor is not None and not together:
            paid = int(payout.amount) if payout is not None else 0
            found += ["below_margin"] * (price - paid < sell.margin_floor)
        asked = self.pings(one) and one.min_bid is not None
        return found + ["bid_too_low"] * (asked and price < int(one.min_bid or 0))

    def _wallet(self, buyer: Buyer, one: Contract, mode: str) -> list[str]:
        left = self.balance(buyer)
        return ["balance_exhausted"] * (left is not None and left < self.price(one, mode))

    def balance(self, buyer: Buyer) -> int | None:
        """What the buyer's wallet can still pay."""
        if buyer.wallet is None or buyer.wallet.mode == "none":
            return None
        credit = int(buyer.wallet.credit_limit or 0) if buyer.wallet.mode == "postpay" else 0
        spent = sum(sale.price for sale in self._standing("buyer", buyer.id))
        return self.deposits.get(buyer.id, 0) + credit - spent

    def _standing(self, kind: str, name: str) -> list[Sale]:
        """What takes capacity of a contract or buyer: confirmed and held, tests not."""
        return [sale for sale in self.sales if sale.stands and not sale.lead.test and getattr(sale, kind) == name]

    def used(self, buyer: Buyer, one: Contract, cap: Cap, whose: str) -> int:
        """How much of a cap's window of now is used: leads, or minor units."""
        sales = self._standing(whose, one.id if whose == "contract" else buyer.id)
        zone = self.zone(buyer)
        if cap.per != "total" and cap.window == "rolling":
            sales = [sale for sale in sales if self.now - sale.at < ROLLING[cap.per]]
        elif cap.per != "total":
            sales = [sale for sale in sales if window_of(cap.per, sale.at, zone) == window_of(cap.per, self.now, zone)]
        return len(sales) if cap.limit is not None else sum(sale.price for sale in sales)

    def _capacity(self, buyer: Buyer, one: Contract, mode: str) -> list[str]:
        found: list[str] = []
        for whose, caps in (("contract", one.caps), ("buyer", buyer.caps)):
            for cap in caps:
                more = 1 if cap.limit is not None else self.price(one, mode)
                owner = f"{whose}:{one.id if whose == 'contract' else buyer.id}"
                found += ["cap_reached"] * (self.used(buyer, one, cap, whose) + more > self.limit(owner, cap))
        today = [
            sale
            for sale in self._standing("contract", one.id)
            if day_of(sale.at, self.zone(buyer)) == day_of(self.now, self.zone(buyer))
        ]
        ramp = self.ramp_limit(buyer, one)
        found += ["ramp_reached"] * (ramp is not None and len(today) + 1 > ramp)
        if one.pacing == "even":
            daily = [cap for cap in one.caps if cap.per == "day" and cap.window == "calendar"]
            days = [self.limit(f"contract:{one.id}", cap) for cap in daily if cap.limit is not None]
            limits = [*days, *([] if ramp is None else [ramp])]
            if limits:
                minutes = open_minutes(one.schedule, day_of(self.now, self.zone(buyer)), self.zone(buyer))
                elapsed = sum(min(max(self.now - start, 0), 60 * S) for start in minutes)
                whole = 60 * S * len(minutes)
                found += ["paced"] * (not whole or len(today) + 1 > -(-min(limits) * elapsed // whole))
        found += ["rate_limited"] * self._rate_limited(one)
        flying = [sale for sale in self.sales if sale.buyer == buyer.id and sale.outcome is None and not sale.lead.test]
        return found + ["concurrency_limited"] * (len(flying) >= buyer.max_in_flight)

    def limit(self, owner: str, cap: Cap) -> int:
        """What a cap's limit is now: what somebody set for a while, else what the terms say."""
        until_ns, leads, money = self.overrides.get(owner, (0, {}, {}))
        limits = money if cap.limit is None else leads  # those of another kind were set when the cap was another one
        if self.now < until_ns and cap_id(cap) in limits:
            return limits[cap_id(cap)]
        return cap.limit if cap.limit is not None else int(cap.spend or 0)

    def ramp_limit(self, buyer: Buyer, one: Contract) -> int | None:
        """The ramp's limit of today: a step for each `every` days whose acceptance did not fall below the bound."""
        ramp = one.ramp
        if ramp is None:
            return None
        every, begin = max(1, ramp.every // (86400 * S)), date.fromisoformat(one.go_live or "9999-12-31")
        limit = ramp.start
        for step in range(max(0, (day_of(self.now, self.zone(buyer)) - begin).days) // every):
            span = [begin + timedelta(days=step * every + each) for each in range(every)]
            answers = [
                sale.outcome for sale in self.sales if sale.contract == one.id and sale.answered_on in span
            ]  # tests have no day
            below = ramp.hold_below_acceptance
            if not answers or below is None or answers.count("accepted") / len(answers) >= below:
                limit += ramp.step
        return limit if ramp.until is None else min(limit, ramp.until)

    def _rate_limited(self, one: Contract) -> bool:
        rate = one.rate
        if rate is None:
            return False
        free_at = 0
        for sale in self.sales:
            if sale.contract == one.id and sale.interval and (sale.stands or sale.sent):
                free_at = max(free_at, sale.steady) + sale.interval
        burst = rate.leads if rate.burst is None else rate.burst
        return free_at - (burst - 1) * interval_of(one) > self.steady

    def zone(self, buyer: Buyer) -> ZoneInfo:
        """The zone of a buyer's contracts."""
        return ZoneInfo(buyer.time_zone or self.terms.router.defaults.time_zone)

    def _open(self, buyer: Buyer, one: Contract, at: int) -> bool:
        return one.schedule is None or is_open(one.schedule, at, self.zone(buyer))

    # -- ranking ---------------------------------------------------------------------------------

    def ranking(self, lead: Lead, mode: str, released: int) -> list[str]:
        """The eligible contracts, best first."""
        some = [one for buyer, one in self.contracts() if not self.refusals(buyer, one, lead, mode, released)]
        found: list[tuple[Any, ...]] = []
        for one in some:
            together = [other for other in some if self._group(other, mode) == self._group(one, mode)]
            first, second = (self._key(one, method, mode, together) for method in self._methods(one))
            found.append((self.tiers.index(self.tier(one)), first, second, one.id))
        return [row[-1] for row in sorted(found)]

    def _methods(self, one: Contract) -> tuple[str, str | None]:
        return self.tier(one).method, self.tier(one).secondary

    def _group(self, one: Contract, mode: str) -> tuple[str, Any]:
        """Who takes turns together: a tier; or those of it whom its own method, price or priority, leaves equal."""
        method, _ = self._methods(one)
        fixed = method in ("price", "priority")
        return self.tier(one).name, fixed and self._key(one, method, mode, [])

    def _key(self, one: Contract, method: str | None, mode: str, together: list[Contract]) -> Any:
        if method == "price":
            return -self.price(one, mode)
        if method == "priority":
            return one.priority
        if method == "round_robin":
            return max((sale.steady for sale in self._standing("contract", one.id)), default=0)
        mine = [turn for turn in self._turns_of(one, method) if one.id in turn.weights]
        if method == "weighted":
            credit = sum((parts(turn)[one.id] - (one.id in turn.picked) for turn in mine), Fraction(0))
            return -(credit + Fraction(one.weight, sum(other.weight for other in together)))
        if method == "percentage":
            since = min((turn.before for turn in mine), default=len(self.sales))
            sold = sum(sale.contract == one.id and sale.stands and not sale.lead.test for sale in self.sales[since:])
            return sold - Fraction(str(one.share)) * (len(mine) + 1)
        return 0

    def _turns_of(self, one: Contract, method: str | None) -> list[Turn]:
        """The turns of the contract's tier since its set of contracts last changed."""
        turns = [turn for turn in self.turns if turn.tier == self.tier(one).name]
        now = self.roster(self.tier(one).name)
        since = max((at + 1 for at, turn in enumerate(turns) if turn.roster != now), default=0)
        return [turn for turn in turns[since:] if turn.method == method]

    def roster(self, tier: str) -> tuple[str, ...]:
        """The contracts of a tier."""
        return tuple(sorted(one.id for _, one in self.contracts() if self.tier(one).name == tier))

    def arm(self, lead: Lead, mode: str, released: int) -> tuple[list[str], list[str]]:
        """The ranking of one mode and who wins: the best of it, one a buyer, unless together they miss the margin."""
        sell = self.terms.lead_types["solar"].sell
        ranking = self.ranking(lead, mode, released)
        winners: dict[str, str] = {}
        for name in ranking:
            winners.setdefault(self.owner(name), name)
        chosen = list(winners.values())[: sell.max_copies if mode == "shared" else 1]
        payout = self.terms.sources[lead.source_id].payout.get("solar")
        once = int(payout.amount) if payout is not None and payout.per == "accepted_lead" else 0
        short = sum(self.prices(chosen, mode)) - once < int(sell.margin_floor or 0)
        if mode == "shared" and sell.margin_floor is not None and chosen and short:
            return [], []
        return ranking, chosen

    def decide(self, lead: Lead, released: int) -> tuple[str, list[str], list[str]]:
        """(mode, ranking, winners): for `best` the arm with the higher expected revenue, exclusive when equal."""
        modes = {"best": ["exclusive", "shared"]}.get(self.terms.lead_types["solar"].sell.mode) or [
            self.terms.lead_types["solar"].sell.mode
        ]
        arms = [(mode, *self.arm(lead, mode, released)) for mode in modes]
        return max(arms, key=lambda arm: self.expected(arm[2], arm[0]))

    def expected(self, winners: list[str], mode: str) -> Fraction:
        """Each price times the contract's acceptance over its last 100 answers (1 below 20)."""
        total = Fraction(0)
        for name, price in zip(winners, self.prices(winners, mode), strict=True):
            answers = [outcome for contract, outcome in self.answers if contract == name][-100:]
            share = Fraction(answers.count("accepted"), len(answers)) if len(answers) >= 20 else Fraction(1)
            total += price * share
        return total

    def prices(self, names: list[str], mode: str) -> list[int]:
        """What these contracts are billed at."""
        by_name = {one.id: one for _, one in self.contracts()}
        return [self.price(by_name[name], mode) for name in names]

    def owner(self, name: str) -> str:
        """The buyer of a contract."""
        return next(buyer.id for buyer, one in self.contracts() if one.id == name)


def parts(turn: Turn) -> dict[str, Fraction]:
    """What each member of a turn was due of it, in leads: by its weight, and one copy of a lead at most."""
    due: dict[str, Fraction] = {}
    weights, copies = dict(turn.weights), len(turn.picked)
    while copies > 1 and weights and max(weights.values()) * copies >= sum(weights.values()):
        heaviest = max(weights, key=lambda name: (weights[name], name))
        due[heaviest] = Fraction(1)
        del weights[heaviest]
        copies -= 1
    whole = sum(weights.values())
    return due | {name: Fraction(weight * copies, whole) for name, weight in weights.items()}


# -- static rules --------------------------------------------------------------------------------


def static(one: Contract, zone: ZoneInfo, lead: Lead) -> list[str]:
    """Source, coverage, fields, consent and criteria."""
    welcome = lead.source_id not in one.exclude_sources and ("*" in one.sources or lead.source_id in one.sources)
    found = ["source_not_allowed"] * (not welcome) + ["out_of_coverage"] * (not covered(one, lead))
    found += ["field_missing" for name in one.fields.required if lead.fields.get(name) is None]
    for name, rule in one.fields.rules.items():
        value = lead.fields.get(name)
        if value is not None:
            good = leaf(rule, value)
            if rule.min_age is not None or rule.max_age is not None:
                born, today = date.fromisoformat(str(value)), day_of(lead.received_at_ns, zone)
                age = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
                good = good and (rule.min_age or 0) <= age <= (200 if rule.max_age is None else rule.max_age)
            found += ["field_invalid"] * (not good)
    found += consent(one, lead)
    return found + ["criteria_failed" for node in one.criteria if truth(node, lead) is not True]


def covered(one: Contract, lead: Lead) -> bool:
    """Whether the coverage, less what it excludes, holds the lead's code."""
    area, code = one.coverage, lead.postal_code
    assert area is not None
    if lead.country != (area.country or "US"):
        return False
    if code is None:
        return area.everywhere
    return (area.everywhere or any(names(entry, code) for entry in area.postal_codes)) and not any(
        names(entry, code) for entry in area.exclude.postal_codes
    )


def names(entry: str, code: str) -> bool:
    """Whether an entry (a code, `low-high`, `prefix*`) names a code."""
    low, dash, high = entry.partition("-")
    return code.startswith(entry[:-1]) if entry.endswith("*") else low <= code <= high if dash else entry == code


def consent(one: Contract, lead: Lead) -> list[str]:
    """The consent rules."""
    wanted, given = one.consent, lead.consent
    if wanted is None:
        return []
    if given is None:
        return ["consent_missing"] * wanted.required
    found = ["consent_missing"] * (wanted.text and not given.text)
    if wanted.max_age is not None:
        late = given.given_at_ns is None or lead.received_at_ns - given.given_at_ns > wanted.max_age
        found += ["consent_expired"] * late
    if wanted.names_seller is not None:
        said = [" ".join(seller.lower().split()) for seller in given.sellers]
        found += ["consent_seller_not_named"] * (wanted.names_seller.lower() not in said)
    certified = "jornaya" in wanted.certificates and UUID.fullmatch(given.jornaya_lead_id or "")
    return found + ["certificate_missing"] * (bool(wanted.certificates) and not certified)


def truth(node: Any, lead: Lead) -> bool | None:
    """True, false or unknown."""
    if node.all_ is not None:
        parts = {truth(part, lead) for part in node.all_}
        return False if False in parts else None if None in parts else True
    if node.any_ is not None:
        parts = {truth(part, lead) for part in node.any_}
        return True if True in parts else None if None in parts else False
    if node.not_ is not None:
        return {True: False, False: True, None: None}[truth(node.not_, lead)]
    value = lead.fields.get(node.field_)
    if value is None:
        return True if node.missing == "pass" else None
    return leaf(node, value)


def leaf(node: Any, value: Any) -> bool:
    """Every test a leaf or field rule names."""
    equals = getattr(node, "equals", None)
    return not (
        (node.min is not None and value < node.min)
        or (node.max is not None and value > node.max)
        or (equals is not None and value != equals)
        or (node.one_of is not None and value not in node.one_of)
        or (node.not_one_of is not None and value in node.not_one_of)
        or (node.pattern is not None and not (isinstance(value, str) and re.fullmatch(node.pattern, value)))
    )


def same_person(left: Lead, right: Lead, name: str) -> bool:
    """Whether two leads have the same value in a field; absent is never the same."""
    ours, theirs = left.fields.get(name), right.fields.get(name)
    return ours is not None and theirs is not None and str(ours).lower() == str(theirs).lower()


def interval_of(one: Contract) -> int:
    """How long one token of the contract's rate takes to come back; rounded up."""
    return -(-RATE[one.rate.per] // one.rate.leads) if one.rate is not None and one.rate.leads else 0


# -- time ----------------------------------------------------------------------------------------


def wall(at: int, zone: ZoneInfo) -> datetime:
    """The wall time of an instant."""
    return datetime.fromtimestamp(at // S, zone)


@lru_cache(maxsize=65536)
def day_of(at: int, zone: ZoneInfo) -> date:
    """The local day of an instant: its date, or the later one that the clocks had reached before they went back."""
    now = wall(at, zone)
    early = now.hour < 20  # clocks go back by three hours at most
    if early or wall(at - 3 * 3600 * S, zone).utcoffset() == now.utcoffset():
        return now.date()
    return max(wall(at - back * 900 * S, zone).date() for back in range(13))


def window_of(per: str, at: int, zone: ZoneInfo) -> Any:
    """What tells the calendar window of an instant from all others."""
    if per in ("minute", "hour"):
        now = wall(at, zone)
        return now.date(), now.hour, now.minute if per == "minute" else 0, now.utcoffset()
    day = day_of(at, zone)
    return {"day": day, "week": day.isocalendar()[:2], "month": (day.year, day.month)}[per]


def is_open(schedule: Schedule, at: int, zone: ZoneInfo) -> bool:
    """Whether the schedule is open at an instant, by the clock on the wall."""
    now, day = wall(at, zone), day_of(at, zone)
    minute = now.hour * 60 + now.minute - 1440 * (now.date() < day)
    return day.isoformat() not in schedule.closed_dates and any(
        low <= minute < high for entry in schedule.open for low, high in spans(entry, day.weekday())
    )


@lru_cache(maxsize=4096)
def spans(entry: str, weekday: int) -> tuple[tuple[int, int], ...]:
    """The minutes a schedule entry opens on a weekday; one that crosses midnight opens on the next day too."""
    days, hours = entry.split() if " " in entry else ("Mon-Sun", entry)
    low, _, high = days.partition("-")
    listed = range(WEEKDAYS.index(low), WEEKDAYS.index(high or low) + 1)
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in hours.split("-"))
    if start < end:
        return ((start, end),) * (weekday in listed)
    return ((start, 1440),) * (weekday in listed) + ((0, end),) * ((weekday - 1) % 7 in listed)


@lru_cache(maxsize=4096)
def open_minutes(schedule: Schedule | None, day: date, zone: ZoneInfo) -> tuple[int, ...]:
    """The start of every minute that is open on a local day."""
    noon = int(datetime(day.year, day.month, day.day, 12, tzinfo=zone).timestamp()) * S
    minutes = (noon + each * 60 * S for each in range(-15 * 60, 15 * 60))
    return tuple(at for at in minutes if day_of(at, zone) == day and (schedule is None or is_open(schedule, at, zone)))
