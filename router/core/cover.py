"""Who covers a postal code: the coverage of a board's contracts, codes by contract turned over to contracts by code.

A code's row holds the ranks of the contracts that name it, two bytes each, and after them the numbers of the groups
(a state, a list in a file) that name it for many contracts at once. The rows that take longest to put together, for
where most buyers are most leads are too, are kept as masks beforehand, as many as room is given for; any other is put
together when a lead asks, which is quick because it is short.
"""

from array import array
from collections import Counter
from itertools import islice
from operator import sub
from typing import Final

from router.core.masks import mask_of
from router.terms.book import ContractPlan
from router.terms.coverage import Entry
from router.terms.geography import us
from router.terms.steps import Steps, each

_MERGED_BYTES_MAX: Final = 12 * 1024 * 1024
_FIVE_DIGITS: Final = 100_000
#: How many are one step of building.
_NAMED: Final = 4096
_LISTS: Final = 4096
_ROWS: Final = 128
#: So many bits are quicker set one by one than through a buffer.
_FEW: Final = 24


class CoverIndex:
    """Postal code -> the contracts that cover it, in one country: `add` every contract, `seal`, then ask."""

    def __init__(self, size: int, country: str) -> None:
        """`size` is the number of contracts on the board."""
        self._size: Final = size
        self._five_digits: Final = country == "US"
        self._rows = us().numbers if self._five_digits else {}
        self._everywhere: list[int] = []
        self._taken_in = _Named(size)
        self._left_out = _Named(size)
        self.everywhere = 0
        #: Code as a number, or else its row -> number of its mask; 0: put together when asked.
        self._mask_of = array("I")
        self._masks: list[int] = [0]

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
        self._rows = yield from self._taken_in.seal(self._rows)
        self._rows = yield from self._left_out.seal(self._rows)
        self._masks = [0, self.everywhere]
        self._mask_of = us().in_use_by_number[:] if self._five_digits else array("I", [1]) * len(self._rows)
        yield
        least = self._taken_in.least(_MERGED_BYTES_MAX // (self._size // 7 + 36))
        numbers = {0: 0, self.everywhere: 1}
        for code, row in self._rows.items():
            if not row % _ROWS:
                yield
            if not self._taken_in.names(code, row) and not self._left_out.names(code, row):
                continue  # whoever takes everything
            number = 0
            if self._taken_in.length(row) >= least:
                mask = self._merge(code, row)
                number = numbers.setdefault(mask, len(self._masks))
                if number == len(self._masks):
                    self._masks.append(mask)
            self._mask_of[int(code) if self._five_digits else row] = number

    def covering(self, code: str) -> int:
        """The contracts that cover a canonical postal code."""
        if not self._five_digits:
            place = self._rows.get(code)
        else:  # a field that no type is written for is kept as it came, and may be any text
            place = int(code) if len(code) == 5 and code.isascii() and code.isdigit() else None
        if place is not None:
            number = self._mask_of[place]
            if number:
                return self._masks[number]
        return self._merge(code, self._rows.get(code))

    def _merge(self, code: str, row: int | None) -> int:
        covered = self.everywhere | self._taken_in.naming(code, row)
        left_out = self._left_out
        return covered ^ (covered & left_out.naming(code, row)) if left_out.anything else covered


class _Named:
    """Which contracts name a code, alone or by a prefix: as what they take in, or as what they leave out."""

    def __init__(self, size: int) -> None:
        self._size: Final = size
        self._entries: dict[int, tuple[Entry, list[int]]] = {}
        self._begins = array("I", [0])
        self._ranks = array("H")
        self._groups: list[int] = []
        self._prefixes: dict[str, int | bytes] = {}
        self._lengths: list[int] = []
        self.anything = False

    def add(self, entries: tuple[Entry, ...], rank: int) -> None:
        """Take a contract's entries in. Those that many contracts share are one object."""
        for entry in entries:
            known = self._entries.get(id(entry))
            if known is None:
                self._entries[id(entry)] = (entry, [rank])
            else:
                known[1].append(rank)

    def seal(self, rows: dict[str, int]) -> Steps[dict[str, int]]:
        """Turn it over; no `add` after this. Gives back the rows, with those of codes that had none."""
        # groups last, and neighbours together: their rows are then at hand
        entries = sorted(self._entries.values(), key=lambda named: (len(named[1]) > 1, named[0].codes[:1]))
        self._entries = {}
        self.anything = bool(entries)
        known, prefixes = rows, dict[str, list[int]]()
        lists: list[list[int]] = []
        for start in range(0, len(rows) if entries else 0, _LISTS):
            lists += [[] for _ in range(start, min(start + _LISTS, len(rows)))]
            yield
        named = 0
        for entry, ranks in entries:
            named += len(entry.codes)
            if named > _NAMED:
                named = 0
                yield
            for prefix in entry.prefixes:
                prefixes.setdefault(prefix, []).extend(ranks)
            number = ranks[0]
            if len(ranks) > 1:
                number = self._size + len(self._groups)
                self._groups.append(mask_of(ranks, self._size))
            try:
                found = [*map(rows.__getitem__, entry.codes)]
            except KeyError:  # a code that is not in use
                rows = dict(known) if rows is known else rows
                found = [rows.setdefault(code, len(rows)) for code in entry.codes]
                lists += [[] for _ in range(len(lists), len(rows))]
            for row in found:
                lists[row].append(number)
        yield from self._pack(lists)
        yield from each(prefixes.items(), lambda named: self._prefixes.__setitem__(named[0], self._kept(named[1])))
        self._lengths = sorted({len(prefix) for prefix in prefixes})
        return rows

    def _pack(self, lists: list[list[int]]) -> Steps[None]:
        self._ranks = array("H" if self._size + len(self._groups) < 1 << 16 else "I")
        packed: list[int] = []
        for row, one in enumerate(lists):
            self._ranks.fromlist(one)
            self._begins.append(len(self._ranks))
            lists[row] = packed  # all of them let go at once would be a long step
            if not row % _ROWS:
                yield

    def _kept(self, ranks: list[int]) -> int | bytes:
        """The contracts under a prefix, in whichever form is shorter."""
        packed = array("I", ranks).tobytes()
        return packed if len(packed) < self._size >> 3 else mask_of(ranks, self._size)

    def length(self, row: int) -> int:
        """How many name the code of a row alone."""
        return self._begins[row + 1] - self._begins[row] if row + 1 < len(self._begins) else 0

    def names(self, code: str, row: int) -> bool:
        """Whether anybody names a code."""
        return self.length(row) > 0 or any(code[:length] in self._prefixes for length in self._lengths)

    def least(self, most: int) -> int:
        """From which length on there are at most so many rows."""
        lengths = Counter(map(sub, islice(self._begins, 1, None), self._begins))
        rows, least = 0, max(lengths, default=0) + 1
        for length, count in sorted(lengths.items(), reverse=True):
            rows += count
            if rows > most:
                break
            least = length
        return least

    def naming(self, code: str, row: int | None) -> int:
        """The contracts that name a code, which may have a row."""
        mask = 0
        if row is not None and row + 1 < len(self._begins):
            ranks, groups, size = self._ranks[self._begins[row] : self._begins[row + 1]], self._groups, self._size
            while ranks and ranks[-1] >= size:
                mask |= groups[ranks.pop() - size]
            mask |= self._alone(ranks)
        for length in self._lengths:
            found = self._prefixes.get(code[:length], 0)
            mask |= found if isinstance(found, int) else self._alone(memoryview(found).cast("I"))
        return mask

    def _alone(self, ranks: "array[int] | memoryview[int]") -> int:
        if len(ranks) > _FEW:
            return mask_of(ranks, self._size)
        mask = 0
        for rank in ranks:
            mask |= 1 << rank
        return mask
