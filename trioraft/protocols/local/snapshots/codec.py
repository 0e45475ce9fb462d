"""Headers and outcomes of snapshot transfers as messages of `schema/local/snapshot.proto`."""

from __future__ import annotations

import struct
from zlib import crc32

from trioraft._proto.local import snapshot_pb2 as pb
from trioraft.node.snapshots.parts import MAX_FILES, check_file_name
from trioraft.protocols.local.link.codec import decode_term, encode_term
from trioraft.protocols.protobuf import prefix
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import NO_INDEX, Configuration, NodeId, SnapshotFile, SnapshotMeta
from trioraft.rpc import Encoded

__all__ = [
    "decode_header",
    "decode_outcome",
    "encode_chunk",
    "encode_header",
    "encode_outcome",
]

_CHECKSUM = struct.Struct("<BI")
_CHECKSUM_TAG = 3 << 3 | 5  # SnapshotRequest.checksum, fixed32
_DATA = 2  # SnapshotRequest.data
_MAX_SIZE = 1 << 62  # bytes of a snapshot


def encode_header(group_id: bytes, request: SnapshotRequest) -> pb.SnapshotHeader:
    meta = request.meta
    return pb.SnapshotHeader(
        group_id=group_id,
        term=encode_term(request.term),
        leader=request.leader,
        index=meta.index,
        index_term=encode_term(meta.term),
        configuration=meta.configuration.encode(),
        configuration_index=meta.configuration_index,
        files=[pb.SnapshotFile(name=f.name, size=f.size, checksum=f.checksum) for f in meta.files],
        notice=request.notice,
    )


def decode_header(message: pb.SnapshotHeader) -> SnapshotRequest:
    """Raises ValueError for a snapshot that cannot be."""
    if message.index < 0 or not NO_INDEX <= message.configuration_index <= message.index:
        raise ValueError(
            f"a snapshot at {message.index} with configuration {message.configuration_index}"
        )
    if not 0 < len(message.files) <= MAX_FILES:
        raise ValueError(f"a snapshot of {len(message.files)} files")
    files = tuple(SnapshotFile(check_file_name(f.name), f.size, f.checksum) for f in message.files)
    if len({file.name for file in files}) < len(files):
        raise ValueError("a snapshot with two files of one name")
    size = sum(file.size for file in files)
    if size > _MAX_SIZE:
        raise ValueError(f"a snapshot of {size} bytes")
    meta = SnapshotMeta(
        message.index,
        decode_term(message.index_term),
        Configuration.decode(message.configuration),
        size,
        message.configuration_index,
        files,
    )
    return SnapshotRequest(decode_term(message.term), message.leader, meta, message.notice)


def encode_chunk(data: bytes) -> Encoded:
    """A SnapshotRequest with `data` and its checksum, built with one copy of it."""
    checksum = _CHECKSUM.pack(_CHECKSUM_TAG, crc32(data))
    return Encoded(b"".join((checksum, prefix(_DATA, len(data)), data)))


def encode_outcome(reply: SnapshotReply) -> pb.SnapshotOutcome:
    return pb.SnapshotOutcome(
        term=encode_term(reply.term), success=reply.success, index=reply.index
    )


def decode_outcome(follower: NodeId, message: pb.SnapshotOutcome) -> SnapshotReply:
    """Raises ValueError."""
    if message.index < NO_INDEX:
        raise ValueError(f"an outcome at index {message.index}")
    return SnapshotReply(decode_term(message.term), follower, message.success, message.index)
