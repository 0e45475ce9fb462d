"""The envelope: msgpack in RaftPayload.data.

Some peers wrap every message body in a zstd frame without saying so in the headers. A protobuf
RaftPayload begins with 0a, so such a body is recognized, and refused with a clear message.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from trioraft._proto.openraft.raft_pb2 import RaftPayload
from trioraft.protocols.protobuf import prefix
from trioraft.rpc import Encoded

__all__ = ["EMPTY", "MAX_MESSAGE_BYTES", "unwrap", "wrap"]

#: Peers accept no message above 4 MiB, but snapshot chunks of theirs may reach twice that.
MAX_MESSAGE_BYTES = 8 << 20

#: RaftEmpty: the answer of TransferLeader.
EMPTY = Encoded(b"")

_DATA = 1  # RaftPayload.data
_ZSTD = b"\x28\xb5\x2f\xfd"


def wrap(*parts: bytes) -> Encoded:
    """A RaftPayload of the parts, one after the other, ready to be sent."""
    size = sum(map(len, parts))
    return Encoded(b"".join([prefix(_DATA, size), *parts]) if size else b"")


def unwrap(body: bytes) -> bytes:
    """The msgpack in a message body. Raises ValueError."""
    if body.startswith(_ZSTD):
        raise ValueError(
            "the message body is compressed with zstd; this version takes plain protobuf bodies"
        )
    try:
        return RaftPayload.FromString(body).data
    except DecodeError as error:
        raise ValueError(f"not a RaftPayload: {error}") from None
