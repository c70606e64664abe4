"""The template language of endpoints: `{{path|filter:arg|filter}}` inside text, compiled when terms are loaded.

It is deliberately no programming language: a path is looked up in a closed list, a filter in a table, and nothing
reaches an attribute or a function of Python. What an operator mistyped is therefore found at load and never on a lead.

What the specification leaves open is decided here:

* White space around a path and around a filter is not part of it; inside an argument it is. An argument reaches to
  the next `|`, so it can hold `:` but neither `|` nor `}}`. `{{{{` is a literal `{{`; keys are never templates.
* A field the contract does not accept is absent, like one the lead does not have; `default:TEXT` stands in for both.
* `consent.sellers` is a list where a whole JSON leaf can be one, elsewhere its texts joined by `, `.
* `date:FORMAT` prints instants in UTC. A value `map:NAME` does not hold is absent: nothing untranslated is sent.
* An object or list whose entries were all left out stays, empty: only keys whose own value is absent are left out.
* Names of our own (`price`, `lead_id`, ...) win over a lead field of the same name.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import UNSET, Struct

from router.model.lead import CONSENT_PATHS, Lead
from router.model.money import format_money
from router.model.times import format_instant
from router.terms.decode import suggestion
from router.terms.filters import FILTERS, KEEPS_KIND, ArgumentError, Given, Step, as_text
from router.terms.problems import Problem
from router.terms.schema import FieldTerms

#: A rendered body: what JSON can hold.
Tree = str | int | float | bool | None | list["Tree"] | dict[str, "Tree"]

_PERSONAL_TYPES: Final = frozenset(("string", "phone", "email", "date", "url", "ip"))
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class RenderContext(Struct, frozen=True, kw_only=True):
    """What a template can speak of: one lead on its way to one contract.

    `delivery_id` is empty where there is no delivery yet (a ping). `price` is minor units. `ping` holds what the
    buyer's answer to a ping gave (`reference`, `bid`). `accepted` holds the fields the contract accepts; None: all.
    """

    lead: Lead
    delivery_id: str
    contract_id: str
    price: int | None = None
    ping: Mapping[str, str] | None = None
    accepted: frozenset[str] | None = None


Getter = Callable[[RenderContext], Given | None]


class _Absent:
    """The one value that says a key is to be left out."""


ABSENT: Final = _Absent()
Node = Callable[[RenderContext], "Tree | _Absent"]


class Vocabulary(Struct, frozen=True, kw_only=True):
    """What a template of one endpoint may name.

    `kinds` maps each lead field to the types it has in the lead types that use the endpoint; with `any_field` other
    names pass as well. `ping` holds the names below `ping.`. With `public_only` (a ping asks without personal data)
    personal fields and consent are errors.
    """

    kinds: Mapping[str, frozenset[str]]
    personal: frozenset[str]
    maps: Mapping[str, Mapping[str, str]]
    ping: frozenset[str] = frozenset()
    any_field: bool = False
    public_only: bool = False
    choices: Mapping[str, frozenset[str]] = {}  # enum fields: every value they can have


class Schema(Struct, frozen=True):
    """What a lead type says of its fields, as far as templates ask."""

    fields: dict[str, FieldTerms]
    keeps_unknown: bool


class TextTemplate(Struct, frozen=True):
    """Text with placeholders. `fields` are the lead fields it names."""

    parts: tuple[str | Getter, ...]
    fields: frozenset[str] = frozenset()

    def render(self, context: RenderContext) -> str:
        """The text; what is absent is empty in it."""
        return "".join([part if isinstance(part, str) else _shown(part(context)) for part in self.parts])


class BodyTemplate(Struct, frozen=True):
    """A tree whose leaf texts are templates. `fields` are the lead fields it names."""

    root: Node
    fields: frozenset[str] = frozenset()

    def render(self, context: RenderContext) -> dict[str, Tree]:
        """The tree filled in, keys in the order they were written."""
        tree = self.root(context)
        assert isinstance(tree, dict)
        return tree


def below(key: str, name: str) -> str:
    """The path of the key `name` in the table at `key`, quoted where TOML would quote it."""
    return f"{key}.{name}" if _BARE_KEY.fullmatch(name) else f'{key}."{name}"'


def is_personal(terms: FieldTerms) -> bool:
    """Whether a field of the schema is personal: as it says, else by its type."""
    return terms.type in _PERSONAL_TYPES if terms.personal is UNSET else bool(terms.personal)


def vocabulary(
    schemas: Sequence[Schema],
    *,
    maps: Mapping[str, Mapping[str, str]],
    ping: frozenset[str] = frozenset(),
    public_only: bool = False,
) -> Vocabulary:
    """What templates of an endpoint may name, `schemas` being those of the lead types that use it.

    Without any lead type (no contract uses the endpoint yet), or where one keeps unknown fields, every field name
    passes: there is nothing to hold it against.
    """
    kinds: dict[str, frozenset[str]] = {}
    choices: dict[str, frozenset[str]] = {}
    personal: set[str] = set()
    for schema in schemas:
        for name, terms in schema.fields.items():
            kinds[name] = kinds.get(name, frozenset()) | {terms.type}
            if terms.type == "enum" and terms.one_of:
                choices[name] = choices.get(name, frozenset()) | frozenset(terms.one_of)
            if is_personal(terms):
                personal.add(name)
    return Vocabulary(
        kinds=kinds,
        personal=frozenset(personal),
        maps=maps,
        ping=ping,
        any_field=not schemas or any(schema.keeps_unknown for schema in schemas),
        public_only=public_only,
        choices=choices,
    )


# -- text to parts -------------------------------------------------------------------------------


class Placeholder(NamedTuple):
    """`{{path|name:argument|...}}` taken apart; an argument is None where no colon stood."""

    path: str
    filters: tuple[tuple[str, str | None], ...]


@lru_cache(maxsize=16_384)
def split(text: str) -> tuple[str | Placeholder, ...]:
    """A template text -> literal texts and placeholders in order. Raises ValueError for `{{` without its `}}`."""
    parts: list[str | Placeholder] = []
    literal, at = "", 0
    while (start := text.find("{{", at)) >= 0:
        literal += text[at:start]
        if text.startswith("{{{{", start):
            literal, at = literal + "{{", start + 4
            continue
        end = text.find("}}", start)
        if end < 0:
            raise ValueError("a placeholder is opened with {{ and never closed")
        parts.extend((literal, _placeholder(text[start + 2 : end])))
        literal, at = "", end + 2
    parts.append(literal + text[at:])
    return tuple(part for part in parts if part != "")


def _placeholder(inner: str) -> Placeholder:
    path, *filters = (piece.strip() for piece in inner.split("|"))
    pairs = (piece.partition(":") for piece in filters)
    return Placeholder(path, tuple((name.rstrip(), argument if colon else None) for name, colon, argument in pairs))


# -- paths ---------------------------------------------------------------------------------------


def _shown(value: Given | None) -> str:
    return "" if value is None else as_text(value)


def _price(context: RenderContext) -> str | None:
    return None if context.price is None else format_money(context.price)


#: Paths of our own. The kind `instant` is RFC 3339 text in UTC.
_OWN: Final[dict[str, tuple[str, Getter]]] = {
    "lead_id": ("text", lambda context: context.lead.lead_id),
    "delivery_id": ("text", lambda context: context.delivery_id or None),
    "source_id": ("text", lambda context: context.lead.source_id),
    "contract_id": ("text", lambda context: context.contract_id),
    "price": ("text", _price),
    "received_at": ("instant", lambda context: format_instant(context.lead.received_at_ns)),
}


@lru_cache(maxsize=4096)
def _field(name: str) -> Getter:
    def get(context: RenderContext) -> Given | None:
        accepted = context.accepted
        return context.lead.fields.get(name) if accepted is None or name in accepted else None

    return get


@lru_cache(maxsize=64)
def _consent(name: str) -> Getter:
    def get(context: RenderContext) -> Given | None:
        consent = context.lead.consent
        value: Given | None = getattr(consent, name) if consent is not None else None
        return value or None

    return get


def _given_at(context: RenderContext) -> str | None:
    consent = context.lead.consent
    return None if consent is None or consent.given_at_ns is None else format_instant(consent.given_at_ns)


@lru_cache(maxsize=64)
def _ping(name: str) -> Getter:
    return lambda context: context.ping.get(name) if context.ping is not None else None


class _Path(NamedTuple):
    kinds: frozenset[str]
    get: Getter
    field: str | None = None


_TEXT: Final = frozenset(("text",))
_CONSENT: Final[dict[str, _Path]] = {
    f"consent.{name}": _Path(_TEXT, _consent(name)) for name in CONSENT_PATHS if name != "given_at"
} | {"consent.given_at": _Path(frozenset(("instant",)), _given_at)}


# -- compiling -----------------------------------------------------------------------------------


class _Work:
    """Collects, while one template is compiled, what is wrong and which fields it names."""

    def __init__(self, words: Vocabulary, leave_out: bool) -> None:
        self.words = words
        self.leave_out = leave_out
        self.problems: list[Problem] = []
        self.fields: set[str] = set()

    def wrong(self, key: str, message: str, mend: str) -> None:
        self.problems.append(Problem("", key, message, mend))

    def warn(self, key: str, message: str, mend: str) -> None:
        self.problems.append(Problem("", key, message, mend, "warning"))

    # ---- one placeholder ----

    def getter(self, holder: Placeholder, key: str) -> Getter | None:
        """The function that gives the placeholder's value; None when it was found wrong."""
        path = self.path(holder.path, key)
        if path is None:
            return None
        if path.field is not None:
            self.fields.add(path.field)
            self.untranslated(path.field, holder, key)
        kinds = path.kinds
        steps: list[Step] = []
        for name, argument in holder.filters:
            step = self.filter(name, argument, kinds, key)
            if step is None:
                return None
            steps.append(step)
            kinds = kinds if name in KEEPS_KIND else _TEXT
        return _chain(path.get, tuple(steps)) if steps else path.get

    def path(self, name: str, key: str) -> _Path | None:
        words = self.words
        if name in _OWN:
            if name in words.kinds:
                self.warn(key, f"{{{{{name}}}}} is our own {name}, not the lead's field of that name",
                          "Give the lead field another name")  # fmt: skip
            kind, get = _OWN[name]
            return _Path(frozenset((kind,)), get)
        if name.startswith("ping."):
            return self.ping(name.removeprefix("ping."), key)
        if name in _CONSENT:
            return self.public(name, "consent", _CONSENT[name], key)
        if name in words.kinds:
            found = _Path(words.kinds[name], _field(name), name)
            return self.public(name, "a personal field", found, key) if name in words.personal else found
        if words.any_field and name and "." not in name:
            found = _Path(_TEXT | {"phone", "date", "datetime"}, _field(name), name)
            return self.public(name, "a field outside the schema, which may be personal", found, key)
        self.unknown(name, key)
        return None

    def public(self, name: str, what: str, path: _Path, key: str) -> _Path | None:
        """The path, unless it stands in a ping, which may not tell who the person is."""
        if not self.words.public_only:
            return path
        self.wrong(key, f"{{{{{name}}}}} is {what}, and a ping is sent without personal data",
                   "Leave it out of the ping; the post after a won bid may carry it")  # fmt: skip
        return None

    def ping(self, name: str, key: str) -> _Path | None:
        if name in self.words.ping:
            return _Path(_TEXT, _ping(name))
        known = ", ".join(f"ping.{known}" for known in sorted(self.words.ping))
        mend = f"Use one of: {known}" if known else "It needs [endpoints.NAME.ping], with the path `reference` for it"
        self.wrong(key, f"nothing gives {{{{ping.{name}}}}} here", mend)
        return None

    def unknown(self, name: str, key: str) -> None:
        known = (*self.words.kinds, *_OWN, *_CONSENT)
        close = suggestion(name, known)
        shown = f"{{{{{name}}}}}" if name else "an empty placeholder {{}}"
        mend = (
            f'Did you mean "{close}"?'
            if close
            else "Name a field of the lead type, consent.*, or one of ours: " + (", ".join(_OWN))
        )
        self.wrong(key, f"{shown} is neither a field of the lead type nor a path of ours", mend)

    def filter(self, name: str, argument: str | None, kinds: frozenset[str], key: str) -> Step | None:
        found = FILTERS.get(name)
        if found is None:
            close = suggestion(name, FILTERS)
            mend = f'Did you mean "{close}"?' if close else f"The filters are: {', '.join(FILTERS)}"
            self.wrong(key, f'there is no filter "{name}"', mend)
            return None
        if (argument is not None) != bool(found.argument):
            shown = f"{name}:{found.argument}" if found.argument else name
            self.wrong(key, f'filter "{name}" {"wants an argument" if found.argument else "takes no argument"}',
                       f"Write it as {shown}")  # fmt: skip
            return None
        if found.takes and not found.takes & kinds:
            self.wrong(
                key,
                f'filter "{name}" cannot be put on a value of type {", ".join(sorted(kinds))}',
                f"It works on: {', '.join(sorted(found.takes))}; put it before filters that make text",
            )
            return None
        try:
            return found.make(argument or "", self.words.maps)
        except ArgumentError as error:
            self.wrong(key, error.message, error.mend)
            return None

    def untranslated(self, field: str, holder: Placeholder, key: str) -> None:
        """Warn when an enum value has no entry in the table it is put through first."""
        if not holder.filters or holder.filters[0][0] != "map" or any(name == "default" for name, _ in holder.filters):
            return
        name = holder.filters[0][1] or ""
        missing = sorted(self.words.choices.get(field, frozenset()) - set(self.words.maps.get(name, ())))
        if missing and name in self.words.maps:
            self.warn(
                key,
                f'the value table "{name}" holds no entry for {", ".join(missing)} of {field}; they are not sent',
                "Add them to the table, or end with default:TEXT",
            )

    # ---- text and trees ----

    def text(self, text: str, key: str) -> TextTemplate | None:
        try:
            pieces = split(text)
        except ValueError as error:
            self.wrong(key, str(error), "Close it with }}, or write {{{{ for two literal braces")
            return None
        parts = [piece if isinstance(piece, str) else self.getter(piece, key) for piece in pieces]
        if any(part is None for part in parts):
            return None
        return TextTemplate(tuple(part for part in parts if part is not None))

    def node(self, value: object, key: str) -> "Node | Tree":
        """A function for a value that depends on the lead, else the value itself (constant)."""
        if isinstance(value, str):
            return self.leaf(value, key)
        if isinstance(value, dict):
            return self.table(value, key)
        if isinstance(value, list | tuple):
            return _listing([self.node(child, f"{key}[{index}]") for index, child in enumerate(value)])
        assert value is None or isinstance(value, bool | int | float), f"a {type(value).__name__} in a body"
        return value

    def leaf(self, text: str, key: str) -> "Node | Tree":
        if text.startswith("secret:"):
            self.wrong(key, "a secret cannot stand in a body: it would be sent as it is written here",
                       "Use auth; an id that is no secret can stand as plain text")  # fmt: skip
        template = self.text(text, key)
        if template is None or not template.parts:
            return ""
        first = template.parts[0]
        if len(template.parts) > 1:
            return template.render
        return first if isinstance(first, str) else _whole(first, self.leave_out)

    def table(self, value: dict[str, object], key: str) -> "Node | Tree":
        children: dict[str, Node | Tree] = {}
        for name, child in value.items():
            place = below(key, name)
            if "{{" in name:
                self.wrong(place, "a key is not a template", "Put the placeholder into the value")
            children[name] = self.node(child, place)
        return _table(children)


# Nodes are shared between endpoints: tens of thousands of them say `{{first_name}}`.
@lru_cache(maxsize=4096)
def _chain(get: Getter, steps: tuple[Step, ...]) -> Getter:
    if len(steps) == 1:
        (only,) = steps
        return lambda context: only(get(context))

    def run(context: RenderContext) -> Given | None:
        value = get(context)
        for step in steps:
            value = step(value)
        return value

    return run


@lru_cache(maxsize=4096)
def _whole(get: Getter, leave_out: bool) -> Node:
    """A leaf that is one placeholder: it keeps its type, and is left out (or empty text) when absent."""
    nothing: str | _Absent = ABSENT if leave_out else ""

    def node(context: RenderContext) -> Tree | _Absent:
        value = get(context)
        if value is None:
            return nothing
        return list(value) if isinstance(value, tuple) else value

    return node


def _table(children: "dict[str, Node | Tree]") -> "Node | Tree":
    if not any(callable(child) for child in children.values()):
        return children  # type: ignore[return-value]  # no child is a Node: checked in the line above

    def node(context: RenderContext) -> Tree | _Absent:
        found: dict[str, Tree] = {}
        for name, child in children.items():
            value = child(context) if callable(child) else child
            if value is not ABSENT:
                found[name] = value  # type: ignore[assignment]  # ABSENT is the only _Absent
        return found

    return node


def _listing(children: "list[Node | Tree]") -> "Node | Tree":
    if not any(callable(child) for child in children):
        return children  # type: ignore[return-value]  # no child is a Node: checked in the line above

    def node(context: RenderContext) -> Tree | _Absent:
        values = [child(context) if callable(child) else child for child in children]
        return [value for value in values if not isinstance(value, _Absent)]

    return node


def compile_text(text: str, words: Vocabulary, key: str) -> tuple[TextTemplate | None, list[Problem]]:
    """A template text -> (template, warnings), or (None, problems). `key` is the text's place, for the problems."""
    work = _Work(words, leave_out=False)
    template = work.text(text, key)
    if template is None:
        return None, work.problems
    return TextTemplate(template.parts, frozenset(work.fields)), work.problems


def compile_body(
    tree: Mapping[str, object], words: Vocabulary, key: str, *, leave_out: bool
) -> tuple[BodyTemplate | None, list[Problem]]:
    """A tree of leaf texts -> (template, warnings), or (None, every problem with its key path).

    `leave_out`: a leaf that is one absent placeholder leaves its key out (JSON, XML); else it is empty text (forms).
    """
    work = _Work(words, leave_out)
    found = work.table(dict(tree), key)
    if any(problem.severity == "error" for problem in work.problems):
        return None, work.problems
    root = found if callable(found) else _always(found)
    return BodyTemplate(root, frozenset(work.fields)), work.problems


def _always(tree: Tree) -> Node:
    return lambda context: tree
