"""The hand-made header bytes are those of protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from trioraft._proto.etcd import rpc_pb2
from trioraft.protocols.etcd.header import Header

u64 = st.integers(0, 2**64 - 1)


@dataclass
class Ids:
    cluster_id: int
    member_id: int
    term: int


@given(u64, u64, st.integers(0, 2**63 - 1), u64)
def test_header_and_body_are_one_message(
    cluster_id: int, member_id: int, revision: int, term: int
) -> None:
    header = Header(cast(Any, Ids(cluster_id, member_id, term)))
    body = rpc_pb2.DeleteRangeResponse(deleted=3).SerializeToString()
    whole = rpc_pb2.DeleteRangeResponse(deleted=3)
    whole.header.SetInParent()
    whole.header.cluster_id = cluster_id
    whole.header.member_id = member_id
    whole.header.revision = revision
    whole.header.raft_term = term
    assert header.encode(revision) + body == whole.SerializeToString()
