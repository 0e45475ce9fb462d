"""The fsync policies: what is synced when, what is acknowledged, and what a crash costs."""

from __future__ import annotations

import errno
import math
import random

import pytest
import trio
from storage_kit import (
    FOLDER,
    Answers,
    SteppedWriter,
    entries,
    meta,
    open_on,
    power_loss,
    segment_path,
)

from trioraft.raft.errors import StorageError
from trioraft.raft.types import HardState
from trioraft.storage import FsyncPolicy, PersistBatch
from trioraft.testing.disk import SimDisk, open_sim_writer


@pytest.mark.parametrize("text", ["always", "never", "interval:1", "interval:2500"])
def test_policies_there_and_back(text: str) -> None:
    assert str(FsyncPolicy.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "sometimes", "interval", "interval:", "interval:0", "interval:-1", "always:1"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write always, never or interval:MS"):
        FsyncPolicy.parse(text)


def test_intervals_are_seconds_and_not_negative() -> None:
    assert FsyncPolicy.parse("interval:50").interval == 0.05
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match="must not be negative"):
            FsyncPolicy(wrong)


@pytest.mark.parametrize("policy", ["never", "interval:50"])
async def test_a_weaker_policy_acknowledges_before_it_syncs(policy: str) -> None:
    disk, writer, answers = SimDisk(), SteppedWriter(), Answers()
    storage = await open_on(disk, writer, fsync=FsyncPolicy.parse(policy))
    before = disk.syncs
    for index in range(5):
        storage.persist(PersistBatch(entries=entries(index, index + 1)), answers)
        writer.step()
    assert answers == [None] * 5
    assert disk.syncs == before
    assert len(writer.later) == (0 if policy == "never" else 1)  # one sync for all five
    # A killed process loses nothing: the next one reads what the kernel has.
    assert (await open_on(disk, SteppedWriter())).recovered.tail == entries(0, 5)


async def test_an_interval_syncs_all_that_came_before_its_end() -> None:
    disk, writer, answers = SimDisk(), SteppedWriter(), Answers()
    storage = await open_on(disk, writer, fsync=FsyncPolicy.parse("interval:50"))
    for index in range(5):
        storage.persist(
            PersistBatch(HardState(1 + index, "n1"), entries(index, index + 1)), answers
        )
        writer.step()
    writer.jobs, writer.later = writer.later, []
    writer.step()
    power_loss(disk, 3)
    found = (await open_on(disk, SteppedWriter())).recovered
    assert (found.tail, found.hard_state) == (entries(0, 5), HardState(5, "n1"))
    storage.persist(PersistBatch(entries=entries(5, 6)), answers)


async def test_the_next_write_after_an_interval_begins_another() -> None:
    async with open_sim_writer(random.Random(1), latency=(0.001, 0.001)) as writer:
        disk = SimDisk()
        storage = await open_on(disk, writer, fsync=FsyncPolicy.parse("interval:30"))
        before, answers = disk.syncs, Answers()
        for index in range(4):
            storage.persist(PersistBatch(entries=entries(index, index + 1)), answers)
            await trio.sleep(0.1)
        assert disk.syncs - before == 4
        await trio.sleep(0.2)
        assert disk.syncs - before == 4
        await storage.aclose()


@pytest.mark.parametrize("seed", range(30))
async def test_a_power_loss_leaves_a_prefix_under_every_policy(seed: int) -> None:
    """Acknowledged writes may be gone; what is left is in order, and it opens."""
    disk, writer, answers = SimDisk(), SteppedWriter(), Answers()
    policy = FsyncPolicy.parse("never" if seed % 2 else "interval:50")
    storage = await open_on(disk, writer, fsync=policy, segment_bytes=600)
    for index in range(20):
        storage.persist(PersistBatch(entries=entries(index, index + 1, size=80)), answers)
        writer.step()
        if seed % 3 == 0 and writer.later and index % 7 == 0:
            writer.jobs, writer.later = writer.later, []
            writer.step()
    power_loss(disk, seed)
    found = (await open_on(disk, SteppedWriter())).recovered
    assert found.tail == entries(0, found.last_index + 1, size=80)
    full = len(disk.list_directory(FOLDER)) - 1
    assert found.last_index >= full  # a full file is durable before the next one exists


async def test_a_sync_that_fails_later_is_told_to_the_watcher() -> None:
    disk, writer, answers = SimDisk(), SteppedWriter(), Answers()
    storage = await open_on(disk, writer, fsync=FsyncPolicy.parse("interval:50"))
    told: list[BaseException] = []
    storage.watch(told.append)
    storage.persist(PersistBatch(entries=entries(0, 1)), answers)
    writer.step()
    disk.fail("datasync", errno.EIO, path=segment_path())
    writer.jobs, writer.later = writer.later, []
    writer.step()
    assert answers == [None]
    assert [type(error) for error in told] == [StorageError]
    with pytest.raises(StorageError, match="stopped earlier"):
        storage.persist(PersistBatch(entries=entries(1, 2)), answers)


async def test_files_are_deleted_only_when_the_reason_is_durable() -> None:
    """Under `never`, too: a deletion first makes durable what made the files useless."""
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer, fsync=FsyncPolicy.parse("never"), segment_bytes=300)
    for index in range(12):
        storage.persist(PersistBatch(entries=entries(index, index + 1, size=80)), Answers())
        writer.step()
    async with storage.create_snapshot() as snapshot:
        await snapshot.write(b"state")
        await snapshot.commit(meta(11))
    storage.compact(11, 1)
    writer.drain()
    power_loss(disk, 1)
    found = (await open_on(disk, SteppedWriter())).recovered
    assert found.last_index == 11
