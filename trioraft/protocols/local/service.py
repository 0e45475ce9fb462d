"""The serving side of trioraft's own protocol: writes, reads, read indices, status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from trioraft._proto.local.node_grpc import NodeServiceBase
from trioraft._proto.local.node_pb2 import GroupStatus as GroupStatusMessage
from trioraft._proto.local.node_pb2 import MemberStatus as MemberStatusMessage
from trioraft._proto.local.node_pb2 import (
    OpenSessionReply,
    OpenSessionRequest,
    ProposeReply,
    ProposeRequest,
    QueryReply,
    QueryRequest,
    ReadIndexReply,
    ReadIndexRequest,
    StatusReply,
    StatusRequest,
    WatchReply,
    WatchRequest,
)
from trioraft.node import WriteResult
from trioraft.node.status import GroupStatus
from trioraft.raft.errors import ConfigurationError, TrioraftError
from trioraft.raft.types import NO_INDEX, ReplicationLevel, Session
from trioraft.rpc import GRPCError, Status

from .errors import status_of

if TYPE_CHECKING:
    from grpclib.server import Stream

T = TypeVar("T")
S = TypeVar("S")

__all__ = ["GroupAccess", "NodeAccess", "NodeService", "status_message"]


class GroupAccess(Protocol):
    """What the service needs of one group."""

    @property
    def applied_index(self) -> int: ...

    async def write(
        self, data: bytes, *, session: Session | None = None, forward: bool = True
    ) -> WriteResult: ...

    async def query(
        self, request: bytes, *, linearizable: bool = True, min_index: int = NO_INDEX
    ) -> bytes: ...

    async def read_index(self) -> int: ...

    async def watch(self, index: int, level: ReplicationLevel, *, forward: bool = True) -> int: ...


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
            result = await group.write(request.data, session=session, forward=not request.forwarded)
        except TrioraftError as error:
            await _refuse(stream, error)
        else:
            await stream.send_message(ProposeReply(data=result.reply, index=result.index))

    async def Query(self, stream: Stream[QueryRequest, QueryReply]) -> None:
        request = await _request(stream)
        try:
            group = self._node.access(request.group_id)
            reply = await group.query(
                request.data,
                linearizable=not request.stale,
                min_index=request.min_entries - 1,
            )
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

    async def OpenSession(self, stream: Stream[OpenSessionRequest, OpenSessionReply]) -> None:
        request = await _request(stream)
        try:
            group = self._node.access(request.group_id)
        except TrioraftError as error:
            await _refuse(stream, error)
        else:
            await stream.send_message(OpenSessionReply(birth=group.applied_index + 1))

    async def Watch(self, stream: Stream[WatchRequest, WatchReply]) -> None:
        request = await _request(stream)
        try:
            level = _level(request.level)
            group = self._node.access(request.group_id)
            index = await group.watch(request.index, level, forward=not request.forwarded)
        except TrioraftError as error:
            await _refuse(stream, error)
        else:
            await stream.send_message(WatchReply(index=index))

    async def Status(self, stream: Stream[StatusRequest, StatusReply]) -> None:
        await _request(stream)
        await stream.send_message(self._node.status_reply())


def _level(number: int) -> ReplicationLevel:
    try:
        return ReplicationLevel(number)
    except ValueError:
        raise ConfigurationError(f"level {number}: there is no such replication level") from None


async def _request(stream: Stream[T, S]) -> T:
    request = await stream.recv_message()
    if request is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "the call has no request message")
    return request


async def _refuse(stream: Stream[T, S], error: TrioraftError) -> None:
    status, trailers = status_of(error)
    await stream.send_trailing_metadata(status=status, status_message=str(error), metadata=trailers)


def status_message(status: GroupStatus, name: str = "") -> GroupStatusMessage:
    """A group's status as its wire message. name: what its server calls it."""
    return GroupStatusMessage(
        name=name,
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
        elections_paused=status.elections_paused,
        resting=status.resting,
    )
