"""The serving side of trioraft's own protocol: writes, reads, read indices, status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from trioraft._proto.local.node_grpc import NodeServiceBase
from trioraft._proto.local.node_pb2 import GroupStatus as GroupStatusMessage
from trioraft._proto.local.node_pb2 import MemberStatus as MemberStatusMessage
from trioraft._proto.local.node_pb2 import (
    ProposeReply,
    ProposeRequest,
    QueryReply,
    QueryRequest,
    ReadIndexReply,
    ReadIndexRequest,
    StatusReply,
    StatusRequest,
)
from trioraft.node.status import GroupStatus
from trioraft.raft.errors import TrioraftError
from trioraft.raft.types import Session
from trioraft.rpc import GRPCError, Status

from .errors import status_of

if TYPE_CHECKING:
    from grpclib.server import Stream

T = TypeVar("T")
S = TypeVar("S")

__all__ = ["GroupAccess", "NodeAccess", "NodeService", "status_message"]


class GroupAccess(Protocol):
    """What the service needs of one group."""

    async def propose(
        self, data: bytes, *, session: Session | None = None, forward: bool = True
    ) -> bytes: ...

    async def query(self, request: bytes, *, linearizable: bool = True) -> bytes: ...

    async def read_index(self) -> int: ...


class NodeAccess(Protocol):
    """What the service needs of the node."""

    def access(self, group_id: bytes) -> GroupAccess:
        """The group, or the only one for b"". Raises UnknownGroupError."""

    def status_reply(self) -> StatusReply: ...


class NodeService(NodeServiceBase):
    """Serves `schema/local/node.proto`. Every error carries its class in a trailer."""

    def __init__(self, node: NodeAccess) -> None:
        self._node = node

    async def Propose(self, stream: Stream[ProposeRequest, ProposeReply]) -> None:
        request = await _request(stream)
        session = None
        if request.client_id:
            session = Session(request.client_id, request.call_id)
        try:
            group = self._node.access(request.group_id)
            reply = await group.propose(
                request.data, session=session, forward=not request.forwarded
            )
        except TrioraftError as error:
            await _refuse(stream, error)
        else:
            await stream.send_message(ProposeReply(data=reply))

    async def Query(self, stream: Stream[QueryRequest, QueryReply]) -> None:
        request = await _request(stream)
        try:
            group = self._node.access(request.group_id)
            reply = await group.query(request.data, linearizable=not request.stale)
        except TrioraftError as error:
            await _refuse(stream, error)
        else:
            await stream.send_message(QueryReply(data=reply))

    async def ReadIndex(self, stream: Stream[ReadIndexRequest, ReadIndexReply]) -> None:
        request = await _request(stream)
        try:
            index = await self._node.access(request.group_id).read_index()
        except TrioraftError as error:
            await _refuse(stream, error)
        else:
            await stream.send_message(ReadIndexReply(index=index))

    async def Status(self, stream: Stream[StatusRequest, StatusReply]) -> None:
        await _request(stream)
        await stream.send_message(self._node.status_reply())


async def _request(stream: Stream[T, S]) -> T:
    request = await stream.recv_message()
    if request is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "the call has no request message")
    return request


async def _refuse(stream: Stream[T, S], error: TrioraftError) -> None:
    status, trailers = status_of(error)
    await stream.send_trailing_metadata(status=status, status_message=str(error), metadata=trailers)


def status_message(status: GroupStatus) -> GroupStatusMessage:
    """A group's status as its wire message."""
    return GroupStatusMessage(
        group_id=status.group_id,
        role=status.role,
        term=str(status.term),
        leader_id=status.leader or "",
        last_index=status.last_index,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        snapshot_index=status.snapshot_index,
        bytes_on_disk=status.bytes_on_disk,
        members=[
            MemberStatusMessage(
                node_id=member.id,
                address=member.address,
                voter=member.voter,
                match_index=member.match_index,
                part=member.part,
                priority=member.priority,
            )
            for member in status.members
        ],
        machine=status.machine,
        failure=status.failure or "",
    )
