"""Group commit: order, one sync per file and group, and what happens at the end."""

from __future__ import annotations

import random
import threading
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from storage_kit import Answers

from trioraft.raft.errors import StorageError
from trioraft.storage.writer import DiskWriter, GroupCommit, open_disk_writer
from trioraft.testing.disk import open_sim_writer


class Target:
    """Counts its syncs; the first ones may be held up."""

    def __init__(self) -> None:
        self.syncs = 0
        self.gate = threading.Event()
        self.gate.set()

    def sync(self) -> None:
        self.gate.wait(30)
        self.syncs += 1


class Broken:
    def sync(self) -> None:
        raise StorageError("broken")


def opened(kind: str) -> AbstractAsyncContextManager[DiskWriter]:
    return open_disk_writer() if kind == "thread" else open_sim_writer(random.Random(0))


both = pytest.mark.parametrize("kind", ["thread", "simulated"])


@both
async def test_writes_and_answers_keep_their_order(kind: str) -> None:
    written: list[int] = []
    answered: list[int] = []
    target = Target()

    async with opened(kind) as writer:
        for number in range(200):

            def write(number: int = number) -> Target:
                written.append(number)
                return target

            writer.submit(write, lambda error, number=number: answered.append(number))
            if number % 50 == 0:
                await trio.sleep(0.001)
    assert written == answered == list(range(200))
    assert 1 <= target.syncs <= 10


async def test_what_waits_for_the_disk_shares_one_sync() -> None:
    target = Target()
    answers = Answers()
    async with open_disk_writer() as writer:
        target.gate.clear()
        writer.submit(lambda: target, answers)
        await trio.sleep(0.02)  # the thread is in the first sync now
        for _ in range(500):
            writer.submit(lambda: target, answers)
        target.gate.set()
    assert answers == [None] * 501
    assert target.syncs <= 3


@both
async def test_a_failed_write_or_sync_is_told_to_whom_it_concerns(kind: str) -> None:
    def fail() -> Target:
        raise StorageError("no")

    target, broken, order = Target(), Broken(), Answers()
    async with opened(kind) as writer:
        for write in (lambda: target, fail, lambda: broken, lambda: None, lambda: broken):
            writer.submit(write, order)
    assert [str(answer) for answer in order] == ["None", "no", "broken", "None", "broken"]


@both
async def test_leaving_carries_out_what_is_queued_even_when_cancelled(kind: str) -> None:
    target, answers = Target(), Answers()
    with trio.CancelScope() as scope:
        async with opened(kind) as writer:
            scope.cancel()
            for _ in range(10):
                writer.submit(lambda: target, answers)
            await trio.sleep_forever()
    assert answers == [None] * 10
    with pytest.raises(StorageError, match="has ended"):
        writer.submit(lambda: target, answers)


@both
async def test_an_exception_in_a_completion_ends_the_block(kind: str) -> None:
    def explode(error: BaseException | None) -> None:
        raise RuntimeError("bug")

    async def run() -> None:
        async with opened(kind) as writer:
            writer.submit(lambda: None, explode)
            writer.submit(lambda: None, answers)
            await trio.sleep_forever()

    answers = Answers()
    with pytest.raises(ExceptionGroup) as caught:
        await run()
    matched, rest = caught.value.split(RuntimeError)
    assert matched is not None
    assert rest is None
    assert answers == [None]


@both
async def test_jobs_beside_the_queue_do_not_wait_for_it(kind: str) -> None:
    async with opened(kind) as writer:
        assert await writer.run(lambda a, b: a + b, 1, 2) == 3
        with pytest.raises(ZeroDivisionError):
            await writer.run(lambda: 1 // 0)
    target = Target()
    async with open_disk_writer() as writer:
        target.gate.clear()
        writer.submit(lambda: target, Answers())
        with trio.fail_after(10):
            assert await writer.run(int, "5") == 5
        target.gate.set()


def test_a_group_syncs_each_target_once() -> None:
    first, second, answers = Target(), Target(), Answers()
    commit = GroupCommit([(lambda t=t: t, answers) for t in (first, second, first, first)])
    commit.write()
    commit.sync()
    commit.deliver()
    assert (first.syncs, second.syncs, answers) == (1, 1, [None] * 4)


class Meeting:
    """A sync that ends only once two others are under way, too; one of them fails."""

    def __init__(self, barrier: threading.Barrier, *, fails: bool = False) -> None:
        self.barrier = barrier
        self.fails = fails

    def sync(self) -> None:
        self.barrier.wait(30)
        if self.fails:
            raise StorageError("broken")

    def written(self) -> Meeting:
        return self


async def test_the_files_of_several_groups_are_synced_at_the_same_time() -> None:
    barrier = threading.Barrier(3)
    targets = [Meeting(barrier), Meeting(barrier, fails=True), Meeting(barrier)]
    gate, answers = Target(), Answers()
    async with open_disk_writer() as writer:
        gate.gate.clear()
        writer.submit(lambda: gate, answers)
        await trio.sleep(0.02)  # the thread is in this sync now
        for target in [*targets, *targets]:
            writer.submit(target.written, answers)
        gate.gate.set()
    assert [str(answer) for answer in answers] == ["None"] + ["None", "broken", "None"] * 2
    assert not [thread for thread in threading.enumerate() if "trioraft-sync" in thread.name]


async def test_simulated_commits_take_virtual_time(autojump_clock: trio.testing.MockClock) -> None:
    target, done = Target(), trio.Event()
    async with open_sim_writer(random.Random(3), latency=(5.0, 5.0)) as writer:
        writer.submit(lambda: target, lambda _: done.set())
        await trio.sleep(4.9)
        assert not done.is_set()
        await done.wait()
        assert trio.current_time() == pytest.approx(5.0)
