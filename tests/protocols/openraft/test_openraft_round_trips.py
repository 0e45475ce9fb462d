"""Whatever is encoded for openraft is decoded as it was."""

from __future__ import annotations

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from openraft_bytes import T52, h, read_one

from trioraft.protocols.openraft.entries import encode_entry
from trioraft.protocols.openraft.membership import membership_value, read_membership
from trioraft.protocols.openraft.messages import decode_append, encode_append
from trioraft.protocols.openraft.terms import pack_term
from trioraft.protocols.openraft.values import pack, unpack
from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import Configuration, Entry, EntryKind, Member, Session

numbers = st.integers(0, 2**63 - 1)
terms = st.builds(pack_term, st.integers(1, 2**63 - 1), st.integers(0, 2**64 - 1))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=8)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
payloads = st.binary() | st.binary().map(lambda data: b"\xc1" + data)
sessions = st.none() | st.builds(Session, st.binary(max_size=20), st.integers(0, 2**64 - 1))


@settings(deadline=None)
@given(terms, numbers, payloads, sessions)
def test_own_writes_round_trip(term: int, index: int, data: bytes, session: Session | None) -> None:
    entry = Entry(term, index, EntryKind.WRITE, data, session)
    assert read_one(encode_entry(entry)) == entry


@settings(deadline=None)
@given(values)
def test_any_application_data_goes_out_as_it_came(value: object) -> None:
    raw = h("92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c") + msgpack.packb(value)
    assert encode_entry(read_one(raw)) == raw


def test_application_data_in_unusual_spelling_goes_out_as_it_came() -> None:
    for data in ("c5 00 01 78", "93 c4 01 63 cc 09 c4 01 78", "93 c4 01 63 09 d9 01 78"):
        raw = h("92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c" + data)
        assert read_one(raw).data == b"\xc1" + h(data)
        assert encode_entry(read_one(raw)) == raw


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    ids = sorted(draw(st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=6)))
    everybody = [Member(str(number), draw(st.text(max_size=9))) for number in ids]
    roles = draw(st.lists(st.sampled_from("vob l"), min_size=len(ids), max_size=len(ids)))
    voters = [m for m, role in zip(everybody, roles, strict=True) if role in "vb"]
    old = [m for m, role in zip(everybody, roles, strict=True) if role in "ob"]
    voters = voters or everybody[:1]
    voting = [*voters, *old]
    learners = [m for m in everybody if m not in voting]
    return Configuration(tuple(voters), tuple(learners), tuple(old))


@settings(deadline=None)
@given(configurations())
def test_memberships_round_trip(configuration: Configuration) -> None:
    again = read_membership(unpack(pack(membership_value(configuration))))
    strip = [m.address.removeprefix("http://") for m in configuration.members()]
    assert [m.address for m in again.members()] == strip
    assert [m.id for m in again.voters] == [m.id for m in configuration.voters]
    assert [m.id for m in again.learners] == [m.id for m in configuration.learners]
    assert [m.id for m in again.old_voters] == [m.id for m in configuration.old_voters]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), payloads, sessions), max_size=5), st.integers(-1, 99))
def test_appends_round_trip(bodies: list[tuple[int, bytes, Session | None]], prev: int) -> None:
    entries = [
        Entry(pack_term(term, 1), prev + 1 + number, EntryKind.WRITE, data, session)
        for number, (term, data, session) in enumerate(bodies)
    ]
    prev_term = pack_term(1, 1) if prev >= 0 else 0
    request = AppendRequest(T52, "2", prev, prev_term, entries, prev)
    assert decode_append(b"".join(encode_append(request, (prev_term, prev)))) == request
