"""What fails between Ratis peers has the name that Ratis gives it, in a trailer."""

from __future__ import annotations

import pytest
from peer_wire import wired
from ratis_kit import RATIS, ROUTE, failed, server

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols.ratis.header import Route
from trioraft.raft.errors import ConfigurationError, GroupStoppedError, OverloadedError
from trioraft.raft.messages import VoteRequest
from trioraft.rpc import Encoded, Status

EXCEPTIONS = "org.apache.ratis.protocol.exceptions."


@pytest.mark.parametrize(
    ("failure", "exception", "text"),
    [
        (GroupStoppedError("it is off"), EXCEPTIONS + "ServerNotReadyException", "it is off"),
        (OverloadedError("full"), EXCEPTIONS + "ResourceUnavailableException", "full"),
        (ValueError("a gap"), "java.lang.IllegalStateException", "a gap"),
        (ConfigurationError("odd"), "java.io.IOException", "odd"),
    ],
)
async def test_failures_name_their_exception(failure: Exception, exception: str, text: str) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.failure = failure
        stub = server(wire.channel)
        message = pb.AppendEntriesRequestProto(serverRequest=ROUTE.header(41), leaderTerm=3)
        error, trailers = await failed(stub.appendEntries, message)
        assert (error.status, error.message) == (Status.INTERNAL, text)
        assert trailers == {"exception-type": exception, "call-id": "41", "heartbeat": "true"}
        vote = pb.RequestVoteRequestProto(serverRequest=ROUTE.header(5))
        error, trailers = await failed(stub.requestVote, vote)
        assert (error.status, error.message) == (Status.INTERNAL, text)
        assert trailers == {"exception-type": exception, "call-id": "5"}


async def test_unknown_group() -> None:
    other = bytes(15) + b"\xab"
    async with wired(RATIS, "n0", "n1", group_id=other) as wire:
        with pytest.raises(PeerUnreachableError, match=r"n1: group-0000000000AB not found\."):
            await wire.transport.request_vote(VoteRequest(1, "n0", -1, 0))
        message = pb.StartLeaderElectionRequestProto(
            serverRequest=Route.between(other, "n0", "n1").header()
        )
        _, trailers = await failed(server(wire.channel).startLeaderElection, message)
        assert trailers == {"exception-type": EXCEPTIONS + "GroupMismatchException"}


async def test_bad_input_ends_the_call_with_a_reason() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        no_group = pb.AppendEntriesRequestProto(leaderTerm=3)
        gap = pb.AppendEntriesRequestProto(
            serverRequest=ROUTE.header(),
            leaderTerm=3,
            entries=[pb.LogEntryProto(term=1, index=4, metadataEntry=pb.MetadataProto())],
        )
        for message, problem in [
            (no_group, "group id of 0 bytes"),
            (gap, "entry 4 where 0 must follow"),
            (Encoded(b"\xff\xff\xff"), "cannot decode AppendEntriesRequestProto"),
        ]:
            error, _ = await failed(server(wire.channel).appendEntries, message)
            assert error.status is Status.INTERNAL
            assert problem in (error.message or "")
        assert wire.group.appends == []
