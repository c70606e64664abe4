"""Sets of a board's contracts as integers: bit `rank` is set for the contract of that rank."""

from collections.abc import Iterable, Iterator
from itertools import islice


def bits(mask: int) -> Iterator[int]:
    """The set bits of a mask, highest (best rank) first."""
    while mask:
        rank = mask.bit_length() - 1
        yield rank
        mask ^= 1 << rank


def parts(mask: int, count: int) -> Iterator[int]:
    """A mask cut into masks of so many bits, the best ranks first."""
    ranks = bits(mask)
    while part := sum([1 << rank for rank in islice(ranks, count)]):
        yield part


def mask_of(ranks: Iterable[int], size: int) -> int:
    """One mask of many bits, in time linear in their number."""
    room = bytearray((size >> 3) + 1)
    for rank in ranks:
        room[rank >> 3] |= 1 << (rank & 7)
    return int.from_bytes(room, "little")
