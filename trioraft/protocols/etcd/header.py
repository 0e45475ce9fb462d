"""The response header as bytes, put in front of a body that was encoded elsewhere.

Every response message of the API has its ResponseHeader as field 1, so header and body
concatenated are the canonical encoding of the whole message, and no reply is serialized twice.
"""

from __future__ import annotations

from trioraft.protocols.protobuf import varint

from .backend import Backend

__all__ = ["Header"]

# Field number << 3 | wire type, as single bytes (protobuf encoding guide).
_HEADER = b"\x0a"
_CLUSTER_ID = b"\x08"
_MEMBER_ID = b"\x10"
_REVISION = b"\x18"
_RAFT_TERM = b"\x20"


def _field(tag: bytes, value: int) -> bytes:
    """A varint field; proto3 leaves zero out."""
    return tag + varint(value) if value else b""


class Header:
    """Encodes this node's response headers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ids = _field(_CLUSTER_ID, backend.cluster_id) + _field(_MEMBER_ID, backend.member_id)
        self._term = 0
        self._term_field = b""

    def encode(self, revision: int = 0) -> bytes:
        """Field 1 of a response. Calls that do not touch the store leave `revision` 0."""
        term = self._backend.term
        if term != self._term:
            self._term, self._term_field = term, _field(_RAFT_TERM, term)
        header = self._ids + _field(_REVISION, revision) + self._term_field
        # At most 43 bytes: the length is one byte too.
        return _HEADER + bytes((len(header),)) + header
