"""What operators ask for, over trioraft's own protocol: members, leadership, snapshots, elections.

`AdminService` is the serving side. The functions are the calling side, for tools and for nodes
that pass a request on to their leader. Errors travel as they do for writes (see `errors`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from trioraft._proto.local.admin_grpc import AdminServiceBase, AdminServiceStub
from trioraft._proto.local.admin_pb2 import (
    ChangeMembershipReply,
    ChangeMembershipRequest,
    SetElectionsReply,
    SetElectionsRequest,
    TakeSnapshotReply,
    TakeSnapshotRequest,
    TransferLeadershipReply,
    TransferLeadershipRequest,
)
from trioraft._proto.local.admin_pb2 import Member as MemberMessage
from trioraft.raft.errors import ConfigurationError, TrioraftError
from trioraft.raft.membership import ChangeMode, MembershipChange
from trioraft.raft.types import Configuration, Member, NodeId, SnapshotMeta
from trioraft.rpc import GRPCError, Status

from .calling import call
from .errors import status_of

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = [
    "AdminAccess",
    "AdminGroup",
    "AdminService",
    "change_membership",
    "decode_change",
    "encode_change",
    "set_elections",
    "take_snapshot",
    "transfer_leadership",
]


class AdminGroup(Protocol):
    """What the service needs of one group on this node."""

    async def change_membership(
        self, change: MembershipChange, *, forward: bool = True
    ) -> Configuration: ...

    async def transfer_leadership(
        self, target: NodeId | None = None, *, forward: bool = False
    ) -> NodeId: ...

    async def snapshot(self) -> SnapshotMeta: ...

    async def pause_elections(self) -> None: ...

    async def resume_elections(self) -> None: ...


class AdminAccess(Protocol):
    """What the service needs of the node."""

    def access(self, group_id: bytes) -> AdminGroup:
        """The group, or the only one for b"". Raises UnknownGroupError."""


class AdminService(AdminServiceBase):
    """Serves `schema/local/admin.proto`. Every error carries its class in a trailer."""

    def __init__(self, node: AdminAccess) -> None:
        self._node = node

    async def ChangeMembership(
        self, stream: Stream[ChangeMembershipRequest, ChangeMembershipReply]
    ) -> None:
        async def change(request: ChangeMembershipRequest) -> ChangeMembershipReply:
            group = self._node.access(request.group_id)
            now = await group.change_membership(
                decode_change(request), forward=not request.forwarded
            )
            return ChangeMembershipReply(
                voters=_encode_members(now.voters), learners=_encode_members(now.learners)
            )

        await _serve(stream, change)

    async def TransferLeadership(
        self, stream: Stream[TransferLeadershipRequest, TransferLeadershipReply]
    ) -> None:
        async def transfer(request: TransferLeadershipRequest) -> TransferLeadershipReply:
            group = self._node.access(request.group_id)
            leader = await group.transfer_leadership(
                request.target or None, forward=not request.forwarded
            )
            return TransferLeadershipReply(leader_id=leader)

        await _serve(stream, transfer)

    async def TakeSnapshot(self, stream: Stream[TakeSnapshotRequest, TakeSnapshotReply]) -> None:
        async def take(request: TakeSnapshotRequest) -> TakeSnapshotReply:
            meta = await self._node.access(request.group_id).snapshot()
            return TakeSnapshotReply(index=meta.index, size=meta.size)

        await _serve(stream, take)

    async def SetElections(self, stream: Stream[SetElectionsRequest, SetElectionsReply]) -> None:
        async def set_(request: SetElectionsRequest) -> SetElectionsReply:
            group = self._node.access(request.group_id)
            await (group.pause_elections() if request.paused else group.resume_elections())
            return SetElectionsReply()

        await _serve(stream, set_)


async def _serve(stream: Any, handle: Any) -> None:
    """One unary call; an error of trioraft becomes its status and trailer."""
    request = await stream.recv_message()
    if request is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "the call has no request message")
    try:
        reply = await handle(request)
    except TrioraftError as error:
        status, trailers = status_of(error)
        await stream.send_trailing_metadata(
            status=status, status_message=str(error), metadata=trailers
        )
    else:
        await stream.send_message(reply)


# ---- the calling side
# Each raises what the node answers, as the class that it names, and PeerUnreachableError when the
# call itself failed: what was asked for may then have happened or not.


async def change_membership(
    channel: Any,
    change: MembershipChange,
    *,
    group_id: bytes = b"",
    forwarded: bool = False,
    timeout: float | None = None,
) -> Configuration:
    """Have the members changed; returns them once the change is committed."""
    request = encode_change(change)
    request.group_id, request.forwarded = group_id, forwarded
    reply = await call(AdminServiceStub(channel).ChangeMembership, request, timeout)
    return Configuration(_decode_members(reply.voters), _decode_members(reply.learners))


async def transfer_leadership(
    channel: Any,
    target: NodeId | None,
    *,
    group_id: bytes = b"",
    forwarded: bool = False,
    timeout: float | None = None,
) -> NodeId:
    """Have leadership handed over; returns the id of who leads now."""
    request = TransferLeadershipRequest(group_id=group_id, target=target or "", forwarded=forwarded)
    reply = await call(AdminServiceStub(channel).TransferLeadership, request, timeout)
    leader: NodeId = reply.leader_id
    return leader


async def take_snapshot(
    channel: Any, *, group_id: bytes = b"", timeout: float | None = None
) -> tuple[int, int]:
    """Have the node at the other end take a snapshot; returns its index and size in bytes."""
    request = TakeSnapshotRequest(group_id=group_id)
    reply = await call(AdminServiceStub(channel).TakeSnapshot, request, timeout)
    return reply.index, reply.size


async def set_elections(
    channel: Any, *, paused: bool, group_id: bytes = b"", timeout: float | None = None
) -> None:
    """Forbid the node at the other end to stand for election, or allow it again."""
    request = SetElectionsRequest(group_id=group_id, paused=paused)
    await call(AdminServiceStub(channel).SetElections, request, timeout)


# ---- messages


def _encode_members(members: Iterable[Member]) -> list[MemberMessage]:
    return [MemberMessage(node_id=m.id, address=m.address, priority=m.priority) for m in members]


def _decode_members(messages: Iterable[MemberMessage]) -> tuple[Member, ...]:
    return tuple(Member(m.node_id, m.address, m.priority) for m in messages)


def encode_change(change: MembershipChange) -> ChangeMembershipRequest:
    """A change as a request, without the group."""
    return ChangeMembershipRequest(
        mode=change.mode.name,
        voters=_encode_members(change.voters),
        learners=_encode_members(change.learners),
        node_ids=change.ids,
        members=_encode_members(change.members),
        expected_voters=change.expected_voters,
        expected_learners=change.expected_learners,
    )


def decode_change(request: ChangeMembershipRequest) -> MembershipChange:
    """Raises ConfigurationError for a mode that this version does not know."""
    try:
        mode = ChangeMode(request.mode)
    except ValueError:
        raise ConfigurationError(f"change mode {request.mode} is not known here") from None
    return MembershipChange(
        mode,
        voters=_decode_members(request.voters),
        learners=_decode_members(request.learners),
        members=_decode_members(request.members),
        ids=tuple(request.node_ids),
        expected_voters=tuple(request.expected_voters),
        expected_learners=tuple(request.expected_learners),
    )
