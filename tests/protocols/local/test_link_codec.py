"""Appends and votes on the link of two hosts: what is encoded comes back, the rest is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioraft._proto.local import link_pb2 as pb
from trioraft.protocols.local.link.codec import (
    decode_append,
    decode_reply,
    decode_term,
    decode_vote,
    decode_vote_reply,
    encode_append,
    encode_reply,
    encode_term,
    encode_vote,
    encode_vote_reply,
)
from trioraft.raft.messages import AppendReply, AppendRequest, VoteReply, VoteRequest
from trioraft.raft.types import Entry, EntryKind, Session

terms = st.integers(0, 2**128 - 1)
indices = st.integers(-1, 2**63 - 1)
counts = st.integers(0, 2**64 - 1)
GROUP = bytes(range(16))

sessions = st.none() | st.builds(Session, st.binary(max_size=64), counts)
entries = st.builds(Entry, terms, st.just(0), st.sampled_from(EntryKind), st.binary(), sessions)


@given(terms, indices, terms, indices, counts)
def test_a_heartbeat_survives(term: int, prev: int, prev_term: int, commit: int, turn: int) -> None:
    request = AppendRequest(term, "n1", prev, prev_term, (), commit, turn, heartbeat=True)
    message = pb.GroupAppend.FromString(encode_append(GROUP, request).SerializeToString())
    assert message.group_id == GROUP
    assert decode_append("n1", message) == request


@given(st.integers(-1, 2**62), st.lists(entries, max_size=3), st.integers(1, 2**64 - 1))
def test_entries_survive(prev: int, found: list[Entry], number: int) -> None:
    for index, entry in enumerate(found, prev + 1):
        entry.index = index
    request = AppendRequest(7, "n1", prev, 6, tuple(found), 5, 4)
    message = pb.GroupAppend.FromString(encode_append(GROUP, request, number).SerializeToString())
    assert message.number == number
    assert decode_append("n1", message) == request


@given(terms, st.booleans(), indices, indices, indices, terms, indices, counts, counts)
def test_a_reply_survives(
    term: int,
    success: bool,
    match: int,
    rejected: int,
    hint: int,
    hint_term: int,
    commit: int,
    turn: int,
    number: int,
) -> None:
    reply = AppendReply(
        term, "n2", success, match, rejected, hint, hint_term, commit, turn, heartbeat=number == 0
    )
    wire = encode_reply(GROUP, reply, number).SerializeToString()
    assert decode_reply("n2", pb.GroupAppendReply.FromString(wire)) == reply


@given(terms, indices, terms, st.booleans(), st.booleans())
def test_a_vote_survives(term: int, last: int, last_term: int, pre: bool, transfer: bool) -> None:
    request = VoteRequest(term, "n1", last, last_term, pre=pre, transfer=transfer)
    message = pb.GroupVote.FromString(encode_vote(GROUP, 9, request).SerializeToString())
    assert (message.group_id, message.number) == (GROUP, 9)
    assert decode_vote("n1", message) == request


@given(
    terms,
    st.booleans(),
    st.booleans(),
    st.none() | st.text(min_size=1),
    indices,
    terms,
    st.booleans(),
)
def test_an_answer_to_a_vote_survives(
    term: int,
    granted: bool,
    pre: bool,
    leader: str | None,
    last: int,
    last_term: int,
    shutdown: bool,
) -> None:
    reply = VoteReply(term, "n2", granted, pre, leader, last, last_term, shutdown)
    message = pb.GroupVoteReply.FromString(encode_vote_reply(9, reply).SerializeToString())
    assert message.number == 9
    assert decode_vote_reply("n2", pre, message) == reply


@given(terms)
def test_terms_have_one_encoding(term: int) -> None:
    assert decode_term(encode_term(term)) == term
    assert not encode_term(term).startswith(b"\0")


def test_what_no_host_sends_is_refused() -> None:
    with pytest.raises(ValueError, match="17 bytes"):
        decode_term(b"\1" * 17)
    with pytest.raises(ValueError, match="-2"):
        decode_append("n1", pb.GroupAppend(prev_index=-2))
    with pytest.raises(ValueError, match="a heartbeat with 1 entries"):
        decode_append("n1", pb.GroupAppend(entries=[pb.GroupEntry()]))
    with pytest.raises(ValueError, match="77"):
        decode_append("n1", pb.GroupAppend(number=1, entries=[pb.GroupEntry(kind=77)]))
    with pytest.raises(ValueError, match="-7"):
        decode_reply("n2", pb.GroupAppendReply(commit=-7))
    with pytest.raises(ValueError, match="-3"):
        decode_vote("n1", pb.GroupVote(last_index=-3))
    with pytest.raises(ValueError, match="-3"):
        decode_vote_reply("n1", True, pb.GroupVoteReply(last_index=-3))
