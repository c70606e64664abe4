"""Which bodies can be written as XML: keys become elements, so they must be names XML allows.

Beside elements two keys have a meaning of their own, because SOAP services need namespaces: `"@name"` is an attribute
of the element it stands in, `"#text"` the element's own text beside attributes. A prefix must be declared by an
`"@xmlns:prefix"` in the element or around it.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from lxml import etree

from router.terms.problems import Problem
from router.terms.template import below

_ROOT_MEND: Final = "The root has no attributes of its own when several keys stand in <lead>; write the root as one key"
_PREFIXES: Final = frozenset(("xml",))
_LEAD: Final = "lead"


class Root(NamedTuple):
    """The root element of a body: its only key, or an element around several keys."""

    name: str
    around: bool


def xml_root(body: Mapping[str, object]) -> Root:
    """A single top-level key is the root, several stand in `<lead>`; settled here, for keys may be left out later."""
    return Root(next(iter(body)), False) if len(body) == 1 else Root(_LEAD, True)


def xml_problems(body: Mapping[str, object], key: str, *, soap: bool) -> list[Problem]:
    """Every key of the tree that cannot be an element or attribute; `key` is the place of the tree."""
    found = [
        Problem("", below(key, name), f'"{name}" stands outside the root element', _ROOT_MEND)
        for name in body
        if name.startswith(("@", "#"))
    ]
    if len(body) == 1 and any(isinstance(child, list | tuple) for child in body.values()):
        found.append(Problem("", key, "an XML document has one root, not a list", "Put the list into an element"))
    elements = {name: child for name, child in body.items() if not name.startswith(("@", "#"))}
    prefixes = _PREFIXES | {"soap"} if soap else _PREFIXES
    return [*found, *_table(elements, key, prefixes)]


def _table(table: Mapping[str, object], key: str, prefixes: frozenset[str]) -> Iterator[Problem]:
    prefixes |= {name.removeprefix("@xmlns:") for name in table if name.startswith("@xmlns:")}
    for name, child in table.items():
        place = below(key, name)
        if name == "#text" or name.startswith("@"):
            if isinstance(child, dict | list | tuple):
                yield Problem("", place, f'"{name}" holds text, not a table or list', "Write a text")
            if name.startswith("@xmlns:") or name == "#text":
                continue
        yield from _name(name.removeprefix("@"), place, prefixes, child)
        yield from _below(child, place, prefixes)


def _below(child: object, place: str, prefixes: frozenset[str]) -> Iterator[Problem]:
    if isinstance(child, dict):
        yield from _table(child, place, prefixes)
    elif isinstance(child, list | tuple):
        for index, one in enumerate(child):
            if isinstance(one, list | tuple):
                yield Problem("", f"{place}[{index}]", "XML has no list inside a list", "Put it into an element")
            else:
                yield from _below(one, f"{place}[{index}]", prefixes)


def _name(name: str, place: str, prefixes: frozenset[str], child: object) -> Iterator[Problem]:
    prefix, colon, local = name.rpartition(":")
    if not (_is_name(local) and (not colon or _is_name(prefix))):
        yield Problem("", place, f'"{name}" is no name XML allows for an element or attribute',
                      "Begin with a letter or _, go on with letters, digits, - _ and .")  # fmt: skip
        return
    own = {key.removeprefix("@xmlns:") for key in child if key.startswith("@xmlns:")} if isinstance(child, dict) else ()
    if colon and prefix not in prefixes and prefix not in own:
        yield Problem("", place, f'nothing says what the prefix "{prefix}" stands for',
                      f'Put "@xmlns:{prefix}" = "its namespace" into the element')  # fmt: skip


def _is_name(text: str) -> bool:
    """Whether XML takes it for a name without a prefix; asked of the library that knows the table of characters."""
    try:
        etree.Element(text)
    except ValueError:
        return False
    return "{" not in text
