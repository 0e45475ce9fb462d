"""Appends, votes and their answers as messages of `schema/local/link.proto`, and back."""

from __future__ import annotations

from trioraft._proto.local import link_pb2 as pb
from trioraft.raft.messages import AppendReply, AppendRequest, VoteReply, VoteRequest
from trioraft.raft.types import NO_INDEX, Entry, EntryKind, NodeId, Session

__all__ = [
    "decode_append",
    "decode_reply",
    "decode_term",
    "decode_vote",
    "decode_vote_reply",
    "encode_append",
    "encode_reply",
    "encode_term",
    "encode_vote",
    "encode_vote_reply",
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


def encode_append(group_id: bytes, request: AppendRequest, number: int = 0) -> pb.GroupAppend:
    """A heartbeat has the number 0."""
    return pb.GroupAppend(
        group_id=group_id,
        term=encode_term(request.term),
        prev_index=request.prev_index,
        prev_term=encode_term(request.prev_term),
        commit=request.commit,
        round=request.round,
        number=number,
        entries=[_encode_entry(entry) for entry in request.entries],
    )


def _encode_entry(entry: Entry) -> pb.GroupEntry:
    message = pb.GroupEntry(term=encode_term(entry.term), kind=entry.kind, data=entry.data)
    if entry.session is not None:
        message.session.client_id, message.session.call_id = entry.session
    return message


def decode_append(leader: NodeId, message: pb.GroupAppend) -> AppendRequest:
    """Raises ValueError for indices, terms or kinds of entries that cannot be, and for a heartbeat
    with entries."""
    if message.prev_index < NO_INDEX or message.commit < NO_INDEX:
        raise ValueError(f"an append at {message.prev_index}, commit {message.commit}")
    if message.entries and not message.number:
        raise ValueError(f"a heartbeat with {len(message.entries)} entries")
    return AppendRequest(
        decode_term(message.term),
        leader,
        message.prev_index,
        decode_term(message.prev_term),
        tuple(
            _decode_entry(index, entry)
            for index, entry in enumerate(message.entries, message.prev_index + 1)
        ),
        message.commit,
        message.round,
        heartbeat=not message.number,
    )


def _decode_entry(index: int, message: pb.GroupEntry) -> Entry:
    session = None
    if message.HasField("session"):
        session = Session(message.session.client_id, message.session.call_id)
    term = decode_term(message.term)
    return Entry(term, index, EntryKind(message.kind), message.data, session)


def encode_reply(group_id: bytes, reply: AppendReply, number: int = 0) -> pb.GroupAppendReply:
    return pb.GroupAppendReply(
        group_id=group_id,
        term=encode_term(reply.term),
        success=reply.success,
        match_index=reply.match_index,
        rejected_prev=reply.rejected_prev,
        hint_index=reply.hint_index,
        hint_term=encode_term(reply.hint_term),
        commit=reply.commit,
        round=reply.round,
        number=number,
    )


def decode_reply(follower: NodeId, message: pb.GroupAppendReply) -> AppendReply:
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
        heartbeat=not message.number,
    )


def encode_vote(group_id: bytes, number: int, request: VoteRequest) -> pb.GroupVote:
    return pb.GroupVote(
        group_id=group_id,
        number=number,
        term=encode_term(request.term),
        last_index=request.last_index,
        last_term=encode_term(request.last_term),
        pre=request.pre,
        transfer=request.transfer,
    )


def decode_vote(candidate: NodeId, message: pb.GroupVote) -> VoteRequest:
    """Raises ValueError for an index or terms that cannot be."""
    if message.last_index < NO_INDEX:
        raise ValueError(f"a candidate with a log up to {message.last_index}")
    return VoteRequest(
        decode_term(message.term),
        candidate,
        message.last_index,
        decode_term(message.last_term),
        pre=message.pre,
        transfer=message.transfer,
    )


def encode_vote_reply(number: int, reply: VoteReply) -> pb.GroupVoteReply:
    return pb.GroupVoteReply(
        number=number,
        term=encode_term(reply.term),
        granted=reply.granted,
        leader_id=reply.leader or "",
        last_index=reply.last_index,
        last_term=encode_term(reply.last_term),
        shutdown=reply.shutdown,
    )


def decode_vote_reply(voter: NodeId, pre: bool, message: pb.GroupVoteReply) -> VoteReply:
    """pre: what was asked. Raises ValueError for an index or terms that cannot be."""
    if message.last_index < NO_INDEX:
        raise ValueError(f"a voter with a log up to {message.last_index}")
    return VoteReply(
        decode_term(message.term),
        voter,
        message.granted,
        pre=pre,
        leader=message.leader_id or None,
        last_index=message.last_index,
        last_term=decode_term(message.last_term),
        shutdown=message.shutdown,
    )
