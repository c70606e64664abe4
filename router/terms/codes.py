"""Lists of postal codes, packed: a US code in use is a number of two bytes, not a reference of eight.

A hundred thousand contracts name 270 codes each, once as they are written and once in order. Nobody need know how a
list is held: packed or a tuple, it is the same sequence of the same texts.
"""

from array import array
from collections.abc import Iterator, Sequence
from operator import eq, itemgetter
from sys import intern
from typing import Final, overload

from router.terms.geography import NOT_IN_USE, us

#: A tuple of so few is no larger.
_FEW: Final = 16


class Packed(Sequence[str]):
    """US postal codes in use, by their numbers (`us().numbers`), in any order. Equal to a tuple of the same texts."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: "array[int]") -> None:
        self.numbers: Final = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> "Packed": ...

    def __getitem__(self, place: int | slice) -> "str | Packed":
        if isinstance(place, slice):
            return Packed(self.numbers[place])
        return us().starting("")[self.numbers[place]]

    def __iter__(self) -> Iterator[str]:
        return map(us().starting("").__getitem__, self.numbers)

    def __contains__(self, code: object) -> bool:
        return isinstance(code, str) and us().numbers.get(code, -1) in self.numbers

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return self.numbers == other.numbers
        if isinstance(other, tuple):
            return len(self) == len(other) and all(map(eq, self, other))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def in_order(self) -> "Packed":
        """In ascending order, each once: itself, where it is."""
        ordered = array("H", sorted(set(self.numbers)))
        return self if ordered == self.numbers else Packed(ordered)


def packed(codes: Sequence[str]) -> Sequence[str]:
    """The list as it is to be kept. With a code that is not in use, or of few, it is a tuple."""
    if isinstance(codes, Packed):
        return codes
    if len(codes) > _FEW and {*map(len, codes)} == {5}:
        text = "".join(codes)
        if text.isascii() and text.isdigit():
            numbers = array("H", itemgetter(*map(int, codes))(us().by_digits))
            if NOT_IN_USE not in numbers:
                return Packed(numbers)
    return codes if isinstance(codes, tuple) else tuple(map(intern, codes))
