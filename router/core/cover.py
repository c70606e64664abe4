"""Who covers a postal code: the coverage of a board's contracts, codes by contract turned over to contracts by code.

Every code in use has its mask beforehand. An area's bit space is short enough for that (`core.areas`): a hundred
thousand contracts take two hundred bytes a code. What is no code in use is looked up by what names it and by prefixes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Final

from router.core.masks import mask_of
from router.terms.book import ContractPlan
from router.terms.codes import Packed
from router.terms.coverage import Coverage, Entry
from router.terms.geography import us
from router.terms.steps import Steps, emptying

#: How many are one step of building.
_NAMED: Final = 4096
_ROWS: Final = 512
#: Sorts after whatever a code may go on with.
_LAST: Final = "\U0010ffff"


class CoverIndex:
    """Postal code -> the contracts that cover it, in one country: `add` every contract, `seal`, then ask."""

    def __init__(self, size: int, country: str, initial: str = "") -> None:
        """`size` is the number of contracts on the board; only codes that start with `initial` are asked for."""
        self._size: Final = size
        self._initial: Final = initial
        self._numbers: Final = us().numbers if country == "US" else {}
        self._codes: Final[Sequence[str]] = us().starting(initial) if country == "US" else ()
        self._first: Final = self._numbers[self._codes[0]] if self._codes else 0
        self._everywhere: list[int] = []
        self._taken_in = _Named(initial)
        self._left_out = _Named(initial)
        self.everywhere = 0
        #: By the place of a code among those in use.
        self._masks: list[int] = []
        #: Those of codes that somebody names and that are not in use.
        self._others: dict[str, int] = {}

    def add(self, plan: ContractPlan, rank: int) -> None:
        """Take a contract's coverage in."""
        coverage = plan.coverage
        if coverage.everywhere:
            self._everywhere.append(rank)
        self._taken_in.add(coverage.entries, rank)
        self._left_out.add(coverage.excluded, rank)

    def seal(self) -> Steps[None]:
        """No `add` after this."""
        self.everywhere = mask_of(self._everywhere, self._size)
        taken_in = yield from self._taken_in.turn(self._numbers, self._codes)
        left_out = yield from self._left_out.turn(self._numbers, self._codes)
        everywhere, same = self.everywhere, dict[int, int]()
        for start in range(0, len(self._codes), _ROWS):
            row = slice(start, start + _ROWS)
            named, without = taken_in[row], left_out[row]
            taken_in[row] = left_out[row] = [0] * len(named)  # let go of in turns: all at once would be a long step
            if any(named) or any(without):
                masks = [everywhere | mask for mask in named]
                masks = [mask ^ (mask & left) if left else mask for mask, left in zip(masks, without, strict=True)]
                self._masks += [same.setdefault(mask, mask) for mask in masks]
                yield
            else:
                self._masks += [everywhere] * len(named)
        yield from emptying(same)
        others_in, others_out = self._taken_in.others, self._left_out.others
        for code in {**others_in, **others_out}:
            self._others[code] = self._whom(code, others_in.get(code, 0), others_out.get(code, 0))

    def covering(self, code: str) -> int:
        """The contracts that cover a canonical postal code."""
        number = self._numbers.get(code)
        if number is not None:
            return self._masks[number - self._first]
        mask = self._others.get(code)
        return self._whom(code, 0, 0) if mask is None else mask

    def edited(self, rank: int, old: Coverage, new: Coverage) -> Steps["CoverIndex"]:
        """In steps, the same index with another coverage for one contract; what did not change is shared."""
        index, bit = copy(self), 1 << rank
        index.everywhere ^= bit if old.everywhere != new.everywhere else 0
        index._taken_in = self._taken_in.edited(bit, old.entries, new.entries)
        index._left_out = self._left_out.edited(bit, old.excluded, new.excluded)
        before, after = self._held(old), self._held(new)
        index._masks = self._masks[:]
        masks, first, numbers = index._masks, self._first, self._numbers
        for count, code in enumerate(before ^ after):
            masks[numbers[code] - first] ^= bit
            if not count % _NAMED:
                yield
        index._others = dict(self._others)
        wide = self._wide != index._wide
        for code in {*self._not_in_use(old), *self._not_in_use(new), *(self._others if wide else ())}:
            mask = self.covering(code)
            index._others[code] = mask | bit if new.allows(code) else mask ^ (mask & bit)
        return index

    def _whom(self, code: str, named: int, left_out: int) -> int:
        """By who names a code, and who leaves it out by its name."""
        covered = self.everywhere | named | self._taken_in.under(code)
        left_out |= self._left_out.under(code)
        return covered ^ (covered & left_out) if left_out else covered

    @property
    def _wide(self) -> tuple[int, "_Named", "_Named"]:
        """Whom codes have that nobody names."""
        return self.everywhere, self._taken_in, self._left_out

    def _held(self, coverage: Coverage) -> set[str]:
        """The codes in use here that a coverage takes in."""
        codes = set(self._codes) if coverage.everywhere else self._in_use(coverage.entries)
        return codes - self._in_use(coverage.excluded) if coverage.excluded else codes

    def _in_use(self, entries: Iterable[Entry]) -> set[str]:
        found: set[str] = set()
        for entry in entries:
            found.update(filter(self._numbers.__contains__, _starting(entry.codes, self._initial)))
            for prefix in _starting(entry.prefixes, self._initial) if self._numbers else ():
                found.update(us().starting(prefix))
        return found

    def _not_in_use(self, coverage: Coverage) -> Iterator[str]:
        for entry in (*coverage.entries, *coverage.excluded):
            yield from (code for code in _starting(entry.codes, self._initial) if code not in self._numbers)


class _Named:
    """Which contracts name a code, alone or by a prefix: as what they take in, or as what they leave out."""

    def __init__(self, initial: str) -> None:
        self._initial: Final = initial
        self._entries: dict[int, tuple[Entry, list[int]]] = {}
        self._prefixes: dict[str, int] = {}
        self._lengths: list[int] = []
        self.others: dict[str, int] = {}

    def add(self, entries: tuple[Entry, ...], rank: int) -> None:
        """Take a contract's entries in. Those that many contracts share are one object."""
        for entry in entries:
            known = self._entries.get(id(entry))
            if known is None:
                self._entries[id(entry)] = (entry, [rank])
            else:
                known[1].append(rank)

    def turn(self, numbers: dict[str, int], in_use: Sequence[str]) -> Steps[list[int]]:
        """Turn it over; no `add` after this. Gives the masks of the codes in use, of which each has its number."""
        masks, others, prefixes = [0] * len(in_use), self.others, self._prefixes
        first = numbers[in_use[0]] if in_use else 0
        named = 0
        for entry, ranks in self._entries.values():
            codes = _starting(entry.codes, self._initial)
            named += len(codes)
            if named > _NAMED:
                named = 0
                yield
            bits = sum([1 << rank for rank in ranks])
            for prefix in _starting(entry.prefixes, self._initial):
                prefixes[prefix] = prefixes.get(prefix, 0) | bits
            try:
                for number in codes.numbers if isinstance(codes, Packed) else map(numbers.__getitem__, codes):
                    masks[number - first] |= bits
            except KeyError:  # a code that is not in use; doing the others again changes nothing
                for code in codes:
                    number = numbers.get(code, -1)
                    if number < 0:
                        others[code] = others.get(code, 0) | bits
                    else:
                        masks[number - first] |= bits
        self._entries = {}
        self._lengths = sorted({len(prefix) for prefix in prefixes})
        for prefix, bits in prefixes.items():
            yield
            for row in range(bisect_left(in_use, prefix), bisect_right(in_use, prefix + _LAST)):
                masks[row] |= bits
        return masks

    def edited(self, bit: int, old: tuple[Entry, ...], new: tuple[Entry, ...]) -> "_Named":
        """With other prefixes for one contract."""
        before, after = self._prefixes_of(old), self._prefixes_of(new)
        if before == after:
            return self
        named = copy(self)
        named._prefixes = dict(self._prefixes)
        for prefix in before ^ after:
            named._prefixes[prefix] = named._prefixes.get(prefix, 0) ^ bit
        named._lengths = sorted({len(prefix) for prefix in named._prefixes})
        return named

    def _prefixes_of(self, entries: tuple[Entry, ...]) -> set[str]:
        return {prefix for entry in entries for prefix in _starting(entry.prefixes, self._initial)}

    def under(self, code: str) -> int:
        """The contracts that name a prefix of a code."""
        mask = 0
        for length in self._lengths:
            mask |= self._prefixes.get(code[:length], 0)
        return mask


def _starting(texts: Sequence[str], initial: str) -> Sequence[str]:
    """Those of some sorted texts that start with one character, or all of them for none."""
    if not initial or not texts or texts[0][0] == initial == texts[-1][0]:
        return texts
    return texts[bisect_left(texts, initial) : bisect_left(texts, chr(ord(initial) + 1))]
