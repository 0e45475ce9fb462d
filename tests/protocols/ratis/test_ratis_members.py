"""Every configuration that a change of members goes through survives Ratis's wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.protocols.ratis.entries import decode_entry, entry_field
from trioraft.protocols.ratis.members import (
    MAX_PRIORITY,
    decode_configuration,
    encode_configuration,
)
from trioraft.raft.types import Configuration, Entry, EntryKind, Member

EVERYBODY = st.lists(
    st.builds(Member, st.text(min_size=1, max_size=8), st.text(), st.integers(0, MAX_PRIORITY)),
    min_size=1,
    max_size=7,
    unique_by=lambda member: member.id,
)


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Voters and learners, and while joint some of all of them as old voters."""
    everybody = draw(EVERYBODY)
    parts = draw(st.lists(st.integers(0, 2), min_size=len(everybody), max_size=len(everybody)))
    voters, learners, gone = (
        tuple(m for m, part in zip(everybody, parts, strict=True) if part == wanted)
        for wanted in range(3)
    )
    stayed = (
        draw(st.lists(st.sampled_from([*voters, *learners]), unique=True))
        if (voters or learners)
        else []
    )
    return Configuration(voters, learners, (*stayed, *gone))


@given(configurations())
def test_a_configuration_survives_the_wire(configuration: Configuration) -> None:
    """Also one in which an old voter becomes a learner, or a learner a voter."""
    wire = encode_configuration(configuration).SerializeToString()
    assert decode_configuration(pb.RaftConfigurationProto.FromString(wire)) == configuration


@given(configurations(), st.integers(1, 2**40), st.integers(0, 2**40))
def test_so_does_its_entry(configuration: Configuration, term: int, index: int) -> None:
    entry = Entry(term, index, EntryKind.CONFIGURATION, configuration.encode())
    request = pb.AppendEntriesRequestProto.FromString(entry_field(entry))
    assert decode_entry(request.entries[0]) == entry
