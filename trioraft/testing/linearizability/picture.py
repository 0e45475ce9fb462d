"""A violation as a page with a timeline: one row per client, one bar per operation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from html import escape

from .history import Operation
from .shrink import Excerpt
from .text import label

__all__ = ["draw"]

_NEIGHBOURS = 50  # operations around the violation that are drawn
_STEP = 28  # pixels from one event to the next
_ROW = 26
_LEFT = 120

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; background: #fff; color: #222 }
pre { background: #f4f4f4; padding: 1em; overflow-x: auto }
svg text { font: 11px system-ui, sans-serif;
           paint-order: stroke; stroke: #fff; stroke-width: 3px }
.other { fill: #d5dbe3 } .essential { fill: #f2b134 } .origin { fill: #8fc1e3 }
.stuck { fill: #d64541 } .open { fill-opacity: .45 } .lane { stroke: #eee }
"""


def draw(
    key: Hashable,
    operations: Sequence[Operation],
    stuck: Operation,
    excerpt: Excerpt,
    text: str,
) -> str:
    """A self-contained HTML page. The excerpt is always drawn; of the rest what is nearest."""
    shown = _neighbourhood(operations, stuck, excerpt)
    rows = {process: n for n, process in enumerate(dict.fromkeys(op.process for op in shown))}
    moments = sorted(
        {op.invoked for op in shown} | {op.returned for op in shown if op.returned is not None}
    )
    # By rank, not to scale: microseconds beside seconds would hide either.
    place = {moment: _LEFT + n * _STEP for n, moment in enumerate(moments)}
    width = len(moments) * _STEP
    kinds = {op.invoked: _kind(op, stuck, excerpt) for op in shown}
    # What matters is drawn last, so that nothing covers it.
    shown.sort(key=lambda op: kinds[op.invoked] != "other")
    bars = [_bar(op, place, rows, width, kinds[op.invoked]) for op in shown]
    lanes = [_lane(str(process), row, width) for process, row in rows.items()]
    height = (len(rows) + 1) * _ROW
    return (
        "<!doctype html><meta charset='utf-8'>"
        f"<title>{escape(repr(key))} is not linearizable</title><style>{_STYLE}</style>"
        f"<h1>Object {escape(repr(key))} is not linearizable</h1>"
        "<p>Time runs to the right, by the order of events and not to scale. Red: the answer that"
        " nothing explains. Yellow: the other operations that show it. Blue: where its value may"
        " come from. Pale: no answer arrived. Point at a bar to read it.</p>"
        f"<svg width='{_LEFT + width + 80}' height='{height}'>{''.join(lanes + bars)}</svg>"
        f"<pre>{escape(text)}</pre>"
    )


def _neighbourhood(
    operations: Sequence[Operation], stuck: Operation, excerpt: Excerpt
) -> list[Operation]:
    """The excerpt, and the operations that began nearest to the end of it."""
    wanted = [op.invoked for op in (*excerpt.essential, *excerpt.origins)]
    near = sorted(operations, key=lambda op: abs(op.invoked - stuck.invoked))[:_NEIGHBOURS]
    times = frozenset([*wanted, *(op.invoked for op in near)])
    return [op for op in operations if op.invoked in times]


def _kind(op: Operation, stuck: Operation, excerpt: Excerpt) -> str:
    if op.invoked == stuck.invoked and op.process == stuck.process:
        return "stuck"
    # The excerpt has copies whose answers were forgotten: compare by who and when.
    who = (op.process, op.invoked)
    if any((other.process, other.invoked) == who for other in excerpt.essential):
        return "essential"
    if any((other.process, other.invoked) == who for other in excerpt.origins):
        return "origin"
    return "other"


def _lane(name: str, row: int, width: int) -> str:
    y = row * _ROW + _ROW / 2
    return (
        f"<line class='lane' x1='{_LEFT}' x2='{_LEFT + width}' y1='{y}' y2='{y}'/>"
        f"<text x='0' y='{y + 4}'>{escape(name)}</text>"
    )


def _bar(
    op: Operation, place: dict[float, int], rows: dict[Hashable, int], width: int, kind: str
) -> str:
    x = place[op.invoked]
    end = _LEFT + width if op.returned is None else place[op.returned]
    y = rows[op.process] * _ROW + 4
    until = "no answer" if op.returned is None else f"{op.returned:.6f}"
    words = escape(label(op))
    open_ = " open" if op.returned is None else ""
    return (
        f"<g><title>{words}\n{op.invoked:.6f} to {until}</title>"
        f"<rect class='{kind}{open_}' x='{x:.1f}' y='{y}' rx='3'"
        f" width='{max(end - x, 3):.1f}' height='{_ROW - 8}'/>"
        + (f"<text x='{x + 3:.1f}' y='{y + 13}'>{words}</text>" if kind != "other" else "")
        + "</g>"
    )
