"""InstallSnapshot in chunk mode: a snapshot as one file, in order, with its MD5 on the last chunk.

Every chunk is answered, at most WINDOW are on their way. The file is named as Ratis's own state
machines name theirs, `sm/snapshot.<term>_<index>`. The receiver takes chunks of any size, but
only one file, since a snapshot is one stream of bytes here.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import trio

from ..._proto.ratis import raft_pb2 as pb
from ...raft.types import NO_INDEX, Member, NodeId, SnapshotMeta, SnapshotReply, SnapshotRequest
from ..calls import unreachable
from .failures import IO_EXCEPTION, RatisError
from .header import Route, read_position, reply_header
from .members import decode_configuration, decode_peer_id, encode_configuration

__all__ = ["CHUNK_BYTES", "ChunkReader", "decode_snapshot_header", "send_chunks"]

CHUNK_BYTES = 1 << 20
WINDOW = 8  # chunks that may be unanswered

_DONE = (pb.SUCCESS, pb.SNAPSHOT_INSTALLED, pb.ALREADY_INSTALLED)


# ---- sending


async def send_chunks(
    method: Any,
    peer: Member,
    route: Route,
    name: str,
    request: SnapshotRequest,
    chunks: AsyncIterator[bytes],
) -> SnapshotReply:
    """Send a snapshot on a stream of its own; `method` is the stub's installSnapshot.

    `name` tells this transfer from the sender's others. Raises PeerUnreachableError; what `chunks`
    raises comes out as it is. Cancelling it resets the stream.
    """
    async with (
        aclosing(_messages(route, name, request, chunks)) as messages,
        method.open() as stream,
    ):
        sent = answered = 0
        try:
            reply: SnapshotReply | None = None
            async for message in messages:
                with unreachable(peer):
                    await stream.send_message(message)
                    sent += 1
                    while reply is None and sent - answered >= WINDOW:
                        reply = _refusal(peer, await stream.recv_message())
                        answered += 1
                if reply is not None:
                    return reply
            with unreachable(peer):
                await stream.end()
                while reply is None and answered < sent:
                    reply = _refusal(peer, await stream.recv_message())
                    answered += 1
            return reply or SnapshotReply(request.term, peer.id, True, request.meta.index)
        finally:
            if sent:
                await stream.cancel()


def _refusal(peer: Member, reply: pb.InstallSnapshotReplyProto | None) -> SnapshotReply | None:
    """None if the chunk was taken. Raises ValueError for an answer that says neither yes nor no."""
    if reply is None:
        raise ValueError("it has ended the snapshot stream")
    if reply.result in _DONE:
        return None
    if reply.result == pb.NOT_LEADER:
        return SnapshotReply(reply.term, peer.id, False)
    raise ValueError(f"snapshot result {pb.InstallSnapshotResult.Name(reply.result)}")


async def _messages(
    route: Route, name: str, request: SnapshotRequest, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[pb.InstallSnapshotRequestProto]:
    """The transfer's messages. One piece is held back, because the last one is marked."""
    meta = request.meta
    transfer = uuid.uuid5(
        uuid.UUID(bytes=route.group_id),
        f"{route.sender!r} {name} {request.term} {meta.index} {trio.current_time()!r}",
    )
    digest = hashlib.md5(usedforsecurity=False)
    offset = number = 0
    held = b""
    async with aclosing(_pieces(chunks)) as pieces:
        async for piece in pieces:
            if held:
                yield _message(route, request, str(transfer), number, offset, held, b"")
                number += 1
                offset += len(held)
            digest.update(piece)
            held = piece
    if meta.size and offset + len(held) != meta.size:
        raise ValueError(f"a snapshot of {offset + len(held)} bytes, announced as {meta.size}")
    yield _message(route, request, str(transfer), number, offset, held, digest.digest())


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        for start in range(0, len(chunk), CHUNK_BYTES):
            yield chunk[start : start + CHUNK_BYTES]


def _message(
    route: Route,
    request: SnapshotRequest,
    transfer: str,
    number: int,
    offset: int,
    data: bytes,
    digest: bytes,
) -> pb.InstallSnapshotRequestProto:
    """One chunk; the last one is known by its digest."""
    meta = request.meta
    chunk = pb.FileChunkProto(
        filename=f"sm/snapshot.{meta.term}_{meta.index}",
        fileDigest=digest,
        chunkIndex=number,
        offset=offset,
        data=data,
        done=bool(digest),
    )
    return pb.InstallSnapshotRequestProto(
        serverRequest=route.header(),
        leaderTerm=request.term,
        snapshotChunk=pb.InstallSnapshotRequestProto.SnapshotChunkProto(
            requestId=transfer,
            requestIndex=number,
            termIndex=pb.TermIndexProto(term=meta.term, index=meta.index),
            fileChunks=[chunk],
            totalSize=meta.size,
            done=bool(digest),
        ),
        # With its index and, as Java sends it, without a term.
        lastRaftConfigurationLogEntryProto=pb.LogEntryProto(
            index=meta.configuration_index,
            configurationEntry=encode_configuration(meta.configuration),
        ),
    )


# ---- receiving


def decode_snapshot_header(message: pb.InstallSnapshotRequestProto) -> SnapshotRequest:
    """What the first chunk says about the snapshot. Raises ValueError."""
    chunk = message.snapshotChunk
    index, term = read_position(chunk.termIndex)
    if index == NO_INDEX:
        raise ValueError("a snapshot of nothing: termIndex is missing")
    last = message.lastRaftConfigurationLogEntryProto
    if last.WhichOneof("LogEntryBody") != "configurationEntry":
        raise ValueError("a snapshot without a configuration")
    if not NO_INDEX <= last.index <= index:
        raise ValueError(f"configuration index {last.index} in a snapshot up to {index}")
    meta = SnapshotMeta(
        index=index,
        term=term,
        configuration=decode_configuration(last.configurationEntry),
        size=chunk.totalSize,
        configuration_index=last.index,
    )
    leader = decode_peer_id(message.serverRequest.requestorId)
    return SnapshotRequest(term=message.leaderTerm, leader=leader, meta=meta)


class ChunkReader:
    """The bytes of an incoming snapshot: an async iterator over a stream of chunks.

    Asking for the next piece acknowledges the one before it, so the sender's window follows the
    disk. The last chunk is left unanswered: its answer says what became of the snapshot.
    Iterating raises RatisError for a transfer that is out of order, damaged or cut short.
    """

    def __init__(
        self, stream: Any, first: pb.InstallSnapshotRequestProto, node_id: NodeId, term: int
    ) -> None:
        self._stream = stream
        self._message = first
        self._node_id = node_id
        self._term = term
        self._number = 0
        self._size = 0
        self._filename = ""
        self._digest = hashlib.md5(usedforsecurity=False)
        self._taken = False  # the current message's data was handed out

    def __aiter__(self) -> ChunkReader:
        return self

    async def __anext__(self) -> bytes:
        if self._taken:
            if self._message.snapshotChunk.done:
                raise StopAsyncIteration
            await self.answer(pb.SUCCESS, self._term)
            await self._next_message()
        self._taken = True
        data = self._check(self._message.snapshotChunk)
        return data or await anext(self)

    async def drain(self) -> None:
        """Read past chunks that are of no use, answering that they are fine."""
        while not self._message.snapshotChunk.done:
            await self.answer(pb.SUCCESS, self._term)
            await self._next_message()

    async def answer(self, result: pb.InstallSnapshotResult, term: int) -> None:
        """Answer the current chunk. Waits while the sender does not read; raises GRPCError."""
        header = self._message.serverRequest
        success = result in _DONE
        reply = pb.InstallSnapshotReplyProto(
            serverReply=reply_header(header, self._node_id, success=success, echo_call_id=False),
            term=term,
            result=result,
            requestIndex=self._message.snapshotChunk.requestIndex,
        )
        await self._stream.send_message(reply)

    async def _next_message(self) -> None:
        message: pb.InstallSnapshotRequestProto | None = await self._stream.recv_message()
        if message is None:
            raise RatisError(IO_EXCEPTION, "the snapshot ended before its last chunk")
        chunk, before = message.snapshotChunk, self._message.snapshotChunk
        self._number += 1
        if chunk.requestIndex != self._number or chunk.requestId != before.requestId:
            raise ValueError(
                f"chunk {chunk.requestIndex} of transfer {chunk.requestId!r} where "
                f"{self._number} of {before.requestId!r} must follow"
            )
        self._message = message
        self._taken = False

    def _check(self, chunk: pb.InstallSnapshotRequestProto.SnapshotChunkProto) -> bytes:
        for piece in chunk.fileChunks:
            if self._size == 0:
                self._filename = self._filename or piece.filename
            if piece.filename != self._filename:
                raise ValueError(
                    f"a snapshot of several files ({self._filename!r}, {piece.filename!r}); "
                    "only one is supported"
                )
            if piece.offset != self._size:
                raise ValueError(f"chunk at offset {piece.offset} where {self._size} must follow")
            self._digest.update(piece.data)
            self._size += len(piece.data)
        if chunk.done:
            self._check_whole(chunk)
        if len(chunk.fileChunks) == 1:
            return chunk.fileChunks[0].data
        return b"".join(piece.data for piece in chunk.fileChunks)

    def _check_whole(self, chunk: pb.InstallSnapshotRequestProto.SnapshotChunkProto) -> None:
        if chunk.totalSize and chunk.totalSize != self._size:
            raise RatisError(
                IO_EXCEPTION, f"a snapshot of {self._size} bytes, announced as {chunk.totalSize}"
            )
        digest = chunk.fileChunks[-1].fileDigest if chunk.fileChunks else b""
        if digest and digest != self._digest.digest():
            raise RatisError(IO_EXCEPTION, "the snapshot's bytes do not match its MD5")
