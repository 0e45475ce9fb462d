"""The words of transcripts: how members, terms and what happens between cores are written."""

from __future__ import annotations

from raft_node import Packet

from trioraft.raft.errors import TrioraftError
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import (
    Configuration,
    Entry,
    EntryKind,
    Member,
)


def show_configuration(configuration: Configuration) -> str:
    """`n1 n2 n3 | learners n4 | from n1 n2`"""
    text = " ".join(m.id for m in configuration.voters) or "nobody"
    if configuration.learners:
        text += " | learners " + " ".join(m.id for m in configuration.learners)
    if configuration.is_joint:
        text += " | from " + " ".join(m.id for m in configuration.old_voters)
    return text


def show_outcome(outcome: Configuration | TrioraftError) -> str:
    if isinstance(outcome, TrioraftError):
        return f"{type(outcome).__name__}: {outcome}"
    return f"members are {show_configuration(outcome)}"


def show_term(term: int) -> str:
    """Packed terms as term.node."""
    return str(term) if term < 1 << 64 else f"{term >> 64}.{term & (1 << 64) - 1}"


def describe(packet: Packet) -> str:
    """A packet in a line, for transcripts."""
    m = packet.message
    route = f"{packet.source}->{packet.target}"
    if isinstance(m, VoteRequest):
        name = "pre-vote?" if m.pre else "vote!" if m.transfer else "vote?"
        where = f"{show_term(m.last_term)}/{m.last_index}"
        text = f"{name} term {show_term(m.term)} last {where}"
    elif isinstance(m, VoteReply):
        name = "pre-vote" if m.pre else "vote"
        text = f"{name} {'yes' if m.granted else 'no'} term {show_term(m.term)}"
        if m.shutdown:
            text += " you are removed"
    elif isinstance(m, AppendRequest):
        name = "heartbeat" if m.heartbeat else "append"
        datas = " ".join(_show_entry(e) for e in m.entries)
        prev = f"{show_term(m.prev_term)}/{m.prev_index}"
        text = f"{name} term {show_term(m.term)} after {prev} [{datas}] commit {m.commit}"
    elif isinstance(m, AppendReply):
        name = "heartbeat" if m.heartbeat else "append"
        text = f"{name} ok" if m.success else f"{name} NO"
        text += f" term {show_term(m.term)}"
        if m.success and not m.heartbeat:
            text += f" match {m.match_index}"
        elif not m.success:
            hint = f"{show_term(m.hint_term)}/{m.hint_index}"
            text += f" rejects {m.rejected_prev} hint {hint}"
    elif isinstance(m, SnapshotRequest):
        text = f"snapshot term {show_term(m.term)} up to {show_term(m.meta.term)}/{m.meta.index}"
    elif isinstance(m, SnapshotReply):
        text = f"snapshot {'ok' if m.success else 'NO'} term {show_term(m.term)} index {m.index}"
    elif isinstance(m, StartElection):
        text = f"start election, last {show_term(m.last_term)}/{m.last_index}"
    else:
        text = f"start election {'yes' if m else 'no'}"
    return f"{route} {text}"


def _show_entry(entry: Entry) -> str:
    if entry.kind is EntryKind.WRITE:
        return f"{entry.index}:{entry.data.decode()}"
    if entry.kind is EntryKind.CONFIGURATION:
        return f"{entry.index}:({show_configuration(Configuration.decode(entry.data))})"
    return f"{entry.index}:({entry.kind.name.lower()})"


def parse_member(word: str) -> Member:
    """n4, n4@address, n4:priority"""
    name, _, address = word.partition("@")
    node_id, _, priority = name.partition(":")
    return Member(node_id, address or f"{node_id}:1", int(priority or 0))
