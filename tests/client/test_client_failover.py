"""The application's client against nodes that misbehave on request."""

from __future__ import annotations

import random

import pytest
import trio
from fake_nodes import FAST, Cluster

from trioraft.client import Client, open_client
from trioraft.protocols.local import WriteResult
from trioraft.raft.errors import (
    ConfigurationError,
    EntryTooLargeError,
    NoQuorumError,
    NotReplicatedError,
    OverloadedError,
    ProposalDroppedError,
    TrioraftError,
)
from trioraft.raft.types import ReplicationLevel
from trioraft.rpc import GRPCError, Status


async def test_propose_and_query(cluster: Cluster, client: Client) -> None:
    assert await client.propose(b"x") == b"a:x"
    assert await client.query(b"q") == b"q"
    assert await client.query(b"q", linearizable=False) == b"stale 41:q", "after its own write"
    assert await client.query(b"q", linearizable=False, min_index=-1) == b"stale -1:q"
    assert await client.query(b"q", linearizable=False, min_index=99) == b"stale 99:q"
    assert await client.write(b"y") == WriteResult(b"a:y", 42)


async def test_it_goes_to_the_leader(cluster: Cluster, client: Client) -> None:
    cluster.nodes[2].role = "leader"
    assert await client.propose(b"x") == b"c:x"


async def test_of_two_leaders_the_newer_one_counts(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].role, cluster.nodes[0].term = "leader", 9
    cluster.nodes[1].role, cluster.nodes[1].term = "leader", 10
    assert await client.propose(b"x") == b"b:x"


async def test_only_the_groups_own_leader_counts(cluster: Cluster) -> None:
    cluster.nodes[1].leads_other_group = True
    cluster.nodes[2].role = "leader"
    for group_id, leader in ((b"m" * 16, b"c:x"), (b"o" * 16, b"b:x")):
        async with open_client(cluster.targets, group_id=group_id, policy=FAST) as client:
            assert await client.propose(b"x") == leader


async def test_a_lost_node_is_replaced_by_the_next(cluster: Cluster, client: Client) -> None:
    assert await client.propose(b"1") == b"a:1"
    cluster.take_away(0)
    assert await client.propose(b"2") == b"b:2"
    cluster.take_away(1)
    assert await client.propose(b"3") == b"c:3"


async def test_a_watch_asks_on_until_its_time_is_over(cluster: Cluster, client: Client) -> None:
    assert await client.watch(10, ReplicationLevel.ALL) == 10
    with pytest.raises(NotReplicatedError, match="entry 11 has not reached ALL_COMMITTED"):
        await client.watch(11, timeout=1.4)
    assert len(cluster.nodes[0].watches) > 2, "a node that waits with us is not given up"
    assert not cluster.nodes[1].watches


async def test_what_no_retry_changes_is_raised_at_once(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].errors = [EntryTooLargeError("5 MB"), GRPCError(Status.UNKNOWN, "a bug")]
    with pytest.raises(EntryTooLargeError, match="5 MB"):
        await client.propose(b"x")
    with pytest.raises(TrioraftError, match="UNKNOWN: a bug"):
        await client.propose(b"x")
    assert not cluster.nodes[1].proposals


async def test_a_silent_node_costs_one_attempt(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].silent = True
    with trio.fail_after(1.5):
        assert await client.propose(b"x") == b"b:x"


async def test_nobody_answers(cluster: Cluster, client: Client) -> None:
    for position in range(3):
        cluster.take_away(position)
    await trio.sleep(0.01)
    with pytest.raises(NoQuorumError, match=r"within 0\.3 s .*cannot connect.*majority"):
        await client.propose(b"x", timeout=0.3)


async def test_everybody_is_busy(cluster: Cluster, client: Client) -> None:
    for node in cluster.nodes:
        node.errors = [OverloadedError("queue full")] * 1000
    with pytest.raises(NoQuorumError, match="queue full"):
        await client.propose(b"x", timeout=0.3)
    # It backed off: three nodes, pauses of 10 ms and more.
    assert sum(len(node.proposals) for node in cluster.nodes) < 100


async def test_cancelling_ends_the_call(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].silent = True
    with trio.move_on_after(0.05) as scope:
        await client.propose(b"x")
    assert scope.cancelled_caught


async def test_many_tasks_share_a_client_through_a_loss(cluster: Cluster, client: Client) -> None:
    replies: list[bytes] = []

    async def write(number: int) -> None:
        if number == 50:
            cluster.take_away(0)
        replies.append(await client.propose(b"%d" % number))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(write, number)
    assert sorted(int(reply.split(b":")[1]) for reply in replies) == list(range(100))


async def test_without_repeat_there_is_one_attempt(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].errors = [ProposalDroppedError("lost")]
    with pytest.raises(ProposalDroppedError, match="lost"):
        await client.propose(b"x", repeat=False)
    assert sum(len(node.proposals) for node in cluster.nodes) == 1


async def test_the_group_id_is_checked_and_sent(cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError, match="group_id: 3 bytes"):
        async with open_client(cluster.targets, group_id=b"abc"):
            pass
    async with open_client(cluster.targets, group_id=b"g" * 16, policy=FAST) as client:
        await client.propose(b"x")
    assert cluster.nodes[0].proposals[0].group_id == b"g" * 16


async def test_a_dialer_can_be_handed_in(cluster: Cluster) -> None:
    asked: list[str] = []

    async def dial(target: str) -> trio.abc.Stream:
        asked.append(target)
        host, port = target.split(":")
        return await trio.open_tcp_stream(host, int(port))

    async with open_client(cluster.targets, policy=FAST, dial=dial) as client:
        await client.propose(b"x")
    assert asked
    assert set(asked) <= set(cluster.targets)


async def test_the_same_seed_makes_the_same_client_id(cluster: Cluster) -> None:
    async def client_id(seed: int) -> bytes | None:
        for node in cluster.nodes:
            node.sessions = 0
        async with open_client(cluster.targets, rng=random.Random(seed)) as client:
            await client.propose(b"x")
            return client.client_id

    assert await client_id(1) == await client_id(1)
    assert await client_id(1) != await client_id(2)
