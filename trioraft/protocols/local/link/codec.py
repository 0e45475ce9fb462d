"""Heartbeats and their answers as messages of `schema/local/link.proto`, and back."""

from __future__ import annotations

from trioraft._proto.local import link_pb2 as pb
from trioraft.raft.types import NO_INDEX, AppendReply, AppendRequest, NodeId

__all__ = [
    "decode_heartbeat",
    "decode_reply",
    "decode_term",
    "encode_heartbeat",
    "encode_reply",
    "encode_term",
]

_TERM_BYTES = 16  # terms have up to 128 bits


def encode_term(term: int) -> bytes:
    """Big endian, without leading zeros; b"" is term 0."""
    return term.to_bytes((term.bit_length() + 7) // 8, "big")


def decode_term(data: bytes) -> int:
    """Inverse of `encode_term`. Raises ValueError for more than 128 bits."""
    if len(data) > _TERM_BYTES:
        raise ValueError(f"a term of {len(data)} bytes; the limit is {_TERM_BYTES}")
    return int.from_bytes(data, "big")


def encode_heartbeat(group_id: bytes, request: AppendRequest) -> pb.GroupHeartbeat:
    return pb.GroupHeartbeat(
        group_id=group_id,
        term=encode_term(request.term),
        prev_index=request.prev_index,
        prev_term=encode_term(request.prev_term),
        commit=request.commit,
        round=request.round,
    )


def decode_heartbeat(leader: NodeId, message: pb.GroupHeartbeat) -> AppendRequest:
    """Raises ValueError for indices or terms that cannot be."""
    if message.prev_index < NO_INDEX or message.commit < NO_INDEX:
        raise ValueError(f"a heartbeat at {message.prev_index}, commit {message.commit}")
    return AppendRequest(
        decode_term(message.term),
        leader,
        message.prev_index,
        decode_term(message.prev_term),
        (),
        message.commit,
        message.round,
        heartbeat=True,
    )


def encode_reply(group_id: bytes, reply: AppendReply) -> pb.GroupHeartbeatReply:
    return pb.GroupHeartbeatReply(
        group_id=group_id,
        term=encode_term(reply.term),
        success=reply.success,
        match_index=reply.match_index,
        rejected_prev=reply.rejected_prev,
        hint_index=reply.hint_index,
        hint_term=encode_term(reply.hint_term),
        commit=reply.commit,
        round=reply.round,
    )


def decode_reply(follower: NodeId, message: pb.GroupHeartbeatReply) -> AppendReply:
    """Raises ValueError for indices or terms that cannot be."""
    indices = (message.match_index, message.rejected_prev, message.hint_index, message.commit)
    if min(indices) < NO_INDEX:
        raise ValueError(f"a reply with indices {indices}")
    return AppendReply(
        decode_term(message.term),
        follower,
        message.success,
        match_index=message.match_index,
        rejected_prev=message.rejected_prev,
        hint_index=message.hint_index,
        hint_term=decode_term(message.hint_term),
        commit=message.commit,
        round=message.round,
        heartbeat=True,
    )
