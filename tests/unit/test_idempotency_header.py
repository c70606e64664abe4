"""Idempotency-Key and Prefer, as SPEC section 5 reads them."""

import pytest

from router.web.idempotency import WAIT_MAX_S, parse_key, preferred_wait_s
from router.web.problems import Problem


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ([], None),
        (["a"], "a"),
        (['"a"'], "a"),
        (["two words"], "two words"),
        (['" "'], " "),
        (["x" * 255], "x" * 255),
        (['"' + "x" * 255 + '"'], "x" * 255),
        (['"half'], '"half'),
        (['a"b'], 'a"b'),
        (['""a""'], '"a"'),
        (["!~"], "!~"),
    ],
)
def test_a_key_is_taken_without_its_quotes(lines: list[str], key: str | None) -> None:
    """1 to 255 visible ASCII characters or spaces; one pair of surrounding quotes is not part of it."""
    assert parse_key(lines, required=False) == key


@pytest.mark.parametrize(
    "lines",
    [[""], ['""'], ["x" * 256], ["a\tb"], ["a\x7fb"], ["ключ"], ["\udcff"], ["a", "a"], ["a", "b"], ["\x1f"]],
)
def test_what_is_no_key_is_400_and_not_repeated(lines: list[str]) -> None:
    """Empty, too long, other characters, or two header lines (even equal ones) are refused."""
    with pytest.raises(Problem) as refused:
        parse_key(lines, required=False)
    assert refused.value.status == 400
    assert refused.value.code == "idempotency_key_invalid"
    assert "ключ" not in str(refused.value.plain())


def test_a_required_key_that_is_missing_is_400() -> None:
    """`idempotency = "required"` without one."""
    with pytest.raises(Problem) as refused:
        parse_key([], required=True)
    assert (refused.value.status, refused.value.code) == (400, "idempotency_key_required")


@pytest.mark.parametrize(
    ("lines", "wait_s"),
    [
        ([], None),
        (["respond-async"], 0.0),
        (["Respond-Async"], 0.0),
        (["wait=3"], 3.0),
        (["wait = 3"], 3.0),
        (['wait="3"'], 3.0),
        (["wait=0"], 0.0),
        (["wait=99999"], WAIT_MAX_S),
        (["respond-async, wait=10"], 10.0),
        (["respond-async", "wait=10"], 10.0),
        (["wait=5; foo=bar"], 5.0),
        (["wait=-1"], None),
        (["wait=soon"], None),
        (["return=minimal"], None),
    ],
)
def test_prefer_says_how_long_to_wait(lines: list[str], wait_s: float | None) -> None:
    """`wait` wins over `respond-async`, has a ceiling, and what is not understood is ignored (RFC 7240)."""
    assert preferred_wait_s(lines) == wait_s
