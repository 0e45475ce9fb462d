"""A node that is told to stop lets the calls that it has accepted end: as real processes."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from trioraft._proto.etcd.rpc_grpc import KVStub
from trioraft._proto.etcd.rpc_pb2 import PutRequest, RangeRequest
from trioraft._proto.grpc.health_grpc import HealthStub
from trioraft._proto.grpc.health_pb2 import HealthCheckRequest, HealthCheckResponse
from trioraft.cli.demo.cluster import LocalCluster, open_cluster
from trioraft.cli.demo.processes import NodeStartError
from trioraft.rpc import Channel, GRPCError, Status, open_channel

#: Elections that do not make a test wait; the machine may be busy, so not faster.
FAST = ("--election-timeout", "500", "--heartbeat", "100")

#: What our own channel says when it had no connection to send a call on, and is to dial again. One
#: that the system had connected, and that nobody had accepted when the address was closed, is none.
NOT_SENT = ("next attempt in", "cannot connect")


@dataclass
class Load:
    """Writers that put one key after the other, each on a connection of its own."""

    address: str
    acknowledged: list[bytes] = field(default_factory=list)
    errors: list[GRPCError] = field(default_factory=list)

    async def write(self, writer: int) -> None:
        """Until a call is refused, because there is nobody to connect to any more."""
        async with open_channel(self.address) as channel:
            kv = KVStub(channel)
            for number in range(1_000_000):
                key = b"%d/%d" % (writer, number)
                try:
                    await kv.Put(PutRequest(key=key, value=b"v"), timeout=20)
                except GRPCError as error:
                    self.errors.append(error)
                    return
                self.acknowledged.append(key)


async def signalled(cluster: LocalCluster, node_id: str, *numbers: signal.Signals) -> int:
    """Send a node signals, half a second apart; the exit status."""
    node = cluster.nodes[node_id]
    process = node.process
    assert process is not None
    node.told_to_end = True
    with trio.fail_after(30):
        for number in numbers:
            process.send_signal(number)
            with trio.move_on_after(0.5):
                await process.wait()
        return await process.wait()


@pytest.mark.parametrize(("wire", "place"), [("ratis", 0), ("openraft", 0), ("ratis", 1)])
async def test_no_call_is_cut_and_no_write_lost(tmp_path: Path, wire: str, place: int) -> None:
    """place: 0 stops the leader, 1 a follower, which has its writes done by the leader."""
    options = (*FAST, "--grace", "40")  # nothing is cut off, or it would take that long
    async with open_cluster(tmp_path, size=3, wire=wire, options=options) as cluster:
        leader = await cluster.wait_leader()
        others = [node_id for node_id in cluster.nodes if node_id != leader]
        stopped = [leader, *others][place]
        load = Load(cluster.nodes[stopped].address)
        async with trio.open_nursery() as nursery:
            for writer in range(16):
                nursery.start_soon(load.write, writer)
            with trio.fail_after(60):
                while len(load.acknowledged) < 500:
                    await trio.sleep(0.01)
                assert not load.errors
                assert await cluster.stop(stopped, timeout=30) == 0
        # Each writer ends with a call that found nobody to accept it, and no other is in error.
        messages = Counter((error.status, error.message) for error in load.errors)
        assert len(load.errors) == 16
        for status, message in messages:
            assert status is Status.UNAVAILABLE
            assert message is not None
            assert any(words in message for words in NOT_SENT), messages
        assert "Traceback" not in cluster.log_tail(stopped, 100)
        survivor = next(node_id for node_id in cluster.nodes if node_id != stopped)
        async with open_channel(cluster.nodes[survivor].address) as channel:
            found = await KVStub(channel).Range(
                RangeRequest(key=b"\0", range_end=b"\0", keys_only=True), timeout=20
            )
        assert set(load.acknowledged) <= {pair.key for pair in found.kvs}


async def lose_quorum(cluster: LocalCluster) -> None:
    """Leave n1 alone, and wait until it knows."""
    await cluster.kill("n2")
    with trio.fail_after(30):
        while (await cluster.status("n1", timeout=10)).groups[0].leader_id:
            await trio.sleep(0.02)


async def call_in_vain(channel: Channel, began: trio.Event) -> GRPCError:
    """The end of a call that waits for a leader, for up to 7 s."""
    with pytest.raises(GRPCError) as caught:
        async with KVStub(channel).Put.open(timeout=30) as call:
            await call.send_message(PutRequest(key=b"k"), end=True)
            await trio.sleep(0.5)  # it is there by now
            began.set()
            await call.recv_message()
    return caught.value


@pytest.mark.parametrize("grace", ["0", "0.5"])
async def test_what_does_not_end_is_cut_off_after_the_grace(tmp_path: Path, grace: str) -> None:
    options = (*FAST, "--grace", grace)
    async with open_cluster(tmp_path, size=2, options=options) as cluster:
        await lose_quorum(cluster)
        async with open_channel(cluster.nodes["n1"].address) as channel:
            async with trio.open_nursery() as nursery:
                ends: list[GRPCError] = []
                sent = trio.Event()

                async def call() -> None:
                    ends.append(await call_in_vain(channel, sent))

                nursery.start_soon(call)
                await sent.wait()
                began = trio.current_time()
                assert await signalled(cluster, "n1", signal.SIGTERM) == 0
                assert float(grace) <= trio.current_time() - began < float(grace) + 3
        assert ends[0].status is Status.UNAVAILABLE
        assert ends[0].message == "the server ends the call: the server is stopping"


async def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    options = (*FAST, "--grace", "60")
    async with open_cluster(tmp_path, size=2, options=options) as cluster:
        await lose_quorum(cluster)
        async with open_channel(cluster.nodes["n1"].address) as channel:
            async with trio.open_nursery() as nursery:
                sent = trio.Event()
                nursery.start_soon(call_in_vain, channel, sent)
                await sent.wait()
                status = await signalled(cluster, "n1", signal.SIGTERM, signal.SIGINT)
                assert status == 128 + signal.SIGINT
        assert "stopped at once by SIGINT" in cluster.log_tail("n1")


async def test_health_says_so_while_calls_end(tmp_path: Path) -> None:
    options = (*FAST, "--grace", "2")
    async with open_cluster(tmp_path, size=2, options=options) as cluster:
        await cluster.wait_leader()
        async with open_channel(cluster.nodes["n1"].address) as channel:
            statuses = []
            with pytest.raises(GRPCError, match="the server is stopping"):
                async with HealthStub(channel).Watch.open(timeout=30) as watch:
                    await watch.send_message(HealthCheckRequest(), end=True)
                    first = await watch.recv_message()
                    assert first is not None
                    assert first.status == HealthCheckResponse.SERVING
                    assert await signalled(cluster, "n1", signal.SIGTERM) == 0
                    while (reply := await watch.recv_message()) is not None:
                        statuses.append(reply.status)
            assert statuses == [HealthCheckResponse.NOT_SERVING]


async def test_the_preferred_node_leads_and_hands_over_to_the_others(tmp_path: Path) -> None:
    options = (*FAST, "--priorities", "n2=5")
    async with open_cluster(tmp_path, size=3, options=options) as cluster:
        with trio.fail_after(30):
            while await cluster.leader() != "n2":
                await trio.sleep(0.05)
            members = (await cluster.status("n2", timeout=10)).groups[0].members
            assert {m.node_id: m.priority for m in members} == {"n1": 0, "n2": 5, "n3": 0}
            assert await cluster.stop("n2") == 0
            assert await cluster.wait_leader() in ("n1", "n3")
        assert "without handing over" not in cluster.log_tail("n2", 100)


async def test_openraft_has_no_priorities(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, size=1, wire="openraft", options=["--priorities", "1=2"])
    with pytest.raises(NodeStartError, match="openraft has no priorities"):
        await cluster.start()
