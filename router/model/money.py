"""Money is integer minor units inside and decimal text outside, never a float.

`"42.50"` in configuration and JSON is `4250` here. Two decimals, because every currency the
trade uses has a hundredth; a currency without one is written with `.00`.
"""

import re

_TEXT = re.compile(r"(\d{1,12})(?:\.(\d{1,2}))?", re.ASCII)

_LARGE = re.compile(r"\d{13,}(?:\.\d{1,2})?", re.ASCII)


class Money(int):
    """Minor units (cents). A class of its own so that the terms decoder knows the text form is meant."""


def parse_money(text: str) -> Money:
    """`"42.5"` -> `Money(4250)`. Raises ValueError that says what is wanted."""
    match = _TEXT.fullmatch(text)
    if match is None:
        if _LARGE.fullmatch(text):
            raise ValueError("money is at most 999999999999.99")
        raise ValueError('money is decimal text of at most two decimals, such as "42.50"')
    whole, cents = match.groups()
    return Money(int(whole) * 100 + int((cents or "").ljust(2, "0")))


def format_money(minor: int) -> str:
    """`4250` -> `"42.50"`; negative amounts (credits) keep their sign."""
    sign, size = ("-", -minor) if minor < 0 else ("", minor)
    return f"{sign}{size // 100}.{size % 100:02d}"
