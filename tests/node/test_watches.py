"""Waiting for levels of replication."""

from __future__ import annotations

import pytest
import trio
from loopback import loop_cluster

from trioraft.node import RuntimeSettings
from trioraft.raft.errors import GroupStoppedError, NotLeaderError, OverloadedError
from trioraft.raft.types import ReplicationLevel

LEVELS = tuple(ReplicationLevel)


async def test_every_level_is_reached_when_all_are_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        result = await leader.write(b"a")
        for level in LEVELS:
            with trio.fail_after(5):
                assert await leader.watch(result.index, level) >= result.index
        follower = next(g for g in cluster.groups.values() if g is not leader)
        assert await follower.watch(result.index, ReplicationLevel.MAJORITY) >= result.index
        with pytest.raises(NotLeaderError):
            await follower.watch(result.index, ReplicationLevel.ALL)


async def test_an_index_to_come_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        index = leader.core.last_index + 3
        reached: list[ReplicationLevel] = []

        async def watch(level: ReplicationLevel) -> None:
            assert await leader.watch(index, level) >= index
            reached.append(level)

        async with trio.open_nursery() as nursery:
            for level in LEVELS:
                nursery.start_soon(watch, level)
            for _ in range(3):
                await trio.sleep(1)
                assert not reached
                await leader.propose(b"a")
        assert sorted(reached) == list(LEVELS)


async def test_all_waits_for_a_voter_that_is_away(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        away = next(name for name in cluster.groups if name != leader.node_id)
        cluster.isolate(away)
        index = (await leader.write(b"a")).index
        await leader.watch(index, ReplicationLevel.MAJORITY)
        await leader.watch(index, ReplicationLevel.MAJORITY_COMMITTED)
        for level in (ReplicationLevel.ALL, ReplicationLevel.ALL_COMMITTED):
            with trio.move_on_after(2) as scope:
                await leader.watch(index, level)
            assert scope.cancelled_caught
        cluster.heal()
        with trio.fail_after(10):
            await leader.watch(index, ReplicationLevel.ALL_COMMITTED)


async def test_lost_leadership_ends_a_watch(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        cluster.isolate(leader.node_id)
        with trio.fail_after(10), pytest.raises(NotLeaderError):
            await leader.watch(10**6, ReplicationLevel.MAJORITY)


async def test_a_stopped_group_ends_a_watch(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()

        async def watch() -> None:
            with pytest.raises(GroupStoppedError):
                await leader.watch(10**6, ReplicationLevel.MAJORITY)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.sleep(0.01)
            cluster.kill(leader.node_id)


async def test_watches_are_bounded_and_the_cancelled_leave_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(settings=RuntimeSettings(max_watches=3)) as cluster:
        leader = await cluster.leader()
        for _ in range(50):
            with trio.move_on_after(0.01):
                await leader.watch(10**6, ReplicationLevel.ALL)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(leader.watch, 10**6, ReplicationLevel.ALL)
            await trio.sleep(0.01)
            with pytest.raises(OverloadedError, match="3 calls wait"):
                await leader.watch(10**6, ReplicationLevel.ALL)
            nursery.cancel_scope.cancel()
        index = (await leader.write(b"a")).index
        assert await leader.watch(index, ReplicationLevel.ALL_COMMITTED) >= index
