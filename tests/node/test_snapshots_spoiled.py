"""Snapshots that do not arrive as they should: no room, unreadable, not what was announced."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import trio
from loopback import loop_cluster
from snapshot_journals import (
    MANUAL,
    fallen_behind,
    leader_seen,
)

from trioraft.node import RuntimeSettings
from trioraft.node.peers import SnapshotChunk
from trioraft.raft.errors import (
    CorruptionError,
    StorageError,
)
from trioraft.raft.messages import SnapshotRequest
from trioraft.raft.types import SnapshotMeta
from trioraft.storage.snapshots.container import describe_file
from trioraft.storage.snapshots.in_memory import MemorySnapshotReader, MemorySnapshotWriter


async def test_a_follower_without_room_goes_on_and_takes_it_later(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def full(self: MemorySnapshotWriter, data: bytes) -> None:
        raise StorageError("the disk is full")

    async with loop_cluster(settings=MANUAL) as cluster:
        leader, behind = await fallen_behind(cluster)
        with monkeypatch.context() as patch:
            patch.setattr(MemorySnapshotWriter, "write", full)
            cluster.start(behind)
            await trio.sleep(5)
            assert cluster.machines[behind].seen == []
            assert (cluster.groups[behind].failure, cluster.groups[leader].failure) == (None, None)
        await cluster.until(lambda: cluster.machines[behind].seen == leader_seen(cluster, leader))


async def test_a_received_snapshot_that_cannot_be_published_is_not_installed(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def full(self: MemorySnapshotWriter, meta: object) -> None:
        raise StorageError("the disk is full")

    async with loop_cluster(settings=MANUAL) as cluster:
        leader, behind = await fallen_behind(cluster)
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(MemorySnapshotWriter, "commit", full)
            cluster.start(behind)
            await trio.sleep(5)
        assert "a received snapshot cannot be kept: the disk is full" in caplog.text
        assert cluster.machines[behind].restored == 0
        assert cluster.groups[behind].failure is None
        await cluster.until(lambda: cluster.machines[behind].seen == leader_seen(cluster, leader))


async def test_a_snapshot_that_cannot_be_read_stops_nobody(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def rotten(self: MemorySnapshotReader, max_bytes: int = 0) -> bytes:
        raise CorruptionError("somewhere", 7, "rot")

    async with loop_cluster(settings=MANUAL) as cluster:
        leader, behind = await fallen_behind(cluster)
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(MemorySnapshotReader, "read", rotten)
            cluster.start(behind)
            await trio.sleep(5)
        assert "cannot be read: somewhere: corrupt at offset 7" in caplog.text
        assert cluster.groups[leader].failure is None
        await cluster.groups[leader].propose(b"on")
        await cluster.until(lambda: cluster.machines[behind].seen == leader_seen(cluster, leader))


@pytest.mark.parametrize("lie", ["size", "checksum", "missing", "more"])
async def test_files_that_are_not_those_announced_are_not_installed(
    autojump_clock: trio.testing.MockClock, lie: str
) -> None:
    async with loop_cluster(settings=MANUAL) as cluster:
        leader, behind = await fallen_behind(cluster)
        for other in cluster.storages:
            cluster.cut += [(other, behind), (behind, other)]
        cluster.start(behind)
        await trio.sleep(0.01)
        files = [describe_file("state", b"abc"), describe_file("b", b"")]
        if lie == "size":
            files[0] = files[0]._replace(size=4)
        elif lie == "checksum":
            files[0] = files[0]._replace(checksum=1)
        elif lie == "missing":
            files.append(describe_file("c", b""))
        else:
            files.pop()
        term = cluster.groups[leader].term
        meta = SnapshotMeta(30, term, cluster.configuration, 3, -1, tuple(files))

        async def chunks() -> AsyncIterator[SnapshotChunk]:
            yield SnapshotChunk("state", b"abc")
            yield SnapshotChunk("b", b"")

        async def resume(files: int, offset: int) -> None:
            assert (files, offset) == (0, 0), "nothing of a lie is kept"

        request = SnapshotRequest(term, leader, meta)
        for _ in range(2):
            with pytest.raises(ValueError, match="announced as"):
                await cluster.groups[behind].inbound.handle_snapshot(request, chunks(), resume)
        assert cluster.machines[behind].restored == 0
        assert cluster.groups[behind].failure is None


async def test_a_refused_snapshot_leaves_nothing_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Warnings are errors here, also for a generator that nobody closed."""
    settings = RuntimeSettings(snapshot_after_entries=20, keep_entries=5, snapshot_chunk_bytes=1)
    async with loop_cluster(settings=settings) as cluster:
        leader = await cluster.leader()
        behind = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(behind)
        for number in range(60):
            await leader.propose(b"%d" % number)
        cluster.start(behind)
        await trio.sleep(0.3)
        cluster.kill(leader.node_id)
        second = await cluster.leader()
        assert int(await second.propose(b"x")) == 61
