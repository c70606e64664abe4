"""A body as JSON, keys in the order the endpoint's mapping has them."""

import orjson

from router.terms.template import Tree

CONTENT_TYPE = "application/json"
_INTEGERS = range(-(2**63), 2**64)


def encode(tree: Tree) -> bytes:
    """The bytes of a rendered body. Never raises: what JSON cannot hold is replaced."""
    try:
        return orjson.dumps(tree)
    except TypeError:
        return orjson.dumps(_holdable(tree))


def _holdable(tree: Tree) -> Tree:
    """The tree with half characters replaced by `?` and numbers beyond 64 bits written as text."""
    if isinstance(tree, str):
        return tree.encode("utf-8", "replace").decode()
    if isinstance(tree, dict):
        return {str(_holdable(key)): _holdable(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_holdable(value) for value in tree]
    return str(tree) if isinstance(tree, int) and tree not in _INTEGERS else tree
