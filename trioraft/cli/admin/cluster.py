"""What `trioraft admin` does on the wire: find the group, ask its leader, watch a change go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

from trioraft._proto.local.node_pb2 import GroupStatus, MemberStatus, StatusReply
from trioraft.client.endpoints import parse_endpoints
from trioraft.client.failover import describe_failure
from trioraft.client.status import LEADER, ask_all
from trioraft.node import PeerUnreachableError
from trioraft.raft.errors import ConfigurationError, NoQuorumError, TrioraftError
from trioraft.rpc import GRPCError, open_channel

__all__ = ["ClusterView", "at_leader", "at_members", "look", "look_for_leader", "watch_joining"]

T = TypeVar("T")

_PATIENCE = 10.0  # seconds that a command waits for a leader
_POLL = 0.2  # seconds between two looks at a change that goes on


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What the nodes of one group say: all answers by node id, and whom the leader has as members.

    group_id: of the group that was asked for, or of the only one.
    members: of the leader, or of the node that has applied most if nobody leads.
    failures: of the addresses that did not answer.
    """

    group_id: bytes
    leader: str
    groups: dict[str, GroupStatus]
    addresses: dict[str, str]
    members: tuple[MemberStatus, ...]
    failures: dict[str, str]

    def member(self, node_id: str) -> MemberStatus:
        """A member. Raises ConfigurationError for somebody else."""
        for member in self.members:
            if member.node_id == node_id:
                return member
        known = ", ".join(member.node_id for member in self.members)
        raise ConfigurationError(f"{node_id} is not a member; members are {known}")


async def look(endpoints: str, group: bytes, timeout: float) -> ClusterView:
    """Ask the endpoints, then the members that they name.

    Raises ConfigurationError and NoQuorumError when no node can say anything about the group.
    """
    targets = parse_endpoints(endpoints)
    answers = dict(zip(targets, await ask_all(targets, timeout=timeout), strict=True))
    named = [
        member.address
        for answer in answers.values()
        if isinstance(answer, StatusReply)
        for found in answer.groups
        for member in found.members
    ]
    known = {answer.address for answer in answers.values() if isinstance(answer, StatusReply)}
    others = [a for a in dict.fromkeys(named) if a not in answers and a not in known]
    answers.update(zip(others, await ask_all(others, timeout=timeout), strict=True))
    return _view(answers, group)


async def look_for_leader(endpoints: str, group: bytes, timeout: float) -> ClusterView:
    """As `look`, again and again until somebody leads or the time (seconds) is up."""
    deadline = trio.current_time() + min(timeout, _PATIENCE)
    while True:
        view = await look(endpoints, group, min(timeout, 2.0))
        if view.leader or trio.current_time() >= deadline:
            return view
        await trio.sleep(_POLL)


def _view(answers: dict[str, StatusReply | GRPCError], group_id: bytes) -> ClusterView:
    groups: dict[str, GroupStatus] = {}
    addresses: dict[str, str] = {}
    failures: dict[str, str] = {}
    for target, answer in answers.items():
        if isinstance(answer, GRPCError):
            failures[target] = describe_failure(target, answer)
            continue
        group = _pick(answer, group_id)
        if group is not None:
            groups[answer.node_id] = group
            addresses[answer.node_id] = target
    if not groups:
        reasons = "; ".join(f"{target}: {reason}" for target, reason in failures.items())
        raise NoQuorumError(
            f"no node answers for the group ({reasons or 'none of them has it'}). Check "
            "--endpoints, and that the nodes run (trioraft status)."
        )
    leaders = [node_id for node_id, group in groups.items() if group.role == LEADER]
    leader = max(leaders, key=lambda node_id: int(groups[node_id].term), default="")
    best = leader or max(groups, key=lambda node_id: groups[node_id].applied_index)
    return ClusterView(
        groups[best].group_id, leader, groups, addresses, tuple(groups[best].members), failures
    )


def _pick(answer: StatusReply, group_id: bytes) -> GroupStatus | None:
    """The group asked for. Raises ConfigurationError if none was, and there are several."""
    if group_id:
        return next((group for group in answer.groups if group.group_id == group_id), None)
    if len(answer.groups) > 1:
        ids = ", ".join(group.group_id.hex() for group in answer.groups[:3])
        raise ConfigurationError(
            f"{answer.node_id} has {len(answer.groups)} groups ({ids}...): say which by --group"
        )
    return answer.groups[0] if answer.groups else None


async def at_leader(view: ClusterView, call: Callable[[Any], Awaitable[T]]) -> T:
    """Call the leader, or any node of the group, which then finds it. Raises what `call` does."""
    async with _channel(view, view.leader or next(iter(view.groups))) as channel:
        return await call(channel)


async def at_members(
    view: ClusterView, node_ids: Sequence[str], call: Callable[[Any], Awaitable[T]]
) -> dict[str, T]:
    """Call these members themselves, all if none is named, one after the other.

    One that does not answer keeps no other from being called. Raises what `call` does, and
    PeerUnreachableError, at the end, that says who has not answered and who has done it.
    """
    done: dict[str, T] = {}
    failed: dict[str, PeerUnreachableError] = {}
    for node_id in node_ids or [member.node_id for member in view.members]:
        async with open_channel(view.member(node_id).address) as channel:
            try:
                done[node_id] = await call(channel)
            except PeerUnreachableError as error:
                failed[node_id] = error
    if failed:
        reasons = "; ".join(f"{node_id} does not answer ({why})" for node_id, why in failed.items())
        raise PeerUnreachableError(
            f"{reasons}. Done on: {', '.join(done) or 'none'}. Start the others and try again, or "
            "name the members that are to do it"
        )
    return done


@asynccontextmanager
async def _channel(view: ClusterView, node_id: str) -> AsyncIterator[Any]:
    async with open_channel(view.addresses[node_id]) as channel:
        yield channel


async def watch_joining(
    endpoints: str, group: bytes, timeout: float, show: Callable[[str], None]
) -> None:
    """Tell `show` how far new voters have come, until cancelled."""
    while True:
        await trio.sleep(_POLL)
        try:
            view = await look(endpoints, group, timeout)
        except TrioraftError:
            continue  # the change itself says what is wrong
        if view.leader:
            last = view.groups[view.leader].last_index
            for member in view.members:
                if member.part == "joining":
                    show(f"{member.node_id} has {member.match_index + 1} of {last + 1} entries")
