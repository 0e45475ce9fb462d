"""The calling side: how a follower gets a write or a read index from its leader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import ProposeRequest, ReadIndexRequest, WatchRequest
from trioraft.node import WriteResult
from trioraft.node.peers import PeerUnreachableError
from trioraft.raft.errors import ForeignLeaderError, ProposalDroppedError
from trioraft.raft.types import Member, ReplicationLevel, Session
from trioraft.rpc import Channel, GRPCError, Status

from .calling import AnswerLostError, call

__all__ = ["GrpcForwarder"]


class ForeignReadIndex(Protocol):
    """`Dialect.read_index` of one group."""

    async def __call__(self, *, leader: Member, channel: Channel) -> int: ...


class GrpcForwarder:
    """Implements `node.Forwarder` for one group over the host's peer channels.

    timeout: seconds that a forwarded call may take; the caller's own deadline counts too.
    foreign_read_index: asks a leader that does not know trioraft's own protocol.
    """

    def __init__(
        self,
        group_id: bytes,
        channel_to: Callable[[Member], Channel],
        timeout: float,
        foreign_read_index: ForeignReadIndex,
    ) -> None:
        self._group_id = group_id
        self._channel_to = channel_to
        self._timeout = timeout
        self._foreign_read_index = foreign_read_index

    async def write(self, leader: Member, data: bytes, session: Session | None) -> WriteResult:
        request = ProposeRequest(group_id=self._group_id, data=data, forwarded=True)
        if session is not None:
            request.client_id = session.client_id
            request.call_id = session.call_id
        stub = NodeServiceStub(self._channel_to(leader))
        try:
            reply = await self._call(leader, stub.Propose, request)
        except AnswerLostError as error:
            raise ProposalDroppedError(
                f"forwarding to the leader {leader.id} broke off ({error}); "
                "the write may or may not take effect"
            ) from error
        return WriteResult(reply.data, reply.index)

    async def read_index(self, leader: Member) -> int:
        channel = self._channel_to(leader)
        stub = NodeServiceStub(channel)
        request = ReadIndexRequest(group_id=self._group_id)
        try:
            reply = await self._call(leader, stub.ReadIndex, request)
        except ForeignLeaderError:
            return await self._foreign_read_index(leader=leader, channel=channel)
        index: int = reply.index
        return index

    async def watch(self, leader: Member, index: int, level: ReplicationLevel) -> int | None:
        request = WatchRequest(
            group_id=self._group_id, index=index, level=level.name, forwarded=True
        )
        stub = NodeServiceStub(self._channel_to(leader))
        try:
            reply = await self._call(leader, stub.Watch, request)
        except PeerUnreachableError as error:
            cause = error.__cause__
            if isinstance(cause, GRPCError) and cause.status is Status.DEADLINE_EXCEEDED:
                return None
            raise
        reached: int = reply.index
        return reached

    async def _call(self, leader: Member, method: Any, request: Any) -> Any:
        try:
            return await call(method, request, self._timeout)
        except PeerUnreachableError as error:
            cause = error.__cause__
            if isinstance(cause, GRPCError) and cause.status is Status.UNIMPLEMENTED:
                raise ForeignLeaderError(
                    leader.id,
                    f"the leader {leader.id} is no trioraft and takes nothing from followers; "
                    "nothing has happened. Ask it with its own client",
                ) from error
            raise
