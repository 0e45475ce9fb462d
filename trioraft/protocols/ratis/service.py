"""Serving peers: the RaftServerProtocolService, handing requests to the groups they are for.

Nothing checks the replyId of a request: Ratis does not, and its tools invent them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.node.peers import PeerHandler, PeerRouter, UnknownGroupError
from trioraft.protocols.acked import AckedIndex
from trioraft.protocols.calls import AppendCall
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.rpc import Cardinality, GRPCError, Handler, Status

from .appends import decode_append, encode_append_reply
from .failures import GROUP_MISMATCH, REQUEST_ERRORS, RatisError, ratis_error, trailers
from .header import check_group_id, reply_header
from .notices import decode_notice, encode_notice_reply
from .read_index import answer_read_index
from .snapshot_reader import ChunkReader, decode_snapshot_header
from .votes import decode_start_election, decode_vote, encode_vote_reply

if TYPE_CHECKING:
    from trioraft.rpc import ServerStream

__all__ = ["RatisServerService"]

_SERVICE = "/ratis.grpc.RaftServerProtocolService/"


class RatisServerService:
    """The service that Ratis peers call."""

    def __init__(self, router: PeerRouter) -> None:
        self._router = router
        self._acked = AckedIndex()

    def __mapping__(self) -> dict[str, Handler]:
        unary, stream = Cardinality.UNARY_UNARY, Cardinality.STREAM_STREAM
        return {
            _SERVICE + "requestVote": Handler(
                self._request_vote, unary, pb.RequestVoteRequestProto, pb.RequestVoteReplyProto
            ),
            _SERVICE + "startLeaderElection": Handler(
                self._start_leader_election,
                unary,
                pb.StartLeaderElectionRequestProto,
                pb.StartLeaderElectionReplyProto,
            ),
            _SERVICE + "readIndex": Handler(
                self._read_index, unary, pb.ReadIndexRequestProto, pb.ReadIndexReplyProto
            ),
            _SERVICE + "appendEntries": Handler(
                self._append_entries,
                stream,
                pb.AppendEntriesRequestProto,
                pb.AppendEntriesReplyProto,
            ),
            _SERVICE + "installSnapshot": Handler(
                self._install_snapshot,
                stream,
                pb.InstallSnapshotRequestProto,
                pb.InstallSnapshotReplyProto,
            ),
        }

    async def _request_vote(self, stream: ServerStream[Any, Any]) -> None:
        async def answer(message: pb.RequestVoteRequestProto) -> pb.RequestVoteReplyProto:
            _, handler = find_group(self._router, message.serverRequest)
            reply = await handler.handle_vote(decode_vote(message))
            return encode_vote_reply(message.serverRequest, reply)

        await _unary(stream, answer)

    async def _start_leader_election(self, stream: ServerStream[Any, Any]) -> None:
        async def answer(
            message: pb.StartLeaderElectionRequestProto,
        ) -> pb.StartLeaderElectionReplyProto:
            header = message.serverRequest
            _, handler = find_group(self._router, header)
            accepted = await handler.handle_start_election(decode_start_election(message))
            return pb.StartLeaderElectionReplyProto(
                serverReply=reply_header(
                    header, handler.node_id, success=accepted, echo_call_id=False
                )
            )

        await _unary(stream, answer)

    async def _read_index(self, stream: ServerStream[Any, Any]) -> None:
        async def answer(message: pb.ReadIndexRequestProto) -> pb.ReadIndexReplyProto:
            _, handler = find_group(self._router, message.serverRequest)
            return await answer_read_index(handler, message)

        await _unary(stream, answer)

    async def _append_entries(self, stream: ServerStream[Any, Any]) -> None:
        await RatisAppendCall(stream, self._router, self._acked).run()

    async def _install_snapshot(self, stream: ServerStream[Any, Any]) -> None:
        try:
            await _receive_snapshot(stream, self._router)
        except REQUEST_ERRORS as error:
            await _fail(stream, ratis_error(error))


class RatisAppendCall(AppendCall):
    """One appendEntries stream. The first request that fails ends it, with trailers naming it."""

    def __init__(
        self, stream: ServerStream[Any, Any], router: PeerRouter, acked: AckedIndex
    ) -> None:
        super().__init__(stream)
        self._router = router
        self._acked = acked
        self._last: pb.AppendEntriesRequestProto | None = None

    async def run(self) -> None:
        """Serve the call and give it its status. Raises GRPCError for a broken stream."""
        try:
            await self.serve()
        except REQUEST_ERRORS as error:
            last = self._last
            if last is None:
                await _fail(self._stream, ratis_error(error))
                return
            call_id = last.serverRequest.callId
            await _fail(self._stream, ratis_error(error), call_id, not last.entries)

    def take(self, message: pb.AppendEntriesRequestProto) -> PeerHandler:
        self._last = message
        header = message.serverRequest
        group_id, handler = find_group(self._router, header)
        request = decode_append(message)
        request.heartbeat = not request.entries and self._acked.covers(group_id, request)
        handler.handle_append(request, partial(self._reply, group_id, header, request))
        return handler

    def _reply(
        self,
        group_id: bytes,
        header: pb.RaftRpcRequestProto,
        request: AppendRequest,
        reply: AppendReply,
    ) -> Callable[[], None]:
        self._acked.note(group_id, reply)
        return self.send(encode_append_reply(header, request, reply))


async def _receive_snapshot(stream: ServerStream[Any, Any], router: PeerRouter) -> None:
    first = await stream.recv_message()
    if first is None:
        return
    _, handler = find_group(router, first.serverRequest)
    if first.WhichOneof("InstallSnapshotRequestBody") == "notification":
        notice = decode_notice(first)
        told = await handler.handle_notice(notice)
        await stream.send_message(encode_notice_reply(first, handler.node_id, told))
        return
    request = decode_snapshot_header(first)
    reader = ChunkReader(stream, first, handler.node_id, request.term)
    reply = await handler.handle_snapshot(request, reader)
    if not reply.success:
        await reader.answer(pb.NOT_LEADER, reply.term)
        return
    await reader.drain()
    await reader.answer(pb.SUCCESS, reply.term)


def find_group(router: PeerRouter, header: pb.RaftRpcRequestProto) -> tuple[bytes, PeerHandler]:
    """The group of a request. Raises RatisError as Ratis words it, ValueError for a bad id."""
    group_id = check_group_id(header)
    try:
        return group_id, router.find(group_id)
    except UnknownGroupError:
        server = header.replyId.decode(errors="replace")
        name = f"group-{group_id[-6:].hex().upper()}"
        raise RatisError(GROUP_MISMATCH, f"{server}: {name} not found.") from None


async def _unary(stream: ServerStream[Any, Any], answer: Callable[[Any], Awaitable[Any]]) -> None:
    message = await stream.recv_message()
    if message is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "a call without a request")
    try:
        reply = await answer(message)
    except REQUEST_ERRORS as error:
        await _fail(stream, ratis_error(error), message.serverRequest.callId)
    else:
        await stream.send_message(reply)


async def _fail(
    stream: ServerStream[Any, Any],
    error: RatisError,
    call_id: int = 0,
    heartbeat: bool | None = None,
) -> None:
    await stream.send_trailing_metadata(
        status=Status.INTERNAL,
        status_message=error.message,
        metadata=trailers(error, call_id=call_id, heartbeat=heartbeat),
    )
