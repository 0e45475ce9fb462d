"""What was never sent to the leader has not happened: it is tried again, not called unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from member_cluster import Cluster, cluster, free_address

from trioraft import Node
from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols.local import AnswerLostError, GrpcForwarder
from trioraft.raft.errors import ProposalDroppedError
from trioraft.raft.types import Member
from trioraft.rpc import Cardinality, Channel, Encoded, Handler, ServerStream, open_channel, serve

GROUP = bytes(16)
PROPOSE = "/trioraft.local.NodeService/Propose"


def forwarder(channel: Channel) -> GrpcForwarder:
    foreign: Any = None
    return GrpcForwarder(GROUP, lambda _: channel, 5.0, foreign)


async def test_a_leader_that_cannot_be_reached_was_not_asked() -> None:
    address = free_address()  # where nobody listens
    async with open_channel(address) as channel:
        with pytest.raises(PeerUnreachableError) as caught:
            await forwarder(channel).write(Member("n1", address), b"x", None)
        assert not isinstance(caught.value, AnswerLostError)


async def test_a_connection_that_breaks_behind_the_request_leaves_it_open() -> None:
    class Service:
        def __init__(self) -> None:
            self.asked = trio.Event()

        def __mapping__(self) -> dict[str, Handler]:
            return {PROPOSE: Handler(self.propose, Cardinality.UNARY_UNARY, Encoded, Encoded)}

        async def propose(self, stream: ServerStream[Encoded, bytes]) -> None:
            assert await stream.recv_message()
            self.asked.set()
            await trio.sleep_forever()

    service = Service()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[Any]) -> None:
            with scope:
                await serve([service], host="127.0.0.1", port=0, task_status=task_status)

        ((host, port),) = await nursery.start(run)
        async with open_channel(f"{host}:{port}") as channel:

            async def write() -> None:
                with pytest.raises(ProposalDroppedError, match="may or may not take effect"):
                    await forwarder(channel).write(Member("n1", "there"), b"x", None)

            nursery.start_soon(write)
            await service.asked.wait()
            scope.cancel()
            with trio.fail_after(5):
                while nursery.child_tasks:
                    await trio.sleep(0.01)


async def _follower(group: Cluster) -> Node:
    leader = await group.leader()
    return next(node for node in group.nodes.values() if node is not leader)


async def test_a_node_that_cannot_reach_the_leader_yet_goes_on_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel may be in the pause behind attempts to connect that came too early."""
    async with cluster(tmp_path, "a", "b", "c") as group:
        node = await _follower(group)
        spare = next(name for name in group.nodes if name not in (node.id, node.leader))
        async with open_channel(free_address()) as nowhere:
            real: Any = node._host.channel_to
            asked = 0

            def channel_to(member: Member) -> Channel:
                nonlocal asked
                asked += 1
                channel: Channel = nowhere if asked <= 2 else real(member)
                return channel

            monkeypatch.setattr(node._host, "channel_to", channel_to)
            members = await node.remove_member(spare)
            assert spare not in {member.id for member in members.members()}
            assert asked >= 3, "twice in vain, then the leader"
