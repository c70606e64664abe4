"""Contracts that are asked for a bid, where a decision meets them. Pure: who asks, and how long, is for the engine.

A decision without bids refuses each of them that nothing else refuses with `no_bid`, actual `not_asked`: those are to
be asked. A decision with bids judges every rule again, the bid being the price. Only contracts with a bid are judged
slowly here; boards without any such contract never come here.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

from msgspec import Struct

from router.core.index import Board, sale_price
from router.core.masks import bits
from router.core.rules.bids import bid_rule
from router.core.rules.finding import Finding
from router.core.rules.standing import Moment, standing
from router.core.rules.static import Mode
from router.core.state import OpenLead, State
from router.model.codes import REFUSAL_CODES, RULES
from router.model.decision import Bid
from router.model.lead import Lead
from router.model.money import format_money
from router.terms.book import Book, ContractPlan

_PRICE: Final = REFUSAL_CODES.index(RULES["price"][0])


class Bids(Struct, frozen=True, gc=False):
    """What the asked contracts said, by id. `throttled` and `held_back` are those of `Asked`."""

    by_contract: Mapping[str, Bid] = {}
    throttled: tuple[str, ...] = ()
    held_back: Mapping[str, tuple[str, str]] = {}

    def of(self, plan: ContractPlan) -> Bid | None:
        """The contract's bid, if the terms still say that it is asked for one."""
        return None if plan.least_bid is None else self.by_contract.get(plan.id)

    def price(self, board: Board, rank: int) -> int:
        """What a contract pays: its bid, or its price."""
        bid = self.of(board.plans[rank])
        return board.prices[rank] if bid is None or bid.price is None else bid.price


NO_BIDS: Final = Bids()


def taken_in(lead: OpenLead) -> Bids:
    """The bids for a lead as they stand in the state."""
    if lead.asked is None:
        return Bids(lead.bids)
    return Bids(lead.bids, lead.asked.throttled, lead.asked.held_back)


def stand_ins(board: Board) -> Bids:
    """For a test lead nobody is asked: each contract bids what it pays without a ping."""
    return stand_ins_of((board.plans[rank] for rank in bits(board.pinged)), board.mode)


def stand_ins_of(plans: Iterable[ContractPlan], mode: Mode) -> Bids:
    """The same for some contracts, sold in a mode; those that are asked for no bid need none."""
    return Bids({plan.id: _stand_in(plan, mode) for plan in plans})


def _stand_in(plan: ContractPlan, mode: Mode) -> Bid:
    price = sale_price(plan, mode)
    return Bid(contract_id=plan.id, price=price, actual=format_money(price))


def refusals_with(
    book: Book, plan: ContractPlan, lead: Lead, state: State, moment: Moment, *, bid: Bid, mode: Mode
) -> "chain[Finding]":
    """What the price rules and the standing rules say of a contract with its bid, in order."""
    price = _price_of(plan, bid)
    return chain(bid_rule(book, plan, lead, bid, mode), standing(plan, state, moment, price))


def _price_of(plan: ContractPlan, bid: Bid) -> int:
    if bid.price is not None:
        return bid.price
    assert plan.least_bid is not None
    return plan.least_bid


def judge(
    board: Board,
    bids: Bids,
    state: State,
    lead: Lead,
    moment: Moment,
    pinged: int,
    blocked: dict[str, int],
    details: dict[str, tuple[str, str]],
) -> None:
    """Put what refuses each contract with its bid in the place of what refused it at the least that it could bid."""
    for rank in bits(pinged):
        plan, bit = board.plans[rank], 1 << rank
        bid = bids.of(plan)
        if bid is None:
            continue
        code = next((code for code, mask in blocked.items() if mask & bit), None)
        if code is not None:
            if REFUSAL_CODES.index(code) < _PRICE:
                continue
            _take_out(blocked, code, bit)
        found = next(refusals_with(board.book, plan, lead, state, moment, bid=bid, mode=board.mode), None)
        if found is not None:
            blocked[found.code] = blocked.get(found.code, 0) | bit
            details[plan.id] = (found.expected, found.actual)


def _take_out(blocked: dict[str, int], code: str, bit: int) -> None:
    blocked[code] ^= bit
    if not blocked[code]:
        del blocked[code]


def hold_back(board: Board, bids: Bids, left: int, blocked: dict[str, int], details: dict[str, tuple[str, str]]) -> int:
    """Refuse whom a throttle kept from being asked; returns who is left."""
    for contract_id, words in bids.held_back.items():
        rank = board.rank_of.get(contract_id)
        if rank is not None and left >> rank & 1:
            left ^= 1 << rank
            blocked["guard_throttled"] = blocked.get("guard_throttled", 0) | 1 << rank
            details[contract_id] = words
    return left


def unasked(board: Board, bids: Bids, left: int) -> int:
    """Of the contracts that nothing refuses those that should have been asked for a bid and were not."""
    return sum(1 << rank for rank in bits(left & board.pinged) if board.ids[rank] not in bids.by_contract)
