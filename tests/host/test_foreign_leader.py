"""A leader that is no trioraft: what its trioraft followers can ask of it, and what not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import trioraft
from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.machines.counter import CounterMachine
from trioraft.protocols import dialect
from trioraft.protocols.ratis.header import reply_header
from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import Entry, EntryKind, Member
from trioraft.rpc import Cardinality, Handler, ServerStream, open_channel, open_server

CHOSEN = uuid.UUID("02511d47-d67c-49a3-9011-abb3109a44c1")
GROUP = CHOSEN.bytes


class ReadIndexAlone:
    """As much of a Ratis server as these tests need; every other method is UNIMPLEMENTED."""

    asked: list[pb.ReadIndexRequestProto]

    def __init__(self) -> None:
        self.asked = []

    def __mapping__(self) -> dict[str, Handler]:
        kinds = pb.ReadIndexRequestProto, pb.ReadIndexReplyProto
        path = "/ratis.grpc.RaftServerProtocolService/readIndex"
        return {path: Handler(self.read_index, Cardinality.UNARY_UNARY, *kinds)}

    async def read_index(self, stream: ServerStream[Any, Any]) -> None:
        request = await stream.recv_message()
        assert request is not None
        self.asked.append(request)
        header = reply_header(request.serverRequest, "java", success=True)
        await stream.send_message(pb.ReadIndexReplyProto(serverReply=header, readIndex=1))


@asynccontextmanager
async def led_by_java() -> AsyncIterator[tuple[trioraft.Node, ReadIndexAlone]]:
    """A trioraft follower of a leader that has one write, of 5, in its log."""
    java = ReadIndexAlone()
    with trio.fail_after(60):
        async with open_server([java], host="127.0.0.1", port=0) as server:
            [(_, port)] = server.addresses
            async with open_server([], host="127.0.0.1", port=0) as taken:
                [(_, own)] = taken.addresses
            peers = f"p=127.0.0.1:{own},java=127.0.0.1:{port}"
            config = trioraft.RaftConfig(election_timeout_min=20.0, election_timeout_max=40.0)
            async with (
                trioraft.open_node(
                    id="p", peers=peers, machine=CounterMachine(), group_id=CHOSEN, config=config
                ) as node,
                open_channel(f"127.0.0.1:{own}") as channel,
            ):
                transport = dialect("ratis").transport(
                    group_id=GROUP,
                    self_id="java",
                    peer=Member("p", f"127.0.0.1:{own}"),
                    entries=channel,
                    heartbeats=channel,
                )
                write = Entry(1, 0, EntryKind.WRITE, b"5")
                entries = (write, Entry(1, 1, EntryKind.WRITE, b"2"))
                async with transport.open_append_stream(heartbeat=False) as stream:
                    await stream.send([AppendRequest(1, "java", -1, 0, entries, 1)])
                    while (leader := node.status().leader) != "java":
                        assert leader is None
                        await trio.sleep(0.01)
                    yield node, java


async def test_writes_and_watches_say_at_once_that_nothing_has_happened() -> None:
    async with led_by_java() as (node, _):
        with pytest.raises(trioraft.ForeignLeaderError, match="java is no trioraft") as raised:
            await node.propose(b"1")
        assert raised.value.leader == "java"
        with pytest.raises(trioraft.ForeignLeaderError):
            await node.watch(100, trioraft.ReplicationLevel.ALL)


async def test_linearizable_reads_ask_for_the_read_index_in_its_own_words() -> None:
    async with led_by_java() as (node, java):
        assert await node.query(b"") == b"7"
        [request] = java.asked
        assert request.serverRequest.requestorId == b"p"
        assert request.serverRequest.replyId == b"java"
        # Ratis makes a client's request of it, which needs a type and an id of 16 bytes.
        assert request.clientRequest.WhichOneof("Type") == "read"
        assert len(request.clientRequest.rpcRequest.requestorId) == 16
        assert request.clientRequest.rpcRequest.raftGroupId.id == GROUP
