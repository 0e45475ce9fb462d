"""Dialling out: how one group reaches one Ratis peer."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Never

import trio

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft._proto.ratis.grpc_grpc import RaftServerProtocolServiceStub
from trioraft.node.peers import SnapshotChunk
from trioraft.protocols.calls import check_pending, unreachable
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import NO_INDEX, NO_TERM, Member, NodeId
from trioraft.rpc import Encoded

from .appends import decode_append_reply, encode_append
from .header import Route
from .notices import send_notices
from .snapshot import send_chunks
from .votes import decode_vote_reply, encode_start_election, encode_vote

if TYPE_CHECKING:
    from trioraft.rpc import Channel, ClientStream

__all__ = ["RatisTransport"]


class RatisTransport:
    """A PeerTransport. Call ids count per transport, over both append streams, as Ratis does."""

    def __init__(
        self, group_id: bytes, self_id: NodeId, peer: Member, entries: Channel, heartbeats: Channel
    ) -> None:
        """Raises ValueError for a group id that is not 16 bytes, or an empty node id."""
        self._peer = peer
        self._route = Route.between(group_id, self_id, peer.id)
        self._channels = entries, heartbeats
        self._append_ids = itertools.count()
        self._vote_ids = itertools.count(1)
        self._snapshots = itertools.count(1)
        self._acked = _Acked()

    @cached_property
    def _entries(self) -> Any:
        return _stub(self._channels[0])  # of a thousand groups, most never need theirs

    @cached_property
    def _heartbeats(self) -> Any:
        return _stub(self._channels[1])

    async def request_vote(self, request: VoteRequest) -> VoteReply:
        """Ask for a vote or a pre-vote. Raises PeerUnreachableError."""
        message = encode_vote(self._route, next(self._vote_ids), request)
        with unreachable(self._peer):
            reply: pb.RequestVoteReplyProto = await self._heartbeats.requestVote(message)
            return decode_vote_reply(self._peer.id, request, reply)

    @asynccontextmanager
    async def open_append_stream(self, *, heartbeat: bool) -> AsyncIterator[RatisAppendStream]:
        """Open an append stream; leaving the block resets it. Raises PeerUnreachableError."""
        stub = self._heartbeats if heartbeat else self._entries
        async with stub.appendEntries.open() as stream:
            with unreachable(self._peer):
                await stream.send_request()
            try:
                yield RatisAppendStream(
                    stream, self._peer, self._route, self._append_ids, self._acked
                )
            finally:
                await stream.cancel()

    async def send_snapshot(
        self, request: SnapshotRequest, chunks: AsyncIterator[SnapshotChunk]
    ) -> SnapshotReply:
        """Send a snapshot in chunks, or tell of it, until it is installed or refused.

        Raises PeerUnreachableError. What `chunks` raises comes out as it is.
        """
        method, route = self._entries.installSnapshot, self._route
        if request.notice:
            reply = await send_notices(method, self._peer, route, request)
        else:
            name = f"{self._peer.id} {next(self._snapshots)}"
            reply = await send_chunks(method, self._peer, route, name, request, chunks)
        if reply.success:
            self._acked.note(request.term, reply.index)
        return reply

    async def start_election(self, request: StartElection) -> bool:
        """Ask the peer to campaign. Raises PeerUnreachableError."""
        message = encode_start_election(self._route, request)
        with unreachable(self._peer):
            reply: pb.StartLeaderElectionReplyProto = await self._heartbeats.startLeaderElection(
                message
            )
            return reply.serverReply.success


def _stub(channel: Channel) -> Any:
    """grpclib's generated stub is annotated with grpclib's own channel; ours fits it."""
    untyped: Any = channel
    return RaftServerProtocolServiceStub(untyped)


class _Acked:
    """The highest match index that the follower has given in the newest term of this leader."""

    __slots__ = ("index", "term")

    def __init__(self) -> None:
        self.term = NO_TERM
        self.index = NO_INDEX

    def in_term(self, term: int) -> int:
        return self.index if self.term == term else NO_INDEX

    def note(self, term: int, index: int) -> None:
        """The follower has said that it has everything up to `index`, durably."""
        self.index = max(self.in_term(term), index)
        self.term = term


class RatisAppendStream:
    """An AppendStream: requests and replies find each other by call id."""

    def __init__(
        self,
        stream: ClientStream[Any, Any],
        peer: Member,
        route: Route,
        call_ids: itertools.count[int],
        acked: _Acked,
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._route = route
        self._call_ids = call_ids
        self._acked = acked
        self._pending: dict[int, AppendRequest] = {}

    async def send(self, requests: Sequence[AppendRequest]) -> None:
        """As AppendStream.send. Raises ValueError for an entry that Ratis cannot express."""
        calls = [(next(self._call_ids), request) for request in requests]
        messages = [Encoded(encode_append(self._route, *call)) for call in calls]
        with unreachable(self._peer):
            for (call_id, request), message in zip(calls, messages, strict=True):
                check_pending(self._pending)
                self._pending[call_id] = request
                await self._stream.send_message(message)

    def send_nowait(self, request: AppendRequest) -> bool:
        """As AppendStream.send_nowait. Raises ValueError for an entry that Ratis cannot express."""
        call_id = next(self._call_ids)
        message = Encoded(encode_append(self._route, call_id, request))
        with unreachable(self._peer):
            check_pending(self._pending)
            try:
                self._stream.queue_message(message)
            except trio.WouldBlock:
                return False
        self._pending[call_id] = request
        return True

    def flush(self) -> None:
        """As AppendStream.flush."""
        self._stream.flush()

    async def receive(self, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        """As AppendStream.receive."""

        def arrived(messages: list[pb.AppendEntriesReplyProto]) -> bool:
            take([self._match(message) for message in messages])
            return True

        with unreachable(self._peer):
            await self._stream.deliver(arrived)
            raise ValueError("it has ended the append stream")

    def _match(self, message: pb.AppendEntriesReplyProto) -> AppendReply:
        request = self._pending.pop(message.serverReply.callId, None)
        if request is None:
            raise ValueError(f"it answers call {message.serverReply.callId}, which is not open")
        acked = self._acked.in_term(request.term)
        reply = decode_append_reply(self._peer.id, request, message, acked)
        if reply.success:
            self._acked.note(reply.term, reply.match_index)
        return reply
