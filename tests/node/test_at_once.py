"""What is applied and answered on the spot, in the group's turn, and what is left to the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from loopback import Journal, LoopCluster, loop_cluster

from trioraft.node import Command, RuntimeSettings
from trioraft.node.wakeups import Flushes
from trioraft.raft.errors import NotLeaderError, ProposalDroppedError


class Quick(Journal):
    """Does on the spot what does not begin with "slow"; counts what went which way."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = 0
        self.in_task = 0

    def apply_now(self, commands: Sequence[Command]) -> Sequence[bytes] | None:
        assert not self.busy, "called concurrently with itself"
        assert not self.restoring
        if any(command.data.startswith(b"slow") for command in commands):
            return None
        replies = []
        for command in commands:
            if command.data == b"boom":
                raise RuntimeError("the machine broke")
            self.seen.append(command.data)
            replies.append(b"%d" % len(self.seen))
        self.at_once += len(commands)
        return replies

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        self.in_task += len(commands)
        return await super().apply(commands)

    def query_now(self, request: bytes) -> bytes | None:
        assert not self.busy, "called concurrently with itself"
        if request == b"bad":
            raise ValueError("no such question")
        return None if request == b"slow" else b"now"


async def _quick(cluster: LoopCluster) -> Any:
    """The leader's group and its machine, every node having a `Quick` one."""
    leader = await cluster.leader()
    return leader, cluster.machines[leader.node_id]


async def test_order_holds_whichever_way_each_batch_goes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(new_machine=Quick) as cluster:
        leader, machine = await _quick(cluster)
        words = [b"slow %d" % n if n % 7 == 0 else b"%d" % n for n in range(300)]
        replies: dict[bytes, bytes] = {}

        async def write(word: bytes) -> None:
            replies[word] = await leader.propose(word)

        for start in range(0, len(words), 5):
            async with trio.open_nursery() as nursery:
                for word in words[start : start + 5]:
                    nursery.start_soon(write, word)
        assert sorted(machine.seen) == sorted(words)
        assert all(machine.seen[int(replies[word]) - 1] == word for word in words)
        assert machine.at_once
        assert machine.in_task
        assert machine.at_once + machine.in_task == len(words)
        await cluster.until(lambda: all(m.seen == machine.seen for m in cluster.machines.values()))


async def test_a_large_backlog_is_the_tasks(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster(new_machine=Quick) as cluster:
        leader, machine = await _quick(cluster)
        late = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(late)
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(leader.propose, b"%d" % number)
        cluster.start(late)
        behind: Any = cluster.machines[late]
        await cluster.until(lambda: behind.seen == machine.seen)
        assert behind.in_task > 256
        assert behind.in_task + behind.at_once == 1000


class Hurried(Quick):
    """Never waits while it applies; keeps how much it was given at a time, and between passes."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.in_a_pass: list[int] = []

    def apply_now(self, commands: Sequence[Command]) -> Sequence[bytes] | None:
        return None

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        self.batches.append(len(commands))
        if not self.in_a_pass or self.in_a_pass[-1] == 0:
            trio.lowlevel.spawn_system_task(self._next_pass)
            self.in_a_pass.append(0)
        self.in_a_pass[-1] += 1
        self.seen += [command.data for command in commands]
        return [command.data for command in commands]

    async def _next_pass(self) -> None:
        self.in_a_pass.append(0)


async def test_others_run_while_a_crowd_is_answered_and_while_a_replica_catches_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = RuntimeSettings(apply_batch_entries=500)
    async with loop_cluster(new_machine=Hurried, settings=settings) as cluster:
        leader, machine = await _quick(cluster)
        late = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(late)
        async with trio.open_nursery() as nursery:
            for number in range(3000):
                nursery.start_soon(leader.propose, b"%d" % number)
        assert sum(machine.batches) == 3000
        assert max(machine.batches) <= 256, "callers wait for each of these"
        cluster.start(late)
        behind: Any = cluster.machines[late]
        await cluster.until(lambda: behind.seen == machine.seen)
        assert 256 < max(behind.batches) <= 500
        # What was begun in one pass may end in the next, before whoever counts passes has run.
        assert max(machine.in_a_pass + behind.in_a_pass) <= 2


async def test_queries_on_the_spot(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster(new_machine=Quick) as cluster:
        leader, _ = await _quick(cluster)
        assert await leader.propose(b"a") == b"1"
        assert await leader.query(b"any") == b"now"
        assert await leader.query(b"slow") == b"a"
        with pytest.raises(ValueError, match="no such question"):
            await leader.query(b"bad")
        assert await leader.query_at(b"any", leader.applied_index) == b"now"


async def test_a_machine_that_breaks_on_the_spot_stops_its_group_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(new_machine=Quick) as cluster:
        leader, _ = await _quick(cluster)
        with pytest.raises(ProposalDroppedError, match="the machine broke"):
            await leader.propose(b"boom")
        assert str(leader.failure) == "the machine broke"


async def test_snapshots_are_taken_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    settings = RuntimeSettings(snapshot_after_entries=20, keep_entries=2)
    async with loop_cluster(new_machine=Quick, settings=settings) as cluster:
        leader, machine = await _quick(cluster)
        for number in range(100):
            await leader.propose(b"%d" % number)
        assert machine.at_once + machine.in_task == 100
        assert machine.at_once > 50
        assert leader.status().snapshot_index > 60


class Collected:
    """An answer without a task."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []

    def resolve(self, value: Any) -> None:
        self.outcomes.append(value)

    def fail(self, error: BaseException) -> None:
        self.outcomes.append(type(error))


async def test_answers_need_no_task_and_what_they_queue_is_flushed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(new_machine=Quick) as cluster:
        leader, _ = await _quick(cluster)
        flushed: list[int] = []

        class Flushing(Collected):
            def resolve(self, value: Any) -> None:
                super().resolve(value)
                leader.flush_later(flush)

        def flush() -> None:
            flushed.append(len(write.outcomes) + len(read.outcomes))

        write, read = Flushing(), Flushing()
        leader.write_for(write, b"w")
        leader.query_for(read, b"q")
        await cluster.until(lambda: bool(write.outcomes and read.outcomes))
        assert [result.reply for result in write.outcomes] == [b"1"]
        assert read.outcomes == [b"now"]
        assert flushed[-1] == 2
        follower = next(g for g in cluster.groups.values() if g is not leader)
        refused = Collected()
        follower.write_for(refused, b"w")
        follower.query_for(refused, b"q")
        await cluster.until(lambda: len(refused.outcomes) == 2)
        assert refused.outcomes == [NotLeaderError, NotLeaderError]


def test_flushes_are_called_once_each_in_order() -> None:
    called: list[str] = []
    flushes = Flushes()

    class Connection:
        def __init__(self, name: str) -> None:
            self.name = name

        def flush(self) -> None:
            called.append(self.name)

    one, two = Connection("one"), Connection("two")
    for connection in (two, one, two, one):
        flushes.add(connection.flush)
    flushes.run()
    flushes.run()
    assert called == ["two", "one"]
