"""Ratis's read index: asked of a leader, and answered as Java servers do."""

from __future__ import annotations

import pytest
from fake_group import GROUP
from peer_wire import wired
from ratis_kit import RATIS, ROUTE, server

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.node.peers import PeerUnreachableError
from trioraft.raft.errors import LeaderNotReadyError, NotLeaderError
from trioraft.raft.types import Member


async def test_read_index() -> None:
    leader = Member("n1", "b:2")
    async with wired(RATIS, "n0", "n1") as wire:

        async def ask(group_id: bytes = GROUP) -> int:
            return await RATIS.read_index(
                group_id=group_id, self_id="n0", leader=leader, channel=wire.channel
            )

        assert await ask() == 77
        for failure in (NotLeaderError("n2"), LeaderNotReadyError("soon")):
            wire.group.failure = failure
            with pytest.raises(NotLeaderError, match="n1 gives no read index"):
                await ask()
        with pytest.raises(PeerUnreachableError, match="not found"):
            await ask(bytes(16))


async def test_read_index_as_java_reads_it() -> None:
    request = pb.ReadIndexRequestProto(serverRequest=ROUTE.header())
    async with wired(RATIS, "n0", "n1") as wire:
        reply = await server(wire.channel).readIndex(request)
        assert (reply.serverReply.success, reply.readIndex) == (True, 77)
        wire.group.failure = NotLeaderError("n2")
        reply = await server(wire.channel).readIndex(request)
        assert (reply.serverReply.success, reply.readIndex) == (False, -1)
