"""XPaths that operators write, judged by their shape: no answer a hostile buyer makes up may make them run for long.

libxml2 has no budget. A search from the top inside a condition (`//a[//b]`) looks at the whole answer once for each
element of it, two such conditions nested once for each pair; sibling axes and steps up come to the same. A document of
64 KiB then takes minutes, in which nobody's lead moves. So conditions may look downwards only, and once; what remains
costs at most tens of milliseconds on the largest document that is read as XML (`answers.ELEMENTS_MAX`).
"""

import re
from collections.abc import Iterator
from typing import Final

_WORDS: Final = re.compile(
    r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<name>[^\W\d][\w.-]*(?:\s*::)?)|(?P<sign>//|/|\.\.|!=|<=|>=|\S))"""
)
_OPERATORS: Final = frozenset(("|", "=", "!=", "<", "<=", ">", ">=", "+", "-", ",", "and", "or", "div", "mod", "times"))
#: After these a path begins; a `*` there is a name, elsewhere a multiplication.
_BEFORE_PATHS: Final = _OPERATORS | {"", "[", "("}
_AXES: Final = frozenset((
    "child::", "attribute::", "self::", "parent::", "descendant::", "descendant-or-self::",
    "following-sibling::", "preceding-sibling::",
))  # fmt: skip
_DOWN: Final = frozenset(("//", "descendant::", "descendant-or-self::"))
_UP: Final = frozenset(("..", "parent::"))
_SIBLINGS: Final = frozenset(("following-sibling::", "preceding-sibling::"))
_LENGTH_MAX: Final = 500
_SEARCHES_MAX: Final = 2


class ShapeError(ValueError):
    """An XPath that could run for long, in words for the operator."""


def judge_shape(text: str) -> None:
    """Raises ShapeError when an XPath, which compiles, could run for long on an answer made for it."""
    if len(text) > _LENGTH_MAX:
        raise ShapeError(f"it is longer than {_LENGTH_MAX} characters")
    before, depth, searches, searched = "", 0, 0, 0  # searches: of this path; searched: in this condition
    words = [*_words(text), ""]
    for place, word in enumerate(words):
        if word == "[":
            depth, searched = depth + 1, searched if depth else 0
        elif word == "]":
            depth -= 1
        elif depth:
            _judge_in_condition(word, before, depth)
            searched += word in _DOWN
        elif word in _OPERATORS:
            searches = 0
        else:
            searches += word in _DOWN
        if word.endswith("::") and word not in _AXES:
            raise ShapeError(f"the axis {word} is not supported here")
        if word in _SIBLINGS and words[place + 2 : place + 5] != ["[", "1", "]"]:
            raise ShapeError(f"{word} needs [1] behind its name: the nearest one")
        if searched > 1 or searches > _SEARCHES_MAX:
            raise ShapeError("it searches (//) too often: name the elements on the way")
        before = word


def _judge_in_condition(word: str, before: str, depth: int) -> None:
    if word in _UP or word in _SIBLINGS or (word in ("/", "//") and before in _BEFORE_PATHS):
        raise ShapeError("a condition [...] may look only below its own element, such as [code = '1'] or [.//ok]")
    if word in _DOWN and depth > 1:
        raise ShapeError("it searches (//) in a condition of a condition")


def _words(text: str) -> Iterator[str]:
    """Axes with their `::`; operators as they are, a multiplication as `times`; texts and numbers as something else."""
    before = ""
    for match in _WORDS.finditer(text):
        if match["text"] is not None:
            word = "''"
        elif match["name"] is not None:
            word = re.sub(r"\s", "", match["name"])
            if word in _OPERATORS and before in _BEFORE_PATHS | {"/", "//", "@"}:  # an element called `and`
                word = "name"
        else:
            word = match["sign"]
            if word == "*" and not (before in _BEFORE_PATHS or before in ("/", "//", "@") or before.endswith("::")):
                word = "times"
        yield word
        before = word
