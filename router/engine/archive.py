"""Terms into the ledger and out of it again, piece by piece."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from router.clock import Clock
from router.engine.slices import Slices
from router.ledger.books import gone
from router.ledger.protocol import Ledger
from router.terms.book import Book
from router.terms.revive import reviving, walking, written

_PIECES_AT_ONCE: Final = 32


async def keep(book: Book, before: Book | None, ledger: Ledger, clock: Clock) -> None:
    """Store what the ledger lacks of a Book; `before` is one that is stored. The title page is the last to be there."""
    if before is None and await ledger.terms(book.version) is not None:
        return
    slices = Slices(clock)
    pieces: dict[str, bytes] = {}
    async for address, piece in slices.each(written(book, before)):
        if address == book.version or len(pieces) == _PIECES_AT_ONCE:
            await _put(pieces, ledger)
            pieces = {}
        pieces[address] = piece
    await _put(pieces, ledger)


async def _put(pieces: dict[str, bytes], ledger: Ledger) -> None:
    """All in one group, as far as the disk lets them; each begins in a turn of its own, for it is compressed then."""
    under_way = []
    for address, piece in pieces.items():
        under_way.append(asyncio.ensure_future(ledger.put_terms(address, piece)))
        await asyncio.sleep(0)
    await asyncio.gather(*under_way)


async def pieces(version: str, ledger: Ledger) -> AsyncIterator[tuple[str, bytes]]:
    """Every piece of a terms version with its address; nothing where the ledger does not know it.

    Raises LedgerDamaged when a part is gone.
    """
    walk = walking(version)
    said: set[str] = set()
    address = next(walk)
    while True:
        piece = await ledger.terms(address)
        if piece is None:
            if address != version:
                gone(version, address)
            return
        if address not in said:
            said.add(address)
            yield address, piece
        try:
            address = walk.send(piece)
        except StopIteration:
            return


async def fetch(version: str, present: Book, ledger: Ledger, clock: Clock) -> Book | None:
    """The Book of a terms version; None when the ledger does not know it. Raises LedgerDamaged when a part is gone."""
    if await ledger.terms(version) is None:
        return None

    async def found(addresses: Sequence[str]) -> Sequence[bytes]:
        some = [await ledger.terms(address) for address in addresses]
        return [
            piece if piece is not None else gone(version, address)
            for address, piece in zip(addresses, some, strict=True)
        ]

    return await Slices(clock).ask(reviving(version, present), found)
