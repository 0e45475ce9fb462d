"""Snapshots of a running group: beside applying, against the disk's will, over bad connections."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import trio
from loopback import Journal, LoopCluster, loop_cluster

from trioraft.node import Group, RuntimeSettings
from trioraft.node.machine import SnapshotSink, SnapshotSource
from trioraft.node.peers import SnapshotChunk
from trioraft.raft.errors import (
    CorruptionError,
    GroupStoppedError,
    OverloadedError,
    StorageError,
    TrioraftError,
)
from trioraft.raft.messages import SnapshotRequest
from trioraft.raft.types import SnapshotMeta
from trioraft.storage.snapshot_file import describe_file
from trioraft.storage.snapshot_memory import MemorySnapshotReader, MemorySnapshotWriter

MANUAL = RuntimeSettings(snapshot_after_entries=10**9, keep_entries=0)


class CapturedJournal(Journal):
    """Written from a copy; waits for `gate`, if there is one, before it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: trio.Event | None = None
        self.open_captures = 0

    def capture(self) -> _Capture:
        assert not self.busy
        self.open_captures += 1
        return _Capture(self, list(self.seen))

    async def snapshot(self, sink: SnapshotSink) -> None:
        raise AssertionError("it can be captured")


class _Capture:
    def __init__(self, machine: CapturedJournal, seen: Sequence[bytes]) -> None:
        self._machine, self._seen = machine, seen

    async def write(self, sink: SnapshotSink) -> None:
        if self._machine.gate is not None:
            await self._machine.gate.wait()
        for data in self._seen:
            await sink.write(len(data).to_bytes(4, "big") + data)

    def close(self) -> None:
        self._machine.open_captures -= 1


class FilesJournal(Journal):
    """Every command in a file of its own, named by its number."""

    async def snapshot(self, sink: SnapshotSink) -> None:
        for number, data in enumerate(self.seen):
            await sink.create_file(f"{number}.cmd")
            await sink.write(data)
        with pytest.raises(ValueError, match="underscore"):
            await sink.create_file("_sessions")

    async def restore(self, source: SnapshotSource) -> None:
        self.restored += 1
        self.seen = []
        assert [file.name for file in source.files] == [
            f"{n}.cmd" for n in range(len(source.files))
        ]
        for file in reversed(source.files):
            await source.open_file(file.name)
            self.seen.insert(0, await source.read())
        with pytest.raises(KeyError):
            await source.open_file("_sessions")


async def test_applying_goes_on_while_a_snapshot_is_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(names=("n1",), settings=MANUAL, new_machine=CapturedJournal) as cluster:
        group, machine = await captured(cluster)
        await group.propose(b"before")
        machine.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            metas = []

            async def take() -> None:
                metas.append(await group.take_snapshot())

            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            at = group.applied_index
            assert await group.propose(b"meanwhile") == b"2"
            nursery.start_soon(take)  # has its turn after the first one
            await trio.testing.wait_all_tasks_blocked()
            assert (metas, machine.open_captures) == ([], 1)
            machine.gate.set()
        assert [meta.index for meta in metas] == [at, at + 1]
        assert await group.take_snapshot() == metas[-1], "nothing has changed since"
        assert machine.open_captures == 0
        cluster.kill("n1")
        cluster.start("n1")
        assert await (await cluster.leader()).propose(b"after") == b"3"
        assert cluster.machines["n1"].restored == 1


async def test_a_group_that_stops_lets_go_of_its_capture(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(names=("n1",), settings=MANUAL, new_machine=CapturedJournal) as cluster:
        group, machine = await captured(cluster)
        await group.propose(b"x")
        machine.gate = trio.Event()
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                with pytest.raises(GroupStoppedError):
                    await group.take_snapshot()

            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            cluster.kill("n1")
        assert machine.open_captures == 0


async def test_nothing_to_snapshot_is_said(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster(connected=False, settings=MANUAL) as cluster:
        with pytest.raises(TrioraftError, match="nothing has been applied"):
            await cluster.groups["n1"].take_snapshot()


async def test_a_snapshot_that_cannot_be_written_is_tried_again(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[float] = []
    commit = MemorySnapshotWriter.commit

    async def full(self: MemorySnapshotWriter, meta: object) -> object:
        tries.append(trio.current_time())
        raise StorageError("the disk is full")

    settings = replace(MANUAL, snapshot_after_entries=5)
    async with loop_cluster(names=("n1",), settings=settings) as cluster:
        group = await cluster.leader()
        monkeypatch.setattr(MemorySnapshotWriter, "commit", full)
        with caplog.at_level(logging.WARNING):
            for number in range(10):
                await group.propose(b"%d" % number)
            with pytest.raises(StorageError, match="the disk is full"):
                await group.take_snapshot()
            await trio.sleep(8)
        assert "next try in 2 s: the disk is full" in caplog.text
        pauses = [later - sooner for sooner, later in itertools.pairwise(tries)]
        assert 2 <= len(pauses) <= 3
        assert all(later >= 1.9 * sooner for sooner, later in itertools.pairwise(pauses))
        assert group.status().snapshot_index == -1
        assert group.failure is None
        monkeypatch.setattr(MemorySnapshotWriter, "commit", commit)
        await cluster.until(lambda: group.status().snapshot_index == group.applied_index, 60)


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


async def captured(cluster: LoopCluster) -> tuple[Group, CapturedJournal]:
    group = await cluster.leader()
    machine = cluster.machines[group.node_id]
    assert isinstance(machine, CapturedJournal)
    return group, machine


async def fallen_behind(cluster: LoopCluster) -> tuple[str, str]:
    """(leader, a stopped follower that only a snapshot can bring back)."""
    leader = await cluster.leader()
    behind = next(name for name in cluster.groups if name != leader.node_id)
    cluster.kill(behind)
    for number in range(30):
        await leader.propose(b"%d" % number)
    await leader.take_snapshot()
    await trio.sleep(0.1)
    return leader.node_id, behind


def leader_seen(cluster: LoopCluster, leader: str) -> list[bytes]:
    return cluster.machines[leader].seen


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
