"""The values that the consensus core works on: entries, members, positions of snapshots.

Indices are signed 64-bit; the first entry has index 0 and "no entry" is index -1 with term 0.
Dialects map their own conventions to these. Terms are ordered
integers of up to 128 bits that the core compares and never takes apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = [
    "FIRST_INDEX",
    "NO_INDEX",
    "NO_TERM",
    "Configuration",
    "Entry",
    "EntryKind",
    "HardState",
    "Member",
    "NodeId",
    "Proposal",
    "ReplicationLevel",
    "Role",
    "Session",
    "SnapshotFile",
    "SnapshotMeta",
]

NodeId = str

FIRST_INDEX = 0
NO_INDEX = -1
NO_TERM = 0


class EntryKind(IntEnum):
    """What an entry is; only WRITE reaches the state machine."""

    WRITE = 0
    CONFIGURATION = 1
    METADATA = 2  # Ratis's commit-index records: stored, replicated, never applied
    BLANK = 3


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class ReplicationLevel(IntEnum):
    """How far an entry has come, counted over the voters; the numbers are Ratis's."""

    MAJORITY = 0  # committed
    ALL = 1  # durable on every voter
    MAJORITY_COMMITTED = 2  # a majority of the voters know that it is committed
    ALL_COMMITTED = 3  # every voter knows that it is committed


class Session(NamedTuple):
    """Who sent a write, so that a retry is answered and not applied twice."""

    client_id: bytes
    call_id: int


@dataclass(slots=True)
class Entry:
    """One log entry. Treated as immutable once it is in a log."""

    term: int
    index: int
    kind: EntryKind
    data: bytes
    session: Session | None = None
    # A dialect keeps its encoding of this entry here, so that every follower gets the same bytes.
    wire: Any = field(default=None, compare=False, repr=False)


class Proposal(NamedTuple):
    """A write that wants to become an entry."""

    data: bytes
    session: Session | None = None
    kind: EntryKind = EntryKind.WRITE


@dataclass(frozen=True, slots=True)
class Member:
    """A peer of the group. `address` is where its peers and clients dial it."""

    id: NodeId
    address: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members of a group: voters, learners, and the old voters of a joint change."""

    voters: tuple[Member, ...]
    learners: tuple[Member, ...] = ()
    old_voters: tuple[Member, ...] = ()

    @property
    def is_joint(self) -> bool:
        return bool(self.old_voters)

    def members(self) -> tuple[Member, ...]:
        """Everybody once: voters, then old voters, then learners, in their order."""
        seen: dict[NodeId, Member] = {}
        for member in (*self.voters, *self.old_voters):
            seen.setdefault(member.id, member)
        for member in self.learners:  # as it is now, not as the old voter that it was
            seen[member.id] = member
        return tuple(seen.values())

    def member(self, node_id: NodeId) -> Member | None:
        return next((m for m in self.members() if m.id == node_id), None)

    def is_voter(self, node_id: NodeId) -> bool:
        return any(m.id == node_id for m in (*self.voters, *self.old_voters))

    def encode(self) -> bytes:
        """Canonical bytes: the `data` of a CONFIGURATION entry inside trioraft."""

        def rows(members: Sequence[Member]) -> list[list[Any]]:
            return [[m.id, m.address, m.priority] for m in members]

        fields = {"v": rows(self.voters), "l": rows(self.learners), "o": rows(self.old_voters)}
        return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> Configuration:
        """Inverse of `encode`. Raises ValueError for anything else."""
        return _decode_configuration(data)


@lru_cache(maxsize=128)  # many groups on the same servers have the same members
def _decode_configuration(data: bytes) -> Configuration:
    try:
        fields = json.loads(data)
        v, learners, o = (
            tuple(Member(str(i), str(a), int(p)) for i, a, p in fields[key]) for key in "vlo"
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an encoded configuration: {data[:80]!r}") from error
    return Configuration(v, learners, o)


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be durable before it is answered (Raft §5.1, figure 2)."""

    term: int = NO_TERM
    voted_for: NodeId | None = None


class SnapshotFile(NamedTuple):
    """One file of a snapshot; what the checksum covers is the storage's business."""

    name: str
    size: int  # bytes
    checksum: int  # 32 bits


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """The log position that a snapshot stands for, and the configuration at that position."""

    index: int
    term: int
    configuration: Configuration
    size: int = 0  # bytes
    configuration_index: int = NO_INDEX
    files: tuple[SnapshotFile, ...] = field(default=(), compare=False)  # once it is written
