"""How text meets a terminal: columns, colours, progress; and the demo's panel, live and in a pipe."""

import io
from collections import Counter

import pytest

from router.cli.screen import Progress, colours, columns, paint


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_columns_are_aligned_whatever_their_length() -> None:
    """Each column is as wide as its widest cell; short rows are fine; nothing trails."""
    assert columns([("a", "bbb", "c"), ("aaaa",), ("a", "b", "c")]) == ["a     bbb  c", "aaaa", "a     b    c"]
    assert columns([]) == []


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, NO_COLOR and a dumb terminal get none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert colours(Terminal())
    assert not colours(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not colours(Terminal())
    assert paint("x", "good", on=False) == "x"
    assert paint("x", "good", on=True) == "\x1b[32mx\x1b[0m"


def test_progress_is_drawn_and_taken_away_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half way is half a bar; closing leaves an empty line."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    bar = Progress(4, "leads")
    bar.step()
    bar.step()
    assert "█" * 15 + "░" * 15 + " 2 of 4 leads" in screen.getvalue()
    bar.close()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_progress_says_nothing_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a byte."""
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    bar = Progress(4, "leads")
    bar.reach(4)
    bar.close()
    assert pipe.getvalue() == ""


def test_the_panel_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the second drawing goes up over the first; bars show what each buyer said."""
    from router.demo.panel import Panel
    from router.demo.tally import Tally

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Terminal()
    panel = Panel(10, {"brightroof": "picky"}, screen)
    for _ in range(2):
        panel.show(1.0, Tally(), {"brightroof": Counter(accepted=3, rejected=1)})
    first, _, second = screen.getvalue().partition("\x1b[6A")
    assert "███▒" in first
    assert "███▒" in second
    assert "brightroof" in second


def test_the_panel_is_plain_lines_in_a_pipe() -> None:
    """No escape codes, one line each time."""
    from router.demo.panel import Panel
    from router.demo.tally import Tally

    pipe = io.StringIO()
    Panel(10, {"brightroof": "picky"}, pipe).show(2.0, Tally(), {})
    assert pipe.getvalue().startswith("    2 s  0 of 10 sent")
    assert "\x1b" not in pipe.getvalue()
