"""The figures of `bench.isolation` as a picture: percentiles of the healthy buyers' leads, calm beside trouble."""

from typing import Any, Final

_WIDTH: Final = 760
_HEIGHT: Final = 210
_LEFT: Final = 60
_BAR: Final = 520
_COLOURS: Final = {"calm": "#7fc4a8", "trouble": "#c0504d"}
_RANKS: Final = ("p50_ms", "p95_ms", "p99_ms")


def chart(found: dict[str, Any]) -> str:
    """SVG of both weathers."""
    weathers, ratios = found["weathers"], found["trouble_over_calm"]
    most = max(row[rank] for row in weathers.values() for rank in _RANKS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="11" fill="#333">',
        "<title>Latency of healthy buyers' leads, with and without ten ill buyers beside them</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="13" font-weight="600">milliseconds until a healthy buyer&apos;s lead is '
        "sold (less is better)</text>",
    ]
    for place, rank in enumerate(_RANKS):
        y = 38 + place * 46
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 22}" text-anchor="end">{rank.removesuffix("_ms")}</text>')
        for row, (weather, colour) in enumerate(_COLOURS.items()):
            value = weathers[weather][rank]
            words = f"{value:.2f}" + (f" ({ratios[rank]:.2f} x)" if weather == "trouble" else "")
            width, top = value / most * _BAR, y + row * 18
            parts.append(f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="16" fill="{colour}"/>')
            parts.append(f'<text x="{_LEFT + width + 6:.1f}" y="{top + 12}">{words}</text>')
    legend = {"calm": "everybody well", "trouble": "DNS of eight others hangs, two more drip"}
    for place, (weather, words) in enumerate(legend.items()):
        x = _LEFT + place * 130
        parts.append(f'<rect x="{x}" y="{_HEIGHT - 26}" width="10" height="10" fill="{_COLOURS[weather]}"/>')
        parts.append(f'<text x="{x + 15}" y="{_HEIGHT - 17}">{words}</text>')
    return "\n".join([*parts, "</svg>", ""])
