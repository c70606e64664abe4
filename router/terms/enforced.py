"""What the specification has a word for and this version does not enforce yet.

Terms that are written are promises to a buyer, so a word that would change nothing is refused rather than read over.
Whoever makes one of these work deletes its row.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from router.terms.schema import Buyer, Contract, RouterTerms, Source

NOT_YET: Final = "this is not enforced yet, and terms that change nothing would mislead"
MEND: Final = "Leave it out for now"


class Unenforced(NamedTuple):
    """A key that is understood but has no effect: the struct it stands in, its path there, and whether it is used."""

    table: type[Any]
    key: str
    used: Callable[[Any], bool]


UNENFORCED: Final = (
    Unenforced(Source, "adapter", lambda source: source.adapter != "native"),
    Unenforced(Source, "adapter_secret", lambda source: source.adapter_secret is not None),
    Unenforced(Source, "forms", lambda source: bool(source.forms)),
    Unenforced(Source, "returns_to_source", lambda source: source.returns_to_source),
    Unenforced(Contract, "returns", lambda contract: contract.returns is not None),
)


def unenforced(table: RouterTerms | Source | Buyer | Contract) -> Iterator[str]:
    """The keys of this table that are used and not enforced yet."""
    for row in UNENFORCED:
        if isinstance(table, row.table) and row.used(table):
            yield row.key
