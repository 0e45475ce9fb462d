"""A violation as text: the operations that show it, and a timeline of them in characters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from .history import Operation
from .shrink import Excerpt

__all__ = ["describe", "label", "timeline"]

_MOST = 40  # operations that are spelled out; of more it is said how many there are
_LONGEST = 60  # characters of one value


def describe(
    key: Hashable,
    stuck: Operation,
    excerpt: Excerpt,
    *,
    operations: int,
) -> str:
    """Several lines; see `Violation.text`."""
    shown = excerpt.essential
    counted = f"{len(shown)} of its {operations:,} operations show it"
    lines = [f"object {key!r} is not linearizable; {counted}:"]
    lines += [f"  {_sentence(op)}" for op in shown[:_MOST]]
    if len(shown) > _MOST:
        lines.append(f"  and {len(shown) - _MOST} more")
    for op in excerpt.origins[:_MOST]:
        lines.append(f"  (and, whenever it took effect: {_sentence(op)})")
    lines.append(f"nothing explains {label(stuck)!r} of {stuck.process}.")
    lines += ["", *timeline(shown[-_MOST:], stuck)]
    return "\n".join(lines)


def label(operation: Operation) -> str:
    """An operation in a few words, such as `read -> 3` or `write 3 -> ?`."""
    words = [operation.kind]
    if operation.argument is not None:
        words.append(_short(operation.argument))
    if operation.returned is None:
        words.append("-> ?")
    elif operation.result is not None or operation.argument is None:
        words.append(f"-> {_short(operation.result)}")
    return " ".join(words)


def timeline(operations: Sequence[Operation], stuck: Operation | None = None) -> list[str]:
    """A line per operation; columns are the moments in their order, not to scale.

    What stands to the left of another returned before the other began.
    """
    moments = sorted(
        {op.invoked for op in operations}
        | {op.returned for op in operations if op.returned is not None}
    )
    column = {moment: number for number, moment in enumerate(moments)}
    step = 3 if len(moments) <= 24 else 2 if len(moments) <= 40 else 1
    width = len(moments) * step
    names = max((len(str(op.process)) for op in operations), default=0)
    lines = []
    for op in sorted(operations, key=lambda op: op.invoked):
        start = column[op.invoked] * step
        end = width if op.returned is None else column[op.returned] * step
        line = [" "] * start + ["|"] + ["-"] * max(end - start - 1, 0)
        line += ["|"] if op.returned is not None else [">"]
        mark = "  <- impossible" if op == stuck else ""
        lines.append(f"  {op.process!s:>{names}} {''.join(line):<{width + 1}}  {label(op)}{mark}")
    return lines


def _sentence(operation: Operation) -> str:
    until = "no answer" if operation.returned is None else f"{operation.returned:.6f}"
    return f"{operation.invoked:.6f} to {until}: {operation.process} {label(operation)}"


def _short(value: Any) -> str:
    text = repr(value)
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
