"""The figures of `bench.deliver` as a picture: CPU a delivery, each way a bar, http above https."""

from typing import Any, Final

_WIDTH: Final = 760
_LEFT: Final = 130
_BAR: Final = 480
_STEP: Final = 24
_COLOURS: Final = {"ClientSession": "#b8860b", "client": "#7fc4a8", "delivery": "#1a7f5a", "by session": "#d9c48a"}


def chart(found: dict[str, dict[str, Any]]) -> str:
    """SVG of all ways over each scheme."""
    most = max(row["cpu_us"] for result in found.values() for row in result["ways"].values())
    y = 46
    bars: list[str] = []
    for scheme, result in found.items():
        for name, row in result["ways"].items():
            bars += _bar(f"{name}, {scheme}", y, row, _COLOURS[name], most)
            y += _STEP
        y += _STEP // 2
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" '
            'font-family="system-ui, sans-serif" font-size="11" fill="#333">',
            "<title>CPU microseconds a delivery, beside a bare ClientSession</title>",
            f'<rect width="{_WIDTH}" height="{y}" fill="#fff"/>',
            f'<text x="{_LEFT}" y="28" font-size="13" font-weight="600">CPU microseconds a delivery (less is better)'
            "</text>",
            *bars,
            "</svg>",
            "",
        ]
    )


def _bar(label: str, y: int, row: dict[str, Any], colour: str, most: float) -> list[str]:
    width = row["cpu_us"] / most * _BAR
    words = f"{row['cpu_us']:.0f} us, {row['of_session']:.2f} x"
    return [
        f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{label}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>',
        f'<text x="{_LEFT + width + 6:.1f}" y="{y + 13}" font-weight="600">{words}</text>',
    ]
