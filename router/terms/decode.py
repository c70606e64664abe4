"""Plain trees (of TOML or JSON) to the structs of `terms.schema`, strictly, with every error at once.

msgspec stops at the first error and knows neither our durations nor how to suggest a mend; an operator who onboards a
buyer wants the whole list. So the structs' own type information is walked instead: each type becomes one small
reader, made once. A reader returns the value or `BAD`, having written down what is wrong and where.
"""

import difflib
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from sys import intern
from typing import Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from msgspec import NODEFAULT, Struct, UnsetType
from msgspec.structs import FieldInfo, fields

from router.model.money import Money, parse_money
from router.model.times import Duration, parse_duration
from router.terms.problems import Problem
from router.terms.schema import Payout

S = TypeVar("S", bound=Struct)

_DEPTH_MAX: Final = 32
_OUTER_KEYS: Final = 4  # of a path that is too long to be told
_INTEGER_MAX: Final = 2**53 - 1
_SHOWN_MAX: Final = 40
_INTERNED_MAX: Final = 32  # ids, names and postal codes stand in many places: each is kept once
#: Tables that may be written as their most important value alone: `solar = "12.00"` for `{ amount = "12.00" }`.
_SHORT_FORMS: Final[dict[type[Struct], str]] = {Payout: "amount"}
#: Text that is also a kind of value of its own: how it is read, and an example of it.
_TEXT_FORMS: Final[dict[type, Callable[[str], int]]] = {Money: parse_money, Duration: parse_duration}
_TEXT_EXAMPLES: Final[dict[type, str]] = {Money: '"42.50"', Duration: '"30s"'}
#: What stands where a needed number could not be read.
_STAND_INS: Final[dict[Any, Any]] = {Money: Money(1_00), Duration: Duration(1_000_000_000), int: 1, float: 1.0}
_UNUSABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class _Bad:
    """The one value that stands for "could not be read"; what is wrong has been written down."""


BAD: Final = _Bad()


#: Where in a tree: the place it stands in, and its key or index there. Written out only when something is wrong.
Where = tuple[Any, str | int] | None


class Findings:
    """Collects what is wrong in one file. `strangers` of the problems are keys that are nothing here.

    `stood_in` are the places of numbers that could not be read: a plain one stands there, so that all else is judged.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.strangers = 0
        self.stood_in: list[Where] = []

    @property
    def serious(self) -> int:
        """How many problems leave a value unread."""
        return len(self.problems) - self.strangers - len(self.stood_in)

    def add(self, where: Where, message: str, mend: str) -> _Bad:
        """Write one error down; returns BAD so that a reader can return it."""
        self.problems.append(Problem(self.file, written(where), message, mend))
        return BAD


Reader = Callable[[Any, Where, Findings], Any]


class _Field(NamedTuple):
    attribute: str
    read: Reader
    stand_in: Any  # BAD where nothing can take its place


class _Kind(NamedTuple):
    """How one Python type of value is told apart and called: `accepts` sees the plain value."""

    name: str
    accepts: Callable[[Any], bool]
    read: Reader


def decode(tree: object, kind: type[S], file: str) -> tuple[S | None, list[Problem]]:
    """A plain tree -> (struct, no problems) or (None, every problem with its key path). Never raises for what it reads.

    `file` is only for the problems. A tree nested deeper than 32 levels is refused whole.
    """
    value, problems, _ = decode_known(tree, kind, file)
    return (None if problems else value), problems


def decode_known(tree: object, kind: type[S], file: str) -> tuple[S | None, list[Problem], list[str]]:
    """As `decode`, and the struct all the same where the rest of it can be judged.

    So it can where only keys are wrong that mean nothing, or numbers, money and durations: the last of the three are
    the places of those, at which other ones stand.
    """
    findings = Findings(file)
    deep = _too_deep(tree, _DEPTH_MAX)
    if deep is not None:
        findings.add(deep, f"nested deeper than {_DEPTH_MAX} levels", "No term needs that; write it flatter")
        return None, findings.problems, []
    value = _reader(kind)(tree, None, findings)
    return (None if findings.serious else value), findings.problems, [*map(written, findings.stood_in)]


def written(where: Where) -> str:
    """A place as an operator reads it: `contracts[2].caps[0].per`, quoted where TOML would quote a key."""
    if where is None:
        return ""
    parent, key = where
    path = written(parent)
    if isinstance(key, int):
        return f"{path}[{key}]"
    part = key if _BARE_KEY.fullmatch(key) else _shown(key)
    return f"{path}.{part}" if path else part


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if one is close."""
    words = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), words, 1, 0.6)
    return words[close[0]] if close else None


def _too_deep(tree: object, depth: int) -> Where:
    """Where a tree goes deeper than so many levels, as its outermost few keys; None where it does not."""
    level: list[tuple[Where, Any]] = [(None, tree)] if isinstance(tree, dict | list) else []
    for _ in range(depth):
        level = [
            ((where, key), child)
            for where, node in level
            for key, child in (node.items() if isinstance(node, dict) else enumerate(node))
            if isinstance(child, dict | list)
        ]
        if not level:
            return None
    path: list[Where] = []
    where = level[0][0]
    while where is not None:
        path.append(where)
        where = where[0]
    return path[-_OUTER_KEYS]


# -- readers, one a type -------------------------------------------------------------------------


@cache
def _reader(kind: Any) -> Reader:
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _table(kind)
    if kind in _TEXT_FORMS:
        return _text_form(kind)
    if origin is Literal:
        return _literal(args)
    if origin in (tuple, Sequence):
        return _list(args[0])
    if origin is dict:
        return _mapping(args[1])
    if origin in (Union, types.UnionType):
        return _union(args)
    if kind is object:
        return _anything
    return _plain(kind)


def _table(kind: type[Struct]) -> Reader:
    known: dict[str, _Field] = {}
    required: list[str] = []
    short = _SHORT_FORMS.get(kind)

    def prepare() -> None:  # not before the first use: tables may hold tables of their own kind
        for field in fields(kind):
            known[field.encode_name] = _Field(field.name, _reader(field.type), _stand_in(field))
            if field.default is NODEFAULT and field.default_factory is NODEFAULT:
                required.append(field.encode_name)

    def read(value: Any, where: Where, findings: Findings) -> Any:
        if not known:
            prepare()
        if not isinstance(value, dict):
            if short is not None:
                amount = known[short].read(value, where, findings)
                return BAD if amount is BAD else kind(**{short: amount})
            return findings.add(where, f"is {_called(value)}, not a table", f"Its keys are {_listed(known)}")
        found: dict[str, Any] = {}
        before = findings.serious
        for key, entry in value.items():
            field = known.get(key)
            if field is None:
                _unknown_key(key, value, known, where, findings)
            else:
                found[field.attribute] = field.read(entry, (where, key), findings)
                if found[field.attribute] is BAD and field.stand_in is not BAD:
                    found[field.attribute] = field.stand_in
                    findings.stood_in.append((where, key))
        for key in required:
            if key not in value:
                findings.add((where, key), "is missing", "Write it here; it has no default")
                if known[key].stand_in is not BAD:
                    found[known[key].attribute] = known[key].stand_in
                    findings.stood_in.append((where, key))
        return kind(**found) if findings.serious == before else BAD

    return read


def _stand_in(field: FieldInfo) -> Any:
    """For a number, an amount, a duration: its default, or something plain. Nothing else can be guessed at."""
    members = set(get_args(field.type)) if get_origin(field.type) in (Union, types.UnionType) else {field.type}
    kinds = [kind for kind in members if kind is not type(None)]
    if not set(kinds) <= _STAND_INS.keys():
        return BAD
    return _STAND_INS[kinds[0]] if field.default is NODEFAULT else field.default


def _unknown_key(
    key: str, value: dict[str, Any], known: Mapping[str, _Field], where: Where, findings: Findings
) -> None:
    meant = suggestion(key, [name for name in known if name not in value])
    if meant is None:  # no misspelt one that would be missed elsewhere
        findings.strangers += 1
    elif known[meant].stand_in is not BAD:
        findings.stood_in.append((where, meant))
    mend = f'Did you mean "{meant}"?' if meant else f"Take it out; the keys here are {_listed(known)}"
    findings.add((where, key), "is not a key of this table", mend)


def _list(item: Any) -> Reader:
    read_item = _reader(item)

    def read(value: Any, where: Where, findings: Findings) -> Any:
        if not isinstance(value, list | tuple):
            return findings.add(where, f"is {_called(value)}, not a list", "Put it in square brackets: [ ... ]")
        if item is str and _all_plain(value):  # thousands of postal codes: judged as one text
            return tuple(value)
        found = tuple([read_item(entry, (where, index), findings) for index, entry in enumerate(value)])
        return BAD if any(entry is BAD for entry in found) else found

    return read


def _all_plain(entries: Sequence[Any]) -> bool:
    return {*map(type, entries)} <= {str} and _UNUSABLE.search("".join(entries)) is None


def _mapping(item: Any) -> Reader:
    read_item = _reader(item)

    def read(value: Any, where: Where, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return findings.add(where, f"is {_called(value)}, not a table", "Write it as { name = value, ... }")
        found = {key: read_item(entry, (where, str(key)), findings) for key, entry in value.items()}
        return BAD if any(entry is BAD for entry in found.values()) else found

    return read


def _literal(choices: tuple[Any, ...]) -> Reader:
    def read(value: Any, where: Where, findings: Findings) -> Any:
        if isinstance(value, str) and value in choices:
            return value
        if not isinstance(value, str):
            return _wrong_type(value, where, findings, "text", f"Write one of {_listed(choices)}")
        meant = suggestion(value, list(choices))
        hint = f'Did you mean "{meant}"? ' if meant else ""
        return findings.add(where, f"{_shown(value)} is not a choice here", f"{hint}Write one of {_listed(choices)}")

    return read


def _text_form(kind: type) -> Reader:
    parse, example = _TEXT_FORMS[kind], _TEXT_EXAMPLES[kind]
    name = kind.__name__.lower()

    def read(value: Any, where: Where, findings: Findings) -> Any:
        if not isinstance(value, str):
            wish = f'"{value:.2f}"' if kind is Money and _KINDS[float].accepts(value) else example
            return findings.add(
                where, f"is {_called(value)}, but {name} is text", f"Write it in quotes, such as {wish}"
            )
        try:
            return parse(value)
        except ValueError as error:
            reason = str(error)
            return findings.add(where, f"{_shown(value)} cannot be read", reason[:1].upper() + reason[1:])

    return read


def _plain(kind: type) -> Reader:
    rule = _KINDS[kind]

    def read(value: Any, where: Where, findings: Findings) -> Any:
        if rule.accepts(value):
            return rule.read(value, where, findings)
        return _wrong_type(value, where, findings, rule.name)

    return read


def _union(members: tuple[Any, ...]) -> Reader:
    optional = type(None) in members
    kinds = [member for member in members if member not in (type(None), UnsetType)]
    if len(kinds) == 1:
        only = _reader(kinds[0])
        if not optional:
            return only
        return lambda value, where, findings: None if value is None else only(value, where, findings)
    rules = [_kind_of(member) for member in sorted(kinds, key=lambda member: member is not int)]
    names = " or ".join(rule.name for rule in rules)

    def read(value: Any, where: Where, findings: Findings) -> Any:
        if value is None and optional:
            return None
        for rule in rules:
            if rule.accepts(value):
                return rule.read(value, where, findings)
        return _wrong_type(value, where, findings, names)

    return read


def _kind_of(member: Any) -> _Kind:
    if get_origin(member) is tuple:
        return _Kind("a list", lambda value: isinstance(value, list | tuple), _reader(member))
    return _KINDS[member]


def _wrong_type(value: Any, where: Where, findings: Findings, wanted: str, mend: str = "") -> _Bad:
    if value is None:
        mend = "Leave the key out instead of null"
    elif not mend:
        mend = "Put it in quotes" if wanted == "text" and not isinstance(value, dict | list) else f"Write {wanted}"
    return findings.add(where, f"is {_called(value)}, not {wanted}", mend)


def _text(value: str, where: Where, findings: Findings) -> Any:
    if _UNUSABLE.search(value):
        return findings.add(where, "holds a control character or half a character", "Take it out; it cannot be meant")
    return intern(value) if len(value) <= _INTERNED_MAX else value


def _integer(value: int, where: Where, findings: Findings) -> Any:
    if abs(value) > _INTEGER_MAX:
        return findings.add(where, "is too large a number", f"Write at most {_INTEGER_MAX}")
    return value


def _number(value: float, where: Where, findings: Findings) -> Any:
    if not math.isfinite(value):
        return findings.add(where, "is not a finite number", "Write a plain number, or leave the key out for no limit")
    return float(value)


def _same(value: Any, _where: Where, _findings: Findings) -> Any:
    return value


def _anything(value: Any, where: Where, findings: Findings) -> Any:
    """A leaf or tree of a body: whatever JSON can say."""
    if isinstance(value, dict):
        found = {key: _anything(entry, (where, str(key)), findings) for key, entry in value.items()}
        return BAD if any(entry is BAD for entry in found.values()) else found
    if isinstance(value, list):
        items = [_anything(entry, (where, index), findings) for index, entry in enumerate(value)]
        return BAD if any(entry is BAD for entry in items) else items
    if value is None:
        return value
    for rule in _KINDS.values():
        if rule.accepts(value):
            return rule.read(value, where, findings)
    return findings.add(where, f"is {_called(value)}, which a body cannot hold", "Put it in quotes")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KINDS: Final[dict[Any, _Kind]] = {
    str: _Kind("text", lambda value: isinstance(value, str), _text),
    bool: _Kind("true or false", lambda value: isinstance(value, bool), _same),
    int: _Kind("a whole number", _is_integer, _integer),
    float: _Kind("a number", lambda value: isinstance(value, float) or _is_integer(value), _number),
}

# -- words ---------------------------------------------------------------------------------------

_CALLED: Final[tuple[tuple[type, str], ...]] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a decimal number"),
    (str, "text"),
    (dict, "a table"),
    (list, "a list"),
    (type(None), "null"),
)


def _called(value: Any) -> str:
    return next((name for kind, name in _CALLED if isinstance(value, kind)), "a date or time")


def _shown(value: str) -> str:
    text = value if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]}…"
    return '"' + "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text) + '"'


def _listed(words: Iterable[str]) -> str:
    return ", ".join(str(word) for word in words)
