"""Heartbeats on the link of two hosts: what is encoded comes back, what cannot be is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioraft._proto.local import link_pb2 as pb
from trioraft.protocols.local.link.codec import (
    decode_heartbeat,
    decode_reply,
    decode_term,
    encode_heartbeat,
    encode_reply,
    encode_term,
)
from trioraft.raft.types import AppendReply, AppendRequest

terms = st.integers(0, 2**128 - 1)
indices = st.integers(-1, 2**63 - 1)
rounds = st.integers(0, 2**64 - 1)
GROUP = bytes(range(16))


@given(terms, indices, terms, indices, rounds)
def test_a_heartbeat_survives(term: int, prev: int, prev_term: int, commit: int, turn: int) -> None:
    request = AppendRequest(term, "n1", prev, prev_term, (), commit, turn, heartbeat=True)
    wire = encode_heartbeat(GROUP, request).SerializeToString()
    message = pb.GroupHeartbeat.FromString(wire)
    assert message.group_id == GROUP
    assert decode_heartbeat("n1", message) == request


@given(terms, st.booleans(), indices, indices, indices, terms, indices, rounds)
def test_a_reply_survives(
    term: int,
    success: bool,
    match: int,
    rejected: int,
    hint: int,
    hint_term: int,
    commit: int,
    turn: int,
) -> None:
    reply = AppendReply(
        term, "n2", success, match, rejected, hint, hint_term, commit, turn, heartbeat=True
    )
    message = pb.GroupHeartbeatReply.FromString(encode_reply(GROUP, reply).SerializeToString())
    assert decode_reply("n2", message) == reply


@given(terms)
def test_terms_have_one_encoding(term: int) -> None:
    assert decode_term(encode_term(term)) == term
    assert not encode_term(term).startswith(b"\0")


def test_what_no_host_sends_is_refused() -> None:
    with pytest.raises(ValueError, match="17 bytes"):
        decode_term(b"\1" * 17)
    with pytest.raises(ValueError, match="-2"):
        decode_heartbeat("n1", pb.GroupHeartbeat(prev_index=-2))
    with pytest.raises(ValueError, match="-7"):
        decode_reply("n2", pb.GroupHeartbeatReply(commit=-7))
