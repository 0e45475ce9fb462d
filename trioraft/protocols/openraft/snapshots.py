"""Snapshots: a header, then the bytes in chunks, on one client stream; one answer at the end.

Peers write bytes as an array of integers, which doubles the high ones, and take `bin` only in
newer versions: arrays are sent, both are taken. Chunks are small, because building and reading
those arrays keeps the event loop for about 20 ns per byte. A snapshot has one file on this wire,
the state machine's; what the runtime keeps beside it is left out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from trioraft.node.peers import PeerUnreachableError, SnapshotChunk
from trioraft.node.snapshots.parts import DATA_FILE, is_runtime_file
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import NO_INDEX, NodeId, SnapshotMeta
from trioraft.rpc import GRPCError, Status

from .membership import read_stored_membership, stored_membership_value
from .payload import unwrap
from .terms import leader_id, unpack_term
from .values import (
    integer,
    log_id_value,
    pack,
    read_log_id,
    read_vote,
    struct,
    unpack,
    variant,
    vote_value,
)

__all__ = [
    "CHUNK_BYTES",
    "ChunkReader",
    "decode_snapshot_header",
    "decode_snapshot_response",
    "encode_snapshot_response",
    "snapshot_messages",
]

CHUNK_BYTES = 256 << 10
_MAX_CHUNK_BYTES = 8 << 20
_MESSAGES = ("Header", "DataChunk")


async def snapshot_messages(
    request: SnapshotRequest, chunks: AsyncIterator[SnapshotChunk]
) -> AsyncGenerator[bytes]:
    """The messages of one transfer, as msgpack.

    Raises ValueError if the chunks do not add up to the size in the header, PeerUnreachableError
    for a snapshot that this wire cannot carry.
    """
    meta = request.meta
    files = [file for file in meta.files if not is_runtime_file(file.name)]
    if [file.name for file in files] != [DATA_FILE]:
        raise PeerUnreachableError("openraft peers take no snapshots of several files")
    announced = files[0].size
    yield pack(
        {
            "Header": [
                vote_value(request.term, committed=True),
                [
                    log_id_value(meta.term, meta.index),
                    stored_membership_value(meta),
                    f"snap-{meta.index}-{unpack_term(meta.term)[0]}",
                ],
                announced,
                None,  # since_ts: not incremental
            ]
        }
    )
    size = 0
    async for file, data in chunks:
        if file != DATA_FILE:
            continue
        for start in range(0, len(data), CHUNK_BYTES):
            yield pack({"DataChunk": list(data[start : start + CHUNK_BYTES])})
        size += len(data)
    if size != announced:
        raise ValueError(f"a snapshot of {size} bytes, announced as {announced}")


def decode_snapshot_header(data: bytes) -> SnapshotRequest:
    """Raises ValueError, and GRPCError for an incremental snapshot, which needs a merge."""
    name, content = variant(unpack(data), _MESSAGES)
    if name != "Header":
        raise ValueError("a snapshot begins with its header")
    vote, meta, size, since = struct(content, ("vote", "meta", "data_size", "since_ts"), required=3)
    if since is not None:
        raise GRPCError(Status.UNAVAILABLE, "incremental snapshots are not supported")
    term, committed = read_vote(vote)
    if not committed:
        raise ValueError("the sender's vote is not committed: it leads nothing")
    last, membership, _ = struct(meta, ("last_log_id", "last_membership", "snapshot_id"))
    last_term, last_index = read_log_id(last)
    if last_index == NO_INDEX:
        raise ValueError("a snapshot of nothing")
    configuration_index, configuration = read_stored_membership(membership)
    if configuration_index > last_index:
        raise ValueError(f"membership {configuration_index} in a snapshot up to {last_index}")
    return SnapshotRequest(
        term=term,
        leader=leader_id(term),
        meta=SnapshotMeta(
            index=last_index,
            term=last_term,
            configuration=configuration,
            size=integer(size),
            configuration_index=configuration_index,
        ),
    )


def encode_snapshot_response(request: SnapshotRequest, reply: SnapshotReply) -> bytes:
    """SnapshotResponse: the leader's own vote if the snapshot is in, a higher one if not."""
    return pack([vote_value(reply.term, committed=reply.term == request.term)])


def decode_snapshot_response(
    follower: NodeId, request: SnapshotRequest, data: bytes
) -> SnapshotReply:
    """Raises ValueError."""
    (vote,) = struct(unpack(data), ("vote",))
    term, _ = read_vote(vote)
    if term > request.term:
        return SnapshotReply(term, follower, False)
    return SnapshotReply(request.term, follower, True, request.meta.index)


class ChunkReader:
    """The file of an incoming snapshot: an async iterator over the messages behind the header.

    Iterating raises ValueError for what is no chunk, and GRPCError DATA_LOSS when the chunks do
    not add up to the announced size.
    """

    def __init__(self, stream: Any, size: int) -> None:
        self._stream = stream
        self._missing = size
        self._empty = not size  # an empty file has a chunk, too

    def __aiter__(self) -> ChunkReader:
        return self

    async def __anext__(self) -> SnapshotChunk:
        if self._empty:
            self._empty = False
            return SnapshotChunk(DATA_FILE, b"")
        body: bytes | None = await self._stream.recv_message()
        if body is None:
            if self._missing:
                raise self._damaged(f"{self._missing} bytes are missing")
            raise StopAsyncIteration
        name, content = variant(unpack(unwrap(body), _MAX_CHUNK_BYTES), _MESSAGES)
        if name != "DataChunk":
            raise ValueError("a second header in a snapshot")
        data = _read_bytes(content)
        self._missing -= len(data)
        if self._missing < 0:
            raise self._damaged(f"{-self._missing} bytes too many")
        return SnapshotChunk(DATA_FILE, data)

    def _damaged(self, how: str) -> GRPCError:
        return GRPCError(Status.DATA_LOSS, f"snapshot: {how}")


def _read_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, list):
        raise ValueError(f"{type(value).__name__} where bytes are expected")
    try:
        return bytes(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not bytes: {error}") from None
