"""Snapshots that state machines fetch themselves, told of by a leader of ours."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio
from fetching import Depot, FetchingJournal
from loopback import Journal, LoopCluster, loop_cluster

from trioraft.node import RuntimeSettings, SnapshotPosition
from trioraft.node.machine import SnapshotOffer, SnapshotSink
from trioraft.node.peers import SnapshotChunk
from trioraft.raft.errors import ConfigurationError, GroupStoppedError, StorageError
from trioraft.raft.messages import SnapshotRequest
from trioraft.raft.types import Session, SnapshotMeta
from trioraft.storage.snapshots.in_memory import MemorySnapshotWriter

SETTINGS = RuntimeSettings(snapshot_after_entries=10**9, keep_entries=0, fetch_snapshots=True)
CALL = Session(b"c" * 16, 1)


async def fallen_behind(cluster: LoopCluster) -> tuple[str, str]:
    """(leader, a stopped follower that only a snapshot can bring back)."""
    leader = await cluster.leader()
    behind = next(name for name in cluster.groups if name != leader.node_id)
    cluster.kill(behind)
    assert await leader.propose(b"once", CALL) == b"1"
    for number in range(20):
        await leader.propose(b"%d" % number)
    await leader.take_snapshot()
    await trio.sleep(0.1)
    return leader.node_id, behind


def fetcher(cluster: LoopCluster, name: str) -> FetchingJournal:
    machine = cluster.machines[name]
    assert isinstance(machine, FetchingJournal)
    return machine


async def same(cluster: LoopCluster, one: str, other: str) -> None:
    await cluster.until(lambda: cluster.machines[one].seen == cluster.machines[other].seen)


async def test_the_machine_fetches_and_the_sessions_come_along(
    autojump_clock: trio.testing.MockClock,
) -> None:
    depot = Depot()
    async with loop_cluster(settings=SETTINGS, new_machine=depot.machine) as cluster:
        leader, behind = await fallen_behind(cluster)
        cluster.start(behind)
        await same(cluster, leader, behind)
        [offer] = fetcher(cluster, behind).offers
        assert offer == SnapshotOffer(
            leader, f"{leader}:1", offer.index, cluster.groups[leader].term, exact=True
        )
        assert offer.index == cluster.groups[leader].status().snapshot_index
        assert cluster.machines[behind].restored == 1
        assert cluster.sent == ["_sessions"]
        await cluster.groups[leader].transfer_leadership(behind)
        group = await cluster.leader()
        assert group.node_id == behind
        assert await group.propose(b"again", CALL) == b"1", "the first answer, not another call"
        assert b"again" not in cluster.machines[behind].seen


async def test_what_was_fetched_outlives_a_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    depot = Depot()
    async with loop_cluster(settings=SETTINGS, new_machine=depot.machine) as cluster:
        leader, behind = await fallen_behind(cluster)
        cluster.start(behind)
        await same(cluster, leader, behind)
        cluster.kill(behind)
        depot.states.clear()
        cluster.start(behind)
        await same(cluster, leader, behind)
        assert fetcher(cluster, behind).offers == []


@pytest.mark.parametrize("wrong", ["error", "nothing", "newer", "older", "term", "name"])
async def test_what_a_machine_does_wrong_is_tried_again_with_growing_pauses(
    autojump_clock: trio.testing.MockClock, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    depot = Depot()
    tries: list[float] = []

    async def fail(offer: SnapshotOffer, sink: SnapshotSink) -> SnapshotPosition | None:
        tries.append(trio.current_time())
        await sink.write(b"half")
        if wrong == "error":
            raise OSError("the depot is away")
        if wrong == "name":
            await sink.create_file("_sessions")
        position = SnapshotPosition(offer.index, offer.term)
        return {
            "newer": replace(position, index=offer.index + 1),
            "older": replace(position, index=offer.index - 1),
            "term": replace(position, term=offer.term + 1),
        }.get(wrong)

    async with loop_cluster(settings=SETTINGS, new_machine=depot.machine) as cluster:
        leader, behind = await fallen_behind(cluster)
        depot.fetch = fail
        with caplog.at_level(logging.WARNING):
            cluster.start(behind)
            await trio.sleep(12)
        assert "not fetched, next try in 4 s" in caplog.text
        pauses = [later - sooner for sooner, later in itertools.pairwise(tries)]
        assert len(pauses) == 3
        assert all(later >= 1.5 * sooner for sooner, later in itertools.pairwise(pauses))
        assert cluster.machines[behind].restored == 0
        assert (cluster.groups[behind].failure, cluster.groups[leader].failure) == (None, None)
        depot.fetch = None
        await same(cluster, leader, behind)


async def test_a_full_disk_ends_a_fetch_not_the_group(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def full(self: MemorySnapshotWriter, meta: object) -> None:
        raise StorageError("the disk is full")

    depot = Depot()
    async with loop_cluster(settings=SETTINGS, new_machine=depot.machine) as cluster:
        leader, behind = await fallen_behind(cluster)
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(MemorySnapshotWriter, "commit", full)
            cluster.start(behind)
            await trio.sleep(5)
        assert "cannot be kept: the disk is full" in caplog.text
        assert cluster.machines[behind].restored == 0
        assert len(fetcher(cluster, behind).offers) == 3, "after 1 and 2 s"
        await same(cluster, leader, behind)


async def test_applying_and_asking_go_on_while_the_machine_fetches(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A follower that has entries to apply applies them; the snapshot comes when it is fetched."""
    depot = Depot()
    async with loop_cluster(settings=SETTINGS, new_machine=depot.machine) as cluster:
        leader, behind = await fallen_behind(cluster)
        depot.gate = trio.Event()
        cluster.start(behind)
        await cluster.until(lambda: len(fetcher(cluster, behind).offers) == 1)
        assert await cluster.groups[behind].query_at(b"", -1) == b""
        assert await cluster.groups[leader].propose(b"meanwhile") == b"22"
        depot.gate.set()
        await same(cluster, leader, behind)


async def test_another_leader_ends_the_fetching(autojump_clock: trio.testing.MockClock) -> None:
    depot = Depot()
    async with loop_cluster(settings=SETTINGS, new_machine=depot.machine) as cluster:
        leader, behind = await fallen_behind(cluster)
        depot.gate = trio.Event()
        cluster.start(behind)
        await cluster.until(lambda: len(fetcher(cluster, behind).offers) == 1)
        cluster.isolate(leader)
        await cluster.until(lambda: fetcher(cluster, behind).cancelled == 1)
        assert cluster.groups[behind].term > fetcher(cluster, behind).offers[0].term
        other = next(name for name in cluster.groups if name not in (leader, behind))
        await same(cluster, other, behind)


async def test_a_group_that_stops_ends_the_fetching(
    autojump_clock: trio.testing.MockClock,
) -> None:
    depot = Depot()
    async with loop_cluster(settings=SETTINGS, new_machine=depot.machine) as cluster:
        leader, behind = await fallen_behind(cluster)
        cluster.isolate(behind)
        depot.gate = trio.Event()
        cluster.start(behind)
        await trio.sleep(0.01)
        group = cluster.groups[behind]
        meta = SnapshotMeta(30, 1, cluster.configuration)
        request = SnapshotRequest(cluster.groups[leader].term, leader, meta, notice=True)

        async def receive() -> None:
            with pytest.raises(GroupStoppedError):
                await group.inbound.handle_snapshot(request, nothing())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            machine = fetcher(cluster, behind)
            assert machine.cancelled == 0
            cluster.kill(behind)
        assert machine.cancelled == 1


async def test_a_group_whose_machines_do_not_fetch_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    plain = replace(SETTINGS, fetch_snapshots=False)
    async with loop_cluster(settings=plain) as cluster:
        leader = await cluster.leader()
        meta = SnapshotMeta(30, 1, cluster.configuration)
        request = SnapshotRequest(leader.term, leader.node_id, meta, notice=True)
        with pytest.raises(ConfigurationError, match="do not fetch"):
            await leader.inbound.handle_snapshot(request, nothing())
    with pytest.RaisesGroup(ConfigurationError, match=None, flatten_subgroups=True):
        async with loop_cluster(settings=SETTINGS, new_machine=Journal):
            pass


async def nothing() -> AsyncIterator[SnapshotChunk]:
    chunks: tuple[SnapshotChunk, ...] = ()
    for chunk in chunks:
        yield chunk
