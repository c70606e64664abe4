"""The figures of `bench.returns` as a picture: what of each hundred sold leads came back and why, and what was kept."""

from typing import Any, Final

_WIDTH: Final = 760
_HEIGHT: Final = 292
_LEFT: Final = 90
_BAR: Final = 560
_COLOURS: Final = {
    "out_of_coverage": "#1f6f8b",
    "missing_field": "#b8860b",
    "field_invalid": "#c0504d",
    "consent_missing": "#6b5bb5",
    "duplicate": "#7a9a3a",
    "late_delivery": "#d07a2d",
    "over_cap": "#9c4f7c",
    "unseen": "#a0a0a0",
}
_KEPT: Final = "#1a7f5a"
_CREDITED: Final = "#d9d9d9"


def chart(found: dict[str, dict[str, Any]]) -> str:
    """SVG of every way, one under the other."""
    most = max(one["return_rate"] for one in found.values())
    money = max(one["revenue"] for one in found.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="11" fill="#333">',
        "<title>Returns and revenue with terms looked at after delivery, and with terms enforced before</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="22" font-size="13" font-weight="600">of the sold leads came back</text>',
    ]
    for place, (name, one) in enumerate(found.items()):
        shares = {reason: count / max(1, one["sold"]) for reason, count in one["by_reason"].items()}
        parts += _bar(name, 32 + 26 * place, shares, _COLOURS, most, f"{one['return_rate']:.1%}")
    parts.append(f'<text x="{_LEFT}" y="140" font-size="13" font-weight="600">revenue, and what was kept of it</text>')
    for place, (name, one) in enumerate(found.items()):
        kept = {"kept": one["kept"], "credited": one["credited"]}
        colours = {"kept": _KEPT, "credited": _CREDITED}
        parts += _bar(name, 150 + 26 * place, kept, colours, money, f"{one['kept']:,.0f} kept")
    shown = {**_COLOURS, "kept": _KEPT, "credited": _CREDITED}
    for place, (name, colour) in enumerate(shown.items()):
        x, y = _LEFT + place % 5 * 130, 246 + place // 5 * 20
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{y + 9}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _bar(name: str, y: int, values: dict[str, float], colours: dict[str, str], most: float, label: str) -> list[str]:
    parts = [f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{name}</text>']
    x = float(_LEFT)
    for key, value in values.items():
        width = value / most * _BAR if most else 0
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" fill="{colours[key]}"/>')
        x += width
    parts.append(f'<text x="{x + 6:.1f}" y="{y + 14}" font-weight="600">{label}</text>')
    return parts
