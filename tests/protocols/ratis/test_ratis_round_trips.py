"""Whatever is encoded for Ratis is decoded as it was."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from ratis_bytes import ROUTE

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.protocols.ratis.appends import (
    decode_append,
    encode_append,
)
from trioraft.protocols.ratis.entries import NOBODY, decode_entry, entry_field
from trioraft.protocols.ratis.members import decode_configuration, encode_configuration
from trioraft.protocols.ratis.votes import (
    decode_vote,
    decode_vote_reply,
    encode_vote,
    encode_vote_reply,
)
from trioraft.raft.messages import AppendRequest, VoteReply, VoteRequest
from trioraft.raft.types import Configuration, Entry, EntryKind, Member, Session

terms = st.integers(1, 2**63 - 1)
indices = st.integers(0, 2**63 - 2)
sessions = st.none() | st.builds(
    Session,
    st.binary(min_size=16, max_size=16).filter(lambda data: any(data) and data != NOBODY),
    st.integers(0, 2**64 - 1),
)


addresses = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
members = st.builds(
    Member,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    addresses,
    st.integers(0, 2**31 - 1),
)


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    everybody = draw(st.lists(members, min_size=1, max_size=7, unique_by=lambda m: m.id))
    voters = draw(st.integers(1, len(everybody)))
    old = draw(st.lists(members, max_size=4, unique_by=lambda m: m.id))
    return Configuration(tuple(everybody[:voters]), tuple(everybody[voters:]), tuple(old))


writes = st.builds(Entry, terms, indices, st.just(EntryKind.WRITE), st.binary(), sessions)
metadata = st.builds(
    Entry, terms, indices, st.just(EntryKind.METADATA), st.binary(min_size=8, max_size=8)
)


changes = st.builds(
    Entry,
    terms,
    indices,
    st.just(EntryKind.CONFIGURATION),
    configurations().map(Configuration.encode),
)


@settings(deadline=None)
@given(writes | metadata | changes)
def test_entries_round_trip(entry: Entry) -> None:
    field = entry_field(entry)
    message = pb.AppendEntriesRequestProto.FromString(field)
    assert decode_entry(message.entries[0]) == entry
    # Put together by hand, but as protobuf itself would write it.
    assert message.SerializeToString() == field


@settings(deadline=None)
@given(configurations())
def test_configurations_round_trip(configuration: Configuration) -> None:
    assert decode_configuration(encode_configuration(configuration)) == configuration


@st.composite
def appends(draw: st.DrawFn) -> AppendRequest:
    term = draw(terms)
    prev_index = draw(st.integers(-1, 2**40))
    prev_term = 0 if prev_index < 0 else draw(terms)
    bodies = draw(st.lists(writes | metadata | changes, max_size=4))
    for number, entry in enumerate(bodies, prev_index + 1):
        entry.index = number
    commit = draw(st.integers(-1, 2**63 - 1))
    return AppendRequest(term, "n0", prev_index, prev_term, bodies, commit, heartbeat=not bodies)


@settings(deadline=None)
@given(appends(), st.integers(0, 2**63))
def test_appends_round_trip_and_are_canonical(request: AppendRequest, call_id: int) -> None:
    raw = encode_append(ROUTE, call_id, request)
    message = pb.AppendEntriesRequestProto.FromString(raw)
    assert message.serverRequest.callId == call_id
    assert decode_append(message) == request
    assert message.SerializeToString() == raw


@settings(deadline=None)
@given(terms, indices, terms, st.booleans())
def test_votes_round_trip(term: int, last_index: int, last_term: int, pre: bool) -> None:
    request = VoteRequest(term, "n0", last_index, last_term, pre=pre, transfer=not pre)
    assert decode_vote(encode_vote(ROUTE, 9, request)) == request
    reply = VoteReply(term, "n1", False, pre, None, last_index, last_term, shutdown=True)
    assert decode_vote_reply("n1", request, encode_vote_reply(ROUTE.header(9), reply)) == reply
