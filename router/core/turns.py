"""Smooth weighted round robin: each lead gives every member its weight's part of a lead, and takes a lead from who won.

Credit is kept in parts of a lead, not in weights, so that it means the same whoever else is eligible: when a heavy
member leaves, the others go on where they stood instead of working off what were small differences beside it.
"""

from collections.abc import Sequence
from typing import Final

#: One lead of credit.
LEAD: Final = 1 << 52
#: Credits nearer than this are equal: a 65,536th of a lead, far more than rounding ever comes to.
_STEP_BITS: Final = 36
_HALF_STEP: Final = 1 << (_STEP_BITS - 1)
#: Credit in one-lead-one-winner tiers stays well below this; where copies cannot follow the weights it ends here.
_MOST: Final = 16 * LEAD


def claim(credit: int, weight: int, whole: int) -> int:
    """How much a member is due this lead, `whole` being the weights of all who take part; larger is better.

    Who weighs nothing is due nothing: it has what those who weigh something cannot take.
    """
    return (credit + weight * LEAD // (whole or 1) + _HALF_STEP) >> _STEP_BITS


def take_turn(credit: dict[str, int], members: Sequence[str], weights: Sequence[int], picked: Sequence[str]) -> None:
    """A lead was shared out: everybody gains its part of it, the picked pay a lead each."""
    parts = _parts(weights, len(picked))
    for member, part in zip(members, parts, strict=True):
        now = credit.get(member, 0) + part - (LEAD if member in picked else 0)
        credit[member] = max(-_MOST, min(_MOST, now))


def _parts(weights: Sequence[int], copies: int) -> list[int]:
    """Each weight's part of so many copies, at most one each: what is over goes to the others by their weights."""
    parts = [LEAD] * len(weights)
    rest = sorted(range(len(weights)), key=weights.__getitem__)
    whole = sum(weights)
    while rest and copies > 1 and weights[rest[-1]] * copies >= whole > 0:
        whole -= weights[rest.pop()]
        copies -= 1
    for at in rest:
        parts[at] = weights[at] * copies * LEAD // (whole or 1)
    return parts
