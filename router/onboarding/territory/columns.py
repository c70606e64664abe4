"""Which column of a territory list holds what: by its name, or where there are no names by what stands in it."""

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from router.model.sheet import Row
from router.terms.regions import state_code

Role = Literal["code", "first", "last", "without", "city", "county", "state", "miles", "flag", "note"]

_HEADER_ROWS_MAX: Final = 40
_NAME_LENGTH_MAX: Final = 40
_ZIP: Final = (
    r"(?:zips?|zip ?codes?|zip ?5|postal|postal ?codes?|post ?codes?|zip(?: or)? postal(?: codes?)?|codes?|plz)"
)
_WHOSE: Final = (
    r"(?:(?:us|usa|target|coverage|covered|service|serviced|delivery|home|property|customer|lead|primary|5|five|digit"
    r"|our|all|list|of|valid|included?|accepted|territory|market) )*"
)

#: Tried in order on a column's name, in lower case with single spaces for everything else.
_NAMES: Final[tuple[tuple[Role, str], ...]] = (
    ("first", rf"(?:{_ZIP} )?(?:from|start|begin|beginning|low|lower|min)|(?:from|start|beginning|low) {_ZIP}"),
    ("last", rf"(?:{_ZIP} )?(?:to|thru|through|end|ending|high|upper|max)|(?:to|thru|through|end|ending|high) {_ZIP}"),
    ("without", rf"(?:not covered|excluded?|exclusions?|except(?:ions)?|removed?|blocked) {_ZIP}|{_ZIP} (?:not covered"
                r"|excluded|exclusions?|exceptions?)|exclusions"),
    ("code", rf"{_WHOSE}{_ZIP}(?: (?:list|prefix(?:es)?|range|ranges|\d+))?|fsas?|outcodes?|outward codes?"
             r"|prefix(?:es)?"),
    ("county", r"(?:county|counties|parish|county name|county parish)"),
    ("city", r"(?:city|cities|town|towns|place|locality|municipality|city name|city town|primary city|po name)"),
    ("state", r"(?:state|states|st|state code|state name|state abbr|state abbreviation|state prov|province)"),
    ("miles", r"(?:radius|miles|mile radius|radius miles|radius in miles|radius mi|mi|distance)"),
    ("flag", r"(?:covered|cover|coverage|included?|active|serviced?|service|in territory|accept|accepted|buy|buying"
             r"|status|exclude|excluded|yes no|y n)"),
)  # fmt: skip
_YES: Final = frozenset(
    ("y", "yes", "true", "1", "x", "covered", "include", "included", "active", "accept", "live", "on")
)
_NO: Final = frozenset(
    ("n", "no", "false", "0", "not covered", "exclude", "excluded", "inactive", "reject", "closed", "off", "removed")
)
_LOOKS_A_CODE: Final = re.compile(r"\d{3,5}(?:-\d{4})?|\d{5}\s?-\s?\d{5}|\d{1,4}[xX*]+", re.ASCII)


_HOLDS_A_CODE: Final = re.compile(r"\d[\dOoIl]{3}", re.ASCII)


class Columns(NamedTuple):
    """The role of each column; `line` is that of their names, None where they have none."""

    roles: tuple[Role, ...]
    names: tuple[str, ...]
    line: int | None

    def cells(self, row: Row, role: Role) -> list[str]:
        """What stands in the columns of that role, empty cells left out."""
        cells = [cell for cell, own in zip(row.cells, self.roles, strict=False) if own == role and cell.strip()]
        if role == "note":
            cells += [cell for cell in row.cells[len(self.roles) :] if cell.strip()]
        return cells


def named_columns(rows: Sequence[Row]) -> Columns | None:
    """The columns by their names, where some row near the top holds names."""
    for row in rows[:_HEADER_ROWS_MAX]:
        roles = [_role(cell) for cell in row.cells]
        if _is_header(row, roles):
            return Columns(_settled(roles, row.cells, rows), row.cells, row.line)
    return None


def unnamed_columns(rows: Sequence[Row]) -> Columns | None:
    """The columns by what stands in them: one with codes beside one with states, cities or other words."""
    full = [row for row in rows if not row.empty]
    width = max((len(row.cells) for row in full), default=0)
    if len(full) < 2 or width < 2 or sum(len(row.cells) == width for row in full) < 0.8 * len(full):
        return None
    columns = [[row.cells[at].strip() for row in full if at < len(row.cells)] for at in range(width)]
    roles = tuple(_role_by_content([cell for cell in column if cell]) for column in columns)
    if roles.count("code") != 1 or set(roles) == {"code"}:
        return None
    return Columns(roles, tuple(f"column {at + 1}" for at in range(width)), None)


def flag_of(text: str) -> bool | None:
    """Whether a cell of a flag column says that the row is covered; None where it says neither."""
    word = " ".join(text.split()).casefold()
    return True if word in _YES else False if word in _NO else None


def _role(name: str) -> Role:
    if len(name) > _NAME_LENGTH_MAX:
        return "note"
    plain = " ".join(re.findall(r"[^\W_]+", name.casefold()))
    return next((role for role, pattern in _NAMES if re.fullmatch(pattern, plain)), "note")


def _is_header(row: Row, roles: Sequence[Role]) -> bool:
    places = [role for role in roles if role not in ("note", "flag", "miles")]
    if not places or any(len(cell) > _NAME_LENGTH_MAX for cell in row.cells):
        return False
    if any(_LOOKS_A_CODE.fullmatch(cell.strip()) or _HOLDS_A_CODE.search(cell) for cell in row.cells):
        return False
    named = [cell for cell in row.cells if cell.strip()]
    return len(named) > 1 or len(row.cells) == 1 or bool(set(places) & {"code", "first"})


def _settled(roles: Sequence[Role], names: Sequence[str], rows: Sequence[Row]) -> tuple[Role, ...]:
    """A range needs both its ends; a column named "excluded" may hold codes, and "status" anything."""
    settled = list(roles)
    if ("first" in roles) != ("last" in roles):
        settled = ["code" if role in ("first", "last") else role for role in settled]
    for at, role in enumerate(settled):
        cells = [row.cells[at] for row in rows if at < len(row.cells) and row.cells[at] not in ("", names[at])]
        if role == "flag" and cells and not any(flag_of(cell) is not None for cell in cells):
            settled[at] = "without" if "exclu" in names[at].casefold() else "note"
    return tuple(settled)


def _role_by_content(cells: Sequence[str]) -> Role:
    if not cells:
        return "note"
    if sum(bool(_LOOKS_A_CODE.fullmatch(cell)) for cell in cells) >= 0.7 * len(cells):
        return "code"
    if all(len(cell) == 2 and state_code(cell) for cell in cells):
        return "state"
    return "note"
