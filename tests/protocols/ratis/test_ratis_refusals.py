"""Ratis messages that no correct peer sends."""

from __future__ import annotations

from typing import Any

import pytest
from ratis_bytes import CLIENT, ROUTE

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.protocols.ratis.appends import (
    decode_append,
)
from trioraft.protocols.ratis.entries import decode_entry, entry_field
from trioraft.protocols.ratis.header import Route, check_group_id
from trioraft.protocols.ratis.members import decode_configuration
from trioraft.raft.types import Entry, EntryKind, Session


def write_proto(**fields: Any) -> pb.LogEntryProto:
    fields.setdefault("clientId", CLIENT)
    write = pb.StateMachineLogEntryProto(**fields)
    return pb.LogEntryProto(term=1, index=3, stateMachineLogEntry=write)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (write_proto(clientId=b"short"), "client id '73686f7274'"),
        (write_proto(clientId=bytes(16)), "client id '0000"),
        (write_proto(type=1), "writes of type 1"),
        (
            write_proto(stateMachineEntry=pb.StateMachineEntryProto(stateMachineData=b"x")),
            "state machine data",
        ),
        (pb.LogEntryProto(term=1, index=3), "no body"),
        (pb.LogEntryProto(term=1, index=-5, metadataEntry=pb.MetadataProto()), "negative"),
    ],
)
def test_entries_that_are_refused(message: pb.LogEntryProto, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_entry(message)


def append_proto(**fields: Any) -> pb.AppendEntriesRequestProto:
    return pb.AppendEntriesRequestProto(
        serverRequest=ROUTE.header(1), leaderTerm=fields.pop("leaderTerm", 1), **fields
    )


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (append_proto(entries=[write_proto()]), "entry 3 where 0 must follow"),
        (append_proto(leaderCommit=-2), "leaderCommit -2"),
        (append_proto(leaderTerm=2**64 - 1), "below 2\\^63"),
        (append_proto(previousLog=pb.TermIndexProto(term=1, index=-4)), "entry index -4"),
    ],
)
def test_appends_that_are_refused(message: pb.AppendEntriesRequestProto, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_append(message)


def peer(**fields: Any) -> pb.RaftConfigurationProto:
    fields.setdefault("id", b"n1")
    return pb.RaftConfigurationProto(peers=[pb.RaftPeerProto(**fields)])


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (peer(id=b""), "peer id of 0 bytes"),
        (peer(id=b"\xff\xfe"), "utf-8"),
        (peer(priority=2**31), "priority"),
        (peer(startupRole=pb.LEADER), "startup role 0"),
        (
            pb.RaftConfigurationProto(
                peers=[pb.RaftPeerProto(id=b"a")], listeners=[pb.RaftPeerProto(id=b"a")]
            ),
            "named twice",
        ),
    ],
)
def test_configurations_that_are_refused(message: pb.RaftConfigurationProto, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_configuration(message)


@pytest.mark.parametrize("size", [0, 15, 17, 1024])
def test_group_ids_of_other_lengths_are_refused(size: int) -> None:
    header = pb.RaftRpcRequestProto(raftGroupId=pb.RaftGroupIdProto(id=bytes(size)))
    with pytest.raises(ValueError, match=f"group id of {size} bytes"):
        check_group_id(header)
    with pytest.raises(ValueError, match=f"group id of {size} bytes"):
        Route.between(bytes(size), "n0", "n1")


def test_a_session_of_another_form_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="client id of 3 bytes"):
        entry_field(Entry(1, 0, EntryKind.WRITE, b"", Session(b"abc", 1)))
