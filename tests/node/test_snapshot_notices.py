"""Snapshots that a leader of another make tells of, and asks about until they are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from fetching import Depot, FetchingJournal
from loopback import LoopCluster, loop_cluster

from trioraft.node import Group, RuntimeSettings, SnapshotOffer, SnapshotPosition
from trioraft.node.machine import SnapshotSink
from trioraft.node.peers import NoticeOutcome, NoticeReply, SnapshotNotice
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import StorageError
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import Configuration, Member
from trioraft.storage.snapshots.in_memory import MemorySnapshotWriter

SETTINGS = RuntimeSettings(
    snapshot_after_entries=10**9, fetch_snapshots=True, partial_snapshot_timeout=20.0
)
# Nobody campaigns: the leader of these tests is told of by hand.
PATIENT = RaftConfig(election_timeout_min=1000, election_timeout_max=2000, heartbeat_interval=10)
TERM = 5
IN_PROGRESS = NoticeReply(NoticeOutcome.IN_PROGRESS, TERM)
UNAVAILABLE = NoticeReply(NoticeOutcome.UNAVAILABLE, TERM)
OLD = Configuration((Member("n1", "n1:1"), Member("j", "j:1")))
NEW = Configuration((Member("n1", "n1:1"), Member("j", "j:2"), Member("k", "k:1")))


def notice(index: int = 30, **fields: object) -> SnapshotNotice:
    made = SnapshotNotice(TERM, "j", index, OLD, 3)
    return replace(made, **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def follower(
    depot: Depot, settings: RuntimeSettings = SETTINGS
) -> AsyncIterator[tuple[Group, FetchingJournal, LoopCluster]]:
    """One node, whose leader is of another make and is played by the test."""
    depot.states[20] = b"\0\0\0\1x"
    async with loop_cluster(
        names=("n1", "j"),
        config=PATIENT,
        settings=settings,
        new_machine=depot.machine,
    ) as cluster:
        cluster.kill("j")
        machine = cluster.machines["n1"]
        assert isinstance(machine, FetchingJournal)
        yield cluster.groups["n1"], machine, cluster


async def test_what_was_fetched_is_installed_with_the_configuration_of_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The configuration of the notices before may have been replaced while it was fetched."""
    depot = Depot()
    async with follower(depot) as (group, machine, cluster):
        assert await group.inbound.handle_notice(notice()) == IN_PROGRESS
        assert machine.offers == [SnapshotOffer("j", "j:1", 30, 0, exact=False)]
        assert group.status().snapshot_index == -1, "fetched, but not asked for since"
        latest = notice(configuration=NEW, configuration_index=30)
        told = await group.inbound.handle_notice(latest)
        assert told == NoticeReply(NoticeOutcome.INSTALLED, TERM, 30)
        assert machine.seen == [b"x"]
        assert (group.configuration, group.commit_index) == (NEW, 30)
        again = await group.inbound.handle_notice(latest)
        assert again == NoticeReply(NoticeOutcome.ALREADY_THERE, TERM, 30)
        cluster.kill("n1")
        cluster.start("n1")
        depot.states.clear()
        await cluster.until(lambda: cluster.machines["n1"].seen == [b"x"])
        assert cluster.groups["n1"].configuration == NEW


async def test_the_log_goes_on_behind_it(autojump_clock: trio.testing.MockClock) -> None:
    async with follower(Depot()) as (group, _, _cluster):
        for _ in range(2):
            await group.inbound.handle_notice(notice())
        replies: list[AppendReply] = []
        group.inbound.handle_append(AppendRequest(TERM, "j", 30, 1, (), 30), replies.append)
        group.inbound.settle()
        await trio.testing.wait_all_tasks_blocked()
        assert [(reply.success, reply.match_index) for reply in replies] == [(True, 30)]


async def test_a_later_configuration_needs_a_later_state(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with follower(Depot()) as (group, machine, _):
        await group.inbound.handle_notice(notice())
        later = notice(configuration=NEW, configuration_index=33)
        assert await group.inbound.handle_notice(later) == IN_PROGRESS
        assert machine.seen == []
        assert await group.inbound.handle_notice(later) == IN_PROGRESS
        told = await group.inbound.handle_notice(later)
        assert told == NoticeReply(NoticeOutcome.INSTALLED, TERM, 33)
        assert [offer.index for offer in machine.offers] == [30, 33]
        assert group.configuration == NEW


async def test_it_answers_soon_and_fetches_on(autojump_clock: trio.testing.MockClock) -> None:
    depot = Depot()
    async with follower(depot) as (group, machine, _):
        depot.gate = trio.Event()
        began = trio.current_time()
        for _ in range(3):
            assert await group.inbound.handle_notice(notice()) == IN_PROGRESS
        assert 2.9 < trio.current_time() - began < 3.1
        depot.gate.set()
        assert await group.inbound.handle_notice(notice()) == IN_PROGRESS, "fetched meanwhile"
        told = await group.inbound.handle_notice(notice())
        assert told.outcome is NoticeOutcome.INSTALLED
        assert len(machine.offers) == 1


async def test_a_cancelled_call_is_told_later(autojump_clock: trio.testing.MockClock) -> None:
    depot = Depot()
    async with follower(depot) as (group, machine, _):
        depot.gate = trio.Event()
        with trio.move_on_after(0.5) as scope:
            await group.inbound.handle_notice(notice())
        assert scope.cancelled_caught
        assert (len(machine.offers), machine.cancelled) == (1, 0)
        depot.gate.set()
        outcomes = [(await group.inbound.handle_notice(notice())).outcome for _ in range(3)]
        assert outcomes[-2:] == [NoticeOutcome.INSTALLED, NoticeOutcome.ALREADY_THERE]


@pytest.mark.parametrize("nothing", [True, False])
async def test_nothing_to_fetch_is_said_and_tried_again_later(
    autojump_clock: trio.testing.MockClock, nothing: bool
) -> None:
    tries: list[float] = []

    async def fail(offer: SnapshotOffer, sink: SnapshotSink) -> SnapshotPosition | None:
        tries.append(trio.current_time())
        return None if nothing else SnapshotPosition(offer.index - 1, 1)

    depot = Depot()
    async with follower(depot) as (group, _, _cluster):
        depot.fetch = fail
        expected = UNAVAILABLE if nothing else IN_PROGRESS
        for _ in range(8):
            assert await group.inbound.handle_notice(notice()) == expected
            await trio.sleep(0.5)
        assert [round(at - tries[0], 1) for at in tries] == [0, 1, 3]
        depot.fetch = None
        outcome = NoticeOutcome.UNAVAILABLE
        with trio.fail_after(30):
            while outcome is not NoticeOutcome.INSTALLED:
                outcome = (await group.inbound.handle_notice(notice())).outcome
                await trio.sleep(0.5)


async def test_nobody_asks_any_more(autojump_clock: trio.testing.MockClock) -> None:
    async with follower(Depot()) as (group, machine, _):
        await group.inbound.handle_notice(notice())
        await trio.sleep(30)
        assert await group.inbound.handle_notice(notice()) == IN_PROGRESS
        assert len(machine.offers) == 2, "the first one was given up"


async def test_a_disk_that_is_full_is_tried_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: MemorySnapshotWriter, meta: object) -> None:
        raise StorageError("the disk is full")

    async with follower(Depot()) as (group, machine, _):
        with monkeypatch.context() as patch:
            patch.setattr(MemorySnapshotWriter, "commit", full)
            for _ in range(2):
                assert await group.inbound.handle_notice(notice()) == IN_PROGRESS
        assert group.failure is None
        assert await group.inbound.handle_notice(notice()) == IN_PROGRESS
        assert len(machine.offers) == 1, "it pauses before it fetches again"
        await trio.sleep(1)
        outcomes = [(await group.inbound.handle_notice(notice())).outcome for _ in range(2)]
        assert outcomes == [NoticeOutcome.IN_PROGRESS, NoticeOutcome.INSTALLED]
        assert len(machine.offers) == 2


async def test_only_the_newest_leader_counts(autojump_clock: trio.testing.MockClock) -> None:
    depot = Depot()
    async with follower(depot) as (group, machine, _):
        depot.gate = trio.Event()
        await group.inbound.handle_notice(notice())
        newer = notice(term=TERM + 1)
        await group.inbound.handle_notice(newer)
        assert machine.cancelled == 1
        refused = await group.inbound.handle_notice(notice())
        assert refused == NoticeReply(NoticeOutcome.NOT_LEADER, TERM + 1)
        depot.gate.set()
        outcomes = [(await group.inbound.handle_notice(newer)).outcome for _ in range(2)]
        assert outcomes[-1] is NoticeOutcome.INSTALLED
        assert len(machine.offers) == 2


async def test_what_needs_no_snapshot_gets_none(autojump_clock: trio.testing.MockClock) -> None:
    async with follower(Depot()) as (group, machine, _):
        reply = await group.inbound.handle_notice(notice(-1))
        assert reply == NoticeReply(NoticeOutcome.ALREADY_THERE, TERM, -1)
        assert machine.offers == []


async def test_machines_that_do_not_fetch(autojump_clock: trio.testing.MockClock) -> None:
    settings = replace(SETTINGS, fetch_snapshots=False)
    async with follower(Depot(), settings) as (group, _, _cluster):
        reply = await group.inbound.handle_notice(notice())
        assert reply.outcome is NoticeOutcome.MISMATCH
