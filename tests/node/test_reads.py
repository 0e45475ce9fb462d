"""Reads of a replica that must have applied an index first."""

from __future__ import annotations

import pytest
import trio
from loopback import loop_cluster

from trioraft.node import RuntimeSettings
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import GroupStoppedError, NotLeaderError, OverloadedError


async def test_a_read_waits_for_its_index_and_sees_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        follower = next(g for g in cluster.groups.values() if g is not leader)
        answers: list[bytes] = []

        async def read(index: int) -> None:
            answers.append(await follower.query_at(b"", index))

        first = (await leader.write(b"a")).index
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, first + 2)
            await trio.sleep(1)
            await leader.propose(b"b")
            await trio.sleep(1)
            assert not answers
            await leader.propose(b"c")
        assert answers == [b"a,b,c"]
        assert await follower.query_at(b"", -1) == b"a,b,c"


async def test_reads_given_up_leave_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    """Or a client could fill a node's queue with indices that never come."""
    async with loop_cluster(settings=RuntimeSettings(max_reads=5)) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        for _ in range(100):
            with trio.move_on_after(0.01) as scope:
                await leader.query_at(b"", 10**9)
            assert scope.cancelled_caught
        assert await leader.query(b"") == b"a"
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(leader.query_at, b"", 10**9)
            await trio.sleep(0.01)
            with pytest.raises(OverloadedError):
                await leader.query_at(b"", 10**9)
            assert await leader.query(b"") == b"a", "others are not in their way"
            nursery.cancel_scope.cancel()


async def test_a_waiting_read_hears_of_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()

        async def read() -> None:
            with pytest.raises(GroupStoppedError):
                await leader.query_at(b"", 10**9)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(0.01)
            cluster.kill(leader.node_id)


async def test_a_snapshot_reaches_an_index_too(autojump_clock: trio.testing.MockClock) -> None:
    settings = RuntimeSettings(snapshot_after_entries=20, keep_entries=5)
    async with loop_cluster(settings=settings) as cluster:
        leader = await cluster.leader()
        behind = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(behind)
        for number in range(100):
            index = (await leader.write(b"%d" % number)).index
        snapshot = leader.status().snapshot_index
        assert snapshot > 50
        cluster.start(behind)
        with trio.fail_after(30):
            assert await cluster.groups[behind].query_at(b"", snapshot)
            assert await cluster.groups[behind].query_at(b"", index) == b"97,98,99"


async def test_a_lease_answers_without_a_round_while_it_holds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    config = RaftConfig(lease_reads=True)
    async with loop_cluster(config=config) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        await trio.sleep(1)  # heartbeats have gone round
        cluster.isolate(leader.node_id)
        before = trio.current_time()
        assert await leader.query(b"") == b"a"
        assert trio.current_time() == before
        await trio.sleep(config.election_timeout_min)
        with trio.fail_after(10), pytest.raises(NotLeaderError):
            await leader.query(b"")


async def test_without_leases_a_round_is_needed(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        await trio.sleep(1)
        cluster.isolate(leader.node_id)
        with trio.fail_after(10), pytest.raises(NotLeaderError):
            await leader.query(b"")


async def test_reads_that_no_quorum_answers_are_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They wait in the core, for a round: with `check_quorum` off for as long as it takes."""
    config = RaftConfig(check_quorum=False)
    async with loop_cluster(config=config, settings=RuntimeSettings(max_reads=5)) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        cluster.isolate(leader.node_id)
        refused = 0
        for _ in range(20):
            with trio.move_on_after(0.3) as scope:
                try:
                    await leader.query(b"")
                except OverloadedError:
                    refused += 1
            assert scope.cancelled_caught or refused
        assert refused == 15
        cluster.heal()
        with trio.fail_after(30):
            assert await (await cluster.leader()).query(b"") == b"a"
