"""A disk that is full or broken: everybody is told, nothing is retried, others go on."""

from __future__ import annotations

import errno

import pytest
from storage_kit import (
    FOLDER,
    GROUP,
    Answers,
    SteppedWriter,
    entries,
    meta,
    open_on,
    power_loss,
    segment_path,
    take_snapshot,
)

from trioraft.raft.errors import OverloadedError, StorageError
from trioraft.raft.types import HardState
from trioraft.storage import FileStorage, PersistBatch
from trioraft.testing.disk import SimDisk

BIG = 1 << 30


@pytest.mark.parametrize("operation", ["write", "datasync"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
async def test_a_failure_reaches_everything_queued_and_everything_after(
    operation: str, code: int
) -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    answers = Answers()
    storage.persist(PersistBatch(HardState(1, "n1"), entries(0, 2)), answers)
    writer.step()
    disk.fail(operation, code, times=1)
    storage.persist(PersistBatch(entries=entries(2, 3)), answers)
    storage.persist(PersistBatch(entries=entries(3, 4)), answers)
    writer.step(1)
    writer.step()  # the fault is over, and a second attempt would succeed
    assert answers[0] is None
    assert [type(answer) for answer in answers[1:]] == [StorageError, StorageError]
    assert segment_path() in str(answers[1])
    assert ("full" if code == errno.ENOSPC else "fault") in str(answers[1])
    syncs = disk.syncs
    with pytest.raises(StorageError, match="stopped earlier"):
        storage.persist(PersistBatch(entries=entries(4, 5)), answers)
    with pytest.raises(StorageError):
        await storage.read(0, 1, BIG)
    with pytest.raises(StorageError):
        storage.compact(0, 1)
    assert (disk.syncs, writer.jobs) == (syncs, [])
    power_loss(disk, 1)
    found = (await open_on(disk, SteppedWriter())).recovered
    assert found.hard_state == HardState(1, "n1")
    assert found.tail[:2] == entries(0, 2)


@pytest.mark.parametrize("operation", ["write", "datasync", "rename", "open", "sync_directory"])
async def test_a_new_file_that_cannot_be_made_stops_the_log(operation: str) -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer, segment_bytes=100)
    answers = Answers()
    storage.persist(PersistBatch(entries=entries(0, 1, size=200)), answers)
    writer.step()
    disk.fail(operation, errno.ENOSPC, times=1)
    storage.persist(PersistBatch(entries=entries(1, 2, size=200)), answers)
    writer.step()
    assert answers[0] is None
    assert isinstance(answers[1], StorageError)
    disk.heal()
    for seed in range(5):
        power_loss(disk, seed)
        assert (await open_on(disk, SteppedWriter())).recovered.tail[:1] == entries(0, 1, size=200)


async def test_one_group_failing_leaves_the_others_alone() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    first = await open_on(disk, writer)
    disk.make_directory("/data/groups/02")
    second = await FileStorage.open("/data/groups/02", b"\x02", writer, filesystem=disk)
    disk.fail("datasync", errno.EIO, path=FOLDER)
    answers, others = Answers(), Answers()
    for index in range(3):
        first.persist(PersistBatch(entries=entries(index, index + 1)), answers)
        second.persist(PersistBatch(entries=entries(index, index + 1)), others)
    writer.step()
    assert all(isinstance(answer, StorageError) for answer in answers)
    assert others == [None] * 3
    second.persist(PersistBatch(entries=entries(3, 4)), others)
    writer.step()
    assert others == [None] * 4


async def test_a_failed_compaction_stops_the_log() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer, segment_bytes=100)
    for index in range(5):
        storage.persist(PersistBatch(entries=entries(index, index + 1, size=100)), Answers())
    writer.step()
    await take_snapshot(storage, 3, b"")
    disk.fail("unlink", errno.EIO)
    deleted = Answers()
    storage.compact(3, 1, lambda: deleted(None))
    writer.drain()
    assert deleted == []
    with pytest.raises(StorageError, match="cannot delete"):
        storage.persist(PersistBatch(entries=entries(5, 6)), Answers())


@pytest.mark.parametrize("operation", ["open", "write", "datasync", "rename", "sync_directory"])
async def test_a_snapshot_that_cannot_be_written_says_so_and_the_log_goes_on(
    operation: str,
) -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    answers = Answers()
    storage.persist(PersistBatch(entries=entries(0, 5)), answers)
    writer.step()
    disk.fail(operation, errno.ENOSPC, times=1)
    with pytest.raises(StorageError, match="snapshot"):
        await take_snapshot(storage, 3, b"state")
    storage.persist(PersistBatch(entries=entries(5, 6)), answers)
    writer.step()
    assert answers == [None, None]
    assert not [n for n in disk.list_directory(FOLDER) if n.endswith(".tmp")]
    await take_snapshot(storage, 4, b"state")
    found = (await open_on(disk, SteppedWriter())).recovered.snapshot
    assert found is not None
    assert found.index == 4


async def test_a_failed_snapshot_writer_stays_failed() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    async with storage.create_snapshot() as snapshot:
        disk.fail("write", errno.EIO, times=1)
        with pytest.raises(StorageError):
            await snapshot.write(bytes(2 << 20))
        with pytest.raises(StorageError, match="already closed"):
            await snapshot.write(b"more")
        with pytest.raises(StorageError, match="already closed"):
            await snapshot.commit(meta(3))


async def test_the_queue_is_bounded() -> None:
    writer = SteppedWriter()
    storage = await open_on(SimDisk(), writer, queue_bytes=1000)
    answers = Answers()
    storage.persist(PersistBatch(entries=entries(0, 1, size=5000)), answers)  # always one
    with pytest.raises(OverloadedError, match="the limit is 1000"):
        storage.persist(PersistBatch(entries=entries(1, 2)), answers)
    assert storage.queued_bytes > 5000
    writer.step()
    assert storage.queued_bytes == 0
    storage.persist(PersistBatch(entries=entries(1, 2)), answers)
    writer.step()
    assert answers == [None, None]
    assert await storage.read(1, 2, BIG) == entries(1, 2)


async def test_a_read_during_compaction_says_that_the_entry_is_gone() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer, segment_bytes=100)
    for index in range(5):
        storage.persist(PersistBatch(entries=entries(index, index + 1, size=100)), Answers())
    writer.step()
    disk.unlink(segment_path(1))  # as compaction does after the read has looked the entry up
    with pytest.raises(IndexError, match="compacted"):
        await storage.read(0, 1, BIG)


async def test_an_unreadable_disk_is_a_storage_error() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    storage.persist(PersistBatch(entries=entries(0, 1)), Answers())
    writer.step()
    disk.fail("read", errno.EIO, path=segment_path())
    with pytest.raises(StorageError, match="cannot read"):
        await storage.read(0, 1, BIG)
    with pytest.raises(StorageError, match="cannot open the log"):
        await FileStorage.open(FOLDER, GROUP, writer, filesystem=disk)


async def test_a_write_for_another_place_than_the_end_is_refused() -> None:
    """The event loop and the writer thread each keep the file's end; they must agree."""
    disk = SimDisk()
    storage = await open_on(disk, SteppedWriter())
    before = disk.contents(segment_path())
    with pytest.raises(StorageError, match="but the write is for 7"):
        storage._files.append([b"", b"stray"], 7)
    with pytest.raises(StorageError, match="earlier failure"):
        storage._files.append([b"", b"good"], len(before))
    assert disk.contents(segment_path()) == before
