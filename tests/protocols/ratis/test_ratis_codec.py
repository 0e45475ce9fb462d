"""Ratis messages: golden bytes, and what replies mean."""

from __future__ import annotations

from typing import Any

import pytest
from ratis_bytes import CLIENT, CONF_ENTRY, GROUP, ROUTE

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.protocols.ratis.appends import (
    decode_append,
    decode_append_reply,
    encode_append,
    encode_append_reply,
)
from trioraft.protocols.ratis.entries import decode_entry, entry_field
from trioraft.protocols.ratis.votes import (
    decode_start_election,
    decode_vote,
    decode_vote_reply,
    encode_start_election,
    encode_vote,
    encode_vote_reply,
)
from trioraft.raft.messages import AppendReply, AppendRequest, StartElection, VoteReply, VoteRequest
from trioraft.raft.types import Entry, EntryKind

# The vectors of "Golden byte vectors": generated from Ratis's own schema.
PRE_VOTE = "0a1e0a026e3012026e311a120a1002511d47d67c49a39011abb3109a44c120012001"
PRE_VOTE_GRANT = (
    "0a200a026e3012026e311a120a1002511d47d67c49a39011abb3109a44c120017801220b10ffffffffffffffffff01"
)
FIRST_APPEND = (
    "0a1c0a026e3012026e311a120a1002511d47d67c49a39011abb3109a44c11001"
    "221d080122190a170a026e30120f3132372e302e302e313a31303032343802"
    "28ffffffffffffffffff01"
    "7a240a170a026e30120f3132372e302e302e313a3130303234380210ffffffffffffffffff01"
)
COMMIT_INFOS = "7a240a170a026e30120f3132372e302e302e313a3130303234380210ffffffffffffffffff01"
APPEND_SUCCESS = (
    "0a1e0a026e3012026e311a120a1002511d47d67c49a39011abb3109a44c178011001180128ffffffffffffffffff01"
)
HEARTBEAT_REPLY = (
    "0a200a026e3012026e311a120a1002511d47d67c49a39011abb3109a44c120017801"
    "1001180130ffffffffffffffffff013801"
)
CLIENT_WRITE = (
    "0a2e0a1000112233445546778899aabbccddeeff12026e301a120a1002511d47d67c49a39011abb3109a44c1"
    "20072801120b0a09494e4352454d454e541a00"
)
CLIENT_REPLY = (
    "0a2e0a1000112233445546778899aabbccddeeff12026e301a120a1002511d47d67c49a39011abb3109a44c1"
    "2007780112060a04000000017001"
)
NOT_LEADER = (
    "0a2c0a1000112233445546778899aabbccddeeff12026e311a120a1002511d47d67c49a39011abb3109a44c1"
    "20071a320a170a026e30120f3132372e302e302e313a3130303234380212170a026e30120f"
    "3132372e302e302e313a31303032343802"
)


def first_append() -> AppendRequest:
    return AppendRequest(1, "n0", -1, 0, [CONF_ENTRY], -1)


# ---- golden bytes


def test_pre_vote_golden() -> None:
    request = VoteRequest(0, "n0", -1, 0, pre=True)
    assert encode_vote(ROUTE, 1, request).SerializeToString().hex() == PRE_VOTE
    message = pb.RequestVoteRequestProto.FromString(bytes.fromhex(PRE_VOTE))
    assert decode_vote(message) == request


def test_pre_vote_grant_golden() -> None:
    reply = VoteReply(0, "n1", True, pre=True)
    message = encode_vote_reply(ROUTE.header(1), reply)
    assert message.SerializeToString().hex() == PRE_VOTE_GRANT
    asked = VoteRequest(0, "n0", -1, 0, pre=True)
    received = pb.RequestVoteReplyProto.FromString(bytes.fromhex(PRE_VOTE_GRANT))
    assert decode_vote_reply("n1", asked, received) == reply


def test_first_append_golden() -> None:
    # Ours lacks only the commit infos, which are the message's last field.
    assert encode_append(ROUTE, 0, first_append()).hex() + COMMIT_INFOS == FIRST_APPEND
    message = pb.AppendEntriesRequestProto.FromString(bytes.fromhex(FIRST_APPEND))
    assert decode_append(message) == first_append()
    assert message.SerializeToString().hex() == FIRST_APPEND


def test_append_reply_golden() -> None:
    reply = AppendReply(1, "n1", True, match_index=0)
    message = encode_append_reply(ROUTE.header(0), first_append(), reply)
    assert message.SerializeToString().hex() == APPEND_SUCCESS
    received = pb.AppendEntriesReplyProto.FromString(bytes.fromhex(APPEND_SUCCESS))
    assert decode_append_reply("n1", first_append(), received, -1) == reply


def test_heartbeat_reply_golden() -> None:
    heartbeat = AppendRequest(1, "n0", 0, 1, (), 0, round=3, heartbeat=True)
    reply = AppendReply(1, "n1", True, commit=0, round=3, heartbeat=True)
    message = encode_append_reply(ROUTE.header(1), heartbeat, reply)
    assert message.SerializeToString().hex() == HEARTBEAT_REPLY
    received = pb.AppendEntriesReplyProto.FromString(bytes.fromhex(HEARTBEAT_REPLY))
    assert decode_append_reply("n1", heartbeat, received, -1) == reply


def test_client_protocol_golden() -> None:
    """The client protocol is declared completely, though nothing here speaks it."""
    header = pb.RaftRpcRequestProto(
        requestorId=CLIENT,
        replyId=b"n0",
        raftGroupId=pb.RaftGroupIdProto(id=GROUP),
        callId=7,
        toLeader=True,
    )
    write = pb.RaftClientRequestProto(
        rpcRequest=header,
        message=pb.ClientMessageEntryProto(content=b"INCREMENT"),
        write=pb.WriteRequestTypeProto(),
    )
    assert write.SerializeToString().hex() == CLIENT_WRITE
    answer = pb.RaftClientReplyProto.FromString(bytes.fromhex(CLIENT_REPLY))
    assert (answer.rpcReply.success, answer.logIndex) == (True, 1)
    assert answer.message.content == b"\0\0\0\1"
    assert answer.SerializeToString().hex() == CLIENT_REPLY
    redirect = pb.RaftClientReplyProto.FromString(bytes.fromhex(NOT_LEADER))
    assert redirect.notLeaderException.suggestedLeader.id == b"n0"
    assert redirect.SerializeToString().hex() == NOT_LEADER


def test_empty_position_golden() -> None:
    assert pb.TermIndexProto(index=-1).SerializeToString().hex() == "10ffffffffffffffffff01"


def test_empty_body_of_an_entry_is_never_written() -> None:
    with pytest.raises(ValueError, match="blank"):
        entry_field(Entry(1, 5, EntryKind.BLANK, b""))


# ---- round trips


def test_start_election_carries_the_leaders_term_in_its_last_entry() -> None:
    request = StartElection(4, "n0", 17, 4)
    assert decode_start_election(encode_start_election(ROUTE, request)) == request


def test_a_write_without_a_session_has_a_client_and_a_call_of_its_own() -> None:
    """Java peers close their division at the empty client id, and answer one call once."""
    calls = []
    for index in (4, 5):
        field = entry_field(Entry(3, index, EntryKind.WRITE, b"x"))
        [message] = pb.AppendEntriesRequestProto.FromString(field).entries
        assert decode_entry(message).session is None
        write = message.stateMachineLogEntry
        calls.append((write.clientId, write.callId))
    assert all(len(client) == 16 and any(client) for client, _ in calls)
    assert len(set(calls)) == 2


def test_an_entry_is_encoded_once() -> None:
    entry = Entry(1, 0, EntryKind.WRITE, b"x")
    assert entry_field(entry) is entry_field(entry)


# ---- what replies mean


def entries(first: int, count: int) -> list[Entry]:
    return [Entry(3, first + i, EntryKind.WRITE, b"w") for i in range(count)]


def reply_proto(**fields: Any) -> pb.AppendEntriesReplyProto:
    fields.setdefault("term", 3)
    fields.setdefault("matchIndex", -1)
    return pb.AppendEntriesReplyProto(**fields)


APPEND = AppendRequest(3, "n0", 9, 3, entries(10, 5), 8, round=2)
PROBE = AppendRequest(3, "n0", 9, 3, (), 8, round=2)
INCONSISTENCY = pb.AppendEntriesReplyProto.INCONSISTENCY


def test_conflict_goes_to_the_index_before_the_hinted_one() -> None:
    core = AppendReply(3, "n1", False, rejected_prev=9, hint_index=5, hint_term=2, commit=4)
    message = encode_append_reply(ROUTE.header(1), APPEND, core)
    assert (message.result, message.nextIndex, message.matchIndex) == (INCONSISTENCY, 6, -1)
    reply = decode_append_reply("n1", APPEND, message, -1)
    assert (reply.success, reply.rejected_prev, reply.hint_index) == (False, 9, 5)
    assert (reply.hint_term, reply.commit, reply.round) == (0, 4, 2)


def test_a_follower_that_is_ahead_accepts_what_it_has_committed() -> None:
    for next_index, match_index in [(20, 14), (15, 14), (12, 11)]:
        message = reply_proto(result=INCONSISTENCY, nextIndex=next_index)
        reply = decode_append_reply("n1", APPEND, message, -1)
        assert (reply.success, reply.match_index) == (True, match_index)


@pytest.mark.parametrize(("acked", "match_index"), [(-1, -1), (4, 4), (9, 9), (30, 9)])
def test_an_empty_probe_is_answered_by_what_was_acknowledged(acked: int, match_index: int) -> None:
    reply = decode_append_reply("n1", PROBE, reply_proto(isHearbeat=True), acked)
    assert (reply.success, reply.match_index) == (True, match_index)


def test_higher_term_is_not_leader() -> None:
    core = AppendReply(7, "n1", False, rejected_prev=9, commit=3)
    message = encode_append_reply(ROUTE.header(1), APPEND, core)
    assert message.result == pb.AppendEntriesReplyProto.NOT_LEADER
    reply = decode_append_reply("n1", APPEND, message, -1)
    assert (reply.success, reply.term) == (False, 7)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (reply_proto(isHearbeat=True), "isHearbeat"),
        (reply_proto(matchIndex=15), "match index 15"),
        (reply_proto(matchIndex=-1), "match index -1"),
        (reply_proto(matchIndex=14, term=2), "success in term 2"),
        (reply_proto(result=1), "another leader"),
        (reply_proto(result=2, term=4), "append result 2 in term 4"),
        (reply_proto(result=9), "append result 9"),
    ],
)
def test_replies_that_cannot_be(message: pb.AppendEntriesReplyProto, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_append_reply("n1", APPEND, message, -1)
