"""AppendEntries: protos of the server protocol <-> core messages, with the entries encoded once."""

from __future__ import annotations

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import FIRST_INDEX, NO_INDEX, NodeId

from .entries import decode_entry, entry_field
from .header import Route, check_term, encode_position, read_position, reply_header
from .members import decode_peer_id

__all__ = ["decode_append", "decode_append_reply", "encode_append", "encode_append_reply"]

_SUCCESS = pb.AppendEntriesReplyProto.SUCCESS
_NOT_LEADER = pb.AppendEntriesReplyProto.NOT_LEADER
_INCONSISTENCY = pb.AppendEntriesReplyProto.INCONSISTENCY


def encode_append(route: Route, call_id: int, request: AppendRequest) -> bytes:
    """A serialized AppendEntriesRequestProto.

    The fields before and after the entries are serialized here, the entries once for all
    followers (`entry_field`); in field order the three parts are the canonical message. Commit
    infos are left out: followers only show them to their clients.
    Raises ValueError for an entry that Ratis cannot express.
    """
    head = pb.AppendEntriesRequestProto(
        serverRequest=route.header(call_id),
        leaderTerm=request.term,
        previousLog=encode_position(request.prev_term, request.prev_index),
    ).SerializeToString()
    tail = pb.AppendEntriesRequestProto(leaderCommit=request.commit).SerializeToString()
    return b"".join([head, *map(entry_field, request.entries), tail])


def decode_append(proto: pb.AppendEntriesRequestProto) -> AppendRequest:
    """Raises ValueError for entries that do not follow each other and for bad fields.

    A request without entries is taken for a heartbeat, whichever stream it came on.
    """
    prev_index, prev_term = read_position(proto.previousLog)
    entries = [decode_entry(entry) for entry in proto.entries]
    for index, entry in enumerate(entries, prev_index + 1):
        if entry.index != index:
            raise ValueError(f"entry {entry.index} where {index} must follow")
    if proto.leaderCommit < NO_INDEX:
        raise ValueError(f"leaderCommit {proto.leaderCommit}")
    return AppendRequest(
        term=check_term(proto.leaderTerm),
        leader=decode_peer_id(proto.serverRequest.requestorId),
        prev_index=prev_index,
        prev_term=prev_term,
        entries=entries,
        commit=proto.leaderCommit,
        heartbeat=not entries,
    )


def encode_append_reply(
    header: pb.RaftRpcRequestProto, request: AppendRequest, reply: AppendReply
) -> pb.AppendEntriesReplyProto:
    """A leader believes the match index, also that of a heartbeat: "no claim" is -1, never 0."""
    match_index = NO_INDEX
    if reply.success:
        result = _SUCCESS
        last = request.prev_index + len(request.entries)
        match_index = min(reply.match_index, last)
        next_index = last + 1
    elif reply.term > request.term:
        result = _NOT_LEADER
        next_index = max(reply.hint_index, reply.commit) + 1
    else:
        result = _INCONSISTENCY
        next_index = min(reply.hint_index + 1, max(request.prev_index, FIRST_INDEX))
    return pb.AppendEntriesReplyProto(
        serverReply=reply_header(header, reply.follower, success=reply.success),
        term=reply.term,
        nextIndex=next_index,
        result=result,
        followerCommit=reply.commit,
        matchIndex=match_index,
        isHearbeat=not request.entries,
    )


def decode_append_reply(
    follower: NodeId, request: AppendRequest, proto: pb.AppendEntriesReplyProto, acked: int
) -> AppendReply:
    """What the wire's reply to `request` means to the core.

    `acked` is the highest match index that this follower has given in the request's term.
    Raises ValueError for a reply that no correct follower gives.
    """
    if proto.isHearbeat == bool(request.entries):
        raise ValueError(f"isHearbeat={proto.isHearbeat} for {len(request.entries)} entries")
    if proto.result == _SUCCESS:
        return _accepted(follower, request, proto, acked)
    if proto.result == _NOT_LEADER:
        if proto.term <= request.term:
            raise ValueError(f"it follows another leader in term {proto.term}")
        return _reply(follower, request, proto, success=False)
    if proto.result == _INCONSISTENCY and proto.term == request.term:
        return _inconsistent(follower, request, proto)
    raise ValueError(f"append result {proto.result} in term {proto.term} of {request.term}")


def _accepted(
    follower: NodeId, request: AppendRequest, proto: pb.AppendEntriesReplyProto, acked: int
) -> AppendReply:
    """An append was accepted. For one without entries Java followers claim nothing.

    They cannot: an empty append is answered before what precedes it is on the disk. What they
    have acknowledged before still stands, and answers a probe.
    """
    if proto.term != request.term:
        raise ValueError(f"success in term {proto.term} for a request of term {request.term}")
    reply = _reply(follower, request, proto, success=True)
    if request.heartbeat:
        return reply
    last = request.entries[-1].index if request.entries else request.prev_index
    match_index = proto.matchIndex
    if request.entries:
        if not request.prev_index < match_index <= last:
            raise ValueError(f"match index {match_index} for entries up to {last}")
    else:
        match_index = min(max(match_index, acked), last)
    reply.match_index = match_index
    return reply


def _inconsistent(
    follower: NodeId, request: AppendRequest, proto: pb.AppendEntriesReplyProto
) -> AppendReply:
    """INCONSISTENCY sends the leader back, or forward.

    Forward: a Java follower that has committed some of the entries already does not take them
    again, or the rest, but names the first index that it lacks. What it has committed this leader
    has too: a success up to there, which is also where a probing leader goes on.
    """
    prev_index, next_index = request.prev_index, proto.nextIndex
    if request.entries and next_index > prev_index + 1:
        reply = _reply(follower, request, proto, success=True)
        reply.match_index = min(next_index - 1, request.entries[-1].index)
        return reply
    if prev_index == NO_INDEX:
        raise ValueError("it rejects an append from the beginning of the log")
    reply = _reply(follower, request, proto, success=False)
    reply.hint_index = max(NO_INDEX, min(next_index, prev_index) - 1)
    return reply


def _reply(
    follower: NodeId, request: AppendRequest, proto: pb.AppendEntriesReplyProto, *, success: bool
) -> AppendReply:
    return AppendReply(
        term=proto.term,
        follower=follower,
        success=success,
        rejected_prev=NO_INDEX if success else request.prev_index,
        commit=max(proto.followerCommit, NO_INDEX),
        round=request.round,
        heartbeat=request.heartbeat,
    )
