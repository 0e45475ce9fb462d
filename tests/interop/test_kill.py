"""Real processes and SIGKILL at random moments: nothing that was acknowledged is ever lost.

TRIORAFT_KILL_SECONDS is the time under fire for all wires together (default 20);
TRIORAFT_KILL_SEED chooses another sequence of crashes.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
from _cluster import LocalCluster

from trioraft.client import EtcdClient, RetryPolicy, open_etcd
from trioraft.client.etcd import prefix_range
from trioraft.raft.errors import NoQuorumError

SECONDS = float(os.environ.get("TRIORAFT_KILL_SECONDS", "20"))
SEED = int(os.environ.get("TRIORAFT_KILL_SEED", "1"))
WIRES = ("ratis", "openraft")
WRITERS = 12
PREFIX = b"kill/"

StartCluster = Callable[..., Awaitable[LocalCluster]]

SLOW_ELECTIONS = ("--election-timeout", "3000", "--heartbeat", "100")

POLICY = RetryPolicy(timeout=60.0, attempt_timeout=1.0, follow_interval=0.5)


@dataclass
class Load:
    """Writers with keys of their own, each key written once; what was acknowledged."""

    acknowledged: dict[bytes, bytes] = field(default_factory=dict)
    stopping: bool = False

    async def write(self, client: EtcdClient, writer: int) -> None:
        rng = random.Random(writer)
        number = 0
        while not self.stopping:
            key = PREFIX + b"%02d/%06d" % (writer, number)
            value = rng.randbytes(rng.randrange(400))
            await client.put(key, value)
            self.acknowledged[key] = value
            number += 1
            await trio.sleep(0.002)


async def crash_at_random(cluster: LocalCluster, seconds: float, seed: int) -> int:
    """Kill one, two or all nodes again and again, some while they recover; returns how often."""
    rng = random.Random(seed)
    kills = 0
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        await trio.sleep(rng.uniform(0.1, 1.2))
        running = [node.id for node in cluster.nodes.values() if node.running]
        count = min(len(running), rng.choices((1, 2, 3), (7, 2, 1))[0])
        for victim in rng.sample(running, count):
            await cluster.kill(victim)
            kills += 1
        await trio.sleep(rng.uniform(0.0, 0.8))
        for node in cluster.nodes.values():
            if not node.running and rng.random() < 0.8:
                await cluster.spawn(node.id)
    for node in cluster.nodes.values():
        if node.running:
            await cluster.wait_ready(node.id)
        else:
            await cluster.start(node.id)
    return kills


async def read_all(client: EtcdClient, *, serializable: bool) -> tuple[dict[bytes, bytes], str]:
    """Keys and values, and a digest of everything including the revisions."""
    found: dict[bytes, bytes] = {}
    digest = hashlib.sha256()
    start, end = prefix_range(PREFIX)
    async for page in client.pages(start, range_end=end, serializable=serializable):
        for pair in page:
            found[pair.key] = pair.value
            digest.update(pair.SerializeToString(deterministic=True))
    return found, digest.hexdigest()


async def assert_nothing_lost(cluster: LocalCluster, acknowledged: dict[bytes, bytes]) -> None:
    """Every node, by itself, has every acknowledged write; and all nodes are equal."""
    async with open_etcd(cluster.endpoints, policy=POLICY) as client:
        await client.put(b"barrier", b"")
        everything, _ = await read_all(client, serializable=False)
    lost = [key for key, value in acknowledged.items() if everything.get(key) != value]
    assert not lost, f"a linearizable read lacks {len(lost)} of {len(acknowledged)}: {lost[:5]}"
    leader = await cluster.wait_leader()
    await cluster.wait_applied(await cluster.commit_index(leader))
    digests = set()
    for node in cluster.nodes.values():
        async with open_etcd(node.address) as client:
            found, digest = await read_all(client, serializable=True)
        lost = [key for key, value in acknowledged.items() if found.get(key) != value]
        assert not lost, f"{node.id} lacks {len(lost)} of {len(acknowledged)}: {lost[:5]}"
        digests.add(digest)
    assert len(digests) == 1, "the replicas differ"


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
async def test_kills_at_random_moments_lose_nothing(start_cluster: StartCluster, wire: str) -> None:
    cluster = await start_cluster(wire=wire)
    load = Load()
    async with (
        open_etcd(cluster.endpoints, policy=POLICY) as client,
        trio.open_nursery() as nursery,
    ):
        for writer in range(WRITERS):
            nursery.start_soon(load.write, client, writer)
        kills = await crash_at_random(cluster, SECONDS / len(WIRES), SEED)
        await cluster.wait_leader()
        load.stopping = True
    assert kills >= SECONDS / len(WIRES) / 2.5
    assert len(load.acknowledged) > 2 * SECONDS, "hardly a write was under way to be lost"
    await assert_nothing_lost(cluster, load.acknowledged)
    print(f"{wire}: {kills} kills, {len(load.acknowledged)} writes, all there")


@pytest.mark.parametrize("wire", WIRES)
async def test_sigterm_hands_leadership_over(start_cluster: StartCluster, wire: str) -> None:
    # Nobody would start an election by itself within the time allowed here.
    cluster = await start_cluster(wire=wire, options=SLOW_ELECTIONS)
    load = Load()
    async with (
        open_etcd(cluster.endpoints, policy=POLICY) as client,
        trio.open_nursery() as nursery,
    ):
        for writer in range(WRITERS):
            nursery.start_soon(load.write, client, writer)
        await trio.sleep(0.3)
        leader = await cluster.wait_leader()
        started = trio.current_time()
        assert await cluster.stop(leader) == 0
        await cluster.wait_leader(other_than=leader)
        assert trio.current_time() - started < 2.5
        await trio.sleep(0.3)
        load.stopping = True
    await cluster.start(leader)
    await assert_nothing_lost(cluster, load.acknowledged)


async def test_a_follower_and_a_lonely_node_stop_on_sigterm(start_cluster: StartCluster) -> None:
    cluster = await start_cluster()
    leader = await cluster.wait_leader()
    first, second = (node_id for node_id in cluster.nodes if node_id != leader)
    assert await cluster.stop(first) == 0
    assert await cluster.leader() == leader
    assert await cluster.stop(second) == 0
    with trio.fail_after(10):  # nobody is left to hand over to: bounded waiting
        assert await cluster.stop(leader) == 0


async def test_a_second_signal_stops_at_once(start_cluster: StartCluster) -> None:
    cluster = await start_cluster(options=SLOW_ELECTIONS)  # and as long to give up handing over
    leader = await cluster.wait_leader()
    for node in cluster.nodes.values():
        if node.id != leader:
            assert node.process is not None
            node.process.send_signal(signal.SIGSTOP)  # no successor will answer
    process = cluster.nodes[leader].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    await trio.sleep(0.2)
    assert process.returncode is None
    cluster.nodes[leader].told_to_end = True
    process.send_signal(signal.SIGTERM)
    with trio.fail_after(1):
        assert await process.wait() == 128 + signal.SIGTERM
    assert "stopped at once by SIGTERM" in cluster.log_tail(leader)


async def test_without_a_quorum_writes_fail_clearly_and_stale_reads_work(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster()
    async with open_etcd(cluster.endpoints) as client:
        await client.put(b"a", b"1")
        leader = await cluster.wait_leader()
        await cluster.wait_applied(await cluster.commit_index(leader))
        survivor, *others = cluster.nodes
        for node_id in others:
            await cluster.kill(node_id)
        with pytest.raises(NoQuorumError, match="majority"):
            await client.put(b"a", b"2", timeout=1.0)
        reply = await client.get(b"a", serializable=True, timeout=5.0)
        assert [pair.value for pair in reply.kvs] == [b"1"]
        await cluster.start(others[0])
        await client.put(b"a", b"3", timeout=20.0)
    assert cluster.nodes[survivor].running
