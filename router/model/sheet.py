"""Bytes -> text -> rows: any encoding, line ending and separator that spreadsheets and mail programs write."""

import csv
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

SEPARATORS: Final = ",;\t|"
_SNIFFED_LINES: Final = 40
_RECORD_LINES_MAX: Final = 20
#: First bytes of files that are no text, and what to do with them.
_NO_TEXT: Final = (
    (b"PK\x03\x04", "an Excel workbook", "Save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "Save the sheet as CSV"),
    (b"%PDF", "a PDF", "Copy its text into a file, or ask the buyer for the list as CSV"),
)


class UnreadableSheet(ValueError):  # noqa: N818 - says what is the matter
    """The file is no text at all. `str(error)` says what it is, `mend` what to do."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


class Sheet(NamedTuple):
    """A file as text; `encoding` in words, with a reason where it was not plain UTF-8."""

    text: str
    encoding: str


class Row(NamedTuple):
    """Cells of one record; `line` is the one it starts on, counted from 1."""

    line: int
    cells: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing stands in it."""
        return not any(cell.strip() for cell in self.cells)


def open_sheet(data: bytes) -> Sheet:
    """The text of a file. Raises UnreadableSheet for what is no text."""
    for start, what, mend in _NO_TEXT:
        if data.startswith(start):
            raise UnreadableSheet(f"this is {what}, not text", mend)
    for marks, encoding in (
        ((b"\xff\xfe", b"\xfe\xff"), "utf-16"),
        ((b"\xef\xbb\xbf",), "utf-8-sig"),
    ):
        if data.startswith(marks):
            return Sheet(data.decode(encoding, "replace"), f"{encoding.removesuffix('-sig')} with a byte order mark")
    half = max(1, len(data) // 2)
    for zeros, encoding in ((data[1::2], "utf-16-le"), (data[0::2], "utf-16-be")):
        if len(data) > 3 and zeros.count(0) > 0.4 * half:
            return Sheet(data.decode(encoding, "replace"), f"{encoding}, by its zero bytes")
    data = data.replace(b"\0", b"")
    try:
        return Sheet(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        try:
            return Sheet(data.decode("cp1252"), "cp1252, since it is not UTF-8")
        except UnicodeDecodeError:
            return Sheet(data.decode("latin-1"), "latin-1, since it is not UTF-8")


def separator_of(text: str) -> str | None:
    """The separator that cuts most lines into columns; None where none does."""
    lines = [line for line in text.splitlines() if line.strip()][:_SNIFFED_LINES]
    counts = {sign: [line.count(sign) for line in lines] for sign in SEPARATORS}
    best = max(SEPARATORS, key=lambda sign: (sum(map(bool, counts[sign])), sum(counts[sign])))
    return best if any(counts[best]) else None


def rows_of(text: str, separator: str) -> Iterator[Row]:
    """Every record with the line it starts on. A quote that never ends is taken as it stands."""
    lines = text.splitlines()
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator)
    first = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells = None
        if cells is None or reader.line_num - first > _RECORD_LINES_MAX:
            for at in range(first, reader.line_num):
                yield _row(at, lines[at].split(separator))
        else:
            yield _row(first, cells)
        first = reader.line_num


def _row(at: int, cells: Sequence[str]) -> Row:
    return Row(at + 1, tuple(" ".join(cell.split()) for cell in cells))
