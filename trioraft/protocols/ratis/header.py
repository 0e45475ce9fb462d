"""What every server request and reply carries: who, to whom, in which group; and log positions.

"No entry" is index -1 in the core. On the wire it is an unset TermIndexProto in requests, an
explicit (0, -1) in a voter's reply, and -1 in plain index fields.
"""

from __future__ import annotations

from dataclasses import dataclass

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.raft.types import NO_INDEX, NO_TERM, NodeId

from .members import check_peer_id

__all__ = [
    "GROUP_ID_BYTES",
    "Route",
    "check_group_id",
    "check_term",
    "encode_position",
    "read_position",
    "reply_header",
]

GROUP_ID_BYTES = 16
MAX_TERM = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Route:
    """From one node to another, in one group: the header of every server request."""

    group_id: bytes
    sender: bytes
    receiver: bytes

    @classmethod
    def between(cls, group_id: bytes, sender: NodeId, receiver: NodeId) -> Route:
        """Raises ValueError for a group id that is not 16 bytes and for an empty node id."""
        if len(group_id) != GROUP_ID_BYTES:
            raise ValueError(f"group id of {len(group_id)} bytes: must be {GROUP_ID_BYTES}")
        return cls(group_id, check_peer_id(sender), check_peer_id(receiver))

    def header(self, call_id: int = 0) -> pb.RaftRpcRequestProto:
        return pb.RaftRpcRequestProto(
            requestorId=self.sender,
            replyId=self.receiver,
            raftGroupId=pb.RaftGroupIdProto(id=self.group_id),
            callId=call_id,
        )


def check_group_id(header: pb.RaftRpcRequestProto) -> bytes:
    """The 16-byte group id of a request. Raises ValueError for any other length."""
    group_id: bytes = header.raftGroupId.id
    if len(group_id) != GROUP_ID_BYTES:
        raise ValueError(f"group id of {len(group_id)} bytes: must be {GROUP_ID_BYTES}")
    return group_id


def reply_header(
    request: pb.RaftRpcRequestProto, node_id: NodeId, *, success: bool, echo_call_id: bool = True
) -> pb.RaftRpcReplyProto:
    """The header of a reply. `success` must agree with the reply's result."""
    return pb.RaftRpcReplyProto(
        requestorId=request.requestorId,
        replyId=node_id.encode(),
        raftGroupId=request.raftGroupId,
        callId=request.callId if echo_call_id else 0,
        success=success,
    )


def check_term(term: int) -> int:
    """A term is a Java long that is not negative. Raises ValueError."""
    if term > MAX_TERM:
        raise ValueError(f"term {term}: must be below 2^63")
    return term


def encode_position(term: int, index: int) -> pb.TermIndexProto | None:
    """None, an unset field, for "no entry"."""
    return None if index == NO_INDEX else pb.TermIndexProto(term=term, index=index)


def read_position(proto: pb.TermIndexProto) -> tuple[int, int]:
    """(index, term). Terms start at 1, so term 0 means "no entry", whatever the index says."""
    if not proto.term:
        return NO_INDEX, NO_TERM
    check_term(proto.term)
    if proto.index < 0:
        raise ValueError(f"entry index {proto.index} in term {proto.term}")
    return proto.index, proto.term
