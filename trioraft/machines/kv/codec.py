"""Commands, queries and replies of the key-value machine as bytes.

A command or query is one tag byte and a serialized etcd request; a service puts the tag in front
of the bytes it received and never encodes a request again. A reply is the revision (8 bytes,
big endian, never negative) and the serialized response without its header (field 1): the
service that knows cluster, member and term puts the header's bytes in front, which is the
canonical order. An error is the byte 0xFF, which no revision starts with, the gRPC status
code (1 byte) and the message in UTF-8. Errors are replies because every replica must
come to the same one.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from .errors import KvError

__all__ = ["Reply", "Tag", "decode_reply", "encode_error", "encode_reply"]

_ERROR = 0xFF
_REVISION_BYTES = 8


class Tag(IntEnum):
    """First byte of a command (PUT to COMPACT) or of a query (RANGE to REVISION).

    These bytes are in the logs of running clusters: a number is never given a new meaning.
    """

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    RANGE = 16
    READ_TXN = 17
    HASH_KV = 18
    REVISION = 19

    def encode(self, request: bytes) -> bytes:
        """The command or query for a serialized request."""
        return _TAG_BYTES[self] + request


_TAG_BYTES = {tag: bytes((tag,)) for tag in Tag}


class Reply(NamedTuple):
    """A reply of the machine: the store's revision, and the response without its header."""

    revision: int
    body: bytes


def encode_reply(revision: int, body: bytes = b"") -> bytes:
    """The reply to a request that was carried out."""
    return revision.to_bytes(_REVISION_BYTES, "big") + body


def encode_error(error: KvError) -> bytes:
    """The reply to a request that was refused."""
    return bytes((_ERROR, error.status)) + error.message.encode()


def decode_reply(data: bytes) -> Reply:
    """Split a reply. Raises the KvError it carries, ValueError if it is not a reply at all."""
    if len(data) >= 2 and data[0] == _ERROR:
        raise KvError(data[1], data[2:].decode())
    if len(data) < _REVISION_BYTES:
        raise ValueError(f"not a reply of the key-value machine: {data!r}")
    return Reply(int.from_bytes(data[:_REVISION_BYTES], "big"), data[_REVISION_BYTES:])
