"""The table of groups that `trioraft admin groups` shows."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from trioraft._proto.local.node_pb2 import StatusReply
from trioraft.cli.table import short_term
from trioraft.rpc import GRPCError

__all__ = ["group_rows", "group_table"]

_STYLES = {"leader": "green", "stopped": "red"}


def group_rows(reply: StatusReply) -> list[dict[str, Any]]:
    """A row per group of one server, as values, by name; `leader` is None if none is known."""
    rows = [
        {
            "server": reply.node_id,
            "name": group.name,
            "id": group.group_id.hex(),
            "role": group.role,
            "leader": group.leader_id or None,
            "term": group.term,
            "commit_index": group.commit_index,
            "applied_index": group.applied_index,
            "resting": group.resting,
            "failure": group.failure or None,
        }
        for group in reply.groups
    ]
    return sorted(rows, key=lambda row: (row["name"], row["id"]))


def group_table(answers: dict[str, StatusReply | GRPCError], failures: dict[str, str]) -> Table:
    """A row per server and group, by name, or by id if it has none.

    Servers that do not answer, and groups that have stopped, say why below.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("server", "group", "role", "leader"):
        table.add_column(heading, overflow="fold")
    for heading in ("term", "commit"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("rests")
    reasons = [f"{target}: {reason}" for target, reason in failures.items()]
    for answer in answers.values():
        if isinstance(answer, GRPCError):
            continue
        for row in group_rows(answer):
            table.add_row(
                row["server"],
                row["name"] or row["id"],
                Text(row["role"], style=_STYLES.get(row["role"], "")),
                row["leader"] or "none",
                short_term(row["term"]),
                str(row["commit_index"]),
                "yes" if row["resting"] else "",
            )
            if row["failure"]:
                reasons.append(f"{row['server']}, {row['name'] or row['id']}: {row['failure']}")
    if reasons:
        table.caption, table.caption_justify = "\n".join(reasons), "left"
    return table
