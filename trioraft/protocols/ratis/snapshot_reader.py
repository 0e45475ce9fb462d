"""InstallSnapshot in chunk mode, the follower's end: messages as a stream of chunks.

Chunks may be of any size and in any number per message. Files come one after another, as Ratis
sends them; one that is gone back to is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.node.peers import SnapshotChunk
from trioraft.node.snapshots.parts import DATA_FILE, check_file_name
from trioraft.raft.messages import SnapshotRequest
from trioraft.raft.types import NO_INDEX, NodeId, SnapshotMeta

from .failures import IO_EXCEPTION, RatisError
from .header import check_term, read_position, reply_header
from .members import decode_configuration, decode_peer_id
from .snapshot import INSTALLED, STATE_MACHINE_FOLDER

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
    """The files of an incoming snapshot: an async iterator over their chunks.

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
        self._total = 0
        self._file = _FileCheck("")
        self._pieces: Iterator[SnapshotChunk] = iter(())
        self._taken = False  # the current message's pieces were handed out

    def __aiter__(self) -> ChunkReader:
        return self

    async def __anext__(self) -> SnapshotChunk:
        while (piece := next(self._pieces, None)) is None:
            if self._taken:
                if self._message.snapshotChunk.done:
                    raise StopAsyncIteration
                await self.answer(pb.SUCCESS, self._term)
                await self._next_message()
            self._taken = True
            self._pieces = iter(self._check(self._message.snapshotChunk))
        return piece

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

    def _check(
        self, chunk: pb.InstallSnapshotRequestProto.SnapshotChunkProto
    ) -> list[SnapshotChunk]:
        pieces = []
        for piece in chunk.fileChunks:
            if piece.filename != self._file.name:
                self._file.leave()
                self._file = _FileCheck(piece.filename)
            self._file.take(piece, ends=piece.done or chunk.done)
            self._total += len(piece.data)
            pieces.append(SnapshotChunk(_local_name(piece.filename, chunk.termIndex), piece.data))
        if chunk.done and chunk.totalSize and chunk.totalSize != self._total:
            raise RatisError(
                IO_EXCEPTION, f"a snapshot of {self._total} bytes, announced as {chunk.totalSize}"
            )
        return pieces


def _local_name(name: str, position: pb.TermIndexProto) -> str:
    """Raises ValueError for what cannot be a file name here."""
    name = name.removeprefix(STATE_MACHINE_FOLDER)
    if name == f"snapshot.{position.term}_{position.index}":
        return DATA_FILE
    return check_file_name(name)


class _FileCheck:
    """Order, offsets and MD5 of the file that is arriving."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._size = 0
        self._done = not name
        self._digest = hashlib.md5(usedforsecurity=False)

    def take(self, piece: pb.FileChunkProto, *, ends: bool) -> None:
        """Raises ValueError for a piece out of order, RatisError for a damaged file."""
        if piece.offset != self._size or (self._done and self.name):
            raise ValueError(
                f"{self.name!r}: chunk at offset {piece.offset} where {self._size} must follow"
            )
        self._digest.update(piece.data)
        self._size += len(piece.data)
        self._done = ends
        if ends and piece.fileDigest and piece.fileDigest != self._digest.digest():
            raise RatisError(IO_EXCEPTION, f"the bytes of {self.name!r} do not match its MD5")

    def leave(self) -> None:
        """Another file begins. Raises ValueError if this one is not complete."""
        if not self._done:
            raise ValueError(f"another file before the end of {self.name!r}")
