"""Which pieces are the terms: index pages, a title page, and the terms version, which is the hash of all of it.

Index pages name each piece with its address, by the hash of its name into 256 of them; the title page names the index
pages and the version of the rules, and is kept under the terms version: so two routers with one version decide alike,
and a hundred thousand contracts are told apart from a hundred thousand others by reading two pages and one piece.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Struct

from router.terms.pieces import address_of
from router.terms.steps import LOOKS, Steps

#: Raised with every change to what a rule means; part of every terms version.
RULES_VERSION: Final = 2
_PAGES: Final = 256


class TitlePage(Struct, frozen=True, kw_only=True, tag_field="what", tag="terms"):
    """The first page of terms: the addresses of the index pages that are not empty, by their number."""

    rules: int
    pages: dict[str, str]


class Catalog(Struct, frozen=True, kw_only=True):
    """The names of all pieces (`router`, `buyer:brightroof`, ...) with their addresses, page by page."""

    version: str
    pages: dict[str, dict[str, str]]  # page number -> name -> address
    addresses: dict[str, str]  # page number -> the page's own

    def address(self, name: str) -> str | None:
        """Where the piece of that name is kept."""
        return self.pages.get(_page_of(name), {}).get(name)

    def names(self) -> Iterator[tuple[str, str]]:
        """Every name with its address."""
        for page in self.pages.values():
            yield from page.items()

    def page(self, number: str) -> bytes:
        """An index page as it is written."""
        return _written(self.pages[number])

    @property
    def title(self) -> bytes:
        """The title page as it is written; its address is the version."""
        return _title(self.addresses)


_EMPTY: Final = Catalog(version="", pages={}, addresses={})


def cataloguing(changes: Iterable[tuple[str, str | None]], before: Catalog | None = None) -> Steps[Catalog]:
    """The catalog that these names and addresses make of an earlier one; None takes a name out, the last one counts."""
    old = before or _EMPTY
    touched: dict[str, dict[str, str]] = {}
    for place, (name, address) in enumerate(changes):
        number = _page_of(name)
        page = touched.get(number)
        if page is None:
            page = touched[number] = dict(old.pages.get(number, {}))
        if address is None:
            page.pop(name, None)
        else:
            page[name] = address
        if not place % LOOKS:
            yield
    pages, addresses = {**old.pages, **touched}, dict(old.addresses)
    for number, page in touched.items():
        addresses[number] = address_of(_written(page))
        yield
    for number in [number for number, page in touched.items() if not page]:
        del pages[number], addresses[number]
    return Catalog(version=address_of(_title(addresses)), pages=pages, addresses=addresses)


def read_page(page: bytes) -> dict[str, str]:
    """An index page: name -> address. Raises msgspec.ValidationError when it is none."""
    return msgspec.json.decode(page, type=dict[str, str])


def read_title(page: bytes) -> TitlePage:
    """A title page. Raises msgspec.ValidationError when it is none."""
    return msgspec.json.decode(page, type=TitlePage)


def _page_of(name: str) -> str:
    return f"{crc32(name.encode()) % _PAGES:02x}"


def _written(page: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(page, order="sorted")


def _title(addresses: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(TitlePage(rules=RULES_VERSION, pages=dict(addresses)), order="sorted")
