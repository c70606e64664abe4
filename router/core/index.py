"""The fast path's tables: every static rule of a lead type as integer bit masks.

A Board is one bit space: the contracts of a lead type (where they are many, those of a postal area: `core.areas`), as
one mode sells them, in rank order with the best rank at the highest bit. Then the winner is `mask.bit_length() - 1`,
and a rule refuses with `mask ^ (mask & refused)`; both are one pass in C over a few hundred bytes, and nothing depends
on how many contracts fail. Negative operands (`~m`, `-m`) cost many times an AND and are never used.

Thresholds are sorted and bisected, picks are looked up by value; what cannot be a mask (patterns, trees with `any` and
`not`, ages) is asked of the few candidates that are left. `core.rules.static` says what all this must equal.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import Final

from msgspec.structs import replace

from router.core.areas import WHOLE, by_area
from router.core.calendar import FOREVER, Calendar, Frame
from router.core.cover import CoverIndex
from router.core.masks import bits, mask_of
from router.core.rules.criteria import holds, rule_holds
from router.core.rules.static import (
    STATIC,
    Mode,
    certificates_of,
    margin_price,
    received_day,
    seller_key,
    source_allowed,
)
from router.model.lead import Lead, Value
from router.terms.book import Book, ContractPlan
from router.terms.schema import Criterion, FieldRule, Method
from router.terms.steps import Steps, at_once, in_order

DYNAMIC: Final[frozenset[Method]] = frozenset({"weighted", "percentage", "round_robin", "distance"})
TURNED: Final[frozenset[Method | None]] = frozenset({"weighted", "percentage"})
#: So many contracts are one step of building a board.
_CONTRACTS: Final = 32
#: With more coverages changed than that, a board is made anew.
_EDITED_MAX: Final = 8
#: The masks of buyers with so many contracts on a board are kept.
_LARGE_BUYER: Final = 8
#: Shares are parts of it.
MILLION: Final = 1_000_000

SlowTest = Callable[[Lead], bool]


class Thresholds:
    """Contracts that refuse a value below (or above) their own threshold: sorted, with the masks summed up.

    After `seal`, a value is refused by `masks[locate(limits, value)]`, where `locate` is `bisect_right` for thresholds
    that refuse below them and `bisect_left` for those that refuse above.
    """

    def __init__(self, refuses_below: bool) -> None:
        self._below = refuses_below
        self._raw: dict[float | int, int] = {}
        self.locate: _Locate = bisect_right if refuses_below else bisect_left
        self.limits: list[float | int] = []
        self.masks: list[int] = [0]
        self.all = 0  # every contract with a threshold

    def add(self, limit: float | int, bit: int) -> None:
        """A contract (as a bit) with its threshold."""
        self._raw[limit] = self._raw.get(limit, 0) | bit

    def seal(self) -> None:
        """Sum the masks up; no `add` after this."""
        self.limits = sorted(self._raw)
        total, sums = 0, [0]
        for limit in reversed(self.limits) if self._below else self.limits:
            total |= self._raw[limit]
            sums.append(total)
        self.masks = sums[::-1] if self._below else sums
        self.all = total
        self._raw = {}

    def refused(self, value: float | int) -> int:
        """The contracts that refuse a value: limit > value, or limit < value."""
        return self.masks[self.locate(self.limits, value)]


_Locate = Callable[[list[float | int], Value], int]
#: name, locate, limits, the masks accepted between them, the mask accepted when the field is missing.
_ThresholdRow = tuple[str, _Locate, list[float | int], tuple[int, ...], int]
#: name, the mask accepted for each value (booleans apart: `True` is not `1`), for any other value, when missing.
_PickRow = tuple[str, dict[Value, int], dict[Value, int], int, int]


class FieldTests:
    """All threshold and pick tests of one field. Picks of booleans stand apart: `True` is not `1`."""

    def __init__(self) -> None:
        self.missing = 0  # contracts that refuse a lead without the field
        self._min = Thresholds(refuses_below=True)
        self._max = Thresholds(refuses_below=False)
        self._pickers = 0
        self._picks: dict[Value, int] = {}
        self._bool_picks: dict[Value, int] = {}

    def add(self, test: Criterion | FieldRule, bit: int) -> bool:
        """Take a leaf's `min`, `max`, `equals` and `one_of` in, if they can be masks."""
        wanted = (test.equals,) if isinstance(test, Criterion) and test.equals is not None else test.one_of
        if any(isinstance(limit, (str, bool)) for limit in (test.min, test.max)) or (
            wanted is not None and self._pickers & bit
        ):
            return False
        if isinstance(test, Criterion) and test.equals is not None and test.one_of is not None:
            return False
        if test.min is not None:
            assert not isinstance(test.min, str)
            self._min.add(test.min, bit)
        if test.max is not None:
            assert not isinstance(test.max, str)
            self._max.add(test.max, bit)
        if wanted is not None:
            self._pickers |= bit
            for one in wanted:
                picks = self._bool_picks if isinstance(one, bool) else self._picks
                picks[one] = picks.get(one, 0) | bit
        return True

    def thresholds(self, name: str, everybody: int) -> Iterator[_ThresholdRow]:
        """The field's thresholds as rows of accepted masks; no `add` after this."""
        for found in (self._min, self._max):
            found.seal()
            if found.all:
                accepted = tuple(everybody ^ mask for mask in found.masks)
                yield name, found.locate, found.limits, accepted, everybody ^ self.missing

    def picks(self, name: str, everybody: int) -> Iterator[_PickRow]:
        """The field's picks as a row of accepted masks."""
        if self._pickers:
            other = everybody ^ self._pickers
            plain, flags = (
                {one: other | mask for one, mask in table.items()} for table in (self._picks, self._bool_picks)
            )
            yield name, plain, flags, other, everybody ^ self.missing


class ConsentTests:
    """All consent tests, grouped by what they ask."""

    def __init__(self) -> None:
        self.asked = 0
        self._required = 0
        self._text = 0
        self._certificates: dict[tuple[str, ...], int] = {}
        self._max_age = Thresholds(refuses_below=False)
        self._aged = 0
        self._named = 0
        self._sellers: dict[str, int] = {}

    def add(self, plan: ContractPlan, bit: int) -> None:
        """Take a contract's consent terms in."""
        terms = plan.terms.consent
        if terms is None:
            return
        self.asked |= bit
        if terms.required:
            self._required |= bit
        if terms.text:
            self._text |= bit
        if terms.certificates:
            self._certificates[terms.certificates] = self._certificates.get(terms.certificates, 0) | bit
        if terms.max_age is not None:
            self._aged |= bit
            self._max_age.add(int(terms.max_age), bit)
        if terms.names_seller is not None:
            self._named |= bit
            seller = seller_key(terms.names_seller)
            self._sellers[seller] = self._sellers.get(seller, 0) | bit

    def seal(self) -> None:
        """No `add` after this."""
        self._max_age.seal()

    def refused(self, lead: Lead) -> int:
        """The contracts whose consent terms refuse the lead."""
        consent = lead.consent
        if consent is None:
            return self._required
        refused = 0 if consent.text else self._text
        if self._aged:
            if consent.given_at_ns is None:
                refused |= self._aged
            else:
                refused |= self._max_age.refused(max(0, lead.received_at_ns - consent.given_at_ns))
        if self._named:
            named = 0
            for seller in consent.sellers:
                named |= self._sellers.get(seller_key(seller), 0)
            refused |= self._named ^ named
        if self._certificates:
            present = certificates_of(consent)
            for kinds, mask in self._certificates.items():
                if not any(kind in present for kind in kinds):
                    refused |= mask
        return refused


def sale_price(plan: ContractPlan, mode: Mode) -> int:
    """What the terms name as the price of a copy sold in a mode, minor units."""
    return plan.exclusive_price if mode == "exclusive" else plan.price


def price_in(plan: ContractPlan, mode: Mode) -> int:
    """What a copy sold in a mode is billed at, minor units; where a bid is to say so, the least that it could be."""
    return sale_price(plan, mode) if plan.least_bid is None else plan.least_bid


def _static_key(plan: ContractPlan, method: Method | None, mode: Mode) -> int:
    if method == "price":
        return -price_in(plan, mode)
    return plan.terms.priority if method == "priority" else 0


def members(book: Book, lead_type: str, area: str) -> Sequence[ContractPlan]:
    """The contracts that an area's board of a lead type holds, in no order that counts."""
    plans = book.by_type[lead_type]
    return plans if area == WHOLE else at_once(by_area(plans)).get(area, ())


def by_rank(plans: Iterable[ContractPlan], mode: Mode) -> Steps[tuple[ContractPlan, ...]]:
    """Contracts of a lead type as one mode sells them, the best last: each one's place is its bit."""

    def rank(plan: ContractPlan) -> tuple[int, int, int, str]:
        tier = plan.tier
        secondary = 0 if tier.method in DYNAMIC else _static_key(plan, tier.secondary, mode)
        return tier.index, _static_key(plan, tier.method, mode), secondary, plan.id

    return tuple(reversed((yield from in_order(plans, rank))))


class Board:
    """One lead type in one postal area as one mode sells it: the bit space, the static tables, the rank order.

    Without an area it holds every contract of the lead type.
    """

    def __init__(self, book: Book, lead_type: str, mode: Mode, area: str = WHOLE) -> None:
        at_once(self._build(book, lead_type, mode, area, members(book, lead_type, area)))

    @classmethod
    def building(
        cls, book: Book, lead_type: str, mode: Mode, area: str, plans: Sequence[ContractPlan]
    ) -> Steps["Board"]:
        """A board, made in steps, of the contracts that are its `members`."""
        board = cls.__new__(cls)
        yield from board._build(book, lead_type, mode, area, plans)
        return board

    def under(self, book: Book, plans: Sequence[ContractPlan]) -> Steps["Board | None"]:
        """The same board under other terms, with the coverage of a few contracts edited; None where more changed.

        In steps. `plans` are its members in that Book. What did not change is shared with this board, which stays.
        """
        board = copy(self)
        board.book, board.members, board._sources = book, plans, {}
        if plans is self.members:
            return board
        if len(plans) != self.size:
            return None
        others = [pair for pair in zip(self.members, plans, strict=True) if pair[0] is not pair[1]]
        if not all(_alike_but_for_coverage(old, new) for old, new in others):
            return None
        edited = [(old, new) for old, new in others if old.coverage != new.coverage]
        if len(edited) > _EDITED_MAX:
            return None
        own = [*self.plans]
        for _, new in others:
            own[self.rank_of[new.id]] = new
        board.plans, board._covers = tuple(own), dict(self._covers)
        for old, new in edited:
            country, rank = old.coverage.country, self.rank_of[old.id]
            board._covers[country] = yield from board._covers[country].edited(rank, old.coverage, new.coverage)
        return board

    def _build(self, book: Book, lead_type: str, mode: Mode, area: str, plans: Sequence[ContractPlan]) -> Steps[None]:
        self.book = book
        self.lead_type = lead_type
        self.mode: Mode = mode
        self.area = area
        self.members: Sequence[ContractPlan] = plans
        self.plans = plans = yield from by_rank(plans, mode)
        self.ids = tuple(plan.id for plan in plans)
        self.size = len(plans)
        self.all = (1 << self.size) - 1
        self.rank_of = {plan.id: rank for rank, plan in enumerate(plans)}
        yield
        self.width = (self.size + 7) >> 3  # bytes of a mask
        self.prices = tuple(self.price(plan) for plan in plans)
        yield
        #: What a contract weighs in a tier's rotation, by its method: its weight, or its share in parts per million.
        self.weights: dict[Method, tuple[int, ...]] = {
            "weighted": tuple(plan.terms.weight for plan in plans),
            "percentage": tuple(round((plan.terms.share or 0) * MILLION) for plan in plans),
        }
        yield
        self._frames: list[Frame | None] = [None] * self.size
        self.runs = self._runs()
        yield
        #: Contracts that are asked for a bid. No other ones are ever judged by one.
        self.pinged = mask_of((rank for rank, plan in enumerate(plans) if plan.least_bid is not None), self.size)
        self.dynamic = self.pinged  # contracts that are ordered by state, lead or bid
        for run in set(self.runs):
            self.dynamic |= run
        yield
        self.live = mask_of(
            (rank for rank, plan in enumerate(plans) if plan.terms.status == plan.buyer.status == "live"), self.size
        )
        yield
        #: The contracts of each tier, where one of them is asked for a bid.
        self.tier_masks = self._group((plan.tier.name, rank) for rank, plan in enumerate(plans)) if self.pinged else {}
        of_buyer: dict[str, list[int]] = {}
        for rank, plan in enumerate(plans):
            of_buyer.setdefault(plan.buyer_id, []).append(rank)
        self._of_buyer = {buyer_id: tuple(ranks) for buyer_id, ranks in of_buyer.items()}
        self._of_large_buyer: dict[str, int] = {}
        yield
        self.deduped = mask_of((rank for rank, plan in enumerate(plans) if plan.dedup is not None), self.size)
        yield from self._build_tables()

    # -- rank ------------------------------------------------------------------------------------

    def price(self, plan: ContractPlan) -> int:
        """As `price_in`, in the board's mode."""
        return price_in(plan, self.mode)

    def static_key(self, plan: ContractPlan, method: Method | None) -> int:
        """A static method's sort key (smaller is better); 0 for methods that depend on state or lead."""
        return _static_key(plan, method, self.mode)

    def _runs(self) -> list[int]:
        """For each bit the mask of the contracts it is ordered among by state or lead; 0 where the bits say it all."""
        groups: dict[tuple[int, int], list[int]] = {}
        for rank, plan in enumerate(self.plans):
            tier = plan.tier
            if tier.method in DYNAMIC:
                groups.setdefault((tier.index, 0), []).append(rank)
            elif tier.secondary in DYNAMIC:
                groups.setdefault((tier.index, self.static_key(plan, tier.method)), []).append(rank)
        runs = [0] * self.size
        for ranks in groups.values():
            mask = mask_of(ranks, self.size) if len(ranks) > 1 or self.takes_turns(ranks[0]) else 0
            for rank in ranks:
                runs[rank] = mask
        return runs

    def takes_turns(self, rank: int) -> bool:
        """Whether a sale to this contract is a turn of its tier, which others of it then wait for."""
        tier = self.plans[rank].tier
        return not TURNED.isdisjoint((tier.method, tier.secondary))

    def of_buyer(self, buyer_id: str) -> int:
        """The contracts of a buyer."""
        ranks = self._of_buyer.get(buyer_id, ())
        if len(ranks) < _LARGE_BUYER:
            return sum([1 << rank for rank in ranks])
        mask = self._of_large_buyer.get(buyer_id)
        if mask is None:
            mask = self._of_large_buyer[buyer_id] = mask_of(ranks, self.size)
        return mask

    def frame(self, rank: int, at_ns: int, calendar: Calendar) -> Frame:
        """The calendar windows of a contract's caps now; remembered until one turns over."""
        found = self._frames[rank]
        if found is None or not found[0] <= at_ns < found[1]:
            plan = self.plans[rank]
            pers = tuple(None if cap.rolling else cap.per for cap in plan.caps)
            found = self._frames[rank] = calendar.frame(pers, at_ns, plan.zone)
        return found

    # -- static tables ---------------------------------------------------------------------------

    def _group(self, pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
        groups: dict[str, list[int]] = {}
        for key, rank in pairs:
            groups.setdefault(key, []).append(rank)
        return {key: mask_of(ranks, self.size) for key, ranks in groups.items()}

    def _build_tables(self) -> Steps[None]:
        self._covers: dict[str, CoverIndex] = {}
        tests: dict[str, FieldTests] = {}
        self._consent = ConsentTests()
        self._max_age = Thresholds(refuses_below=False)
        self._within = Thresholds(refuses_below=False)
        self.slow: dict[int, tuple[SlowTest, ...]] = {}
        required: list[tuple[str, int]] = []
        for rank, plan in enumerate(self.plans):
            bit = 1 << rank
            self._cover_index(plan.coverage.country).add(plan, rank)
            required += [(name, rank) for name in plan.terms.fields.required]
            self._consent.add(plan, bit)
            self._age(plan, bit)
            slow = [*self._criteria(plan, bit, tests), *self._field_rules(plan, bit, tests)]
            if slow:
                self.slow[rank] = tuple(slow)
            if not rank % _CONTRACTS:
                yield
        for table in (self._consent, self._max_age, self._within):
            table.seal()
            yield
        for name, mask in self._group(required).items():
            tests.setdefault(name, FieldTests()).missing |= mask
        yield
        thresholds, picks = list[_ThresholdRow](), list[_PickRow]()
        for name, test in tests.items():
            thresholds += test.thresholds(name, self.all)
            yield
            picks += test.picks(name, self.all)
            yield
        self._thresholds, self._picks = tuple(thresholds), tuple(picks)
        asked = {row[0] for row in (*self._thresholds, *self._picks)}
        self._required = tuple(
            (name, self.all ^ test.missing) for name, test in tests.items() if test.missing and name not in asked
        )
        for index in self._covers.values():
            yield from index.seal()
        oldest = self.book.lead_types[self.lead_type].max_age
        self.oldest_ns = FOREVER if oldest is None else int(oldest)  # from that age on nobody may have a lead
        self.aged = self._max_age.all | self._within.all
        self.rare = self.aged | self.deduped  # whom a lead's age or its consumer's past may refuse
        self._slow_mask = mask_of(self.slow, self.size)
        self._sources: dict[str, int] = {}

    def _cover_index(self, country: str) -> CoverIndex:
        found = self._covers.get(country)
        if found is None:
            found = self._covers[country] = CoverIndex(self.size, country, self.area[len(country) :])
        return found

    def _age(self, plan: ContractPlan, bit: int) -> None:
        sla = plan.terms.sla
        if sla is not None and sla.max_lead_age is not None:
            self._max_age.add(int(sla.max_lead_age), bit)
        if sla is not None and sla.deliver_within is not None:
            self._within.add(int(sla.deliver_within) - 1, bit)  # refused when waited >= deliver_within

    def _criteria(self, plan: ContractPlan, bit: int, tests: dict[str, FieldTests]) -> list[SlowTest]:
        slow: list[SlowTest] = []
        for node in _conjuncts(plan.terms.criteria):
            name = node.field_
            if name is None:
                slow.append(_criterion_test(node))
                continue
            field = tests.setdefault(name, FieldTests())
            if node.missing == "fail":
                field.missing |= bit
            if node.not_one_of is not None or node.pattern is not None or not field.add(node, bit):
                slow.append(_criterion_test(node))
        return slow

    def _field_rules(self, plan: ContractPlan, bit: int, tests: dict[str, FieldTests]) -> list[SlowTest]:
        slow: list[SlowTest] = []
        for name, rule in plan.terms.fields.rules.items():
            plain = FieldRule(min=rule.min, max=rule.max, one_of=rule.one_of)
            if rule != plain or not tests.setdefault(name, FieldTests()).add(rule, bit):
                slow.append(_rule_test(plan, name, rule))
        return slow

    # -- asking ----------------------------------------------------------------------------------

    def covering(self, lead: Lead) -> int:
        """The contracts whose coverage holds the lead."""
        index = self._covers.get(lead.country)
        if index is None:
            return 0
        code = lead.fields.get("postal_code")
        return index.covering(code) if isinstance(code, str) else index.everywhere

    def passing(self, lead: Lead, covering: int) -> int:
        """Of the covering contracts those that no other static rule refuses."""
        allowed = self._sources.get(lead.source_id)
        if allowed is None:
            allowed = self._sources[lead.source_id] = self._allowed(lead.source_id)
        left = covering & allowed
        if not left:
            return 0
        if left & self._consent.asked:
            left ^= left & self._consent.refused(lead)
        fields = lead.fields
        for name, accepted in self._required:
            if name not in fields:
                left &= accepted
        try:
            for name, locate, limits, masks, unasked in self._thresholds:
                value = fields.get(name)
                left &= unasked if value is None else masks[locate(limits, value)]
        except TypeError:  # text where these terms want a number: the lead was taken under others
            return self._passing_slowly(lead, left)
        for name, plain, flags, other, unasked in self._picks:
            value = fields.get(name)
            if value is None:
                left &= unasked
            else:
                left &= (flags if value is True or value is False else plain).get(value, other)
        slow = left & self._slow_mask
        return left ^ self._refused_slowly(lead, slow) if slow else left

    def _passing_slowly(self, lead: Lead, left: int) -> int:
        return sum(
            1 << rank
            for rank in bits(left)
            if not any(True for rule in STATIC for _ in rule(self.book, self.plans[rank], lead))
        )

    def _refused_slowly(self, lead: Lead, slow: int) -> int:
        return sum(1 << rank for rank in bits(slow) if not all(test(lead) for test in self.slow[rank]))

    def ageing(self, lead: Lead, at_ns: int, released_at_ns: int) -> tuple[tuple[str, int], tuple[str, int]]:
        """The contracts that the lead is too old for and whose `deliver_within` refuses it at a moment, by code."""
        age_ns = at_ns - lead.submitted_at_ns
        return (
            ("lead_too_old", self.all if age_ns >= self.oldest_ns else self._max_age.refused(age_ns)),
            ("too_late", self._within.refused(at_ns - released_at_ns)),
        )

    def _allowed(self, source_id: str) -> int:
        """The contracts that take leads of a source and keep floor and margin with what it is paid."""
        sell = self.book.lead_types[self.lead_type].sell
        least = max(int(sell.floor or 0), margin_price(self.book, self.lead_type, source_id, self.mode) or 0)
        return mask_of(
            (
                rank
                for rank, plan in enumerate(self.plans)
                if (self.prices[rank] >= least or plan.least_bid is not None) and source_allowed(plan, source_id)
            ),
            self.size,
        )


def _alike_but_for_coverage(old: ContractPlan, new: ContractPlan) -> bool:
    """Whether a board's tables say the same of both, but for who covers a code."""
    terms = replace(new.terms, coverage=old.terms.coverage)
    same = replace(
        new, terms=terms, buyer=old.buyer, coverage=old.coverage, areas=old.areas, centers=old.centers,
        endpoint=old.endpoint,
    )  # fmt: skip
    return same == old and new.buyer.status == old.buyer.status


def _conjuncts(nodes: Iterable[Criterion]) -> Iterator[Criterion]:
    """Top-level criteria must all hold, and so must the parts of an `all` among them."""
    for node in nodes:
        if node.all_ is not None:
            yield from _conjuncts(node.all_)
        else:
            yield node


def _criterion_test(node: Criterion) -> SlowTest:
    return lambda lead: holds(node, lead.fields) is True


def _rule_test(plan: ContractPlan, name: str, rule: FieldRule) -> SlowTest:
    def passes(lead: Lead) -> bool:
        value = lead.fields.get(name)
        return value is None or rule_holds(rule, value, received_day(plan, lead))

    return passes
