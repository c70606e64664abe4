"""The chain: every column of a fact counts, and nobody can be guessed back from a digest without the salt."""

from itertools import pairwise

import pytest

from router.ledger.chain import GENESIS, envelope, link, personal_digest

ROW = (7, 1_700_000_000_000_000_000, "Received", "lead-1", b"d" * 32, b'{"kind":"Received"}')


def test_a_known_chain_has_known_hashes() -> None:
    """The format is fixed: ledgers that exist must verify with every later version."""
    first = link(GENESIS, envelope(1, 5, "Paused", None, None, b"{}"))
    second = link(first, envelope(2, 6, "Received", "lead-1", b"d" * 32, b'{"a":1}'))
    assert first.hex() == "6e4896027cbb9aff9c792ab897be0da5bf5d9b83fc4f25915e654ee841e7b0a1"
    assert second.hex() == "c38088c21edf943a49544d1252d55f123b20ae419081b45639c414b76d11a5ee"


@pytest.mark.parametrize(
    ("column", "other"),
    [(0, 8), (1, ROW[1] + 1), (2, "Reserved"), (3, "lead-2"), (3, None), (4, b"e" * 32), (4, None), (5, b"{}")],
)
def test_every_column_changes_the_hash(column: int, other: object) -> None:
    """Number, instant, kind, lead, digest and body are all covered."""
    changed = list(ROW)
    changed[column] = other
    assert link(GENESIS, envelope(*changed)) != link(GENESIS, envelope(*ROW))  # type: ignore[arg-type]


def test_text_moved_between_columns_changes_the_bytes() -> None:
    """No two rows share their canonical bytes, however their parts are cut."""
    cuts = [
        envelope(1, 1, "ab", "c", None, b"d"),
        envelope(1, 1, "a", "bc", None, b"d"),
        envelope(1, 1, "ab", None, None, b"cd"),
        envelope(1, 1, "ab", None, b"c", b"d"),
        envelope(1, 1, "abc", None, None, b"d"),
    ]
    assert len(set(cuts)) == len(cuts)


def test_the_predecessor_counts() -> None:
    """The same row after another history has another hash."""
    rows = [envelope(n, n, "Paused", None, None, b"{}") for n in range(1, 4)]
    straight = link(link(link(GENESIS, rows[0]), rows[1]), rows[2])
    swapped = link(link(link(GENESIS, rows[1]), rows[0]), rows[2])
    assert straight != swapped
    assert all(one != other for one, other in pairwise(rows))


def test_a_digest_needs_its_salt() -> None:
    """The same lead under another salt has another digest."""
    assert personal_digest(b"a" * 16, b"lead") != personal_digest(b"b" * 16, b"lead")
    assert personal_digest(b"a" * 16, b"lead") == personal_digest(b"a" * 16, b"lead")
