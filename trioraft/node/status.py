"""What a group tells of itself to operators."""

from __future__ import annotations

from dataclasses import dataclass, field

from trioraft.raft.types import NodeId

__all__ = ["GroupStatus", "MemberStatus"]


@dataclass(frozen=True, slots=True)
class MemberStatus:
    id: NodeId
    address: str
    voter: bool
    match_index: int = -1  # known to the leader only


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A snapshot of one group on one node. `role` is a word for people."""

    group_id: bytes
    role: str
    term: int
    leader: NodeId | None
    last_index: int
    commit_index: int
    applied_index: int
    snapshot_index: int
    bytes_on_disk: int
    members: tuple[MemberStatus, ...] = ()
    machine: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
