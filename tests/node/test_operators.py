"""What operators may have under way at a group, and what they are told."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import trio
from loopback import loop_cluster
from snapshot_journals import MANUAL, CapturedJournal, captured

from trioraft.node import RuntimeSettings
from trioraft.raft.errors import OverloadedError
from trioraft.raft.membership import MembershipChange


async def test_orders_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster(settings=RuntimeSettings(max_orders=3)) as cluster:
        leader = await cluster.leader()
        for _ in range(3):
            leader._driver.ask(lambda now: 3)
        with pytest.raises(OverloadedError, match="3 orders are waiting"):
            leader._driver.ask(lambda now: 4)
        await trio.testing.wait_all_tasks_blocked()
        assert await leader._driver.ask(lambda now: 5).wait() == 5


async def test_callers_of_the_next_snapshot_are_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = replace(MANUAL, max_orders=3)
    async with loop_cluster(
        names=("n1",), settings=settings, new_machine=CapturedJournal
    ) as cluster:
        group, machine = await captured(cluster)
        await group.propose(b"a")
        machine.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.take_snapshot)
            await trio.testing.wait_all_tasks_blocked()
            await group.propose(b"b")
            for _ in range(3):
                nursery.start_soon(group.take_snapshot)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(OverloadedError, match="3 callers wait for the next snapshot"):
                await group.take_snapshot()
            machine.gate.set()


async def test_callers_that_went_away_take_no_room_and_have_their_snapshot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = replace(MANUAL, max_orders=3)
    async with loop_cluster(
        names=("n1",), settings=settings, new_machine=CapturedJournal
    ) as cluster:
        group, machine = await captured(cluster)
        await group.propose(b"a")
        machine.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.take_snapshot)
            await trio.testing.wait_all_tasks_blocked()
            await group.propose(b"b")
            for _ in range(20):
                with trio.move_on_after(0.1):
                    await group.take_snapshot()
            machine.gate.set()
        at = group.applied_index
        await cluster.until(lambda: group.status().snapshot_index == at)


async def test_a_removed_node_says_what_to_do_with_it(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        gone = next(name for name in cluster.groups if name != leader.node_id)
        with caplog.at_level(logging.WARNING):
            await leader.admin.change_membership(MembershipChange.remove(gone))
            await cluster.until(lambda: cluster.groups[gone].admin.removed)
        [said] = [r.getMessage() for r in caplog.records if "removed" in r.getMessage()]
        assert said.startswith(f"{gone}/")
        assert "Stop it; to use its name again, start it with an empty data directory" in said
