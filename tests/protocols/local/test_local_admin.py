"""The admin part of trioraft's own protocol: changes and errors survive the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioraft._proto.local.admin_pb2 import ChangeMembershipRequest
from trioraft.protocols.local import error_of, status_of
from trioraft.protocols.local.admin import decode_change, encode_change
from trioraft.raft import errors
from trioraft.raft.errors import ConfigurationError, TrioraftError
from trioraft.raft.membership import MAX_PRIORITY, ChangeMode, MembershipChange
from trioraft.raft.types import Member
from trioraft.rpc import GRPCError

IDS = st.lists(st.text(min_size=1, max_size=8), max_size=4).map(tuple)
MEMBERS = st.lists(
    st.builds(Member, st.text(min_size=1, max_size=8), st.text(), st.integers(0, MAX_PRIORITY)),
    max_size=4,
).map(tuple)


@given(
    st.builds(
        MembershipChange,
        mode=st.sampled_from(ChangeMode),
        voters=MEMBERS,
        learners=MEMBERS,
        ids=IDS,
        members=MEMBERS,
        expected_voters=IDS,
        expected_learners=IDS,
    )
)
def test_a_change_survives_the_wire(change: MembershipChange) -> None:
    request = ChangeMembershipRequest.FromString(encode_change(change).SerializeToString())
    assert decode_change(request) == change


def test_a_mode_of_a_newer_version_is_refused() -> None:
    request = ChangeMembershipRequest.FromString(b"\x10\x63")  # mode = 99
    with pytest.raises(ConfigurationError, match="99"):
        decode_change(request)


@pytest.mark.parametrize(
    "kind",
    [
        errors.ChangeInProgressError,
        errors.ConfigurationError,
        errors.ConfigurationMismatchError,
        errors.LeaderNotReadyError,
        errors.NoQuorumError,
        errors.ProposalDroppedError,
        errors.StagingTimeoutError,
    ],
)
def test_refusals_come_back_as_the_class_that_they_were(kind: type[TrioraftError]) -> None:
    status, trailers = status_of(kind("why"))
    back = error_of(GRPCError(status, "why"), trailers)
    assert type(back) is kind
    assert str(back) == "why"
