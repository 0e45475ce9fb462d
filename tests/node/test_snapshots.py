"""Snapshots of a running group: beside applying, against the disk's will, over bad connections."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import pytest
import trio
from loopback import loop_cluster
from snapshot_journals import (
    MANUAL,
    CapturedJournal,
    captured,
)

from trioraft.node import RuntimeSettings
from trioraft.raft.errors import (
    GroupStoppedError,
    StorageError,
    TrioraftError,
)
from trioraft.storage.snapshots.in_memory import MemorySnapshotWriter


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


async def test_restart_restores_the_snapshot_and_replays_the_log(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = RuntimeSettings(snapshot_after_entries=20, keep_entries=5)
    async with loop_cluster(names=("n1",), settings=settings) as cluster:
        leader = await cluster.leader()
        for number in range(50):
            await leader.propose(b"%d" % number)
        cluster.kill("n1")
        cluster.start("n1")
        again = await cluster.leader()
        assert await again.propose(b"next") == b"51"
        assert cluster.machines["n1"].restored == 1


async def test_a_large_state_is_not_written_again_for_every_few_entries(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    settings = RuntimeSettings(snapshot_after_entries=5, keep_entries=5)
    async with loop_cluster(names=("n1",), settings=settings) as cluster:
        leader = await cluster.leader()
        for number in range(200):
            await leader.propose(b"%0500d" % number)
            index = leader.status().snapshot_index
            if index not in taken:
                taken.append(index)
    assert 5 < len(taken) < 25


async def test_a_snapshot_of_nothing_is_refused_and_stops_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        group = next(iter(cluster.groups.values()))
        with pytest.raises(TrioraftError, match="nothing has been applied"):
            await group.take_snapshot()
        leader = await cluster.leader()
        assert await leader.propose(b"a") == b"1"
        await cluster.until(lambda: group.applied_index == leader.applied_index)
        assert (await group.take_snapshot()).index == group.applied_index
