"""What only a leader has: its followers, and what is under way in its name."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from .tracking.progress import Progress
from .tracking.reads import ReadQueue
from .types import NO_INDEX, Configuration, Member, NodeId

__all__ = ["Change", "ChangePhase", "Leadership", "StagedPeer", "Transfer"]

# Heartbeat rounds whose time of sending is remembered, for leases.
MAX_ROUND_TIMES = 64


@dataclass(slots=True)
class Transfer:
    """A handover of leadership that is under way (thesis §3.10)."""

    target: NodeId
    deadline: float
    asked: bool = False  # StartElection was sent
    leaving: bool = False  # this leader is no voter any more: it steps down in any case


class ChangePhase(Enum):
    """How far a change of members has come."""

    STAGING = "staging"  # new voters catch up; nothing is in the log yet
    JOINT = "joint"  # old and new voters decide together
    FINAL = "final"  # the new configuration is in the log and not committed yet


@dataclass(slots=True)
class StagedPeer:
    """A voter to be, that is brought up to date before it counts (thesis §4.2.1).

    since: when it last got further; match_index: how far it was then.
    """

    member: Member
    since: float
    match_index: int = NO_INDEX


@dataclass(slots=True)
class Change:
    """A change of members that this leader was asked for. `token` names who waits for it."""

    token: object
    wanted: Configuration
    phase: ChangePhase
    staged: dict[NodeId, StagedPeer] = field(default_factory=dict)


@dataclass(slots=True)
class Leadership:
    """What only a leader has. Gone, with all its promises, when it steps down.

    term_start: index of the first entry of this term. Nothing is committed by counting before
        it is (Raft §5.4.2).
    round: number of the newest heartbeat round.
    notice_due: when followers that have not heard of the commit index are told of it.
    uncommitted: (last index, bytes) of batches of proposals that are not committed.
    round_times: when the newest rounds were begun, `round` being the last of them.
    lease_void: a follower was told to campaign in this term: it may do so at any later time,
        and nobody's promise stands in its way. No lease any more.
    leaving: removed members that are still told of it, and until when.
    yield_due: when leadership may next be offered to a voter of higher priority.
    refused_by: the target that has refused the newest handover, if one has.
    """

    term_start: int
    heartbeat_due: float
    quorum_check_due: float
    followers: dict[NodeId, Progress] = field(default_factory=dict)
    round: int = 0
    notice_due: float = 0.0
    uncommitted: deque[tuple[int, int]] = field(default_factory=deque)
    uncommitted_bytes: int = 0
    reads: ReadQueue = field(default_factory=ReadQueue)
    transfer: Transfer | None = None
    round_times: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_ROUND_TIMES))
    lease_void: bool = False
    change: Change | None = None
    leaving: dict[NodeId, tuple[Member, float]] = field(default_factory=dict)
    yield_due: float = 0.0
    refused_by: NodeId | None = None

    def round_time(self, number: int) -> float:
        """When round `number` was begun; -inf if that was too long ago to be known."""
        age = self.round - number
        return self.round_times[-1 - age] if 0 <= age < len(self.round_times) else -math.inf
