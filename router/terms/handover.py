"""Terms on their way from the process that read them to the one that routes by them: short frames, one after another.

What the receiver holds already is not sent again. Frames are short so that taking one is a small step for whoever has
other things to do; `router.configuration.reader` is the sender.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from router.terms.book import Book
from router.terms.candidate import Candidate
from router.terms.compile import compile_book
from router.terms.problems import Problem
from router.terms.revive import written

#: A frame is its length in so many bytes, then itself.
LENGTH_BYTES: Final = 4
_IN_A_FRAME: Final = 200
_BYTES_IN_A_FRAME: Final = 64 * 1024

T = TypeVar("T")


class Problems(Struct, frozen=True, tag=True):
    """Findings."""

    problems: tuple[Problem, ...]


class Places(Struct, frozen=True, tag=True):
    """Where things stand that are no buyer or contract, as in `Terms.places`; a buyer's piece says it itself."""

    places: dict[str, str]


class SecretValues(Struct, frozen=True, tag=True):
    """What is secret, by name."""

    values: dict[str, str]


class Pieces(Struct, frozen=True, tag=True):
    """Pieces of the terms by their addresses."""

    pieces: dict[str, bytes]


class End(Struct, frozen=True, tag=True):
    """All has been said. The terms version; none where the files could not be read as terms or hold an error."""

    version: str | None


Frame = Problems | Places | SecretValues | Pieces | End

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Frame).decode


def told(known: Iterable[str]) -> Iterator[bytes]:
    """Addresses that are known, as the reader is told of them."""
    for some in _slices(known):
        yield "".join(f"{address}\n" for address in some).encode()


def heard(text: bytes) -> frozenset[str]:
    """What `told` said."""
    return frozenset(text.decode().split())


def known_to(book: Book) -> Iterator[str]:
    """The addresses of all pieces that a Book holds."""
    for _, address in book.catalog.names():
        yield address
    yield from book.catalog.addresses.values()
    for part in book.parts.values():
        yield from part.entries


def sent(candidate: Candidate, known: frozenset[str]) -> Iterator[bytes]:
    """A candidate as frames, without the pieces that are known."""
    for problems in _slices(candidate.problems):
        yield _framed(Problems(tuple(problems)))
    if candidate.terms is None or not candidate.good:
        yield _framed(End(None))
        return
    places = candidate.terms.places.items()
    for some in _slices((name, place) for name, place in places if not name.startswith(("buyer:", "contract:"))):
        yield _framed(Places(dict(some)))
    for values in _slices(candidate.secrets.items()):
        yield _framed(SecretValues(dict(values)))
    book = compile_book(candidate.terms)
    pieces: dict[str, bytes] = {}
    for address, piece in written(book):
        if address in known:
            continue
        pieces[address] = piece
        if sum(map(len, pieces.values())) > _BYTES_IN_A_FRAME:
            yield _framed(Pieces(pieces))
            pieces = {}
    yield _framed(Pieces(pieces))
    yield _framed(End(book.version))


class Handed:
    """What has come so far."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.pieces: dict[str, bytes] = {}
        self.version: str | None = None
        self.complete = False

    def take(self, frame: bytes) -> None:
        """One frame, without its length. Raises msgspec.ValidationError when it is none."""
        said = _decode(frame)
        match said:
            case Problems():
                self.problems += said.problems
            case Places():
                self.places.update(said.places)
            case SecretValues():
                self.secrets.update(said.values)
            case Pieces():
                self.pieces.update(said.pieces)
            case End():
                self.version, self.complete = said.version, True


def _framed(frame: Frame) -> bytes:
    text = _encode(frame)
    return len(text).to_bytes(LENGTH_BYTES, "big") + text


def _slices(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, _IN_A_FRAME)):
        yield some
