"""Files of postal codes: one entry a line, or CSV with a `postal_code` column.

Blank lines and lines that start with `#` are comments. A file whose first other line has a column separator in it
is CSV; separator and quotes may be those of any spreadsheet.
"""

import csv
from collections.abc import Iterator
from typing import Final, Protocol

from router.terms.postal import EntryError

COLUMN: Final = "postal_code"
_SEPARATORS: Final = ",;\t"
_NEAR_COLUMNS: Final = frozenset(
    {"zip", "zipcode", "zip_code", "zip code", "postal", "postalcode", "postal code", "postcode", "code"}
)


class _Rows(Protocol):
    """What `csv.reader` gives."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


def read_entries(text: str) -> Iterator[tuple[int, str]]:
    """(line number from 1, entry as written) of every entry. Raises EntryError naming the line when it is no list."""
    lines = text.removeprefix("\ufeff").splitlines()
    first = next((at for at, line in enumerate(lines) if _counts(line)), None)
    if first is None:
        return iter(())
    if any(separator in lines[first] for separator in _SEPARATORS):
        return _read_csv(lines, first)
    start = first + 1 if _cell(lines[first]) == COLUMN else first
    return ((at + 1, line) for at, line in enumerate(lines[start:], start) if _counts(line))


def _counts(line: str) -> bool:
    bare = line.lstrip()
    return bool(bare) and not bare.startswith("#")


def _cell(text: str) -> str:
    return text.strip().strip('"').strip().casefold()


def _read_csv(lines: list[str], first: int) -> Iterator[tuple[int, str]]:
    separator = max(_SEPARATORS, key=lines[first].count)
    rows = csv.reader((line if _counts(line) else "" for line in lines[first:]), delimiter=separator)
    header = [_cell(cell) for cell in next(rows)]
    if COLUMN not in header:
        near = next((cell for cell in header if cell in _NEAR_COLUMNS), None)
        mend = (
            f'rename column "{near}" to {COLUMN}'
            if near
            else f"name the column of the codes {COLUMN}, or write one a line"
        )
        raise EntryError(f"line {first + 1}: a CSV without a column {COLUMN}", mend)
    return _column(rows, header.index(COLUMN), first)


def _column(rows: _Rows, at: int, skipped: int) -> Iterator[tuple[int, str]]:
    """A row without that cell gives empty text, which is then a bad entry on its line; a blank row gives nothing."""
    line = skipped + rows.line_num + 1
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                yield line, row[at] if len(row) > at else ""
            line = skipped + rows.line_num + 1
    except csv.Error as error:
        raise EntryError(f"line {line}: not readable as CSV ({error})", "save the file as plain CSV") from None
