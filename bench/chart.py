"""The bench's figures as a picture: throughput, and the 99th percentile, against the number of contracts."""

import math
from typing import Any, Final

_WIDTH: Final = 760
_HEIGHT: Final = 300
_PANEL: Final = 300
_LEFT: Final = 62
_TOP: Final = 46
_BOTTOM: Final = 250
_COLOURS: Final = {
    "lead-router": "#1a7f5a",
    "sqlite": "#b8860b",
    "zen-engine": "#6b5bb5",
    "rule-engine": "#c0504d",
    "naive loop": "#7f7f7f",
}


def chart(results: list[dict[str, Any]]) -> str:
    """SVG of the results of `bench.decide`, both axes logarithmic."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="11" fill="#333">',
        "<title>Decisions per second and p99 against the number of contracts</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        *_panel(results, _LEFT, "per_second", "decisions a second"),
        *_panel(results, _LEFT + _PANEL + 80, "p99_us", "p99, microseconds"),
    ]
    for place, (name, colour) in enumerate(_shown(results)):
        x = _LEFT + place * 130
        parts.append(f'<rect x="{x}" y="{_HEIGHT - 20}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{_HEIGHT - 11}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _shown(results: list[dict[str, Any]]) -> list[tuple[str, str]]:
    there = {name for result in results for name in result["deciders"]}
    return [(name, colour) for name, colour in _COLOURS.items() if name in there]


def _panel(results: list[dict[str, Any]], left: int, figure: str, title: str) -> list[str]:
    sizes = [result["contracts"] for result in results]
    values = [row[figure] for result in results for row in result["deciders"].values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    span = math.log10(sizes[-1] / sizes[0]) or 1.0

    def x_of(size: int) -> float:
        return left + math.log10(size / sizes[0]) / span * (_PANEL - 20)

    def y_of(value: float) -> float:
        return _BOTTOM - (math.log10(value) - low) / (high - low) * (_BOTTOM - _TOP)

    parts = [f'<text x="{left}" y="{_TOP - 18}" font-size="13" font-weight="600">{title}</text>']
    for power in range(low, high + 1):
        y = y_of(10**power)
        parts.append(f'<line x1="{left}" x2="{left + _PANEL - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    for size in sizes:
        parts.append(f'<text x="{x_of(size):.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{size:,}</text>')
    for name, colour in _shown(results):
        points = [
            (x_of(result["contracts"]), y_of(result["deciders"][name][figure]))
            for result in results
            if name in result["deciders"]
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        width = 3 if name == "lead-router" else 1.5
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width}" fill="{colour}"/>' for x, y in points]
    return parts
