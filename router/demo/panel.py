"""What the demo shows while it runs: a calm panel that is redrawn in place on a terminal, plain lines in a pipe."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Final, TextIO

from router.demo.tally import Tally

REDRAW_S: Final = 0.2
PLAIN_S: Final = 2.0
BUYERS_SHOWN_MAX: Final = 16
_BAR_CELLS_MAX: Final = 36
_SAID: Final = (("accepted", "█", "32"), ("rejected", "▒", "31"), ("duplicate", "▒", "33"), ("refused", "░", "33"))
_SILENT: Final = ("·", "2")
_ORDER: Final = ("sold", "unsold", "duplicate", "in_doubt", "queued", "routing", "expired", "refused")
_MOODS: Final = {"sold": "32", "unsold": "31", "in_doubt": "33", "refused": "31"}


class Panel:
    """Shows progress on `stream`. Call `show` as often as you like: it draws when it is time to."""

    def __init__(self, total: int, cast: Mapping[str, str], stream: TextIO | None = None) -> None:
        """`cast`: buyer -> temper; `stream` is standard output unless given."""
        self._total, self._cast, self._stream = total, cast, stream or sys.stdout
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._live and not os.environ.get("NO_COLOR")
        self._drawn_lines = 0
        self.every_s = REDRAW_S if self._live else PLAIN_S

    def show(self, passed_s: float, tally: Tally, buyers: Mapping[str, Counter[str]]) -> None:
        """Draw the present counts; `buyers` is what each said so often."""
        if not self._live:
            counts = "  ".join(f"{status} {n}" for status, n in ordered(tally.statuses()))
            print(f"{passed_s:5.0f} s  {tally.sent} of {self._total} sent  {counts}", file=self._stream, flush=True)
            return
        width = shutil.get_terminal_size().columns
        lines = self._lines(passed_s, tally, buyers, width)
        up = f"\x1b[{self._drawn_lines}A" if self._drawn_lines else ""
        self._stream.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        self._stream.flush()
        self._drawn_lines = len(lines)

    def _lines(self, passed_s: float, tally: Tally, buyers: Mapping[str, Counter[str]], width: int) -> list[str]:
        statuses = tally.statuses()
        head = f"{tally.sent} of {self._total} leads sent, {passed_s:.0f} s"
        counts = "   ".join(self._paint(f"{status} {n}", _MOODS.get(status, "")) for status, n in ordered(statuses))
        cells = max(8, min(_BAR_CELLS_MAX, width - 44))
        largest = max((sum(said.values()) for said in buyers.values()), default=0)
        lines = [self._paint(head, "1"), counts, ""]
        names = sorted(self._cast, key=lambda name: -sum(buyers.get(name, Counter()).values()))
        for name in names[:BUYERS_SHOWN_MAX]:
            said = buyers.get(name, Counter())
            bar = self._bar(said, largest, cells)
            lines.append(f"{name[:18]:<18} {self._cast[name][:12]:<12} {bar} {sum(said.values()) or ''}")
        key = "  ".join(self._paint(f"{mark} {word}", colour) for word, mark, colour in _SAID)
        return [*lines, "", f"{key}  {self._paint('· said nothing', _SILENT[1])}"]

    def _bar(self, said: Counter[str], largest: int, cells: int) -> str:
        scale = min(1.0, cells / largest) if largest else 0.0
        bar, drawn = "", 0
        parts = [*((said[word], mark, colour) for word, mark, colour in _SAID), (said["silent"], *_SILENT)]
        for n, mark, colour in parts:
            length = min(cells - drawn, max(1, round(n * scale))) if n else 0
            bar += self._paint(mark * length, colour)
            drawn += length
        return bar + " " * (cells - drawn)

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and colour and text else text


def ordered(statuses: Mapping[str, int]) -> list[tuple[str, int]]:
    """Statuses in the order people ask for them, the unfamiliar last."""
    rank = {status: place for place, status in enumerate(_ORDER)}
    return sorted(statuses.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))
