"""A buyer's own list of leads as it comes out of its system -> rows that can be held against the ledger.

What a column holds is known by its name, or where it has none of the usual ones by what stands in it. Nothing of it is
kept but ids, an instant, a price, and what a person is known by (phone, e-mail) until the comparison is done.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Final, Literal

from msgspec import Struct

from router.core.intake.mail import read_email
from router.core.intake.phone import read_phone
from router.core.intake.refusal import Wrong
from router.model.sheet import Row, open_sheet, rows_of, separator_of
from router.model.times import parse_instant
from router.terms.answers import amount

Role = Literal["id", "phone", "email", "date", "price", "status", "other"]

_HEADER_ROWS_MAX: Final = 20
#: Tried in order on a column's name in lower case with single spaces for everything else.
_NAMES: Final[tuple[tuple[Role, str], ...]] = (
    ("email", r".*\be ?mail\b.*"),
    ("phone", r".*\b(?:phone|tel|telephone|mobile|cell|ph|number dialed)\b.*"),
    ("price", r".*\b(?:price|amount|cost|cpl|charge|charged|fee|paid|billed|rate|payout|total)\b.*"),
    ("status", r".*\b(?:status|disposition|result|outcome|decision)\b.*"),
    ("date", r".*\b(?:date|time|timestamp|day|created|received|posted|purchased|sold on|at)\b.*"),
    ("id", r"(?:.* )?(?:id|ids|uuid|guid|ref|reference|lead number|key)"),
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_LOOKS: Final[tuple[tuple[Role, re.Pattern[str]], ...]] = (
    ("id", _UUID),
    ("email", re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")),
    ("date", re.compile(r"\d{4}-\d{2}-\d{2}.*|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}.*", re.ASCII)),
    ("price", re.compile(r"\$\s?\d+(?:\.\d{1,2})?|\d+\.\d{2}", re.ASCII)),
    ("phone", re.compile(r"\+?[\d ().-]{10,20}", re.ASCII)),
)
_REFUSED: Final = re.compile(
    r"\W*(?:reject\w*|declin\w*|refus\w*|invalid|not (?:taken|accepted|sold|bought)|dup\w*|fail\w*|error|no)\b.*",
    re.IGNORECASE,
)
_AMERICAN: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2,4})(?:\D.*)?", re.ASCII)
_EUROPEAN: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{2,4})(?:\D.*)?", re.ASCII)
_ISO: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\D.*)?", re.ASCII)


class Theirs(Struct, frozen=True, kw_only=True):
    """One row of the list. `has`: whether it says that they have the lead; `price` is minor units."""

    line: int
    ids: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    day: date | None = None
    price: int | None = None
    has: bool = True

    @property
    def known_by_something(self) -> bool:
        """Whether there is anything to find its delivery by."""
        return bool(self.ids or self.phones or self.emails)


class BuyerList(Struct, frozen=True, kw_only=True):
    """The list. `columns`: name -> what it was taken for; `unread`: lines without anything to find a delivery by."""

    rows: tuple[Theirs, ...]
    columns: dict[str, str]
    unread: tuple[int, ...]

    @property
    def days(self) -> tuple[date, date] | None:
        """The first and the last day it names."""
        days = [row.day for row in self.rows if row.day is not None]
        return (min(days), max(days)) if days else None


def read_list(data: bytes, *, country: str, zone: tzinfo) -> BuyerList:
    """Read it. `country` is that of phones, `zone` that of days. Raises UnreadableSheet for a file that is no text."""
    text = open_sheet(data).text
    rows = [row for row in rows_of(text, separator_of(text) or ",") if not row.empty]
    header = next((at for at, row in enumerate(rows[:_HEADER_ROWS_MAX]) if _is_header(row)), None)
    if header is None:
        body, roles = rows, _by_content(rows)
        names = tuple(f"column {at + 1}" for at in range(len(roles)))
    else:
        body, names = rows[header + 1 :], rows[header].cells
        roles = _settled([_role(name) for name in names], body)
    found = [_read(row, roles, country, zone) for row in body]
    return BuyerList(
        rows=tuple(row for row in found if row.known_by_something),
        columns={name: role for name, role in zip(names, roles, strict=False) if role != "other"},
        unread=tuple(row.line for row in found if not row.known_by_something),
    )


def _role(name: str) -> Role:
    plain = " ".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()))
    return next((role for role, pattern in _NAMES if re.fullmatch(pattern, plain)), "other")


def _is_header(row: Row) -> bool:
    """Names, and nothing that looks like what stands below names."""
    roles = [_role(cell) for cell in row.cells]
    looks = any(pattern.fullmatch(cell.strip()) for cell in row.cells for _, pattern in _LOOKS)
    return not looks and bool({"id", "phone", "email"} & set(roles))


def _settled(roles: Sequence[Role], body: Sequence[Row]) -> tuple[Role, ...]:
    """A column without a usual name whose cells are ids, phones or addresses is one of those."""
    guessed = _by_content(body)
    return tuple(
        guessed[at] if role == "other" and at < len(guessed) and guessed[at] in ("id", "email") else role
        for at, role in enumerate(roles)
    )


def _by_content(rows: Sequence[Row]) -> tuple[Role, ...]:
    width = max((len(row.cells) for row in rows), default=0)
    return tuple(_looks_like([row.cells[at].strip() for row in rows if at < len(row.cells)]) for at in range(width))


def _looks_like(cells: Sequence[str]) -> Role:
    full = [cell for cell in cells if cell]
    for role, pattern in _LOOKS:
        if full and sum(bool(pattern.fullmatch(cell)) for cell in full) >= 0.8 * len(full):
            return role
    return "other"


def _read(row: Row, roles: Sequence[Role], country: str, zone: tzinfo) -> Theirs:
    def cells(role: Role) -> list[str]:
        pairs = zip(row.cells, roles, strict=False)
        return [cell.strip() for cell, own in pairs if own == role and cell.strip()]

    days = [day for cell in cells("date") if (day := read_day(cell, zone)) is not None]
    prices = [price for cell in cells("price") if (price := amount(cell)) is not None]
    return Theirs(
        line=row.line,
        ids=tuple(cells("id")),
        phones=tuple(phone for cell in cells("phone") if (phone := _phone(cell, country)) is not None),
        emails=tuple(email for cell in cells("email") if (email := _email(cell)) is not None),
        day=days[0] if days else None,
        price=prices[0] if prices else None,
        has=not any(_REFUSED.fullmatch(cell) for cell in cells("status")),
    )


def _phone(text: str, country: str) -> str | None:
    digits = text.removesuffix(".0")
    try:
        return read_phone(digits, country)
    except Wrong:
        return None


def _email(text: str) -> str | None:
    try:
        return read_email(text)
    except Wrong:
        return None


def read_day(text: str, zone: tzinfo) -> date | None:
    """The day a cell names, on local time where it names an instant: RFC 3339, ISO, 11/24/2026, 24.11.2026."""
    try:
        return datetime.fromtimestamp(parse_instant(text) / 1e9, zone).date()
    except ValueError:
        pass
    try:
        if match := _ISO.fullmatch(text):
            return date.fromisoformat(match[1])
        if match := _AMERICAN.fullmatch(text):
            first, second = int(match[1]), int(match[2])
            month, day = (second, first) if first > 12 else (first, second)
            return date(_year(match[3]), month, day)
        if match := _EUROPEAN.fullmatch(text):
            return date(_year(match[3]), int(match[2]), int(match[1]))
    except ValueError:
        return None  # the form is right and the day does not exist
    return None


def _year(text: str) -> int:
    return int(text) + 2000 if len(text) <= 2 else int(text)
