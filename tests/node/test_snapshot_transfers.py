"""Snapshots on their way to a follower: over connections that break, from senders that go away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio
from loopback import loop_cluster
from snapshot_journals import (
    MANUAL,
    FilesJournal,
    fallen_behind,
    leader_seen,
)

from trioraft.node import RuntimeSettings
from trioraft.node.peers import SnapshotChunk
from trioraft.raft.errors import (
    GroupStoppedError,
    OverloadedError,
)
from trioraft.raft.messages import SnapshotRequest
from trioraft.raft.types import SnapshotMeta
from trioraft.storage.snapshots.container import describe_file


async def test_several_files_reach_a_follower(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster(settings=MANUAL, new_machine=FilesJournal) as cluster:
        leader, behind = await fallen_behind(cluster)
        cluster.start(behind)
        await cluster.until(lambda: cluster.machines[behind].seen == leader_seen(cluster, leader))
        assert cluster.machines[behind].restored == 1


async def test_a_broken_transfer_goes_on_where_it_broke(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = replace(MANUAL, snapshot_chunk_bytes=10)
    async with loop_cluster(settings=settings) as cluster:
        leader, behind = await fallen_behind(cluster)
        cluster.chunks_to_come = 4
        cluster.start(behind)
        await cluster.until(lambda: len(cluster.resumed) > 0 and cluster.chunks_to_come == 0)
        cluster.chunks_to_come = -1
        await cluster.until(lambda: cluster.machines[behind].seen == leader_seen(cluster, leader))
        assert cluster.resumed[:2] == [(0, 0), (0, 40)]


async def test_a_newer_snapshot_begins_anew(autojump_clock: trio.testing.MockClock) -> None:
    settings = replace(MANUAL, snapshot_chunk_bytes=10)
    async with loop_cluster(settings=settings) as cluster:
        leader, behind = await fallen_behind(cluster)
        cluster.chunks_to_come = 4
        cluster.start(behind)
        await cluster.until(lambda: cluster.chunks_to_come == 0)
        await cluster.groups[leader].propose(b"one more")
        await cluster.groups[leader].take_snapshot()
        cluster.chunks_to_come = -1
        await cluster.until(lambda: cluster.machines[behind].seen == leader_seen(cluster, leader))
        assert cluster.resumed[-1] == (0, 0)


async def test_a_sender_that_stays_away_loses_what_it_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = replace(MANUAL, snapshot_chunk_bytes=10, partial_snapshot_timeout=3.0)
    async with loop_cluster(settings=settings) as cluster:
        _leader, behind = await fallen_behind(cluster)
        cluster.chunks_to_come = 4
        cluster.start(behind)
        await cluster.until(lambda: cluster.chunks_to_come == 0)
        for other in cluster.storages:
            if other != behind:
                cluster.cut += [(other, behind), (behind, other)]
        await trio.sleep(10)
        cluster.chunks_to_come = -1
        begun = len(cluster.resumed)
        cluster.heal()
        await cluster.until(lambda: cluster.machines[behind].restored == 1)
        assert cluster.resumed[begun] == (0, 0)


@pytest.mark.parametrize("end", ["newer", "stop"])
async def test_a_transfer_ends_with_its_group_and_for_a_newer_one(
    autojump_clock: trio.testing.MockClock, end: str
) -> None:
    async with loop_cluster(settings=MANUAL) as cluster:
        leader, behind = await fallen_behind(cluster)
        for other in cluster.storages:
            cluster.cut += [(other, behind), (behind, other)]
        cluster.start(behind)
        await trio.sleep(0.01)
        group, term = cluster.groups[behind], cluster.groups[leader].term
        data = b"\0\0\0\1x"
        files = (describe_file("state", data),)
        meta = SnapshotMeta(30, term, cluster.configuration, 5, -1, files)
        began: list[tuple[int, int]] = []

        async def resume(files: int, offset: int) -> None:
            began.append((files, offset))

        async def endless() -> AsyncIterator[SnapshotChunk]:
            yield SnapshotChunk("state", data[:1])
            await trio.sleep_forever()

        async def rest() -> AsyncIterator[SnapshotChunk]:
            yield SnapshotChunk("state", data[1:])

        request = SnapshotRequest(term, leader, meta)
        expected = OverloadedError if end == "newer" else GroupStoppedError

        async def receive() -> None:
            with pytest.raises(expected):
                await group.inbound.handle_snapshot(request, endless(), resume)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            if end == "stop":
                cluster.kill(behind)
            else:
                reply = await group.inbound.handle_snapshot(request, rest(), resume)
                assert reply.success
                assert cluster.machines[behind].seen == [b"x"]
        assert began == ([(0, 0), (0, 1)] if end == "newer" else [(0, 0)])


async def test_a_follower_far_behind_gets_a_snapshot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = RuntimeSettings(snapshot_after_entries=20, keep_entries=5)
    async with loop_cluster(settings=settings) as cluster:
        leader = await cluster.leader()
        behind = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(behind)
        for number in range(100):
            await leader.propose(b"%d" % number)
        assert leader.status().snapshot_index > 50
        cluster.start(behind)
        await cluster.until(lambda: len(cluster.machines[behind].seen) == 100)
        assert cluster.machines[behind].restored == 1
        assert cluster.machines[behind].seen == cluster.machines[leader.node_id].seen
        assert await leader.propose(b"more") == b"101"
        await cluster.until(lambda: len(cluster.machines[behind].seen) == 101)


async def test_a_sender_that_dies_while_its_snapshot_is_installed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What has begun is finished: the machine, the snapshot and the core stay in step."""
    settings = RuntimeSettings(snapshot_after_entries=20, keep_entries=5)
    async with loop_cluster(settings=settings) as cluster:
        leader = await cluster.leader()
        behind = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(behind)
        for number in range(60):
            await leader.propose(b"%d" % number)
        cluster.start(behind)
        await cluster.until(lambda: cluster.machines[behind].restoring)
        cluster.kill(leader.node_id)
        await cluster.until(lambda: cluster.machines[behind].restored == 1)
        group = cluster.groups[behind]
        await cluster.until(lambda: group.commit_index >= group.applied_index)
        assert group.failure is None
        second = await cluster.leader()
        assert await second.propose(b"x") == b"61"
        await cluster.until(lambda: len(cluster.machines[behind].seen) == 61)
