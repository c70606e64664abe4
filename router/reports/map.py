"""Postal codes as a map: one dot a code, so that their density draws the country. Values in, SVG out.

Outlines of states are nobody's to give us; the codes' own places are enough to see where one is. The contiguous states
are an equal-area cone, Alaska, Hawaii and Puerto Rico stand below it at a scale of their own.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from router.terms.geography import Place, us

WIDTH: Final = 1000
HEIGHT: Final = 720
_HEAD: Final = 70
_FONT: Final = "font-family='system-ui, sans-serif'"
#: Where nobody is, then one buyer, two, three, four and more.
SHADES: Final = ("#d5d9de", "#8fbfe0", "#3f8fc5", "#1b5f9e", "#0b2f5c")
ALARM: Final = "#c8372d"
WARM: Final = "#e8a33d"


class Layer(NamedTuple):
    """Codes in one colour; layers are drawn one over the other. `weights`: leads, which make the dots larger."""

    label: str
    colour: str
    codes: Iterable[str]
    weights: dict[str, int] | None = None


class _Frame(NamedTuple):
    """A part of the map: where its middle is on earth and on paper, and how many dots a degree."""

    states: frozenset[str]
    latitude: float
    longitude: float
    x: float
    y: float
    scale: float


_INSETS: Final = (
    _Frame(frozenset(("AK",)), 62.0, -152.0, 130.0, 610.0, 5.2),
    _Frame(frozenset(("HI",)), 20.6, -157.5, 300.0, 640.0, 14.0),
    _Frame(frozenset(("PR", "VI")), 18.2, -66.0, 900.0, 640.0, 26.0),
)
_OUTSIDE: Final = frozenset(("GU", "MP", "AS", "FM", "MH", "PW", "AA", "AE", "AP"))
_N: Final = (math.sin(math.radians(29.5)) + math.sin(math.radians(45.5))) / 2
_C: Final = math.cos(math.radians(29.5)) ** 2 + 2 * _N * math.sin(math.radians(29.5))
_SCALE: Final = 1180.0


def draw(title: str, subtitle: str, layers: Sequence[Layer]) -> str:
    """The map. A code without a known place, or far from the Americas, is only counted, in the legend."""
    drawn = [(layer, sorted(set(layer.codes))) for layer in layers]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-labelledby='t d'>",
        f"<title id='t'>{escape(title)}</title><desc id='d'>{escape(subtitle)}</desc>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>",
        f"<text x='24' y='34' font-size='22' font-weight='600' fill='#1c2733' {_FONT}>{escape(title)}</text>",
        f"<text x='24' y='56' font-size='13' fill='#5a6672' {_FONT}>{escape(subtitle)}</text>",
    ]
    for layer, codes in drawn:
        parts += _bubbles(layer, codes) if layer.weights is not None else [_dots(layer, codes)]
    missing = sorted({code for _, codes in drawn for code in codes if spot(code) is None})
    return "\n".join([*parts, *_legend(drawn, len(missing)), "</svg>", ""])


def spot(code: str) -> tuple[float, float] | None:
    """Where a postal code stands on the map; None where it does not."""
    place = us().place(code)
    if place is None or not place.located or place.state in _OUTSIDE:
        return None
    frame = next((frame for frame in _INSETS if place.state in frame.states), None)
    return _contiguous(place) if frame is None else _inset(frame, place)


def _contiguous(place: Place) -> tuple[float, float]:
    """Albers' equal-area cone over the contiguous states."""
    theta = _N * math.radians(place.longitude + 96)
    radius = math.sqrt(_C - 2 * _N * math.sin(math.radians(place.latitude))) / _N
    middle = math.sqrt(_C - 2 * _N * math.sin(math.radians(38.0))) / _N
    x = radius * math.sin(theta)
    y = middle - radius * math.cos(theta)
    return WIDTH / 2 + _SCALE * x, _HEAD + 285 - _SCALE * y


def _inset(frame: _Frame, place: Place) -> tuple[float, float]:
    longitude = place.longitude - 360 if place.longitude > 0 else place.longitude  # the last of the Aleutians
    x = (longitude - frame.longitude) * math.cos(math.radians(frame.latitude))
    return frame.x + frame.scale * x, frame.y - frame.scale * (place.latitude - frame.latitude)


def _dots(layer: Layer, codes: Sequence[str]) -> str:
    """All dots of a layer as one path of points; codes on one spot make one dot."""
    spots = sorted({(round(at[0] * 2), round(at[1] * 2)) for code in codes if (at := spot(code)) is not None})
    path = "".join(f"M{x / 2:g} {y / 2:g}h0" for x, y in spots)
    return f"<path d='{path}' stroke={quoteattr(layer.colour)} stroke-width='1.9' stroke-linecap='round' fill='none'/>"


def _bubbles(layer: Layer, codes: Sequence[str]) -> list[str]:
    """A circle a code, its area by weight, the largest first so that none hides another."""
    weights = layer.weights or {}
    top = max((weights.get(code, 0) for code in codes), default=0) or 1
    lines = []
    for code in sorted(codes, key=lambda code: (-weights.get(code, 0), code)):
        at, weight = spot(code), weights.get(code, 0)
        if at is not None and weight:
            radius = 1.5 + 10 * math.sqrt(weight / top)
            said = f"{code}: {weight} lead{'' if weight == 1 else 's'}"
            lines.append(
                f"<circle cx='{at[0]:.1f}' cy='{at[1]:.1f}' r='{radius:.1f}' fill={quoteattr(layer.colour)}"
                f" fill-opacity='.55'><title>{escape(said)}</title></circle>"
            )
    return lines


def _legend(drawn: Sequence[tuple[Layer, Sequence[str]]], missing: int) -> list[str]:
    lines = []
    y = HEIGHT - 22 * (len(drawn) + bool(missing)) - 6
    for layer, codes in drawn:
        text = f"{layer.label}: {len(codes):,}"
        lines.append(f"<circle cx='580' cy='{y}' r='6' fill={quoteattr(layer.colour)}/>")
        lines.append(f"<text x='594' y='{y + 5}' font-size='13' fill='#1c2733' {_FONT}>{escape(text)}</text>")
        y += 22
    if missing:
        text = f"{missing:,} of them have no place on this map"
        lines.append(f"<text x='594' y='{y + 5}' font-size='13' fill='#5a6672' {_FONT}>{escape(text)}</text>")
    return lines
