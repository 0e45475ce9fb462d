"""The runtime of a group, over function calls instead of a wire and a virtual clock."""

from __future__ import annotations

import logging

import pytest
import trio
from loopback import loop_cluster

from trioraft.node import RuntimeSettings
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import (
    EntryTooLargeError,
    GroupStoppedError,
    NoQuorumError,
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
)
from trioraft.raft.types import Role


async def test_a_write_is_applied_on_every_node(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        assert await leader.propose(b"a") == b"1"
        assert await leader.propose(b"b") == b"2"
        await cluster.until(lambda: all(m.seen == [b"a", b"b"] for m in cluster.machines.values()))


async def test_concurrent_writes_share_passes(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        replies: list[bytes] = []

        async def write(data: bytes) -> None:
            replies.append(await leader.propose(data))

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(write, b"%d" % number)
        assert sorted(map(int, replies)) == list(range(1, 501))


async def test_followers_refuse_and_name_the_leader(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        follower = next(g for g in cluster.groups.values() if g is not leader)
        with pytest.raises(NotLeaderError) as caught:
            await follower.propose(b"x")
        assert caught.value.leader == leader.node_id
        with pytest.raises(NotLeaderError):
            await follower.query(b"")


async def test_a_killed_leader_is_replaced_and_catches_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        first = await cluster.leader()
        await first.propose(b"a")
        cluster.kill(first.node_id)
        second = await cluster.leader()
        assert second.node_id != first.node_id
        assert await second.propose(b"b") == b"2"
        cluster.start(first.node_id)
        await cluster.until(lambda: cluster.machines[first.node_id].seen == [b"a", b"b"])


async def test_losing_leadership_drops_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        cluster.isolate(leader.node_id)
        with trio.fail_after(10), pytest.raises(ProposalDroppedError):
            await leader.propose(b"lost")
        other = await cluster.leader()
        assert other is not leader
        assert await other.propose(b"kept") == b"1"
        cluster.heal()
        await cluster.until(lambda: all(m.seen == [b"kept"] for m in cluster.machines.values()))


async def test_linearizable_reads_see_the_write(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        assert await leader.query(b"") == b"a"
        index = await leader.read_index()
        for group in cluster.groups.values():
            assert await group.query_at(b"", index) == b"a"


async def test_an_isolated_leader_answers_no_read(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        cluster.isolate(leader.node_id)
        with trio.fail_after(10), pytest.raises(NotLeaderError):
            await leader.query(b"")


async def test_a_bad_query_concerns_its_caller_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        with pytest.raises(ValueError, match="no such question"):
            await leader.query(b"bad")
        assert await leader.propose(b"a") == b"1"


async def test_a_broken_machine_stops_the_group_and_says_why(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        # It is in the log, so the others may still commit it: its outcome is unknown.
        with caplog.at_level(logging.ERROR), pytest.raises(ProposalDroppedError) as caught:
            await leader.propose(b"boom")
        assert isinstance(caught.value.__cause__, GroupStoppedError)
        assert "the machine broke" in str(caught.value)
        assert isinstance(leader.failure, RuntimeError)
        assert leader.status().role == "stopped"
        assert "the machine broke" in (leader.status().failure or "")
        with pytest.raises(GroupStoppedError):
            await leader.propose(b"later")
        assert "stopped" in caplog.text


async def test_leadership_is_handed_over(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        with trio.fail_after(2):
            heir = await leader.transfer_leadership()
            await cluster.until(lambda: cluster.groups[heir].role is Role.LEADER)
        assert await cluster.groups[heir].propose(b"b") == b"2"


async def test_bounds_refuse_instead_of_growing(autojump_clock: trio.testing.MockClock) -> None:
    settings = RuntimeSettings(max_proposals=10)
    config = RaftConfig(max_entry_bytes=100)
    async with loop_cluster(settings=settings, config=config) as cluster:
        leader = await cluster.leader()
        with pytest.raises(EntryTooLargeError):
            await leader.propose(b"x" * 101)
        outcomes: list[str] = []

        async def write(number: int) -> None:
            try:
                await leader.propose(b"%d" % number)
                outcomes.append("ok")
            except OverloadedError:
                outcomes.append("overloaded")

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(write, number)
        assert outcomes.count("ok") == 10
        assert outcomes.count("overloaded") == 20


async def test_an_oversized_write_does_not_take_its_batch_with_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(config=RaftConfig(max_entry_bytes=100)) as cluster:
        leader = await cluster.leader()
        results: dict[int, str] = {}

        async def write(size: int) -> None:
            try:
                await leader.propose(b"x" * size)
                results[size] = "ok"
            except EntryTooLargeError:
                results[size] = "too large"

        async with trio.open_nursery() as nursery:
            for size in (1, 99, 101, 5):
                nursery.start_soon(write, size)
        assert results == {1: "ok", 99: "ok", 101: "too large", 5: "ok"}


async def test_cancelling_a_write_leaves_the_group_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        with trio.move_on_after(0) as scope:
            await leader.propose(b"a")
        assert scope.cancelled_caught
        await leader.propose(b"b")
        assert cluster.machines[leader.node_id].seen in ([b"a", b"b"], [b"b"])


async def test_failed_pre_votes_are_repeated(autojump_clock: trio.testing.MockClock) -> None:
    """A node that found nobody at first asks again, at the same term."""
    async with loop_cluster(connected=False) as cluster:
        await trio.sleep(5)
        assert all(group.term == 0 for group in cluster.groups.values())
        cluster.heal()
        with trio.fail_after(5):
            leader = await cluster.leader()
        assert await leader.propose(b"a") == b"1"


async def test_a_handover_to_a_dead_node_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        dead = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(dead)
        await leader.propose(b"a")
        with trio.fail_after(5), pytest.raises(NoQuorumError, match="did not take over"):
            await leader.transfer_leadership(dead)
        assert leader.role is Role.LEADER
        assert await leader.propose(b"b") == b"2"


async def test_stopping_answers_whoever_asks_the_driver(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        slot = leader._driver.ask(lambda now: 1)
        leader._driver.stop(GroupStoppedError("stopped by the test"))
        with pytest.raises(GroupStoppedError):
            await slot.wait()
        with pytest.raises(GroupStoppedError):
            await leader.transfer_leadership()
