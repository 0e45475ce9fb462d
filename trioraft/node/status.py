"""What a group tells of itself to operators."""

from __future__ import annotations

from dataclasses import dataclass, field

from trioraft.raft.core import RaftCore
from trioraft.raft.types import Configuration, Member, NodeId, Role

__all__ = ["GroupStatus", "MemberStatus", "member_statuses", "role_word"]


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member as this node sees it.

    part: `voter`, `learner`, `joining` (has not caught up yet, so it is not in the configuration)
        or `leaving` (votes until the change that is under way is done).
    match_index: what it is known to have durably; known to the leader only, else -1.
    """

    id: NodeId
    address: str
    voter: bool
    match_index: int = -1
    part: str = "voter"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A snapshot of one group on one node. `role` is a word for people, see `role_word`."""

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
    elections_paused: bool = False
    resting: bool = False  # nothing happens in it: no heartbeats, no timers


def role_word(node_id: NodeId, role: Role, configuration: Configuration, *, running: bool) -> str:
    """The role of a node, or why it has none: `learner`, `joining`, `removed`, `stopped`."""
    if not running:
        return "stopped"
    if role is Role.LEADER or configuration.is_voter(node_id):
        return role.name.lower().replace("_", "-")
    if not configuration.voters:
        return "joining"
    return "removed" if configuration.member(node_id) is None else "learner"


def member_statuses(core: RaftCore) -> tuple[MemberStatus, ...]:
    """Everybody in the configuration that is in force, then those who are to become members."""
    members = core.configuration.members()
    return tuple(_member_status(core, member) for member in (*members, *_joining(core)))


def _joining(core: RaftCore) -> list[Member]:
    return [member for member in core.peers if member.id in core.staged]


def _member_status(core: RaftCore, member: Member) -> MemberStatus:
    match = -1
    if member.id == core.node_id:
        match = core.last_index
    elif (progress := core.progress(member.id)) is not None:
        match = progress.match_index
    configuration = core.configuration
    voter = configuration.is_voter(member.id)
    return MemberStatus(
        member.id, member.address, voter, match, _part(configuration, member), member.priority
    )


def _part(configuration: Configuration, member: Member) -> str:
    if any(voter.id == member.id for voter in configuration.voters):
        return "voter"
    if any(learner.id == member.id for learner in configuration.learners):
        return "learner"
    return "leaving" if configuration.is_voter(member.id) else "joining"
