"""A group's turns are taken in whichever task has the input; what that means for those tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio
from loopback import Journal, loop_cluster

from trioraft.node import Command, Group, WriteResult
from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import Entry, EntryKind
from trioraft.storage import MemoryStorage, PersistBatch


class Poisoned(Journal):
    """Applies on the spot; the first one made breaks on "poison"."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.dies = type(self).made == 1

    def apply_now(self, commands: Sequence[Command]) -> Sequence[bytes]:
        for command in commands:
            if self.dies and command.data == b"poison":
                raise RuntimeError("it was poison")
            self.seen.append(command.data)
        return [b"ok"] * len(commands)


async def test_a_turn_that_fails_stops_its_group_and_not_the_one_that_lent_the_task(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Here appends are function calls: a follower's turn runs inside the leader's."""
    Poisoned.made = 0
    async with loop_cluster(new_machine=Poisoned) as cluster:
        leader = await cluster.leader()
        if leader.node_id == "n1":
            await leader.transfer_leadership("n2")
            leader = await cluster.leader()
        assert await leader.propose(b"a") == b"ok"
        assert await leader.propose(b"poison") == b"ok"
        await cluster.until(lambda: cluster.groups["n1"].failure is not None)
        assert str(cluster.groups["n1"].failure) == "it was poison"
        assert await leader.propose(b"b") == b"ok"
        assert leader.failure is None
        others = [cluster.machines[name] for name in ("n2", "n3")]
        await cluster.until(lambda: all(m.seen == [b"a", b"poison", b"b"] for m in others))


class Chain(Journal):
    """Proposes the next write from inside the turn that applies one."""

    def __init__(self) -> None:
        super().__init__()
        self.group: Group | None = None
        self.depth = 0

    def apply_now(self, commands: Sequence[Command]) -> Sequence[bytes]:
        assert not self.depth, "a turn inside a turn"
        self.depth += 1
        for command in commands:
            self.seen.append(command.data)
            if self.group is not None and len(self.seen) < 20:
                self.group.write_for(Ignored(), b"%d" % len(self.seen))
        self.depth -= 1
        return [b""] * len(commands)


class Ignored:
    def resolve(self, value: WriteResult) -> None:
        assert value.index >= 0

    def fail(self, error: BaseException) -> None:
        raise AssertionError(error)


async def test_what_is_asked_inside_a_turn_waits_for_the_next_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster(new_machine=Chain) as cluster:
        leader = await cluster.leader()
        machine = cluster.machines[leader.node_id]
        assert isinstance(machine, Chain)
        machine.group = leader
        await leader.propose(b"0")
        await cluster.until(lambda: len(machine.seen) == 20)
        assert machine.seen == [b"%d" % number for number in range(20)]


async def test_what_is_handed_in_while_a_group_is_closing_is_let_be(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        follower = next(g for g in cluster.groups.values() if g is not leader)
        cluster.scopes[follower.node_id].cancel()
        answers: list[object] = []
        request = AppendRequest(leader.term, leader.node_id, -1, 0, (), -1, heartbeat=True)
        follower.inbound.handle_append(request, answers.append)
        follower.inbound.settle()
        await trio.testing.wait_all_tasks_blocked()
        follower.inbound.settle()
        assert len(answers) <= 1
        assert follower.failure is None


async def test_many_proposals_go_in_batches_that_overlap(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        sizes: list[int] = []
        storage = cluster.storages[leader.node_id]
        persist = storage.persist

        def counting(batch: PersistBatch, done: Callable[[BaseException | None], Any]) -> None:
            sizes.append(len(batch.entries))
            persist(batch, done)

        storage.persist = counting  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(leader.propose, b"%d" % number)
        assert sum(sizes) == 1000
        assert max(sizes) <= 256


class SlowDisk:
    """A storage's `persist` whose outcomes come when `release` is called, in order."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.batches: list[PersistBatch] = []
        self._waiting: list[Callable[[], None]] = []
        self._persist = storage.persist
        storage.persist = self.persist  # type: ignore[method-assign]

    def persist(self, batch: PersistBatch, done: Callable[[BaseException | None], Any]) -> None:
        self.batches.append(batch)
        self._persist(batch, lambda error: self._waiting.append(lambda: done(error)))

    def release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deliver in waiting:
            deliver()


async def test_what_has_nothing_for_the_disk_asks_nothing_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Here the followers' disks are quicker: entries commit while the leader's is at it."""
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        disk = SlowDisk(cluster.storages[leader.node_id])
        for number in range(5):
            assert await leader.propose(b"%d" % number)
        assert len(disk.batches) == 5
        await trio.sleep(60)  # heartbeats, while the disk stands still
        assert leader._driver._behind == []
        disk.release()
        assert await leader.propose(b"after")
        assert all(batch.entries or batch.hard_state or batch.reset for batch in disk.batches)


async def test_an_answer_that_waits_for_an_earlier_write_comes_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The same entries twice: the second time there is nothing to write, but they may be lost."""
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        follower = next(g for g in cluster.groups.values() if g is not leader)
        await leader.propose(b"a")
        last = leader.status().last_index
        await cluster.until(lambda: follower.status().last_index == last)
        cluster.cut += [(leader.node_id, follower.node_id)]
        disk = SlowDisk(cluster.storages[follower.node_id])
        answers: list[object] = []
        entry = Entry(leader.term, last + 1, EntryKind.WRITE, b"b")
        request = AppendRequest(leader.term, leader.node_id, last, leader.term, (entry,), -1)
        for _ in range(2):
            follower.inbound.handle_append(request, answers.append)
            follower.inbound.settle()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        assert len(disk.batches) == 1
        disk.release()
        await trio.testing.wait_all_tasks_blocked()
        assert len(answers) == 2
