"""The table of nodes that `status` and `demo` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from trioraft._proto.local.node_pb2 import GroupStatus, StatusReply

__all__ = ["Row", "node_table", "short_term"]

#: Terms of more than this many bits are (counter << bits) + node: openraft's packed votes.
_PACKED_BITS = 64

_HEADINGS = ("term", "leader", "last\nindex", "commit", "applied", "keys", "on disk")


@dataclass(frozen=True, slots=True)
class Row:
    """One node of the table: what it answered, or why it did not."""

    target: str
    status: StatusReply | None
    failure: str = ""


def node_table(rows: Sequence[Row], title: str | None = None) -> Table:
    """A row per node and group; nodes that do not answer say why."""
    # Without padding and edges, with headings in two lines: it fits 80 columns.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("node", "address", "role"):
        table.add_column(heading, no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        if row.status is None:
            unreachable = Text("unreachable", style="red")
            table.add_row("?", row.target, unreachable, *[""] * len(_HEADINGS))
            continue
        for group in row.status.groups:
            table.add_row(row.status.node_id, row.status.address, *_cells(group))
    reasons = [reason for row in rows for reason in _reasons(row)]
    if reasons:
        table.caption, table.caption_justify = "\n".join(reasons), "left"
    return table


def _reasons(row: Row) -> list[str]:
    """Why a node does not answer, or why groups of it have stopped."""
    if row.status is None:
        return [f"{row.target}: {row.failure}"]
    node_id = row.status.node_id
    return [f"{node_id}: {group.failure}" for group in row.status.groups if group.failure]


def _cells(group: GroupStatus) -> list[str | Text]:
    style = {"leader": "green", "stopped": "red"}.get(group.role, "")
    return [
        Text(group.role, style=style),
        short_term(group.term),
        group.leader_id or "none",
        str(group.last_index),
        str(group.commit_index),
        str(group.applied_index),
        group.machine.get("keys", ""),
        _bytes(group.bytes_on_disk),
    ]


def short_term(term: str) -> str:
    """A term for people: `7`, or `7/3` for term 7 of node 3 where a dialect packs both into one."""
    if not term.isdecimal() or int(term) < 1 << _PACKED_BITS:
        return term
    counter, node = divmod(int(term), 1 << _PACKED_BITS)
    return f"{counter}/{node}"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
