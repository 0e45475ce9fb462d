"""What the core wants done: the outputs of one step, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from .errors import TrioraftError
from .messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    StartElection,
    VoteReply,
    VoteRequest,
)
from .types import Configuration, Entry, HardState, Member, NodeId, Role, SnapshotMeta

__all__ = ["LoadEntries", "Outgoing", "Ready", "Reply", "SoftState"]

Outgoing: TypeAlias = AppendRequest | VoteRequest | StartElection
Reply: TypeAlias = VoteReply | AppendReply | SnapshotReply | bool


class SoftState(NamedTuple):
    """Who this node believes it is and whom it follows; nothing of it needs to be durable.

    resting: it has no timers and sends no heartbeats (`quiescence`).
    """

    role: Role
    term: int
    leader_id: NodeId | None
    resting: bool = False


class LoadEntries(NamedTuple):
    """Read [low, high) from disk, cut at `max_bytes`, and answer with `entries_loaded`."""

    follower: NodeId
    low: int
    high: int
    max_bytes: int


@dataclass(slots=True)
class Ready:
    """Everything that came of the inputs since the Ready before.

    A Ready is *durable* once its `reset`, `hard_state` and `entries` (in that order) and those
    of every Ready before it are; one that has none of them is durable with the one before.
    What is not marked as waiting for that is to be done at once. `replies` go out before the
    `synced_replies` of the same Ready, and those before the ones of the next, so that answers
    to entry appends keep the order of the requests.

    sequence: 1, 2, 3...; hand it to `persisted` when this Ready is durable.
    entries: to be stored; they may overwrite a suffix of the stored log (Raft §5.3).
    reset: the stored log is emptied and starts behind this snapshot.
    messages: to be sent at once, before local durability (thesis §10.2.1).
    synced_messages, synced_replies: to be sent once this Ready is durable.
    replies: (token, reply) that nothing stands in the way of. `bool` answers StartElection.
    commit: the commit index now; it never falls.
    reads: tokens of confirmed reads, and the index to be applied before they are answered.
    dropped_reads: tokens of reads that lost their leader; nothing is known about them.
    loads: entries to be read from disk, one outstanding request per follower.
    snapshots: followers that need a snapshot; answer with `snapshot_finished`, always.
    soft: role, term, leader and rest, if any of them has changed.
    truncated_from: entries from this index on were dropped from the log: whoever proposed
        them here will not see them committed under the term that they were given.
    peers: whom this node may have to reach, if anybody came, went or moved: the other members,
        and, while it leads, new peers that are being staged and removed ones that have not
        heard of it yet. Everybody that a message in this or a later Ready is addressed to is
        among the newest `peers`; before the first, `RaftCore.peers` says who they are.
    changes: (token, outcome) of changes of members that are over: the configuration that is
        now committed, or why there is none.
    removed: this node was put out of the group (True) or is back in it (False), if that has
        changed. It has stopped campaigning by itself; see `RaftCore.removed`.
    """

    sequence: int
    commit: int
    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()
    reset: SnapshotMeta | None = None
    messages: list[tuple[NodeId, Outgoing]] = field(default_factory=list)
    synced_messages: list[tuple[NodeId, VoteRequest]] = field(default_factory=list)
    replies: list[tuple[object, Reply]] = field(default_factory=list)
    synced_replies: list[tuple[object, Reply]] = field(default_factory=list)
    reads: list[tuple[list[object], int]] = field(default_factory=list)
    dropped_reads: list[object] = field(default_factory=list)
    loads: list[LoadEntries] = field(default_factory=list)
    snapshots: list[NodeId] = field(default_factory=list)
    soft: SoftState | None = None
    truncated_from: int | None = None
    peers: tuple[Member, ...] | None = None
    changes: list[tuple[object, Configuration | TrioraftError]] = field(default_factory=list)
    removed: bool | None = None

    @property
    def must_persist(self) -> bool:
        """There is something in it for the disk."""
        return bool(self.entries) or self.hard_state is not None or self.reset is not None
