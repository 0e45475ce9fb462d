"""What the cores of a group say to each other (Raft figure 2), whichever dialect carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .types import NO_INDEX, NO_TERM, Entry, NodeId, SnapshotMeta

__all__ = [
    "AppendReply",
    "AppendRequest",
    "SnapshotReply",
    "SnapshotRequest",
    "StartElection",
    "VoteReply",
    "VoteRequest",
]


@dataclass(slots=True)
class VoteRequest:
    """RequestVote (Raft §5.2); `pre` asks at the current term without starting a new one.

    `transfer` marks an election that the old leader asked for: leases do not stand in its way.
    """

    term: int
    candidate: NodeId
    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False


@dataclass(slots=True)
class VoteReply:
    """Answer to VoteRequest, `term` being the voter's own.

    `leader` is the leader that the voter knows in `term`; `last_*` describe the voter's log.
    """

    term: int
    voter: NodeId
    granted: bool
    pre: bool = False
    leader: NodeId | None = None
    last_index: int = NO_INDEX
    last_term: int = NO_TERM
    shutdown: bool = False  # the voter knows that the candidate was removed from the group


@dataclass(slots=True)
class AppendRequest:
    """AppendEntries (Raft §5.3). `round` numbers heartbeat rounds for read index (§6.4, thesis).

    `heartbeat` says which of a follower's two streams it travels on; a heartbeat has no entries.
    """

    term: int
    leader: NodeId
    prev_index: int
    prev_term: int
    entries: Sequence[Entry]
    commit: int
    round: int = 0
    heartbeat: bool = False


@dataclass(slots=True)
class AppendReply:
    """Answer to AppendRequest, self-contained: it can be understood without the request.

    On success `match_index` is the last index known to equal the leader's and durable here
    (for a heartbeat: NO_INDEX, it claims nothing). On a log mismatch `rejected_prev` repeats
    the request's prev_index, and the hint says how far back to go: `hint_index` is the last
    index that may match and `hint_term` the term there (thesis, end of §5.3).
    """

    term: int
    follower: NodeId
    success: bool
    match_index: int = NO_INDEX
    rejected_prev: int = NO_INDEX
    hint_index: int = NO_INDEX
    hint_term: int = NO_TERM
    commit: int = NO_INDEX  # the follower's own commit index
    round: int = 0
    heartbeat: bool = False


@dataclass(slots=True)
class SnapshotRequest:
    """Header of InstallSnapshot (Raft §7); the bytes follow as a stream of chunks."""

    term: int
    leader: NodeId
    meta: SnapshotMeta
    notice: bool = False  # the follower's state machine fetches its own files


@dataclass(slots=True)
class SnapshotReply:
    """Answer once the snapshot is durable and installed, or refused because of `term`."""

    term: int
    follower: NodeId
    success: bool
    index: int = NO_INDEX  # the follower's last index that is known to match afterwards


@dataclass(slots=True)
class StartElection:
    """TimeoutNow (thesis §3.10): the leader asks a caught-up follower to campaign at once."""

    term: int
    leader: NodeId
    last_index: int
    last_term: int
