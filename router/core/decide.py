"""The decision: which contracts may have this lead now, in which order, and who wins.

`choose` is pure masks over a Board and what the standing rules said last; `core.explain` gives the same answer the slow
way, rule by rule. Nothing yields between choosing and reserving: the caller applies the facts that `reserve` makes
before it does anything else, so concurrent leads cannot overshoot a cap.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import xor
from typing import Final

from msgspec import Struct

from router.core.bidding import NO_BIDS, Bids, hold_back, judge, refusals_with, unasked
from router.core.consumers import marks_of
from router.core.index import DYNAMIC, MILLION, Board
from router.core.masks import bits
from router.core.overrides import caps_now
from router.core.rules.finding import Finding
from router.core.rules.history import dedup_rule, suppressed_rule
from router.core.rules.standing import Moment, cap_used, cap_window
from router.core.rules.static import Mode
from router.core.rules.throttle import throttle_rule, throttles
from router.core.standings import Standings
from router.core.state import Rotation, State
from router.core.turns import claim
from router.model.codes import REFUSAL_CODES
from router.model.decision import Bid, Claim
from router.model.facts import Contracts, Decided, Reserved, Turn
from router.model.lead import Lead
from router.model.money import format_money
from router.terms.book import ContractPlan
from router.terms.geography import miles_between, us
from router.terms.schema import Method


class Choice(Struct, frozen=True, gc=False):
    """A decision as masks over one board, captured as it was: expanded only when somebody reads it.

    `covering` ⊇ `passing` (no static rule refuses) ⊇ `eligible`; `blocked` maps a state rule's code to the passing
    contracts it refused, `details` a contract to the (expected, actual) of a refusal that is this lead's own. `ranked`
    lists the bits that were put in order so far, best first; `winners` those that won; `throttled` the otherwise
    eligible contracts whose throttle counts this lead; `alike` maps a code to the (expected, actual) of a refusal that
    is the same for every contract that `blocked` has by it: a suppressed person, copies that together miss the margin.
    """

    board: Board
    covering: int
    passing: int
    eligible: int
    blocked: dict[str, int]
    details: dict[str, tuple[str, str]]
    ranked: tuple[int, ...]
    winners: tuple[int, ...]
    turns: tuple[Turn, ...]
    throttled: tuple[str, ...] = ()
    bids: Bids | None = None
    alike: Mapping[str, tuple[str, str]] = {}

    def expected(self, state: State) -> float:
        """Expected revenue: each winner's price times its recent acceptance."""
        board, bids = self.board, self.bids or NO_BIDS
        return sum(bids.price(board, rank) * state.acceptance(board.plans[rank].id) for rank in self.winners)


def choose(
    standings: Standings,
    state: State,
    lead: Lead,
    moment: Moment,
    *,
    released_at_ns: int,
    copies: int,
    payout: int = 0,
    offered: Iterable[str] = (),
    bids: Bids | None = None,
) -> Choice:
    """Decide on one board: at most `copies` winners of distinct buyers, none of the `offered` ones that had their turn.

    `payout` is what the source is paid once for the whole lead, minor units; the sum of a shared lead's copies must
    keep the margin over it. Without `bids` nobody was asked for one (`core.bidding`).
    """
    board = standings.board
    covering = board.covering(lead)
    left = passing = board.passing(lead, covering) if covering else 0
    for buyer_id in offered:
        left ^= left & board.of_buyer(buyer_id)
    blocked: dict[str, int] = {}
    details: dict[str, tuple[str, str]] = {}
    alike: dict[str, tuple[str, str]] = {}
    if left:
        stopped = standings.blocking(left, state, moment)
        if stopped:
            for code, mask in standings.by_code.items():
                refused = stopped & mask
                if refused:
                    blocked[code] = refused
        rare = left & board.rare
        if rare & board.aged or moment.at_ns - lead.submitted_at_ns >= board.oldest_ns:
            for code, refused in board.ageing(lead, moment.at_ns, released_at_ns):
                _first_said(blocked, code, left & refused)
        if rare & board.deduped and not lead.test:
            twice = _duplicates(board, state, lead, left & board.deduped, moment)
            for rank in bits(_first_said(blocked, "duplicate", sum(1 << rank for rank in twice))):
                _tell(board, rank, twice[rank], details)
        if state.suppressed and (never := next(suppressed_rule(board.book, lead, state), None)):
            _first_said(blocked, never.code, left)
            alike[never.code] = (never.expected, never.actual)
        if bids is not None and left & board.pinged:
            judge(board, bids, state, lead, moment, left & board.pinged, blocked, details)
        if blocked:
            left = reduce(xor, blocked.values(), left)
        if bids is not None:
            left = hold_back(board, bids, left, blocked, details)
    counted: tuple[str, ...] = ()
    if state.throttled and not lead.test and (slowed := left & standings.throttled(state)):
        counted, held_back = _throttle(board, slowed, state, moment, details, bids or NO_BIDS)
        if held_back:
            blocked["guard_throttled"] = blocked.get("guard_throttled", 0) | held_back
            left ^= held_back
    if left & board.pinged:
        without = unasked(board, bids or NO_BIDS, left)
        if without:
            blocked["no_bid"] = blocked.get("no_bid", 0) | without
            left ^= without
    elif copies == 1 and left and not left & board.dynamic:
        best = left.bit_length() - 1
        return Choice(board, covering, passing, left, blocked, details, (best,), (best,), (), counted, bids)
    ranked, winners, turns = _rank(board, state, lead, left, copies, bids) if left else ((), (), ())
    together = misses_margin(board, winners, payout, bids) if winners else None
    if together is not None:
        blocked["below_margin"] = blocked.get("below_margin", 0) | left
        alike["below_margin"] = (together.expected, together.actual)
        left, ranked, winners, turns = 0, (), (), ()
    return Choice(board, covering, passing, left, blocked, details, ranked, winners, turns, counted, bids, alike)


def _throttle(
    board: Board, slowed: int, state: State, moment: Moment, details: dict[str, tuple[str, str]], bids: Bids
) -> tuple[tuple[str, ...], int]:
    """Of the otherwise eligible contracts: whose throttle counts this lead, and which do not get it.

    A throttle that counted the lead when its contract was asked for a bid let it pass, and does not count it again.
    """
    counted: list[str] = []
    held_back = 0
    for rank in bits(slowed):
        plan = board.plans[rank]
        if plan.id not in bids.throttled and throttles(plan, state, moment):
            counted.append(plan.id)
            finding = next(throttle_rule(plan, state, moment), None)
            if finding is not None:
                held_back |= 1 << rank
                _tell(board, rank, finding, details)
    return tuple(counted), held_back


def _tell(board: Board, rank: int, finding: Finding, details: dict[str, tuple[str, str]]) -> None:
    details[board.ids[rank]] = (finding.expected, finding.actual)


def _first_said(blocked: dict[str, int], code: str, refused: int) -> int:
    """Enter what a rule refuses: only where no earlier rule does, and instead of what later ones said."""
    for other, mask in list(blocked.items()) if refused else ():
        both = refused & mask
        if both and REFUSAL_CODES.index(other) < REFUSAL_CODES.index(code):
            refused ^= both
        elif both == mask:
            del blocked[other]
        else:
            blocked[other] = mask ^ both
    if refused:
        blocked[code] = refused
    return refused


def _duplicates(board: Board, state: State, lead: Lead, asked: int, moment: Moment) -> dict[int, Finding]:
    marks, consumers = marks_of(lead, state.identity.keys), state.consumers
    if not marks:
        return {}
    asked_of = (
        (rank, next(dedup_rule(board.plans[rank], lead, marks, consumers, moment), None)) for rank in bits(asked)
    )
    return {rank: finding for rank, finding in asked_of if finding is not None}


def misses_margin(board: Board, winners: tuple[int, ...], payout: int, bids: Bids | None) -> Finding | None:
    """What refuses all copies of a shared lead that together do not keep the margin over what is paid for it."""
    floor = board.book.lead_types[board.lead_type].sell.margin_floor if board.mode == "shared" else None
    if floor is None:
        return None
    least, together = payout + floor, sum((bids or NO_BIDS).price(board, rank) for rank in winners)
    if together >= least:
        return None
    many = "1 copy" if len(winners) == 1 else f"{len(winners)} copies"
    return Finding(
        "below_margin", f"at least {format_money(least)} for all copies", f"{format_money(together)} for {many}"
    )


# -- ranking -------------------------------------------------------------------------------------


def _rank(
    board: Board, state: State, lead: Lead, eligible: int, copies: int, bids: Bids | None
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Turn, ...]]:
    """Put as many in order as it takes to find the winners (all of them where state or lead says the order)."""
    order = in_order(board, state, lead, eligible, bids)
    ranked = [*order] if eligible & board.dynamic else []
    winners: list[int] = []
    taken = 0
    for rank in ranked or order:
        if not eligible & board.dynamic:
            ranked.append(rank)
        if taken >> rank & 1:
            continue
        winners.append(rank)
        if len(winners) >= copies:
            break
        taken |= board.of_buyer(board.plans[rank].buyer_id)
    turns = _turns(board, eligible, winners) if eligible & board.dynamic and not lead.test else ()
    return tuple(ranked), tuple(winners), turns


def in_order(board: Board, state: State, lead: Lead, eligible: int, bids: Bids | None = None) -> Iterator[int]:
    """The eligible contracts, best first: by their bits, and by state or lead where a run says so.

    A tier that a bid takes part in is put in order as a whole.
    """
    pinged = eligible & board.pinged
    while eligible:
        rank = eligible.bit_length() - 1
        run = board.tier_masks[board.plans[rank].tier.name] if pinged else 0
        if not run & pinged:
            run = board.runs[rank]
        if run:
            members = eligible & run
            eligible ^= members
            yield from _sorted(board, state, lead, [*bits(members)], bids)
        else:
            eligible ^= 1 << rank
            yield rank


def _sorted(board: Board, state: State, lead: Lead, members: list[int], bids: Bids | None) -> list[int]:
    """The members of one run, best first: by the tier's method, then its secondary, then by id."""
    if len(members) == 1:
        return members
    tier, ids = board.plans[members[0]].tier, board.ids
    first = _values(board, state, lead, members, tier.method, bids)
    second = _values(board, state, lead, members, tier.secondary, bids)
    return [rank for *_, rank in sorted(zip(first, second, [ids[rank] for rank in members], members, strict=True))]


def _values(
    board: Board, state: State, lead: Lead, members: list[int], method: Method | None, bids: Bids | None
) -> Sequence[float] | Sequence[int]:
    """What a method says of each member of a run at this moment; smaller is better."""
    if method is None:
        return [0] * len(members)
    if method == "price" and bids is not None:
        return [-bids.price(board, rank) for rank in members]
    if method not in DYNAMIC:
        return [board.static_key(board.plans[rank], method) for rank in members]
    if method == "round_robin":
        sales = [state.recency.get(board.ids[rank]) for rank in members]
        return [0 if recency is None else recency.last_ns for recency in sales]
    if method == "distance":
        return [miles_to(board.plans[rank], lead) for rank in members]
    ids, tier = board.ids, board.plans[members[0]].tier
    place = f"{board.lead_type}/{tier.name}"
    rotation, roster = state.rotations.get(place), board.book.rosters[place]
    if rotation is None or rotation.roster != roster:
        rotation = Rotation(roster)
    weights = board.weights[method]
    if method == "weighted":
        credit, whole = rotation.current.get, sum([weights[rank] for rank in members])
        return [-claim(credit(ids[rank], 0), weights[rank], whole) for rank in members]
    seen, sold = rotation.eligible.get, rotation.sold.get
    return [sold(ids[rank], 0) * MILLION - weights[rank] * (seen(ids[rank], 0) + 1) for rank in members]


def miles_to(plan: ContractPlan, lead: Lead) -> float:
    """Miles from the lead's postal code to the nearest centre of the contract's radii; infinite when unknown."""
    place = us().place(lead.postal_code) if lead.country == "US" and lead.postal_code else None
    if place is None:
        return float("inf")
    here = (place.latitude, place.longitude)
    return min((miles_between(*here, *center) for center in plan.centers), default=float("inf"))


def _turns(board: Board, eligible: int, winners: list[int]) -> tuple[Turn, ...]:
    picked: dict[int, list[int]] = {}
    for rank in winners:
        if board.takes_turns(rank):
            picked.setdefault(board.runs[rank], []).append(rank)
    return tuple(turn for run, ranks in picked.items() for turn in _turns_of(board, eligible & run, ranks))


def _turns_of(board: Board, members: int, picked: list[int]) -> Iterator[Turn]:
    ranks, ids = [*bits(members)], board.ids
    tier = board.plans[ranks[0]].tier
    for method in dict.fromkeys((tier.method, tier.secondary)):
        if method == "weighted" or method == "percentage":
            weights = board.weights[method]
            yield Turn(
                tier=tier.name,
                method=method,
                members=tuple([ids[rank] for rank in ranks]),
                weights=tuple([weights[rank] for rank in ranks]),
                picked=tuple([ids[rank] for rank in picked]),
                roster=board.book.rosters[f"{board.lead_type}/{tier.name}"],
            )


# -- facts ---------------------------------------------------------------------------------------


def decided_fact(
    choice: Choice, standings: Standings, lead: Lead, by: str | None = None, steady_ns: int = 0
) -> Decided:
    """The decision as a durable fact: masks over the board, and in words what standing rules said since the last one.

    The caller puts it into the ledger: what is said once is not said again until it changes.
    """
    board, blocked = choice.board, choice.blocked
    eligible, width = choice.eligible, board.width
    if eligible & board.dynamic:
        ids = board.ids
        ranking: Contracts = tuple([ids[rank] for rank in choice.ranked])
    else:
        ranking = eligible.to_bytes(width, "big")
    return Decided(
        lead_id=lead.lead_id,
        terms_version=board.book.version,
        blocked={code: mask.to_bytes(width, "big") for code, mask in blocked.items()} if blocked else {},
        details=choice.details,
        alike=choice.alike,
        said=standings.say(blocked.values()) if blocked and standings.unsaid else {},
        ranking=ranking,
        mode=board.mode,
        area=board.area,
        turns=choice.turns,
        throttled=choice.throttled,
        by=by,
        steady_ns=steady_ns,
    )


def named(board: Board, contracts: Contracts) -> tuple[str, ...]:
    """The contract ids of a fact's list or mask, in its order; the board must be of the fact's terms version."""
    if isinstance(contracts, bytes):
        return tuple(board.ids[rank] for rank in bits(int.from_bytes(contracts, "big")))
    return contracts


def reserve(
    board: Board,
    rank: int,
    state: State,
    lead: Lead,
    moment: Moment,
    *,
    delivery_id: str,
    place: int,
    bids: Bids | None = None,
) -> Reserved:
    """The reservation for a contract that just proved eligible: all of its windows together, as one fact.

    `place` is its place in the ranking, from 0. The caller applies the fact before it yields.
    """
    plan = board.plans[rank]
    price, at_ns, test = board.prices[rank], moment.at_ns, lead.test
    bid = None if bids is None else bids.of(plan)
    if bid is not None and bid.price is not None:
        price = bid.price
    frame = board.frame(rank, at_ns, moment.calendar)
    claims: list[Claim] = []
    windows = iter(frame.windows)
    for cap in () if test else caps_now(state.overrides, plan, at_ns):
        window = next(windows) or cap_window(cap, plan, moment)
        owner, limit, usage = cap.owner, cap.limit, state.usage.get(cap.owner)
        used = 0 if usage is None else cap_used(cap, usage, window)
        if limit is not None:
            claims.append(Claim(owner, cap.id, window.key, used + 1, limit))
        elif cap.spend is not None:
            claims.append(Claim(owner, cap.id, window.key, used + price, cap.spend))
    rate = plan.rate
    return Reserved(
        delivery_id=delivery_id,
        lead_id=lead.lead_id,
        contract_id=plan.id,
        buyer_id=plan.buyer_id,
        lead_type=lead.lead_type,
        terms_version=board.book.version,
        rank=place,
        price=price,
        day=frame.day,
        steady_ns=moment.steady_ns,
        rate_interval_ns=0 if rate is None or test else rate.interval_ns,
        claims=tuple(claims),
        guarded=bool(plan.guards),
        test=test,
        reference=None if bid is None else bid.reference,
    )


def recheck(
    board: Board,
    standings: Standings,
    state: State,
    lead: Lead,
    moment: Moment,
    *,
    contract_id: str,
    released_at_ns: int,
    throttled: tuple[str, ...] = (),
    bids: Bids | None = None,
) -> int | None:
    """The rank of one contract if every rule lets it have the lead right now, else None.

    `throttled` are the contracts whose throttle counted the lead when it was decided: the ranked ones let it pass. One
    that throttles only since then counts decisions, so it lets nobody pass whom it did not count.
    """
    rank = board.rank_of.get(contract_id)
    if rank is None:
        return None
    bit = 1 << rank
    left = board.covering(lead) & bit
    left = board.passing(lead, left) if left else 0
    if not left or any(left & refused for _, refused in board.ageing(lead, moment.at_ns, released_at_ns)):
        return None
    if left & board.pinged:
        bid = None if bids is None else bids.of(board.plans[rank])
        if bid is None or not _buys(board, rank, state, lead, moment, bid):
            return None
    elif standings.blocking(left, state, moment):
        return None
    if left & board.deduped and not lead.test and _duplicates(board, state, lead, left, moment):
        return None
    if state.suppressed and any(suppressed_rule(board.book, lead, state)):
        return None
    if contract_id in state.throttled and contract_id not in throttled and not lead.test:
        return None if throttles(board.plans[rank], state, moment) else rank
    return rank


def stands_against(standings: Standings, state: State, moment: Moment, contract_id: str) -> Finding | None:
    """What the contract itself, its use or its guards say against any lead now, if anything."""
    rank = standings.board.rank_of.get(contract_id)
    if rank is None:
        return None
    if standings.blocking(1 << rank, state, moment):
        return standings.finding(rank)
    return next(throttle_rule(standings.board.plans[rank], state, moment), None)


def _buys(board: Board, rank: int, state: State, lead: Lead, moment: Moment, bid: Bid) -> bool:
    """Whether a bid still buys the lead."""
    plan = board.plans[rank]
    return next(refusals_with(board.book, plan, lead, state, moment, bid=bid, mode=board.mode), None) is None


MODES: Final[dict[str, tuple[Mode, ...]]] = {
    "exclusive": ("exclusive",),
    "shared": ("shared",),
    "best": ("exclusive", "shared"),
}
