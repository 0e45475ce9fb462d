"""Small charts for the benches: lines over a logarithmic axis, as SVG that needs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 520.0, 220.0, 80.0, 50.0, 110.0
_COLOURS = ("#3c8dbc", "#d64541", "#5d9c59", "#8e5ea2")

#: The points of a line: size so far, and what was measured there.
Points = Sequence[tuple[float, float]]


def write_charts(
    path: Path, title: str, along: str, charts: Mapping[str, Mapping[str, Points]]
) -> None:
    """One chart under the other: its name with unit, and its lines by name.

    The horizontal axis is `along`, logarithmic; the vertical ones are linear and begin at 0, so
    that what is flat looks flat and nothing else does.
    """
    parts = [f"<text x='{_LEFT}' y='22' font-size='16'>{escape(title)}</text>"]
    for number, (name, lines) in enumerate(charts.items()):
        parts.append(_chart(name, along, lines, _TOP + 20 + number * (_HEIGHT + _GAP)))
    height = _TOP + 20 + len(charts) * (_HEIGHT + _GAP)
    path.write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_LEFT + _WIDTH + 180:.0f}'"
        f" height='{height:.0f}' font-family='sans-serif' font-size='12'>"
        f"<rect width='100%' height='100%' fill='white'/>{''.join(parts)}</svg>\n",
        encoding="utf-8",
    )


def _chart(name: str, along: str, lines: Mapping[str, Points], top: float) -> str:
    sizes = [size for points in lines.values() for size, _ in points]
    most = max(value for points in lines.values() for _, value in points) * 1.1
    low, high = math.log10(min(sizes)), math.log10(max(sizes))

    def x(size: float) -> float:
        return _LEFT + (math.log10(size) - low) / max(high - low, 1e-9) * _WIDTH

    def y(value: float) -> float:
        return top + _HEIGHT * (1 - value / most)

    parts = [f"<text x='{_LEFT}' y='{top - 8}'>{escape(name)}</text>"]
    for share in (0.0, 0.5, 1.0):
        value = most * share
        parts.append(
            f"<line x1='{_LEFT}' x2='{_LEFT + _WIDTH}' y1='{y(value):.1f}' y2='{y(value):.1f}'"
            f" stroke='#ddd'/><text x='{_LEFT - 8}' y='{y(value) + 4:.1f}' text-anchor='end'>"
            f"{value:,.3g}</text>"
        )
    parts += [
        f"<text x='{x(size):.1f}' y='{top + _HEIGHT + 16}' text-anchor='middle'>{size:,.0f}</text>"
        for size in (min(sizes), math.sqrt(min(sizes) * max(sizes)), max(sizes))
    ]
    parts.append(f"<text x='{_LEFT + _WIDTH + 50}' y='{top + _HEIGHT + 16}'>{escape(along)}</text>")
    for number, (line, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in points)
        parts.append(f"<polyline fill='none' stroke='{colour}' stroke-width='2' points='{path}'/>")
        parts.append(
            f"<text x='{_LEFT + _WIDTH + 8}' y='{top + 14 + number * 16}' fill='{colour}'>"
            f"{escape(line)}</text>"
        )
    return "".join(parts)
