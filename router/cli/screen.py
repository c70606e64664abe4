"""How text meets a terminal: aligned columns, colour where somebody looks, a progress bar that a pipe never sees."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

_COLOURS: Final = {"good": "32", "bad": "31", "doubt": "33", "faint": "2", "strong": "1"}
_BAR_CELLS: Final = 30


def print_json(value: Any) -> None:
    """One JSON document, indented, for `--json`."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def colours(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`: a terminal, and NO_COLOR is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, kind: str, *, on: bool) -> str:
    """`text` in the colour of `kind` (good, bad, doubt, faint, strong), or as it is when colours are off."""
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if on and kind else text


def columns(rows: Iterable[Sequence[str]], *, indent: str = "", gap: str = "  ") -> list[str]:
    """Rows of texts -> lines with aligned columns; rows may be of different length."""
    table = [tuple(row) for row in rows]
    widths = [max(len(row[i]) for row in table if i < len(row)) for i in range(max(map(len, table), default=0))]
    return [(indent + gap.join(cell.ljust(widths[i]) for i, cell in enumerate(row))).rstrip() for row in table]


class Progress:
    """A bar on stderr while something long goes on; nothing at all where stderr is no terminal."""

    def __init__(self, total: int, what: str) -> None:
        """`total` is how many steps make the whole, `what` the word for them."""
        self._total, self._what, self._done = max(total, 1), what, 0
        self._shown = sys.stderr.isatty()

    def step(self) -> None:
        """One more is done."""
        self.reach(self._done + 1)

    def reach(self, done: int) -> None:
        """`done` of them are done."""
        self._done = done
        if not self._shown:
            return
        cells = _BAR_CELLS * self._done // self._total
        bar = "█" * cells + "░" * (_BAR_CELLS - cells)
        print(f"\r{bar} {self._done} of {self._total} {self._what}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
