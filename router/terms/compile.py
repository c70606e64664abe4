"""Checked terms -> the Book. Everything that can be worked out before a lead comes is worked out here.

Done in steps, a contract each, so that the daemon can let leads go first in between; and from an earlier Book whatever
did not change is taken over: a buyer that is the same object as before, under lead types and defaults that are the
same, is only looked at.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from router.terms.book import Book, BuyerPart, ContractPlan, Remembered, TierPlan
from router.terms.catalog import Catalog, cataloguing
from router.terms.coverage import Coverage, expand
from router.terms.pieces import BuyerRead, Plain, Scribe, address_of, plain_piece
from router.terms.plans import TermsError, contract_plan, endpoint_plans
from router.terms.schema import Buyer, Contract, CoverageTerms, LeadType, Scope, Terms
from router.terms.sharing import Pool
from router.terms.steps import LOOKS, Steps, at_once, each, emptying, in_order

__all__ = ["TermsError", "compile_book", "compiling"]

_MAIN_TIER: Final = "main"

Parts = Mapping[str, BuyerPart]


def compile_book(terms: Terms, before: Book | None = None) -> Book:
    """Terms that `check` found no error in -> Book. Raises TermsError naming the contract otherwise."""
    return at_once(compiling(terms, before))


def compiling(terms: Terms, before: Book | None = None, read: Mapping[str, BuyerRead] | None = None) -> Steps[Book]:
    """`compile_book` in steps. `read` holds the buyers that came as pieces, with what their coverage expands to."""
    plain = {name: address_of(plain_piece(owner)) for name, owner in plain_owners(terms)}
    shaken = _shaken(terms, plain, before)
    press = _Press(terms, before, read or {})
    old: Parts = before.parts if before is not None else {}
    parts: dict[str, BuyerPart] = {}
    buyers: dict[str, Buyer] = {}
    changed: dict[str, BuyerPart] = {}
    for place, buyer in enumerate(terms.buyers.values()):
        part = old.get(buyer.id)
        if part is None or not _stays(part, buyer, terms) or (shaken and not shaken.isdisjoint(part.kinds)):
            part = changed[buyer.id] = yield from press.part(buyer)
        elif not place % LOOKS:
            yield
        parts[buyer.id], buyers[buyer.id] = part, part.buyer
    yield from press.emptying()
    gone: list[str] = []
    yield from each(old, lambda id_: gone.append(id_) if id_ not in parts else None)
    away: list[BuyerPart] = []
    yield from each((*changed, *gone), lambda id_: away.append(old[id_]) if id_ in old else None)
    contracts = yield from _contracts(before, away, changed.values())
    by_type = yield from _by_type(terms, before, contracts, away, changed.values())
    catalog = yield from _catalog(before, plain, changed, gone)
    return Book(
        version=catalog.version,
        terms=Terms(
            router=terms.router,
            lead_types=terms.lead_types,
            sources=terms.sources,
            buyers=buyers,
            lists={},  # what they name stands in the coverage
            places=terms.places,
        ),
        parts=parts,
        catalog=catalog,
        contracts=contracts,
        by_type=by_type,
        rosters=(yield from _rosters(terms, before, by_type, away, changed.values())),
        remembered=(yield from _remembered(terms, parts)),
        source_by_token=_tokens((source.id, source.token_sha256) for source in terms.sources.values()),
        buyer_by_token=(yield from _buyer_tokens(before, parts, away, changed.values())),
    )


def plain_owners(terms: Terms) -> Iterator[tuple[str, Plain]]:
    """What is a piece as it is, by the names of the catalog: the router, lead types, sources."""
    yield "router", terms.router
    for lead_type in terms.lead_types.values():
        yield f"lead_type:{lead_type.id}", lead_type
    for source in terms.sources.values():
        yield f"source:{source.id}", source


def _shaken(terms: Terms, plain: Mapping[str, str], before: Book | None) -> frozenset[str]:
    """The lead types whose buyers are compiled anew whether they changed or not."""
    if before is None:
        return frozenset()
    if _of_every_plan(before.terms) != _of_every_plan(terms):
        return frozenset((*terms.lead_types, *before.lead_types))
    return frozenset(
        kind
        for kind in (*terms.lead_types, *before.lead_types)
        if plain.get(f"lead_type:{kind}") != before.catalog.address(f"lead_type:{kind}")
    )


def _of_every_plan(terms: Terms) -> tuple[object, ...]:
    """What of `router.toml` stands in every contract's plan."""
    return terms.router.defaults, terms.router.onboarding.require_certified


def _stays(part: BuyerPart, buyer: Buyer, terms: Terms) -> bool:
    return part.buyer is buyer and part.place == _place(buyer, terms)


def _place(buyer: Buyer, terms: Terms) -> str:
    return terms.places.get(f"buyer:{buyer.id}", "")


class _Press:
    """Makes parts of buyers. What they have in common is one object."""

    def __init__(self, terms: Terms, before: Book | None, read: Mapping[str, BuyerRead]) -> None:
        self._terms: Final = terms
        self._before: Final = before
        self._read: Final = read
        self._tiers: Final = {kind: _tiers(lead_type) for kind, lead_type in terms.lead_types.items()}
        self._pool: Final = Pool()
        self._scribe: Final = Scribe()

    def part(self, buyer: Buyer) -> Steps[BuyerPart]:
        """A buyer compiled, a contract at a step. Raises TermsError."""
        coverage: dict[str, Coverage] = {}
        for contract in buyer.contracts:
            coverage[contract.id] = self._scribe.shared(contract, self._coverage(buyer, contract))
            yield
        place = _place(buyer, self._terms)
        buyer = self._pool.buyer(buyer)
        endpoints = endpoint_plans(buyer, self._terms)
        yield
        plans: list[ContractPlan] = []
        for contract in buyer.contracts:
            tiers = self._tiers[contract.lead_type]
            plans.append(contract_plan(contract, buyer, self._terms, coverage[contract.id], endpoints, tiers))
            if not len(plans) % 16:
                yield
        piece = self._scribe.buyer(buyer, place, coverage)
        entries = (name for one in buyer.contracts for name, _ in self._scribe.entries(one, coverage[one.id]))
        return BuyerPart(
            buyer=buyer,
            place=place,
            plans=tuple(plans),
            address=address_of(piece),
            entries=tuple(dict.fromkeys(entries)),
        )

    def emptying(self) -> Steps[None]:
        """No parts are made after this."""
        yield from emptying(self._pool.parts)
        yield from emptying(self._scribe.met)

    def _coverage(self, buyer: Buyer, contract: Contract) -> Coverage:
        known = self._known_coverage(buyer, contract)
        if known is not None:
            return known
        found, problems = expand(
            contract.coverage or CoverageTerms(),
            lists=self._terms.lists,
            country=self._terms.router.defaults.country,
        )
        errors = [message for _, message, _, severity in problems if severity == "error"]
        if errors:
            raise TermsError(f"contract {contract.id}: coverage: {errors[0]}")
        return found

    def _known_coverage(self, buyer: Buyer, contract: Contract) -> Coverage | None:
        """What it was found to be by whoever read it, or for the Book before."""
        read = self._read.get(buyer.id)
        if read is not None:
            return read.coverage[contract.id]
        before = self._before
        if before is None or before.router.defaults.country != self._terms.router.defaults.country:
            return None
        part = before.parts.get(buyer.id)
        return before.contracts[contract.id].coverage if part is not None and part.buyer is buyer else None


# -- what is seen across buyers ------------------------------------------------------------------


def _contracts(
    before: Book | None, away: Iterable[BuyerPart], come: Iterable[BuyerPart]
) -> Steps[dict[str, ContractPlan]]:
    contracts: dict[str, ContractPlan] = {}
    if before is not None:
        yield from each(before.contracts.items(), lambda named: contracts.__setitem__(*named))
    yield from each(_plans(away), lambda plan: contracts.pop(plan.id))
    yield from each(_plans(come), lambda plan: contracts.__setitem__(plan.id, plan))
    return contracts


def _catalog(before: Book | None, plain: Mapping[str, str], changed: Parts, gone: Iterable[str]) -> Steps[Catalog]:
    changes: Iterable[tuple[str, str | None]] = chain(
        ((f"buyer:{id_}", part.address) for id_, part in changed.items()),
        ((f"buyer:{id_}", None) for id_ in gone),
        ((name, None) for name, _ in plain_owners(before.terms)) if before is not None else (),
        plain.items(),
    )
    return (yield from cataloguing(changes, before.catalog if before is not None else None))


def _by_type(
    terms: Terms,
    before: Book | None,
    contracts: Mapping[str, ContractPlan],
    away: Iterable[BuyerPart],
    come: Iterable[BuyerPart],
) -> Steps[dict[str, tuple[ContractPlan, ...]]]:
    old = before.by_type if before is not None else {}
    new: dict[str, dict[str, ContractPlan]] = {}
    yield from each(_plans(away), lambda plan: new.setdefault(plan.lead_type, {}))
    yield from each(_plans(come), lambda plan: new.setdefault(plan.lead_type, {}).update({plan.id: plan}))
    found = {kind: old.get(kind, ()) for kind in terms.lead_types}
    for kind in new.keys() & found.keys():
        plans: dict[str, ContractPlan] = {}
        for place, old_plan in enumerate(found[kind]):
            plan = contracts.get(old_plan.id)
            if plan is not None and plan.lead_type == kind:
                plans[plan.id] = plan
            if not place % LOOKS:
                yield
        plans.update(new[kind])
        found[kind] = tuple(plans.values())
    return found


def _rosters(
    terms: Terms,
    before: Book | None,
    by_type: Mapping[str, Sequence[ContractPlan]],
    away: Iterable[BuyerPart],
    come: Iterable[BuyerPart],
) -> Steps[dict[str, str]]:
    """The digest of the contracts in each tier, by `lead_type/tier`."""
    old = before.rosters if before is not None else {}
    left: dict[str, tuple[str, str]] = {}
    touched: set[str] = set()

    def come_back(plan: ContractPlan) -> None:
        seat = left.pop(plan.id, None)
        if seat != _seat(plan):
            touched.add(plan.lead_type)
            touched.update(() if seat is None else seat[:1])

    yield from each(_plans(away), lambda plan: left.__setitem__(plan.id, _seat(plan)))
    yield from each(_plans(come), come_back)
    yield from each(left.values(), lambda seat: touched.add(seat[0]))
    rosters: dict[str, str] = {}
    for kind, lead_type in terms.lead_types.items():
        for tier in _tiers(lead_type):
            place = f"{kind}/{tier.name}"
            known = old.get(place)
            if known is None or kind in touched:
                known = yield from _roster(tier.name, by_type[kind])
            rosters[place] = known
    return rosters


def _plans(parts: Iterable[BuyerPart]) -> Iterator[ContractPlan]:
    return (plan for part in parts for plan in part.plans)


def _seat(plan: ContractPlan) -> tuple[str, str]:
    return plan.lead_type, plan.tier.name


def _roster(tier: str, plans: Iterable[ContractPlan]) -> Steps[str]:
    ordered = yield from in_order([plan.id for plan in plans if plan.tier.name == tier], str)
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:16]


def _remembered(terms: Terms, parts: Parts) -> Steps[Remembered]:
    """`sold` leads are found as those of their lead type to whom a delivery was accepted."""
    found = set[tuple[tuple[tuple[str, ...], ...], int, Scope | None, bool]]()
    for dedup in (kind.dedup for kind in terms.lead_types.values()):
        if dedup is not None:
            found.add((dedup.keys, int(dedup.window), "lead_type" if dedup.counts == "sold" else None, False))

    def take(plan: ContractPlan) -> None:
        dedup = plan.dedup
        if dedup is not None:
            found.add((dedup.keys, dedup.window_ns, dedup.scope, dedup.counts == "delivered"))

    yield from each(_plans(parts.values()), take)
    return Remembered(
        keys=tuple(sorted({key for keys, _, _, _ in found for key in keys})),
        keep_ns=max((window for _, window, _, _ in found), default=0),
        scopes=tuple(sorted({scope for _, _, scope, _ in found if scope is not None})),
        declined=any(declined for _, _, _, declined in found),
    )


def _buyer_tokens(
    before: Book | None, parts: Parts, away: Iterable[BuyerPart], come: Iterable[BuyerPart]
) -> Steps[dict[str, str]]:
    if before is not None and not any(part.buyer.token_sha256 for part in (*away, *come)):
        return before.buyer_by_token
    found: dict[str, str] = {}

    def take(part: BuyerPart) -> None:
        found.update(dict.fromkeys(part.buyer.token_sha256, part.buyer.id))

    yield from each(parts.values(), take)
    return found


def _tokens(owners: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    return {token: owner for owner, tokens in owners for token in tokens}


def _tiers(lead_type: LeadType) -> tuple[TierPlan, ...]:
    if not lead_type.tiers:
        return (TierPlan(0, _MAIN_TIER, "price", None),)
    return tuple(TierPlan(index, tier.name, tier.method, tier.secondary) for index, tier in enumerate(lead_type.tiers))
