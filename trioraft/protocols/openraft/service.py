"""Serving peers: the RaftService. It has no group ids, so it serves the host's only group."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioraft.node.peers import PeerHandler, PeerRouter, UnknownGroupError
from trioraft.protocols.acked import AckedIndex
from trioraft.protocols.calls import AppendCall, AppendStalledError
from trioraft.raft.errors import OverloadedError, TrioraftError
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.rpc import Cardinality, Encoded, GRPCError, Handler, Status

from .messages import (
    decode_append,
    decode_transfer,
    decode_vote,
    encode_append_response,
    encode_append_result,
    encode_vote_reply,
)
from .payload import EMPTY, unwrap, wrap
from .snapshots import ChunkReader, decode_snapshot_header, encode_snapshot_response

if TYPE_CHECKING:
    from trioraft.rpc import ServerStream

__all__ = ["SERVICE", "RaftService"]

SERVICE = "/coordinode.v1.replication.RaftService/"

_GROUP = b""  # the only one


class RaftService:
    """The service that openraft peers call."""

    def __init__(self, router: PeerRouter) -> None:
        self._router = router
        self._acked = AckedIndex()

    def __mapping__(self) -> dict[str, Handler]:
        # Encoded on both sides: bodies must be looked at before they are parsed (`unwrap`).
        def handler(function: Any, cardinality: Cardinality) -> Handler:
            return Handler(function, cardinality, Encoded, Encoded)

        return {
            SERVICE + "Vote": handler(self._vote, Cardinality.UNARY_UNARY),
            SERVICE + "AppendEntries": handler(self._append, Cardinality.UNARY_UNARY),
            SERVICE + "StreamAppend": handler(self._stream_append, Cardinality.STREAM_STREAM),
            SERVICE + "Snapshot": handler(self._snapshot, Cardinality.STREAM_UNARY),
            SERVICE + "TransferLeader": handler(self._transfer, Cardinality.UNARY_UNARY),
        }

    async def _vote(self, stream: ServerStream[Any, Any]) -> None:
        async def answer(handler: PeerHandler, data: bytes) -> Encoded:
            return wrap(encode_vote_reply(await handler.handle_vote(decode_vote(data))))

        await self._unary(stream, answer)

    async def _append(self, stream: ServerStream[Any, Any]) -> None:
        """The unary form, which newer peers do not use."""

        async def answer(handler: PeerHandler, data: bytes) -> Encoded:
            request = decode_append(data)
            answered = trio.Event()
            replies: list[AppendReply] = []

            def reply(given: AppendReply) -> None:
                replies.append(given)
                answered.set()

            mark_heartbeat(request, self._acked)
            handler.handle_append(request, reply)
            handler.settle()
            await answered.wait()
            self._acked.note(_GROUP, replies[0])
            return wrap(encode_append_response(request, replies[0]))

        await self._unary(stream, answer)

    async def _stream_append(self, stream: ServerStream[Any, Any]) -> None:
        # Peers wait for the headers under a timeout of their own.
        await stream.send_initial_metadata()
        with _statuses():
            await OpenraftAppendCall(stream, self._router.only(), self._acked).serve()

    async def _snapshot(self, stream: ServerStream[Any, Any]) -> None:
        with _statuses():
            body = await stream.recv_message()
            if body is None:
                raise ValueError("a snapshot begins with its header")
            request = decode_snapshot_header(unwrap(body))
            chunks = ChunkReader(stream, request.meta.size)
            reply = await self._router.only().handle_snapshot(request, chunks)
            if not reply.success and reply.term <= request.term:
                raise GRPCError(Status.INTERNAL, "the snapshot was not installed")
            await stream.send_message(wrap(encode_snapshot_response(request, reply)))

    async def _transfer(self, stream: ServerStream[Any, Any]) -> None:
        async def answer(handler: PeerHandler, data: bytes) -> Encoded:
            request, target = decode_transfer(data)
            # Every voter is told, so that it lets go of its lease; an election that follows says
            # that it is a transfer, so others than the target have nothing to do.
            if target == handler.node_id and not await handler.handle_start_election(request):
                raise GRPCError(
                    Status.INTERNAL, "transfer_leader rejected: not a caught-up follower of it"
                )
            return EMPTY

        await self._unary(stream, answer)

    async def _unary(
        self,
        stream: ServerStream[Any, Any],
        answer: Callable[[PeerHandler, bytes], Awaitable[Encoded]],
    ) -> None:
        with _statuses():
            body = await stream.recv_message()
            if body is None:
                raise ValueError("a call without a request")
            await stream.send_message(await answer(self._router.only(), unwrap(body)))


class OpenraftAppendCall(AppendCall):
    """One StreamAppend: answers in the order of the requests, and an end behind the first Err."""

    def __init__(
        self, stream: ServerStream[Any, Any], handler: PeerHandler, acked: AckedIndex
    ) -> None:
        super().__init__(stream)
        self._handler = handler
        self._acked = acked
        self._waiting: deque[_Answer] = deque()

    def take(self, message: bytes) -> PeerHandler:
        request = decode_append(unwrap(message))
        mark_heartbeat(request, self._acked)
        answer = _Answer()
        self._waiting.append(answer)
        self._handler.handle_append(request, partial(self._reply, request, answer))
        return self._handler

    def _reply(
        self, request: AppendRequest, answer: _Answer, reply: AppendReply
    ) -> Callable[[], None]:
        self._acked.note(_GROUP, reply)
        answer.data, answer.ok = encode_append_result(request, reply)
        waiting = self._waiting
        while waiting and waiting[0].data:
            first = waiting.popleft()
            self.send(wrap(first.data))
            if not first.ok:
                waiting.clear()
                self.finish()
        return self._stream.flush


class _Answer:
    """The place of one answer in the order of the stream; `data` is empty until it is there."""

    __slots__ = ("data", "ok")

    def __init__(self) -> None:
        self.data = b""
        self.ok = True


def mark_heartbeat(request: AppendRequest, acked: AckedIndex) -> None:
    """An answer to an empty append means "durable up to there", unless that was said before."""
    request.heartbeat = not request.entries and acked.covers(_GROUP, request)


@contextmanager
def _statuses() -> Iterator[None]:
    """What a request may raise, as the status that openraft's service gives for it."""
    try:
        yield
    except ValueError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
    except OverloadedError as error:
        raise GRPCError(Status.RESOURCE_EXHAUSTED, str(error)) from error
    except (UnknownGroupError, AppendStalledError) as error:
        raise GRPCError(Status.UNAVAILABLE, str(error)) from error
    except TrioraftError as error:
        raise GRPCError(Status.INTERNAL, str(error)) from error
