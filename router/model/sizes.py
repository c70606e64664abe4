"""Sizes are integer bytes inside and text with a binary unit outside: `"64KiB"`."""

import re
from typing import Final

_UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"(\d{1,9})(B|KiB|MiB|GiB)", re.ASCII)


def parse_size(text: str) -> int:
    """`"64KiB"` -> 65536 bytes. Raises ValueError that says what is wanted."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError('a size is a whole number and a unit: "512B", "64KiB", "1MiB" or "1GiB"')
    return int(match[1]) * _UNITS[match[2]]
