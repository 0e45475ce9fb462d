"""Sessions, reads and watches over real sockets: the client against three whole nodes."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

import trioraft
from trioraft import (
    Node,
    NotReplicatedError,
    ReplicationLevel,
    RuntimeSettings,
    SessionExpiredError,
)
from trioraft.client import Client
from trioraft.machines.counter import CounterMachine
from trioraft.node import SessionLimits
from trioraft.protocols.local import GrpcForwarder
from trioraft.raft.errors import NotLeaderError
from trioraft.raft.session_ids import call_id_of, client_id_of
from trioraft.raft.types import Member, Session

FAST = trioraft.RaftConfig(
    election_timeout_min=0.5, election_timeout_max=1.0, heartbeat_interval=0.1, lease_reads=True
)


class Cluster:
    def __init__(self, nursery: trio.Nursery, wire: str) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.peers = {f"{i}": f"127.0.0.1:{s.getsockname()[1]}" for i, s in enumerate(sockets, 1)}
        for each in sockets:
            each.close()
        self.nodes: dict[str, Node] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._wire = wire
        self._nursery = nursery

    async def start(self) -> None:
        for name in self.peers:
            self.nodes[name] = await self._nursery.start(self._run, name)
        for node in self.nodes.values():
            await node.wait_leader()

    async def _run(self, name: str, *, task_status: trio.TaskStatus[Node]) -> None:
        with trio.CancelScope() as self._scopes[name]:
            async with trioraft.open_node(
                id=name,
                peers=self.peers,
                machine=CounterMachine(),
                wire=self._wire,
                config=FAST,
                settings=RuntimeSettings(sessions=SessionLimits(max_clients=2)),
            ) as node:
                task_status.started(node)
                await node.wait_stopped()

    async def leader(self) -> Node:
        while True:
            for node in self.nodes.values():
                if node.role is trioraft.Role.LEADER:
                    return node
            await trio.sleep(0.01)

    async def follower(self) -> Node:
        leader = await self.leader()
        return next(node for node in self.nodes.values() if node is not leader)

    def stop(self, node: Node) -> None:
        del self.nodes[node.id]
        self._scopes[node.id].cancel()


@asynccontextmanager
async def a_cluster(wire: str = "ratis") -> AsyncIterator[Cluster]:
    async with trio.open_nursery() as nursery:
        cluster = Cluster(nursery, wire)
        with trio.fail_after(20):
            await cluster.start()
        yield cluster
        nursery.cancel_scope.cancel()


def client_of(cluster: Cluster) -> AbstractAsyncContextManager[Client]:
    return trioraft.open_client(cluster.peers.values(), rng=random.Random(1))


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_every_add_counts_once_through_a_failover(wire: str) -> None:
    async with a_cluster(wire) as cluster, client_of(cluster) as client:
        totals: list[int] = []

        async def add() -> None:
            for _ in range(20):
                total = await client.propose(b"1", timeout=20)
                totals.append(int(total))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(add)
            while len(totals) < 30:
                await trio.sleep(0.01)
            cluster.stop(await cluster.leader())
        assert sorted(totals) == list(range(1, 101))


async def test_a_retry_through_another_node_gets_the_first_answer() -> None:
    async with a_cluster() as cluster:
        leader, follower = await cluster.leader(), await cluster.follower()
        session = Session(client_id_of(0, 5), call_id_of(1, 1))
        first = await follower.write(b"5", session=session)
        assert first.reply == b"5"
        assert await leader.write(b"5", session=session) == first
        assert await follower.write(b"5", session=session) == first
        assert await follower.query(b"") == b"5"


async def test_an_evicted_session_is_refused_by_name_and_the_client_goes_on() -> None:
    async with a_cluster() as cluster, client_of(cluster) as client:
        follower = await cluster.follower()
        await client.propose(b"1")
        old = client.client_id
        for number in range(2):
            birth = follower.applied_index + 1
            session = Session(client_id_of(birth, number), call_id_of(1, 1))
            await follower.propose(b"1", session=session)
        assert old is not None
        with pytest.raises(SessionExpiredError):
            await follower.propose(b"1", session=Session(old, call_id_of(1, 1)))
        assert await client.propose(b"1") == b"4"
        assert client.client_id != old


async def test_a_read_after_a_write_on_any_node() -> None:
    async with a_cluster() as cluster, client_of(cluster) as client:
        for number in range(1, 20):
            result = await client.write(b"1")
            for node in cluster.nodes.values():
                with trio.fail_after(5):
                    answer = await node.query(b"", linearizable=False, min_index=result.index)
                assert int(answer) >= number
            assert int(await client.query(b"", linearizable=False)) >= number
        follower = await cluster.follower()
        with trio.move_on_after(0.1) as scope:
            await follower.query(b"", linearizable=False, min_index=result.index + 1000)
        assert scope.cancelled_caught, "the caller's scope bounds the wait"


async def test_linearizable_reads_on_every_node_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower asks the leader once for all that come while a question is on its way."""
    asked = 0
    ask = GrpcForwarder.read_index

    async def count(forwarder: GrpcForwarder, leader: Member) -> int:
        nonlocal asked
        asked += 1
        return await ask(forwarder, leader)

    monkeypatch.setattr(GrpcForwarder, "read_index", count)
    async with a_cluster() as cluster:
        total = 0

        async def read(node: Node, least: int) -> None:
            assert int(await node.query(b"")) >= least

        for _ in range(5):
            total = int(await (await cluster.follower()).propose(b"1"))
            async with trio.open_nursery() as nursery:
                for node in cluster.nodes.values():
                    for _ in range(30):
                        nursery.start_soon(read, node, total)
        assert 0 < asked <= 60, "two followers, five times thirty reads: a few rounds each"


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_watch_from_the_leader_a_follower_and_a_client(wire: str) -> None:
    async with a_cluster(wire) as cluster, client_of(cluster) as client:
        leader, follower = await cluster.leader(), await cluster.follower()
        index = (await client.write(b"1")).index
        for level in ReplicationLevel:
            with trio.fail_after(10):
                assert await leader.watch(index, level) >= index
                assert await follower.watch(index, level) >= index
                assert await client.watch(index, level) >= index
        with pytest.raises(NotLeaderError):
            await follower.watch(index, ReplicationLevel.ALL, forward=False)
        cluster.stop(follower)
        index = (await client.write(b"1")).index
        assert await client.watch(index, ReplicationLevel.MAJORITY) >= index
        with pytest.raises(NotReplicatedError, match="has not reached ALL within"):
            await client.watch(index, ReplicationLevel.ALL, timeout=0.5)
