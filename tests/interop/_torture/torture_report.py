"""What is shown at the end: a table of the faults, and a picture of the calls per second."""

from __future__ import annotations

import bisect
import itertools
import statistics
from html import escape
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torture_faults import Fault

__all__ = ["fault_table", "write_picture"]

_BIN = 0.25  # seconds per point of the curve
_COLOURS = (
    "#e6a23c", "#d64541", "#8e5ea2", "#3c8dbc", "#5d9c59",
    "#b07aa1", "#9c755f", "#76b7b2", "#ff9da7", "#7f7f7f",
)  # fmt: skip


def longest_silence(answered: list[float], start: float, end: float) -> float:
    """Seconds of the longest time without any answer that overlaps [start, end]."""
    first = max(bisect.bisect_left(answered, start) - 1, 0)
    last = min(bisect.bisect_right(answered, end) + 1, len(answered))
    moments = answered[first:last]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return max(gaps, default=end - start)


def fault_table(faults: list[Fault], answered: list[float], console: Console) -> None:
    """Per kind of fault: how often, and how long nobody got any answer."""
    table = Table(title="Faults, and the longest time in which no client got any answer")
    table.add_column("fault")
    for heading in ("times", "median, s", "longest, s"):
        table.add_column(heading, justify="right")
    for name in sorted(dict.fromkeys(fault.name for fault in faults)):
        mine = [fault for fault in faults if fault.name == name]
        gaps = [longest_silence(answered, fault.start, fault.end) for fault in mine]
        table.add_row(name, str(len(mine)), f"{statistics.median(gaps):.2f}", f"{max(gaps):.2f}")
    console.print(table)


def write_picture(
    path: Path, answered: list[float], faults: list[Fault], start: float, end: float
) -> None:
    """Calls answered per second over time, with the faults as bands (SVG)."""
    width, height, left, top = 1400.0, 320.0, 60.0, 30.0
    bins = [0] * (int((end - start) / _BIN) + 1)
    for moment in answered:
        bins[int((moment - start) / _BIN)] += 1
    rates = [count / _BIN for count in bins]
    most = max([*rates, 1.0])
    names = sorted(dict.fromkeys(fault.name for fault in faults))
    colour = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)}

    def x(moment: float) -> float:
        return left + (moment - start) / (end - start) * width

    bands = [
        f"<rect x='{x(f.start):.1f}' y='{top}' width='{max(x(f.end) - x(f.start), 2):.1f}'"
        f" height='{height}' fill='{colour[f.name]}' fill-opacity='.35'>"
        f"<title>{escape(f.name)}: {escape(f.victim)}, {f.end - f.start:.1f} s</title></rect>"
        for f in faults
    ]
    points = " ".join(
        f"{left + (n + 0.5) * _BIN / (end - start) * width:.1f},"
        f"{top + height - rate / most * height:.1f}"
        for n, rate in enumerate(rates)
    )
    legend = [
        f"<rect x='{left + n % 5 * 270:.0f}' y='{top + height + 34 + n // 5 * 20:.0f}' width='12'"
        f" height='12' fill='{colour[name]}' fill-opacity='.6'/>"
        f"<text x='{left + 18 + n % 5 * 270:.0f}' y='{top + height + 45 + n // 5 * 20:.0f}'>"
        f"{escape(name)}</text>"
        for n, name in enumerate(names)
    ]
    axis = [
        f"<text x='{x(start + second):.0f}' y='{top + height + 16}'>{second:.0f} s</text>"
        for second in (0.0, (end - start) / 2, end - start)
    ]
    path.write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{left + width + 60:.0f}'"
        f" height='{top + height + 90:.0f}' font-family='sans-serif' font-size='12'>"
        "<rect width='100%' height='100%' fill='white'/>"
        f"<text x='{left}' y='18'>calls answered per second, all clients (top: {most:,.0f})</text>"
        f"{''.join(bands)}<polyline fill='none' stroke='#222' points='{points}'/>"
        f"{''.join(axis)}{''.join(legend)}</svg>\n",
        encoding="utf-8",
    )
