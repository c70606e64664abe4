"""A tree of fields as name and value pairs, for formats that have no depth.

Nested tables are written as web frameworks read them back, `Meta[id]`, and lists of plain values repeat their name; a
list that holds tables is numbered, `items[0][id]`. Whoever needs dots writes a flat key: `"Meta.id" = "..."`.
"""

from collections.abc import Iterator

from router.terms.filters import as_text
from router.terms.template import Tree


def pairs(tree: dict[str, Tree]) -> Iterator[tuple[str, str]]:
    """Every leaf of a rendered body with its full name, in order; an empty table or list gives nothing."""
    for name, value in tree.items():
        yield from _pairs(name, value)


def _pairs(name: str, value: Tree) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _pairs(f"{name}[{key}]", child)
    elif isinstance(value, list):
        numbered = any(isinstance(child, dict | list) for child in value)
        for index, child in enumerate(value):
            yield from _pairs(f"{name}[{index}]" if numbered else name, child)
    else:
        yield name, "" if value is None else as_text(value)
