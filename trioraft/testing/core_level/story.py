"""Messages and outputs of a core in words, for traces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trioraft.raft import Ready
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import Entry, EntryKind, NodeId

__all__ = ["describe_packet", "describe_ready", "show_term"]


def show_term(term: int) -> str:
    """openraft's packed terms as term.node."""
    return str(term) if term < 1 << 64 else f"{term >> 64}.{term & (1 << 64) - 1}"


def describe_ready(node_id: NodeId, ready: Ready, applied: int) -> Iterator[str]:
    """What a step came to, a line each."""
    if ready.soft is not None:
        role = ready.soft.role.name.lower().replace("_", "-")
        leader = ready.soft.leader_id or "-"
        rest = ", at rest" if ready.soft.resting else ""
        yield f"  {node_id} {role} term {show_term(ready.soft.term)} leader {leader}{rest}"
    if ready.truncated_from is not None:
        yield f"  {node_id} log cut at {ready.truncated_from}"
    if ready.reset is not None:
        yield f"  {node_id} log reset behind snapshot {ready.reset.index}"
    if ready.entries:
        yield f"  {node_id} writes {' '.join(_entry(e) for e in ready.entries)}"
    if ready.commit > applied:
        yield f"  {node_id} commit {ready.commit}"


def describe_packet(source: NodeId, target: NodeId, message: Any) -> str:
    """A message in a line."""
    return f"{source}->{target} {_message(message)}"


def _message(m: Any) -> str:
    if isinstance(m, VoteRequest):
        name = "pre-vote?" if m.pre else "vote! (handover)" if m.transfer else "vote?"
        return f"{name} term {show_term(m.term)} last {_at(m.last_term, m.last_index)}"
    if isinstance(m, VoteReply):
        name = "pre-vote" if m.pre else "vote"
        return f"{name} {'yes' if m.granted else 'no'} term {show_term(m.term)}"
    if isinstance(m, AppendRequest):
        name = "heartbeat" if m.heartbeat else "append"
        entries = " ".join(_entry(e) for e in m.entries)
        after = _at(m.prev_term, m.prev_index)
        return f"{name} term {show_term(m.term)} after {after} [{entries}] commit {m.commit}"
    if isinstance(m, AppendReply):
        return _append_reply(m)
    if isinstance(m, SnapshotRequest):
        return f"snapshot term {show_term(m.term)} up to {_at(m.meta.term, m.meta.index)}"
    if isinstance(m, SnapshotReply):
        return f"snapshot {'ok' if m.success else 'NO'} term {show_term(m.term)} index {m.index}"
    if isinstance(m, StartElection):
        return f"start election, last {_at(m.last_term, m.last_index)}"
    return f"start election {'yes' if m else 'no'}"


def _append_reply(m: AppendReply) -> str:
    text = f"{'heartbeat' if m.heartbeat else 'append'} {'ok' if m.success else 'NO'}"
    text += f" term {show_term(m.term)}"
    if not m.success:
        return f"{text} rejects {m.rejected_prev} hint {_at(m.hint_term, m.hint_index)}"
    return text if m.heartbeat else f"{text} match {m.match_index}"


def _at(term: int, index: int) -> str:
    return f"{show_term(term)}/{index}"


def _entry(entry: Entry) -> str:
    data = entry.data.decode("utf-8", "replace")
    return f"{entry.index}:{data if entry.kind is EntryKind.WRITE else entry.kind.name.lower()}"
