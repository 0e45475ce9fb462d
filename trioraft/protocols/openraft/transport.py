"""Dialling out: how the group reaches one openraft peer."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Never

import trio

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
from trioraft.raft.types import Member
from trioraft.rpc import Cardinality, Encoded, GRPCError, ProtocolError, Status

from .messages import (
    decode_append_result,
    decode_vote_reply,
    encode_append,
    encode_transfer,
    encode_vote,
)
from .payload import unwrap, wrap
from .positions import Positions
from .service import SERVICE
from .snapshots import decode_snapshot_response, snapshot_messages

if TYPE_CHECKING:
    from trioraft.rpc import Channel, ClientStream

__all__ = ["OpenraftAppendStream", "OpenraftTransport"]


class OpenraftTransport:
    """A PeerTransport."""

    def __init__(self, peer: Member, entries: Channel, heartbeats: Channel) -> None:
        self._peer = peer
        self._entries = entries
        self._heartbeats = heartbeats
        self._positions = Positions()

    async def request_vote(self, request: VoteRequest) -> VoteReply:
        """Ask for a vote. Raises PeerUnreachableError, and ValueError for a pre-vote."""
        message = wrap(encode_vote(request))
        with unreachable(self._peer):
            data = unwrap(await self._call("Vote", message))
            return decode_vote_reply(self._peer.id, request, data)

    @asynccontextmanager
    async def open_append_stream(self, *, heartbeat: bool) -> AsyncIterator[OpenraftAppendStream]:
        """Open a StreamAppend; leaving the block resets it. Raises PeerUnreachableError.

        Heartbeats have a long-lived stream too, where openraft opens one for each: followers
        answer every request of a stream alike.
        """
        channel = self._heartbeats if heartbeat else self._entries
        stream = OpenraftAppendStream(channel, self._peer, self._positions)
        try:
            await stream.open()
            yield stream
        finally:
            await stream.aclose()

    async def send_snapshot(
        self, request: SnapshotRequest, chunks: AsyncIterator[SnapshotChunk]
    ) -> SnapshotReply:
        """Send a snapshot and wait until it is installed or refused.

        Raises PeerUnreachableError. What `chunks` raises comes out as it is.
        """
        async with (
            aclosing(snapshot_messages(request, chunks)) as messages,
            _calling(self._entries, self._peer, "Snapshot", Cardinality.STREAM_UNARY) as stream,
        ):
            async for message in messages:
                with unreachable(self._peer):
                    await stream.send_message(wrap(message))
            with unreachable(self._peer):
                await stream.end()
                body = await stream.recv_message()
                if body is None:
                    raise ValueError("it gives no answer to a snapshot")
                return decode_snapshot_response(self._peer.id, request, unwrap(body))

    async def start_election(self, request: StartElection) -> bool:
        """Ask the peer to campaign; False if it says that it will not."""
        message = wrap(encode_transfer(request, self._peer.id))
        with unreachable(self._peer):
            try:
                await self._call("TransferLeader", message)
            except GRPCError as error:
                if error.status is Status.INTERNAL:
                    return False
                raise
        return True

    async def _call(self, method: str, message: Encoded) -> bytes:
        call = _calling(self._heartbeats, self._peer, method, Cardinality.UNARY_UNARY)
        async with call as stream:
            await stream.send_message(message, end=True)
            body: bytes | None = await stream.recv_message()
            if body is None:
                raise ValueError(f"it gives no answer to {method}")
            return body


@asynccontextmanager
async def _calling(
    channel: Channel, peer: Member, method: str, cardinality: Cardinality
) -> AsyncIterator[ClientStream[Any, Any]]:
    """A call that is reset when the block is left, unless it is over by then.

    Raises PeerUnreachableError if it cannot begin.
    """
    async with channel.request(SERVICE + method, cardinality, Encoded, Encoded) as stream:
        with unreachable(peer):
            await stream.send_request()
        try:
            yield stream
        finally:
            await stream.cancel()


class OpenraftAppendStream:
    """An AppendStream: answers come in the order of the requests.

    A follower ends a StreamAppend behind a refusal, by design, and looks at nothing behind it. The
    next `send` opens another one.
    """

    def __init__(self, channel: Channel, peer: Member, positions: Positions) -> None:
        self._channel = channel
        self._peer = peer
        self._positions = positions
        self._pending: deque[AppendRequest] = deque()
        self._call = AsyncExitStack()
        self._stream: ClientStream[Any, Any] | None = None
        self._opened = trio.Event()

    async def open(self) -> None:
        """Begin a call. Raises PeerUnreachableError."""
        with unreachable(self._peer):
            await self._begin()

    async def _begin(self) -> ClientStream[Any, Any]:
        call = _calling(self._channel, self._peer, "StreamAppend", Cardinality.STREAM_STREAM)
        stream = self._stream = await self._call.enter_async_context(call)
        self._opened.set()
        return stream

    async def aclose(self) -> None:
        """Reset the call, if there is one. Never waits."""
        self._stream = None
        await self._call.aclose()

    async def send(self, requests: Sequence[AppendRequest]) -> None:
        """As AppendStream.send. Raises ValueError for an entry that openraft does not have."""
        messages = [self._encode(request) for request in requests]
        with unreachable(self._peer):
            for request, message in zip(requests, messages, strict=True):
                check_pending(self._pending)
                stream = self._stream or await self._begin()
                self._pending.append(request)
                try:
                    await stream.send_message(message)
                except (GRPCError, ProtocolError):
                    # A refusal that came meanwhile has ended the call and answered for this one.
                    if self._stream is stream:
                        raise

    def send_nowait(self, request: AppendRequest) -> bool:
        """As AppendStream.send_nowait; False too while a refusal stands, which `send` ends.

        Raises ValueError for an entry that openraft does not have.
        """
        if self._stream is None:
            return False
        message = self._encode(request)
        with unreachable(self._peer):
            check_pending(self._pending)
            try:
                self._stream.queue_message(message)
            except trio.WouldBlock:
                return False
        self._pending.append(request)
        return True

    def flush(self) -> None:
        """As AppendStream.flush."""
        if self._stream is not None:
            self._stream.flush()

    def _encode(self, request: AppendRequest) -> Encoded:
        self._positions.note(request)
        commit = self._positions.commit(request.commit)
        request.commit = commit[1]  # as much as is said: the answer is to that
        return wrap(*encode_append(request, commit))

    async def receive(self, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        """As AppendStream.receive; waits for the next `send` while a refusal stands."""
        refusal: AppendReply | None = None

        def arrived(bodies: list[bytes]) -> bool:
            nonlocal refusal
            replies = []
            for body in bodies:
                reply = self._match(body)
                if not reply.success:
                    refusal = reply
                    break
                replies.append(reply)
            if replies:
                take(replies)
            return refusal is None

        while True:
            await self._opened.wait()
            stream = self._stream
            assert stream is not None
            with unreachable(self._peer):
                await stream.deliver(arrived)
                if refusal is None:
                    raise ValueError("it has ended the append stream")
                dropped = await self._refused(refusal)
            take([refusal, *dropped])
            refusal = None

    def _match(self, body: bytes) -> AppendReply:
        if not self._pending:
            raise ValueError("it answers more than it was asked")
        return decode_append_result(self._peer.id, self._pending.popleft(), unwrap(body))

    async def _refused(self, refusal: AppendReply) -> list[AppendReply]:
        """The call is over. What was behind the refused request was not taken: refuse it too."""
        dropped = [
            replace(refusal, rejected_prev=request.prev_index, hint_index=request.prev_index - 1)
            for request in self._pending
        ]
        self._opened = trio.Event()
        self._pending.clear()
        await self.aclose()
        return dropped
