"""The table of members that `trioraft admin members` shows."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from trioraft._proto.local.node_pb2 import MemberStatus

from .cluster import ClusterView

__all__ = ["member_rows", "member_table"]

_STYLES = {"leader": "green", "unreachable": "red", "stopped": "red", "joining": "yellow"}


def member_rows(view: ClusterView) -> list[dict[str, Any]]:
    """A row per member, as values: what the leader knows of it and what it says itself.

    `match_index` (durable there) and `lag` (entries behind the leader) are None without a leader,
    `applied_index` and `snapshot_index` for nodes that do not answer.
    """
    return [_row(view, member) for member in view.members]


def _row(view: ClusterView, member: MemberStatus) -> dict[str, Any]:
    own = view.groups.get(member.node_id)
    led = bool(view.leader)
    return {
        "id": member.node_id,
        "address": member.address,
        "part": member.part,
        "role": "unreachable" if own is None else own.role,
        "elections_paused": own is not None and own.elections_paused,
        "priority": member.priority,
        "match_index": member.match_index if led else None,
        "lag": view.groups[view.leader].last_index - member.match_index if led else None,
        "applied_index": None if own is None else own.applied_index,
        "snapshot_index": None if own is None else own.snapshot_index,
    }


def member_table(view: ClusterView) -> Table:
    """A row per member; who does not answer says why below."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("member", "address", "part", "role"):
        table.add_column(heading, no_wrap=True)
    for heading in ("priority", "match", "lag", "applied", "snapshot"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in member_rows(view):
        role = Text(row.pop("role"))
        role.style = _STYLES.get(role.plain, "")
        if row.pop("elections_paused"):
            role.append(" (paused)")
        first = [row.pop(name) for name in ("id", "address", "part")]
        rest = ["-" if value is None else str(value) for value in row.values()]
        table.add_row(*first, role, *rest)
    if view.failures:
        table.caption = "\n".join(f"{at}: {reason}" for at, reason in view.failures.items())
        table.caption_justify = "left"
    return table
