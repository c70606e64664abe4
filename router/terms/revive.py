"""Terms to their pieces and back: those of the present, which somebody else read, and those of a past decision.

Only what the present Book does not hold is asked for and compiled: a Book of last week costs what changed since.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from router.terms.book import Book
from router.terms.catalog import Catalog, read_page, read_title
from router.terms.compile import compiling
from router.terms.coverage import Coverage
from router.terms.pieces import (
    BuyerRead,
    HalfRead,
    Plain,
    Scribe,
    entry_piece,
    in_memory,
    plain_piece,
    read_buyer,
    read_entry,
    read_plain,
    revive_scalar,
)
from router.terms.schema import Buyer, LeadType, RouterTerms, Source, Terms
from router.terms.steps import LOOKS, Steps

#: How terms began when they were still written in one piece.
_WHOLE: Final = b'{"rules":'
_ASKED_MAX: Final = 64
_KINDS: Final[dict[str, type[Plain]]] = {
    "router": RouterTerms,
    "lead_type": LeadType,
    "source": Source,
}
_NO_CATALOG: Final = Catalog(version="", pages={}, addresses={})

T = TypeVar("T")
#: Yields the addresses of pieces, and is to be sent their bytes in that order; yields none for a step of work.
Asking = Generator[Sequence[str], Sequence[bytes], T]


class Gathered(Struct, frozen=True):
    """Terms from pieces; `read` holds the buyers that were not taken from the present Book."""

    terms: Terms
    read: dict[str, BuyerRead]


def gathering(version: str, present: Book | None, places: Mapping[str, str]) -> Asking[Gathered]:
    """The terms of a version in steps. `present` lends what it holds; `places` are those of what is no buyer.

    Raises msgspec.ValidationError when the pieces are not what we write.
    """
    (title,) = yield (version,)
    reading = _Reading(present)
    if title.startswith(_WHOLE):
        return reading.whole(title)
    yield from reading.pieces(title)
    return reading.gathered(places)


def reviving(version: str, present: Book | None = None) -> Asking[Book]:
    """The Book of a terms version in steps. Raises as `gathering` does."""
    gathered = yield from gathering(version, present, {})
    book = yield from _asking_nothing(compiling(gathered.terms, present, gathered.read))
    return book if book.version == version else replace(book, version=version)  # written by other rules


def _asking_nothing(steps: Steps[T]) -> Asking[T]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        yield ()


def revive(version: str, fetch: Callable[[str], bytes], present: Book | None = None) -> Book:
    """The Book of a terms version, at once; `fetch` finds a piece by its address. Raises as `gathering` does."""
    steps = reviving(version, present)
    wanted = next(steps)
    while True:
        try:
            wanted = steps.send([fetch(address) for address in wanted])
        except StopIteration as end:
            book: Book = end.value
            return book


def walking(version: str) -> Generator[str, bytes | None, None]:
    """Yields the address of every piece of a terms version, and is sent what is found there.

    Raises msgspec.ValidationError when what is found is not what we write.
    """
    title = yield version
    if title is None or title.startswith(_WHOLE):
        return
    for page_address in read_title(title).pages.values():
        page = yield page_address
        for name, address in read_page(page).items() if page is not None else ():
            piece = yield address
            if piece is not None and name.startswith("buyer:"):
                for entry_address in read_buyer(piece).entries:  # noqa: UP028 - what is sent is for us, not for a tuple
                    yield entry_address


def found(version: str, fetch: Callable[[str], bytes | None]) -> Iterator[tuple[str, bytes | None]]:
    """Every piece of a terms version by its address, None where `fetch` finds nothing. Raises as `walking` does."""
    walk = walking(version)
    said: set[str] = set()
    address: str | None = next(walk)
    while address is not None:
        piece = fetch(address)
        if address not in said:
            said.add(address)
            yield address, piece
        try:
            address = walk.send(piece)
        except StopIteration:
            address = None


def written(book: Book, before: Book | None = None) -> Iterator[tuple[str, bytes]]:
    """All pieces and pages of a Book by their addresses, the title page last; without those of an earlier Book.

    A long entry that another buyer of the earlier Book names may be among them all the same.
    """
    old = before.catalog if before is not None else _NO_CATALOG
    old_parts = before.parts if before is not None else {}
    scribe = Scribe()
    said: set[str] = set()
    for number, address in book.catalog.addresses.items():
        if old.addresses.get(number) == address:
            continue
        known = old.pages.get(number, {})
        for name, piece_address in book.catalog.pages[number].items():
            if known.get(name) == piece_address:
                continue
            part = old_parts.get(name.removeprefix("buyer:"))
            said.update(part.entries if part is not None else ())
            for where, piece in _pieces_of(book, name, piece_address, scribe):
                if where not in said:
                    said.add(where)
                    yield where, piece
        yield address, book.catalog.page(number)
    yield book.version, book.catalog.title


def _pieces_of(book: Book, name: str, address: str, scribe: Scribe) -> Iterator[tuple[str, bytes]]:
    kind, _, id_ = name.partition(":")
    if kind != "buyer":
        owners: dict[str, Mapping[str, Plain]] = {"lead_type": book.lead_types, "source": book.sources}
        yield address, plain_piece(owners[kind][id_] if kind in owners else book.router)
        return
    part = book.parts[id_]
    for entry_address in part.entries:
        entry = in_memory[entry_address]
        if id(entry) not in scribe.met:
            scribe.met[id(entry)] = (entry, entry_address)
            yield entry_address, entry_piece(entry)
    yield address, scribe.buyer(part.buyer, part.place, {plan.id: plan.coverage for plan in part.plans})


class _Whole(Struct, frozen=True):
    """Terms as they were written before there were pieces."""

    terms: Terms
    coverage: dict[str, Coverage]


class _Reading:
    """Pieces being read; what the present Book holds is taken from there."""

    def __init__(self, present: Book | None) -> None:
        self._present: Final = present
        self._plain: Final[list[Plain]] = []
        self._buyers: Final[dict[str, Buyer]] = {}
        self._places: Final[dict[str, str]] = {}
        self._read: Final[dict[str, BuyerRead]] = {}

    def whole(self, text: bytes) -> Gathered:
        """Terms of the older form, at one go."""
        found = msgspec.json.decode(text, type=_Whole, dec_hook=revive_scalar)
        for buyer in found.terms.buyers.values():
            coverage = {contract.id: found.coverage[contract.id] for contract in buyer.contracts}
            self._read[buyer.id] = BuyerRead(found.terms.places.get(f"buyer:{buyer.id}", ""), buyer, coverage)
        return Gathered(found.terms, self._read)

    def pieces(self, title: bytes) -> Asking[None]:
        """Every piece that the title page leads to."""
        names = yield from self._names(title)
        asked: list[tuple[str, str]] = []
        for place, (name, address) in enumerate(names):
            if not place % LOOKS:
                yield ()
            if not self._lend(name, address):
                asked.append((name, address))
                if len(asked) == _ASKED_MAX:
                    yield from self._fetch(asked)
                    asked = []
        yield from self._fetch(asked)

    def gathered(self, places: Mapping[str, str]) -> Gathered:
        """What the pieces say."""
        self._places.update(places)
        terms = Terms(
            router=next(one for one in self._plain if isinstance(one, RouterTerms)),
            lead_types={one.id: one for one in self._plain if isinstance(one, LeadType)},
            sources={one.id: one for one in self._plain if isinstance(one, Source)},
            buyers=self._buyers,
            lists={},
            places=self._places,
        )
        return Gathered(terms, self._read)

    def _names(self, title: bytes) -> Asking[list[tuple[str, str]]]:
        known = self._present.catalog if self._present is not None else _NO_CATALOG
        names: list[tuple[str, str]] = []
        for number, address in read_title(title).pages.items():
            if known.addresses.get(number) == address:
                names += known.pages[number].items()
                yield ()
            else:
                (page,) = yield (address,)
                names += read_page(page).items()
        return names

    def _lend(self, name: str, address: str) -> bool:
        """Take the object of that name from the present Book, if it is the one that is meant."""
        present = self._present
        if present is None or present.catalog.address(name) != address:
            return False
        kind, _, id_ = name.partition(":")
        if kind == "buyer":
            self._take(present.parts[id_].place, present.parts[id_].buyer)
        elif kind == "lead_type":
            self._plain.append(present.lead_types[id_])
        elif kind == "source":
            self._plain.append(present.sources[id_])
        else:
            self._plain.append(present.router)
        return True

    def _fetch(self, asked: Sequence[tuple[str, str]]) -> Asking[None]:
        pieces = yield [address for _, address in asked]
        for (name, _), piece in zip(asked, pieces, strict=True):
            kind = name.partition(":")[0]
            if kind == "buyer":
                yield from self._buyer(read_buyer(piece))
            else:
                self._plain.append(read_plain(piece, _KINDS[kind]))

    def _buyer(self, half: HalfRead) -> Asking[None]:
        entries = {}
        for address in half.entries:
            entry = in_memory.get(address)
            if entry is None:
                (piece,) = yield (address,)
                entry = read_entry(address, piece)
            entries[address] = entry
        yield ()
        read = half.whole(entries)
        self._read[read.buyer.id] = read
        self._take(read.place, read.buyer)

    def _take(self, place: str, buyer: Buyer) -> None:
        self._buyers[buyer.id] = buyer
        if place:
            self._places[f"buyer:{buyer.id}"] = place
            self._places.update({f"contract:{contract.id}": place for contract in buyer.contracts})
