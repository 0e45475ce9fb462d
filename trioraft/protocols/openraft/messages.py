"""Requests and answers: msgpack of openraft's messages <-> messages of the core."""

from __future__ import annotations

from typing import Any

import msgpack

from trioraft.raft.messages import AppendReply, AppendRequest, StartElection, VoteReply, VoteRequest
from trioraft.raft.types import NO_INDEX, NodeId

from .entries import encode_entry, read_entry
from .terms import leader_id, node_number
from .values import (
    boolean,
    integer,
    log_id_value,
    pack,
    read_log_id,
    read_vote,
    reader,
    struct,
    unpack,
    variant,
    vote_value,
)

__all__ = [
    "decode_append",
    "decode_append_result",
    "decode_transfer",
    "decode_vote",
    "decode_vote_reply",
    "encode_append",
    "encode_append_response",
    "encode_append_result",
    "encode_transfer",
    "encode_vote",
    "encode_vote_reply",
]

_APPEND_FIELDS = ("vote", "prev_log_id", "entries", "leader_commit")
_ARRAY_HEADERS = msgpack.Packer()

# ---- votes


def encode_vote(request: VoteRequest) -> bytes:
    """VoteRequest, in two fields unless a transfer needs the third, which old peers refuse.

    Raises ValueError for a pre-vote: the service has no call for it.
    """
    if request.pre:
        raise ValueError("openraft peers take no pre-votes")
    fields: list[Any] = [
        vote_value(request.term, committed=False),
        log_id_value(request.last_term, request.last_index),
    ]
    if request.transfer:
        fields.append(True)
    return pack(fields)


def decode_vote(data: bytes) -> VoteRequest:
    """Raises ValueError."""
    vote, last, transfer = struct(
        unpack(data), ("vote", "last_log_id", "leadership_transfer"), required=2
    )
    term, committed = read_vote(vote)
    if committed:
        raise ValueError("a candidate's vote is committed")
    last_term, last_index = read_log_id(last)
    return VoteRequest(
        term=term,
        candidate=leader_id(term),
        last_index=last_index,
        last_term=last_term,
        transfer=transfer is not None and boolean(transfer),
    )


def encode_vote_reply(reply: VoteReply) -> bytes:
    """VoteResponse. The voter's vote is committed if it follows the leader that it belongs to."""
    committed = not reply.granted and reply.leader == leader_id(reply.term)
    return pack(
        [
            vote_value(reply.term, committed=committed),
            reply.granted,
            log_id_value(reply.last_term, reply.last_index),
        ]
    )


def decode_vote_reply(voter: NodeId, request: VoteRequest, data: bytes) -> VoteReply:
    """A vote counts only if it was granted to exactly this ballot. Raises ValueError."""
    vote, granted, last = struct(unpack(data), ("vote", "vote_granted", "last_log_id"))
    term, committed = read_vote(vote)
    last_term, last_index = read_log_id(last)
    return VoteReply(
        term=term,
        voter=voter,
        granted=boolean(granted) and term == request.term and not committed,
        leader=leader_id(term) if committed else None,
        last_index=last_index,
        last_term=last_term,
    )


# ---- appends


def encode_append(request: AppendRequest, commit: tuple[int, int]) -> list[bytes]:
    """AppendEntriesRequest in parts; `commit` is the (term, index) of leader_commit.

    The entries' bytes are shared by all followers. Raises ValueError for an entry that openraft
    does not have.
    """
    return [
        b"\x94",
        pack(vote_value(request.term, committed=True)),
        pack(log_id_value(request.prev_term, request.prev_index)),
        _ARRAY_HEADERS.pack_array_header(len(request.entries)),
        *map(encode_entry, request.entries),
        pack(log_id_value(*commit)),
    ]


def decode_append(data: bytes) -> AppendRequest:
    """Raises ValueError, also for entries that do not follow each other."""
    found: dict[str, Any] = {"prev_log_id": None, "leader_commit": None}  # both optional
    with reader(data) as unpacker:
        for name in _field_names(unpacker, data):
            if name == "entries":
                found[name] = _read_entries(unpacker, data)
            else:
                found[name] = unpacker.unpack()
        vote, prev, entries, commit = struct(found, _APPEND_FIELDS)
        term, committed = read_vote(vote)
        if not committed:
            raise ValueError("the sender's vote is not committed: it leads nothing")
        prev_term, prev_index = read_log_id(prev)
        for index, entry in enumerate(entries, prev_index + 1):
            if entry.index != index:
                raise ValueError(f"entry {entry.index} where {index} must follow")
    return AppendRequest(
        term=term,
        leader=leader_id(term),
        prev_index=prev_index,
        prev_term=prev_term,
        entries=entries,
        commit=read_log_id(commit)[1],
    )


def _field_names(unpacker: msgpack.Unpacker, data: bytes) -> Any:
    """The fields of the request in the order of the wire; the caller reads each one's value."""
    if data[:1] == b"\x94":
        unpacker.read_array_header()
        yield from _APPEND_FIELDS
        return
    for _ in range(unpacker.read_map_header()):
        name = unpacker.unpack()
        if name in _APPEND_FIELDS:
            yield name
        else:
            unpacker.skip()


def _read_entries(unpacker: msgpack.Unpacker, data: bytes) -> list[Any]:
    count = unpacker.read_array_header()
    if count > len(data):
        raise ValueError(f"{count} entries in {len(data)} bytes")
    return [read_entry(unpacker, data) for _ in range(count)]


def _last_position(request: AppendRequest) -> tuple[int, int]:
    """(term, index) of what a success acknowledges: the last entry, or what precedes none."""
    if request.entries:
        return request.entries[-1].term, request.entries[-1].index
    return request.prev_term, request.prev_index


def encode_append_result(request: AppendRequest, reply: AppendReply) -> tuple[bytes, bool]:
    """StreamAppendResult, and whether it is Ok: after an Err the stream ends."""
    if reply.success:
        return pack({"Ok": log_id_value(*_last_position(request))}), True
    return pack({"Err": dict([_refusal(request, reply)])}), False


def _refusal(request: AppendRequest, reply: AppendReply) -> tuple[str, Any]:
    if reply.term > request.term:
        # Whether the higher vote leads is not known here; uncommitted claims less.
        return "HigherVote", vote_value(reply.term, committed=False)
    return "Conflict", log_id_value(request.prev_term, request.prev_index)


def encode_append_response(request: AppendRequest, reply: AppendReply) -> bytes:
    """AppendEntriesResponse, the answer of the unary call."""
    if reply.success:
        return pack("Success")
    name, content = _refusal(request, reply)
    return pack("Conflict" if name == "Conflict" else {name: content})


def decode_append_result(follower: NodeId, request: AppendRequest, data: bytes) -> AppendReply:
    """The reply to `request`. Raises ValueError if it cannot be an answer to that.

    What the follower knows to be committed is not said. Whoever takes an append, takes over its
    commit index with it, as far as that append reaches.
    """
    reply = AppendReply(
        request.term, follower, True, round=request.round, heartbeat=request.heartbeat
    )
    outcome, content = variant(unpack(data), ("Ok", "Err"))
    if outcome == "Ok":
        if read_log_id(content) != _last_position(request):
            raise ValueError(f"it acknowledges {content} instead of {_last_position(request)}")
        last = _last_position(request)[1]
        reply.commit = min(request.commit, last)
        if not request.heartbeat:
            reply.match_index = last
        return reply
    reply.success = False
    reply.rejected_prev = request.prev_index
    error, content = variant(content, ("Conflict", "HigherVote"))
    if error == "HigherVote":
        reply.term, _ = read_vote(content)
        if reply.term <= request.term:
            raise ValueError(f"its vote {content} is not higher than that of the request")
        return reply
    if request.prev_index == NO_INDEX or read_log_id(content)[1] != request.prev_index:
        raise ValueError(f"a conflict at {content} for an append behind {request.prev_index}")
    reply.hint_index = request.prev_index - 1
    return reply


# ---- leadership transfer


def encode_transfer(request: StartElection, target: NodeId) -> bytes:
    """TransferLeaderRequest."""
    return pack(
        [
            vote_value(request.term, committed=True),
            node_number(target),
            log_id_value(request.last_term, request.last_index),
        ]
    )


def decode_transfer(data: bytes) -> tuple[StartElection, NodeId]:
    """(request, target). Raises ValueError."""
    vote, target, last = struct(unpack(data), ("from_leader", "to_node_id", "last_log_id"))
    term, _ = read_vote(vote)
    last_term, last_index = read_log_id(last)
    request = StartElection(term, leader_id(term), last_index, last_term)
    return request, str(integer(target))
