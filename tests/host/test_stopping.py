"""`Node.stop` and `Server.stop`: what is under way ends by itself, and somebody else leads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
import trio
from counter_nodes import FAST, Counter, free_ports

import trioraft
from trioraft import Node, Role
from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import WatchReply, WatchRequest
from trioraft.host import open_server
from trioraft.machines.counter import CounterMachine
from trioraft.rpc import GRPCError, Status, open_channel
from trioraft.rpc.services import HealthService, ServingStatus


def places(count: int) -> dict[str, str]:
    return {str(n): f"127.0.0.1:{port}" for n, port in enumerate(free_ports(count), 1)}


@asynccontextmanager
async def nodes(
    count: int, priorities: Mapping[str, int] | None = None, health: HealthService | None = None
) -> AsyncIterator[dict[str, Node]]:
    """Nodes with a leader, the first of them with `health`."""
    peers = places(count)
    async with AsyncExitStack() as stack:
        opened = {
            name: await stack.enter_async_context(
                trioraft.open_node(
                    id=name,
                    peers=peers,
                    priorities=priorities,
                    machine=Counter(),
                    config=FAST,
                    health=health if name == "1" else None,
                )
            )
            for name in peers
        }
        with trio.fail_after(30):
            for node in opened.values():
                await node.wait_leader()
        yield opened


async def watch(node: Node, index: int, replies: list[WatchReply]) -> None:
    """A call that is open until somebody has written `index`."""
    async with open_channel(node.address) as channel:
        stub = NodeServiceStub(channel)
        replies.append(await stub.Watch(WatchRequest(index=index), timeout=30))


async def test_a_preferred_leader_hands_over_and_answers_what_it_was_asked() -> None:
    """Somebody of lower priority takes over: who is leaving does not claim precedence."""
    health = HealthService()
    async with nodes(3, {"1": 7}, health) as opened:
        leaving, other = opened["1"], opened["2"]
        with trio.fail_after(30):
            await leaving.wait_role(Role.LEADER)
            written = (await leaving.write(b"1")).index
            replies: list[WatchReply] = []
            stopped = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, leaving, written + 5, replies)
                await trio.sleep(0.3)

                async def stop() -> None:
                    await leaving.stop()
                    stopped.set()

                nursery.start_soon(stop)
                while other.leader in (None, "1"):
                    await other.wait_change()
                assert health.get() is ServingStatus.NOT_SERVING
                with pytest.raises(OSError, match="all attempts to connect"):
                    host, port = leaving.address.split(":")
                    while True:
                        await (await trio.open_tcp_stream(host, int(port))).aclose()
                        await trio.sleep(0.02)
                assert not stopped.is_set()
                for _ in range(5):  # the new leader's first entry is one, too
                    await other.propose(b"1")
                await stopped.wait()
            assert replies[0].index >= written + 5
            assert leaving.role is Role.FOLLOWER


async def test_the_grace_is_for_everything_and_zero_hands_nothing_over() -> None:
    async with nodes(2) as opened:
        with trio.fail_after(30):
            leader = next(node for node in opened.values() if node.role is Role.LEADER)
            ends: list[GRPCError] = []

            async def watch_in_vain() -> None:
                with pytest.raises(GRPCError) as caught:
                    await watch(leader, 1000, [])
                ends.append(caught.value)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch_in_vain)
                await trio.sleep(0.3)
                nursery.start_soon(leader.stop)  # for as long as it takes
                await trio.sleep(0.3)
                await leader.stop(0)  # the earlier end counts
        assert ends[0].status is Status.UNAVAILABLE


async def test_a_lone_node_has_nobody_to_hand_over_to() -> None:
    async with nodes(1) as opened:
        with trio.fail_after(30):
            (node,) = opened.values()
            began = trio.current_time()
            await node.stop(grace=20)
            assert trio.current_time() - began < 10
            assert await node.propose(b"1") == b"1"  # from inside, until the block is left


async def test_a_server_hands_over_every_group_that_it_leads() -> None:
    peers = places(2)
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(open_server(id=name, listen=address))
            for name, address in peers.items()
        ]
        with trio.fail_after(30):
            for name in ("a", "b", "c"):
                for server in (first, second):
                    await server.open_group(name, CounterMachine(), peers=peers, config=FAST)
            led = list[Node]()
            for name, node in first.groups.items():
                if await node.wait_leader() != first.id:
                    await second.groups[name].transfer_leadership(first.id)
                await node.wait_role(Role.LEADER)
                led.append(node)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(first.stop, grace=20))
                for node in second.groups.values():
                    await node.wait_role(Role.LEADER)
            assert [node.leader for node in led] == [second.id] * 3
