"""Elections: votes and election starts, as protos of the server protocol and as core messages."""

from __future__ import annotations

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.raft.messages import StartElection, VoteReply, VoteRequest
from trioraft.raft.types import NodeId

from .header import Route, check_term, encode_position, read_position, reply_header
from .members import decode_peer_id

__all__ = [
    "decode_start_election",
    "decode_vote",
    "decode_vote_reply",
    "encode_start_election",
    "encode_vote",
    "encode_vote_reply",
]


def encode_vote(route: Route, call_id: int, request: VoteRequest) -> pb.RequestVoteRequestProto:
    """A candidate with an empty log leaves its last entry unset, or voters misjudge it."""
    return pb.RequestVoteRequestProto(
        serverRequest=route.header(call_id),
        candidateTerm=request.term,
        candidateLastEntry=encode_position(request.last_term, request.last_index),
        preVote=request.pre,
    )


def decode_vote(proto: pb.RequestVoteRequestProto) -> VoteRequest:
    """Raises ValueError for a bad candidate id or index.

    Ratis shields a live leader by its pre-votes alone: a real election at a higher term, such as
    the one a leadership transfer starts, is never held up by it. Hence `transfer`.
    """
    index, term = read_position(proto.candidateLastEntry)
    return VoteRequest(
        term=check_term(proto.candidateTerm),
        candidate=decode_peer_id(proto.serverRequest.requestorId),
        last_index=index,
        last_term=term,
        pre=proto.preVote,
        transfer=not proto.preVote,
    )


def encode_vote_reply(header: pb.RaftRpcRequestProto, reply: VoteReply) -> pb.RequestVoteReplyProto:
    """The voter's last entry is always set: unset would mean a peer too old to tell."""
    return pb.RequestVoteReplyProto(
        serverReply=reply_header(header, reply.voter, success=reply.granted),
        term=reply.term,
        shouldShutdown=reply.shutdown,
        lastEntry=pb.TermIndexProto(term=reply.last_term, index=reply.last_index),
    )


def decode_vote_reply(
    voter: NodeId, request: VoteRequest, proto: pb.RequestVoteReplyProto
) -> VoteReply:
    """Raises ValueError for a bad index."""
    index, term = read_position(proto.lastEntry)
    return VoteReply(
        term=proto.term,
        voter=voter,
        granted=proto.serverReply.success,
        pre=request.pre,
        last_index=index,
        last_term=term,
        shutdown=proto.shouldShutdown,
    )


def encode_start_election(
    route: Route, request: StartElection
) -> pb.StartLeaderElectionRequestProto:
    """The leader's term travels as the term of its last entry, which it wrote itself."""
    return pb.StartLeaderElectionRequestProto(
        serverRequest=route.header(),
        leaderLastEntry=pb.TermIndexProto(term=request.term, index=request.last_index),
    )


def decode_start_election(proto: pb.StartLeaderElectionRequestProto) -> StartElection:
    """Raises ValueError if the leader's last entry is missing."""
    if not proto.HasField("leaderLastEntry"):
        raise ValueError("leaderLastEntry is missing")
    index, term = read_position(proto.leaderLastEntry)
    leader = decode_peer_id(proto.serverRequest.requestorId)
    return StartElection(term=term, leader=leader, last_index=index, last_term=term)
