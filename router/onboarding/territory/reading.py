"""A territory list -> what it covers, with a line of report for everything that is not plainly taken."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from router.model.sheet import SEPARATORS, Row, open_sheet, rows_of, separator_of
from router.onboarding.territory.columns import Columns, Role, flag_of, named_columns, unnamed_columns
from router.onboarding.territory.places import NoPlace, Place, named
from router.onboarding.territory.sentence import Said, home_states, understand
from router.onboarding.territory.wording import ZERO_STATES, Circle, Codes, Reader, plain
from router.terms.geography import us
from router.terms.postal import EntryError, Parsed, parse_entry
from router.terms.regions import state_code

Kind = Literal["taken", "guessed", "repeated", "remark", "skipped", "unread"]

_SAID_MAX: Final = 90
_NOTE_WITHOUT: Final = re.compile(
    r"\W*(?:not|no|none|exclud\w*|except\w*|do not|don'?t|remov\w*|closed|blocked|never|n/?a)\b", re.IGNORECASE
)
_NOTE_DOUBT: Final = re.compile(r"\b(?:except\w*|exclud\w*|not|but|excl)\b", re.IGNORECASE)
_NOTE_CODE: Final = re.compile(r"(?<!\w)\d{5}(?!\w)", re.ASCII)
_TITLE: Final = re.compile(
    r"\b(?:territor\w*|coverage|list|updated?|version|zip codes?|postal codes?|confidential|page|total|prepared|"
    r"attachment|exhibit|schedule|thanks|thank you|regards|hi|hello|dear|sincerely|sent from|service area|end of)\b",
    re.IGNORECASE,
)
_BULLET: Final = re.compile(r"^\s*(?:[-*•·–>]+\s+|\(?\d{1,2}[.)]\s+)")
_WITHOUT_HEADING: Final = re.compile(
    r"\W*(?:excluded?|excluding|exclusions?|except(?:ions?)?|not covered|no|not|do not send|don'?t send|never)"
    r"(?: (?:zips?|zip codes?|postal codes?|codes?|areas?|these|the following|list|in))*\W*",
    re.IGNORECASE,
)
_WITH_HEADING: Final = re.compile(
    r"\W*(?:included?|including|covered|coverage|yes|we (?:do|cover|take))"
    r"(?: (?:zips?|zip codes?|postal codes?|codes?|areas?|these|the following|list))*\W*:?\W*",
    re.IGNORECASE,
)


class Line(Struct, frozen=True):
    """What became of one thing the list says. `read_as` is the entry it became, `why` the guess or the trouble."""

    line: int
    kind: Kind
    said: str
    read_as: str = ""
    why: str = ""
    mend: str = ""


class Territory(Struct, frozen=True, kw_only=True):
    """Coverage as it can be written into a contract, and the report. Entries are in ascending order, each once."""

    country: str
    encoding: str
    form: Literal["table", "text"]
    columns: dict[str, Role] = {}
    postal_codes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    counties: tuple[str, ...] = ()
    cities: tuple[str, ...] = ()
    radius: tuple[tuple[str, float], ...] = ()
    without_codes: tuple[str, ...] = ()
    without_states: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()

    def of(self, kind: Kind) -> list[Line]:
        """The lines of the report of one kind."""
        return [line for line in self.lines if line.kind == kind]


def read_territory(data: bytes, *, country: str = "US") -> Territory:
    """Read a list. Raises UnreadableSheet for a file that is no text."""
    sheet = open_sheet(data)
    table = _table(sheet.text)
    taking = _Taking(country)
    if table is None:
        _read_text(taking, sheet.text)
    else:
        _read_table(taking, *table)
    columns: dict[str, Role] = {} if table is None else dict(zip(table[1].names, table[1].roles, strict=True))
    return taking.territory(sheet.encoding, "text" if table is None else "table", columns)


class _Taking:
    """What was taken so far, in the order it came."""

    def __init__(self, country: str) -> None:
        self.country = country
        self.lines: list[Line] = []
        self._codes: dict[bool, dict[str, int]] = {False: {}, True: {}}
        self._places: dict[bool, dict[tuple[str, str], int]] = {False: {}, True: {}}
        self._circles: dict[bool, dict[tuple[str, float], int]] = {False: {}, True: {}}
        self._idle: set[str] = set()

    def say(self, line: int, kind: Kind, said: str, read_as: str = "", why: str = "", mend: str = "") -> None:
        """One line of the report."""
        short = said if len(said) <= _SAID_MAX else f"{said[:_SAID_MAX]}…"
        self.lines.append(Line(line, kind, short, read_as, why, mend))

    def take(self, line: int, said: Said, *, reason: str = "", idle: bool = False) -> None:
        """One thing a line says. `reason` is a guess beside its own, `idle` that it may leave out nothing."""
        why = "; ".join(part for part in (said.guess, reason) if part)
        what = said.what
        if what is None:
            self.say(line, "unread" if said.why else "remark", said.said, why=said.why, mend=said.mend)
        elif said.label:
            assert isinstance(what, Place)
            self.say(
                line, "guessed", said.said, why="taken as the name of the codes beside it, not as a place of its own"
            )
        elif isinstance(what, Codes):
            for entry in what.entries:
                self._take_code(line, what.said, entry, said.without, why, idle=idle)
        elif isinstance(what, Circle):
            self._note(
                line, said, self._circles, (what.center, what.miles), f"{what.miles:g} miles around {what.center}", why
            )
        else:
            self._note(line, said, self._places, (what.kind, what.name), f"{what.kind} {what.name}", why)

    def _take_code(self, line: int, said: str, entry: str, without: bool, why: str, *, idle: bool) -> None:
        try:
            parsed = parse_entry(entry, self.country)
        except EntryError as bad:
            self.say(line, "unread", said, why=bad.message, mend=bad.mend)
            return
        if self.country == "US" and not _in_use(parsed):
            mend = "Leave it out, or add it by hand if the buyer insists"
            self.say(line, "unread", said, entry, "no postal code in use", mend)
            return
        known = self._codes[without]
        if entry in known:
            self.say(line, "repeated", said, entry, f"as on line {known[entry]}")
            return
        known[entry] = line
        if idle:
            self._idle.add(entry)
        shown = f"left out: {entry}" if without else entry
        self.say(line, "guessed" if why else "taken", said, shown, why)

    def _note(self, line: int, said: Said, kept: dict[bool, dict], key: tuple, shown: str, why: str) -> None:  # type: ignore[type-arg]
        known = kept[said.without]
        if key in known:
            self.say(line, "repeated", said.said, shown, f"as on line {known[key]}")
            return
        known[key] = line
        if said.without:
            shown = f"left out: {shown}"
        self.say(line, "guessed" if why else "taken", said.said, shown, why)

    def territory(self, encoding: str, form: Literal["table", "text"], columns: dict[str, Role]) -> Territory:
        """Everything, put in order."""
        places = {kind: self._named(kind, without=False) for kind in ("state", "county", "city")}
        for entry in sorted(self._codes[False].keys() & self._codes[True].keys()):
            why = f"line {self._codes[False][entry]} says that it is covered; left out wins"
            self.say(self._codes[True][entry], "guessed", entry, f"left out: {entry}", why)
        codes = self._narrowed(self._codes[False])
        without = [*self._narrowed(self._codes[True]), *self._expanded()]
        if self._idle:
            without = [entry for entry in without if entry not in self._idle or self._covered(entry, codes, places)]
        return Territory(
            country=self.country,
            encoding=encoding,
            form=form,
            columns=columns,
            postal_codes=tuple(sorted(codes)),
            states=places["state"],
            counties=places["county"],
            cities=places["city"],
            radius=tuple(sorted(self._circles[False])),
            without_codes=tuple(sorted(set(without))),
            without_states=self._named("state", without=True),
            lines=tuple(sorted(self.lines, key=lambda line: line.line)),
        )

    def _named(self, kind: str, *, without: bool) -> tuple[str, ...]:
        return tuple(sorted(name for own, name in self._places[without] if own == kind))

    def _narrowed(self, entries: dict[str, int]) -> list[str]:
        """Entries without those that lie under a wider one that is listed too: they say nothing new."""
        parsed = {entry: parse_entry(entry, self.country) for entry in entries}
        starts = {start: entry for entry, one in parsed.items() for start in one.prefixes}
        ranges = {code: entry for entry, one in parsed.items() for code in one.codes if entry != code}
        kept: list[str] = []
        for entry, one in parsed.items():
            holders = {_holder(text, entry, starts) or ranges.get(text, entry) for text in (*one.codes, *one.prefixes)}
            if entry in holders or not holders:
                kept.append(entry)
            else:
                self.say(entries[entry], "repeated", entry, entry, f"under {' and '.join(sorted(holders))} already")
        return kept

    def _expanded(self) -> Iterator[str]:
        """Codes of places and circles that are left out: coverage can only leave out codes and states."""
        for (kind, name), line in self._places[True].items():
            if kind != "state":
                place = named("county" if kind == "county" else "city", name, None)
                codes = place.codes if isinstance(place, Place) else ()
                yield from codes
                self.say(line, "guessed", name, f"left out: {len(codes)} postal codes", f"a {kind} approximates them")
        for (center, miles), line in self._circles[True].items():
            codes = us().radius(center, miles) or ()
            yield from codes
            said = f"{miles:g} miles around {center}"
            self.say(line, "guessed", said, f"left out: {len(codes)} postal codes", "a circle approximates them")

    def _covered(self, entry: str, codes: Sequence[str], places: dict[str, tuple[str, ...]]) -> bool:
        """Whether what is left out would be covered without that."""
        wanted = parse_entry(entry, self.country)
        code = (wanted.codes or wanted.prefixes)[0]
        place = us().place(code)
        if place is not None and place.state in places["state"]:
            return True
        if any(_holds(parse_entry(one, self.country), code) for one in codes):
            return True
        found = [named(kind, name, None) for kind in ("county", "city") for name in places[kind]]
        circles = [us().radius(center, miles) or () for center, miles in self._circles[False]]
        return any(isinstance(one, Place) and code in one.codes for one in found) or any(code in one for one in circles)


def _holder(text: str, own: str, starts: dict[str, str]) -> str | None:
    """The entry whose prefix starts this code or prefix, another one than its own."""
    found = (starts.get(text[:size]) for size in range(1, len(text) + 1))
    return next((entry for entry in found if entry is not None and entry != own), None)


def _in_use(parsed: Parsed) -> bool:
    return any(map(us().exists, parsed.codes)) or any(map(us().any_with_prefix, parsed.prefixes))


def _holds(parsed: Parsed, code: str) -> bool:
    return code in parsed.codes or code.startswith(parsed.prefixes)


# -- tables --------------------------------------------------------------------------------------


def _table(text: str) -> tuple[list[Row], Columns] | None:
    """Rows and columns, where the text is a table: the separator under which most columns have a known name."""
    found: list[tuple[int, int, list[Row], Columns]] = []
    for order, separator in enumerate(SEPARATORS):
        rows = list(rows_of(text, separator)) if separator in text or order == 0 else []
        columns = named_columns(rows)
        if columns is not None:
            known = sum(role != "note" for role in columns.roles)
            found.append((known, -order, rows, columns))
    if found:
        _, _, rows, columns = max(found, key=lambda one: one[:2])
        return rows, columns
    likely = separator_of(text)
    rows = list(rows_of(text, likely)) if likely else []
    unnamed = unnamed_columns(rows)
    return None if unnamed is None else (rows, unnamed)


def _read_table(taking: _Taking, rows: Sequence[Row], columns: Columns) -> None:
    without = False
    for row in rows:
        if row.empty:
            continue
        said = ", ".join(cell for cell in row.cells if cell)
        if columns.line is not None and row.line <= columns.line:
            _above(taking, row, columns, said)
            continue
        if len([cell for cell in row.cells if cell]) == 1 and (heading := _heading(said)) is not None:
            without = heading
            why = "what follows is left out" if without else "what follows is covered"
            taking.say(row.line, "guessed", said, why=why)
            continue
        _read_row(taking, row, columns, without=without)


def _above(taking: _Taking, row: Row, columns: Columns, said: str) -> None:
    if row.line == columns.line:
        return
    if _NOTE_CODE.search(said):
        taking.say(row.line, "unread", said, why="it stands above the names of the columns and names postal codes")
    else:
        taking.say(row.line, "skipped", said, why="it stands above the names of the columns")


def _heading(text: str) -> bool | None:
    """Whether a line by itself starts a list of exclusions (True) or of what is covered (False)."""
    bare = plain(text)
    if _WITHOUT_HEADING.fullmatch(bare):
        return True
    return False if _WITH_HEADING.fullmatch(bare) else None


def _read_row(taking: _Taking, row: Row, columns: Columns, *, without: bool) -> None:
    said = ", ".join(cell for cell in row.cells if cell)
    state_cell = next(iter(columns.cells(row, "state")), None)
    state = state_code(state_cell) if state_cell else None
    if state_cell and state is None and taking.country == "US":
        taking.say(row.line, "unread", said, why=f"{state_cell} is no state", mend="Correct it")
        return
    notes = columns.cells(row, "note")
    out, reason, idle = without, "", False
    flags = [(flag_of(cell), name) for cell, name in _flags(row, columns)]
    if any(flag is None for flag, _ in flags):
        taking.say(row.line, "unread", said, why="whether it is covered can be read as neither yes nor no")
        return
    for flag, name in flags:
        if flag == ("exclu" in name.casefold()):
            out, idle, reason = True, True, f"{name} says so"
    for note in notes:
        if _NOTE_CODE.search(note):
            taking.say(row.line, "unread", note, why="a note that names postal codes is for a person to read")
        elif _NOTE_WITHOUT.match(note):
            out, reason = True, f"its note says: {note}"
    doubt = [note for note in notes if not out and _NOTE_DOUBT.search(note)]
    if doubt:
        reason = f"its note says: {doubt[0]}; what that leaves out is only what other lines say"
    for one in _said_in(row, columns, taking.country, state):
        put = one._replace(without=one.without or out)
        taking.take(row.line, _held_to(put, state), reason=reason if put.what else "", idle=idle)


def _flags(row: Row, columns: Columns) -> Iterator[tuple[str, str]]:
    for cell, role, name in zip(row.cells, columns.roles, columns.names, strict=False):
        if role == "flag" and cell.strip():
            yield cell, name


def _said_in(row: Row, columns: Columns, country: str, state: str | None) -> Iterator[Said]:
    reader = Reader(country, zeros=state is None or state in ZERO_STATES, column=True, state=state)
    cells = columns.cells(row, "code")
    ends = [*columns.cells(row, "first"), *columns.cells(row, "last")]
    miles = columns.cells(row, "miles")
    if len(ends) == 2:
        cells = [*cells, "-".join(ends) if ends[0] != ends[1] else ends[0]]
    elif ends:
        cells = [*cells, *ends]
    if miles and len(cells) == 1:
        cells = [f"{miles[0]} miles around {cells[0]}"]
    for cell in cells:
        said = understand(cell, reader, state=state)
        lost = not any(one.what or one.why for one in said)
        for one in said or [Said(cell)]:
            yield one._replace(why="no postal code and no place", mend="Correct it") if lost else one
    for cell in columns.cells(row, "without"):
        for one in understand(cell, reader, state=state):
            yield one._replace(without=True)
    if not cells:
        yield from _place_in(row, columns, state)


def _place_in(row: Row, columns: Columns, state: str | None) -> Iterator[Said]:
    """A row without codes: its city, else its county, else its whole state."""
    for role in ("city", "county", "state"):
        names = columns.cells(row, role)
        for name in names:
            found = named(role, name, state)
            if isinstance(found, NoPlace):
                yield Said(found.said, why=found.why, mend=found.mend)
            else:
                yield Said(found.said, found, guess=found.guess if role != "state" else "")
        if names:
            return
    if notes := columns.cells(row, "note"):
        yield Said(", ".join(notes))


def _held_to(said: Said, state: str | None) -> Said:
    """Codes of a row against its state: a guess that lies elsewhere was a bad one, a plain code is doubtful."""
    if state is None or not isinstance(said.what, Codes):
        return said
    homes = home_states(said.what.entries)
    if not homes or homes[state]:
        return said
    where = ", ".join(sorted(homes))
    if said.guess:
        read = ", ".join(said.what.entries)
        why = f"as {read} it would lie in {where}, and the row says {state}"
        return Said(said.said, why=why, mend="Correct the code or the state")
    return said._replace(guess=f"it lies in {where}, and the row says {state}")


# -- plain text ----------------------------------------------------------------------------------


def _read_text(taking: _Taking, text: str) -> None:
    """Line by line. A heading rules the lines below it up to the next blank line or heading."""
    without, state, seen = False, None, False
    lines = [_BULLET.sub("", line).strip() for line in text.splitlines()]
    for at, line in enumerate(lines):
        if not line:
            without, state = False, None
            continue
        if line.startswith(("#", "//")):
            taking.say(at + 1, "skipped", line, why="a comment")
            continue
        heading = _heading(line)
        if heading is not None:
            without = heading
            taking.say(at + 1, "guessed", line, why=f"what follows is {'left out' if heading else 'covered'}")
            continue
        said = understand(line, Reader(taking.country, zeros=_only_numbers(line)), state=state, without=without)
        if _is_title(line, said, first=not seen):
            taking.say(at + 1, "skipped", line, why="it names no code and no place")
            continue
        seen = True
        place = _place_alone(said)
        if place is not None and line.rstrip().endswith(":"):
            state = place.state
            taking.say(at + 1, "guessed", line, why="taken as a heading of the codes below it")
            continue
        if place is not None and not place.whole and _heads(place, lines[at + 1 :], taking.country):
            why = f"all of {place.name}, or a heading of the codes below it?"
            taking.say(at + 1, "unread", line, why=why, mend=f'Write "all of {place.name}", or a colon behind it')
            continue
        _take_line(taking, at + 1, line, said)


def _take_line(taking: _Taking, number: int, line: str, said: Sequence[Said]) -> None:
    if not any(one.what or one.why for one in said):
        taking.say(number, "unread", line, why="no postal code and no place", mend="Correct it, or take the line out")
        return
    for one in said:
        taking.take(number, one)


def _only_numbers(line: str) -> bool:
    return not re.search(r"[^\W\d_]{2}", line)


def _is_title(line: str, said: Sequence[Said], *, first: bool) -> bool:
    if any(one.what for one in said) or _NOTE_CODE.search(line):
        return False
    return bool(_TITLE.search(line)) or (first and not any(one.why for one in said))


def _place_alone(said: Sequence[Said]) -> Place | None:
    """The one place a line names, where it names nothing else."""
    named_here = [one.what for one in said if one.what is not None]
    alone = len(named_here) == 1 and not any(one.why or one.without for one in said)
    return named_here[0] if alone and isinstance(named_here[0], Place) else None


def _heads(place: Place, below: Sequence[str], country: str) -> bool:
    """Whether the next line is codes of that place's state."""
    following = next(iter(below), "")
    said = understand(following, Reader(country, zeros=True), state=place.state)
    homes = home_states(entry for one in said if isinstance(one.what, Codes) for entry in one.what.entries)
    return bool(homes) and homes[place.state] * 2 > homes.total()
