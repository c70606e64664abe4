"""The anchor: two slots, a torn write leaves the one before, and a file that was taken away comes back."""

from pathlib import Path

import pytest

from router.ledger.anchor import ANCHOR_FILE, EMPTY, Anchor, Head, read_anchor, write_anchor
from router.ledger.protocol import LedgerDamaged


def head(seq: int) -> Head:
    """A head with a hash that tells it apart."""
    return Head(seq, bytes([seq % 256]) * 32)


def test_no_anchor_is_none(tmp_path: Path) -> None:
    """A missing file is told apart from an unreadable one."""
    assert read_anchor(tmp_path) is None


def test_it_remembers_the_last_move(tmp_path: Path) -> None:
    """Whatever was moved to last is read, whichever slot it is in, also by a second holder."""
    write_anchor(tmp_path, EMPTY)
    anchor = Anchor(tmp_path)
    for seq in range(1, 6):
        anchor.move(head(seq))
        assert read_anchor(tmp_path) == head(seq)
    anchor.close()
    again = Anchor(tmp_path)
    assert again.head == head(5)
    again.move(head(6))
    again.close()
    assert read_anchor(tmp_path) == head(6)


@pytest.mark.parametrize("slot", [0, 1])
def test_a_torn_write_leaves_the_one_before(tmp_path: Path, slot: int) -> None:
    """With either slot half written, the other one is believed."""
    write_anchor(tmp_path, EMPTY)
    anchor = Anchor(tmp_path)
    anchor.move(head(1))
    anchor.move(head(2))
    anchor.close()
    path = tmp_path / ANCHOR_FILE
    data = bytearray(path.read_bytes())
    data[slot * 512 + 30 : slot * 512 + 40] = b"\0" * 10
    path.write_bytes(data)
    assert read_anchor(tmp_path) == head(2 - slot)


def test_an_unreadable_anchor_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """With both slots gone nothing is believed."""
    (tmp_path / ANCHOR_FILE).write_bytes(b"?" * 1024)
    with pytest.raises(LedgerDamaged, match="unreadable") as caught:
        read_anchor(tmp_path)
    assert "ledger verify" in caught.value.hint


def test_a_file_that_was_taken_away_comes_back(tmp_path: Path) -> None:
    """Somebody removes the anchor under a running daemon: the next sync puts it back, and moves go there."""
    write_anchor(tmp_path, EMPTY)
    anchor = Anchor(tmp_path)
    anchor.move(head(1))
    (tmp_path / ANCHOR_FILE).unlink()
    anchor.sync()
    assert read_anchor(tmp_path) == head(1)
    anchor.move(head(2))
    assert read_anchor(tmp_path) == head(2)
    (tmp_path / ANCHOR_FILE).rename(tmp_path / "elsewhere")
    write_anchor(tmp_path, head(1))
    anchor.sync()
    assert read_anchor(tmp_path) == head(2)
    anchor.close()
