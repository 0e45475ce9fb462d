"""InstallSnapshot in chunk mode, the follower's end: a stream of chunks as a stream of bytes.

Chunks may be of any size and in any number per message, but of one file only, since a snapshot
is one stream of bytes here.
"""

from __future__ import annotations

import hashlib
from typing import Any

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.raft.types import NO_INDEX, NodeId, SnapshotMeta, SnapshotRequest

from .failures import IO_EXCEPTION, RatisError
from .header import check_term, read_position, reply_header
from .members import decode_configuration, decode_peer_id
from .snapshot import INSTALLED

__all__ = ["ChunkReader", "decode_snapshot_header"]


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
    return SnapshotRequest(term=check_term(message.leaderTerm), leader=leader, meta=meta)


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
        success = result in INSTALLED
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
