"""Terms written down in pieces, each under the hash of its content, and read again from them.

A piece is what one file says (a buyer with what its coverage expands to, a source, a lead type, `router.toml`), or a
list of postal codes too long to be written into every buyer that means it. `terms.catalog` says which pieces are the
terms. So an edit of one buyer writes one piece, and old terms share with the present ones whatever did not change.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from router.terms.codes import Packed
from router.terms.coverage import POSTAL_CODES, Coverage, Entry
from router.terms.schema import Buyer, Contract, CoverageTerms, Endpoint, LeadType, RouterTerms, Source

#: An entry of more codes is a piece of its own, which all who mean it share.
_WRITTEN_OUT_MAX: Final = 64
#: Stands for the entry that holds the contract's own `postal_codes`, exactly as they are written.
_AS_WRITTEN: Final = ""

#: What is a piece as it is.
Plain = RouterTerms | LeadType | Source


class _Bodies(Struct, frozen=True, array_like=True, gc=False):
    """The bodies of an endpoint and of its ping: the order of their keys, unlike any other, means something.

    Without a ping `ping` is JSON's null (a `Raw | None` would be decoded as null alone).
    """

    body: Raw
    ping: Raw


class _Covered(Struct, frozen=True, array_like=True, gc=False):
    """A contract's Coverage; an entry stands here itself, or its address does."""

    country: str
    everywhere: bool
    entries: tuple[str | Entry, ...]
    excluded: tuple[str | Entry, ...]


class _BuyerPiece(Struct, frozen=True, gc=False):
    place: str
    buyer: Buyer
    bodies: dict[str, _Bodies]
    coverage: dict[str, _Covered]


def address_of(piece: bytes) -> str:
    """Where a piece is kept: the hash of it, lower-case hex."""
    return sha256(piece).hexdigest()


# -- writing -------------------------------------------------------------------------------------


def plain_piece(owner: Plain) -> bytes:
    """The piece of the router, a lead type or a source."""
    return _canonical(owner)


def entry_piece(entry: Entry) -> bytes:
    """The piece of a long entry."""
    return _canonical(entry)


class Scribe:
    """Writes buyers down. It remembers the addresses of the entries it met, which ten thousand contracts share."""

    def __init__(self) -> None:
        self.met: dict[int, tuple[Entry, str]] = {}

    def buyer(self, buyer: Buyer, place: str, coverage: Mapping[str, Coverage]) -> bytes:
        """The piece of a buyer; `place` is its file, `coverage` that of its contracts, by id."""
        return _canonical(
            _BuyerPiece(
                place,
                replace(buyer, endpoints={name: _bodiless(one) for name, one in buyer.endpoints.items()}),
                {name: _bodies(one) for name, one in buyer.endpoints.items()},
                {contract.id: self._covered(contract, coverage[contract.id]) for contract in buyer.contracts},
            )
        )

    def shared(self, contract: Contract, coverage: Coverage) -> Coverage:
        """The coverage, made of the long entries that are in memory already."""
        if not any(_is_long(contract, entry) for entry in (*coverage.entries, *coverage.excluded)):
            return coverage
        return replace(
            coverage,
            entries=tuple(self._shared(contract, entry) for entry in coverage.entries),
            excluded=tuple(self._shared(contract, entry) for entry in coverage.excluded),
        )

    def _shared(self, contract: Contract, entry: Entry) -> Entry:
        return in_memory[self.address(entry)] if _is_long(contract, entry) else entry

    def entries(self, contract: Contract, coverage: Coverage) -> Iterator[tuple[str, Entry]]:
        """The entries that a contract's buyer names by address."""
        for entry in (*coverage.entries, *coverage.excluded):
            if _is_long(contract, entry):
                yield self.address(entry), entry

    def address(self, entry: Entry) -> str:
        """Where a long entry's piece is kept."""
        met = self.met.get(id(entry))
        if met is None:
            address = address_of(entry_piece(entry))
            met = self.met[id(entry)] = (entry, address)  # holding the entry, so that its id stays its own
            in_memory.setdefault(address, entry)
        return met[1]

    def _covered(self, contract: Contract, coverage: Coverage) -> _Covered:
        return _Covered(
            coverage.country,
            coverage.everywhere,
            tuple(self._named(contract, entry) for entry in coverage.entries),
            tuple(self._named(contract, entry) for entry in coverage.excluded),
        )

    def _named(self, contract: Contract, entry: Entry) -> str | Entry:
        if _is_as_written(contract, entry):
            return _AS_WRITTEN
        return self.address(entry) if _is_long(contract, entry) else entry


def _is_as_written(contract: Contract, entry: Entry) -> bool:
    terms = contract.coverage
    return (
        terms is not None
        and entry.label == POSTAL_CODES
        and entry.codes == terms.postal_codes
        and not entry.prefixes
        and not entry.approximate
    )


def _is_long(contract: Contract, entry: Entry) -> bool:
    return len(entry.codes) + len(entry.prefixes) > _WRITTEN_OUT_MAX and not _is_as_written(contract, entry)


def _bodiless(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, body={}, ping=replace(endpoint.ping, body={}) if endpoint.ping else None)


def _bodies(endpoint: Endpoint) -> _Bodies:
    ping = endpoint.ping
    return _Bodies(Raw(msgspec.json.encode(endpoint.body)), Raw(msgspec.json.encode(ping.body if ping else None)))


def _canonical(value: Any) -> bytes:
    """One text for equal values, whatever order their tables were written in."""
    return msgspec.json.encode(value, enc_hook=_plain_scalar, order="sorted")


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, int):  # Money and Duration are integers with a name
        return int(value)
    if isinstance(value, Packed):
        return tuple(value)
    raise NotImplementedError(f"a {type(value).__name__} in terms")


# -- reading -------------------------------------------------------------------------------------

#: The long entries in memory by their address, so that whoever means one has the same one.
in_memory: Final[WeakValueDictionary[str, Entry]] = WeakValueDictionary()


class BuyerRead(Struct, frozen=True, gc=False):
    """A buyer as its piece tells it, with the file it stands in; coverage by contract id."""

    place: str
    buyer: Buyer
    coverage: dict[str, Coverage]


def read_plain(piece: bytes, kind: type[Plain]) -> Plain:
    """What `plain_piece` wrote. Raises msgspec.ValidationError when it is not that."""
    found: Plain = msgspec.json.decode(piece, type=kind, dec_hook=revive_scalar)
    return found


def read_entry(address: str, piece: bytes) -> Entry:
    """What `entry_piece` wrote: the one in memory, if there is one."""
    known = in_memory.get(address)
    if known is None:
        known = in_memory[address] = msgspec.json.decode(piece, type=Entry)
    return known


class HalfRead(Struct, frozen=True, gc=False):
    """A buyer's piece whose long entries are yet to be had."""

    _piece: _BuyerPiece

    @property
    def entries(self) -> tuple[str, ...]:
        """The addresses of the long entries it names."""
        named = (name for covered in self._piece.coverage.values() for name in (*covered.entries, *covered.excluded))
        return tuple(name for name in named if isinstance(name, str) and name != _AS_WRITTEN)

    def whole(self, entries: Mapping[str, Entry]) -> BuyerRead:
        """The buyer, once each of `entries` is there, by address."""
        piece = self._piece
        buyer = replace(
            piece.buyer,
            endpoints={name: _with_bodies(one, piece.bodies[name]) for name, one in piece.buyer.endpoints.items()},
        )
        coverage = {
            contract.id: _coverage(piece.coverage[contract.id], contract, entries) for contract in buyer.contracts
        }
        return BuyerRead(piece.place, buyer, coverage)


def read_buyer(piece: bytes) -> HalfRead:
    """What `Scribe.buyer` wrote. Raises msgspec.ValidationError when it is not that."""
    return HalfRead(msgspec.json.decode(piece, type=_BuyerPiece, dec_hook=revive_scalar))


def _coverage(covered: _Covered, contract: Contract, entries: Mapping[str, Entry]) -> Coverage:
    def found(names: Sequence[str | Entry]) -> tuple[Entry, ...]:
        return tuple(_entry(name, contract, entries) for name in names)

    return Coverage(covered.country, covered.everywhere, found(covered.entries), found(covered.excluded))


def _entry(name: str | Entry, contract: Contract, entries: Mapping[str, Entry]) -> Entry:
    if isinstance(name, Entry):
        return name
    if name == _AS_WRITTEN:
        return Entry(POSTAL_CODES, (contract.coverage or CoverageTerms()).postal_codes)
    return entries[name]


def _with_bodies(endpoint: Endpoint, bodies: _Bodies) -> Endpoint:
    ping = endpoint.ping
    if ping is not None:
        ping = replace(ping, body=msgspec.json.decode(bodies.ping))
    return replace(endpoint, body=msgspec.json.decode(bodies.body), ping=ping)


def revive_scalar(kind: type, value: Any) -> Any:
    """msgspec's `dec_hook` for terms: Money and Duration are integers with a name."""
    return value if kind is object else kind(value)
