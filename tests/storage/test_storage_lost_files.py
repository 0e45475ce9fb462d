"""No vote with amnesia: a directory that has lost a file, a group or all of them does not start.

And no false alarm: what a crash may leave while files are made and deleted is fine.
"""

from __future__ import annotations

import errno
import random

import pytest
from storage_kit import (
    FOLDER,
    GROUP,
    Answers,
    SteppedWriter,
    entries,
    open_on,
    power_loss,
    segment_path,
    take_snapshot,
)

from trioraft.raft.errors import CorruptionError, DataDirectoryError, StorageError
from trioraft.raft.types import HardState
from trioraft.storage import DataDirectory, FileStorage, PersistBatch
from trioraft.storage.log.record import record_at, salt_of
from trioraft.storage.log.segments import SEALING_SIZE
from trioraft.testing.disk import SimDisk


async def several_files(disk: SimDisk, writer: SteppedWriter, count: int = 10) -> FileStorage:
    storage = await open_on(disk, writer, segment_bytes=300)
    for index in range(count):
        state = HardState(1 + index, "n1")
        storage.persist(PersistBatch(state, entries(index, index + 1, size=80)), Answers())
        writer.step()
    return storage


def segments(disk: SimDisk) -> list[str]:
    return [f"{FOLDER}/{n}" for n in disk.list_directory(FOLDER) if n.endswith(".log")]


async def test_any_file_of_the_log_that_is_lost_is_missed() -> None:
    count = len(segments(await _disk_of_several()))
    assert count > 3
    for lost in range(count):
        disk = await _disk_of_several()
        path = segments(disk)[lost]
        disk.unlink(path)
        with pytest.raises(CorruptionError, match=r"missing|begins after"):
            await open_on(disk, SteppedWriter())


async def test_any_number_of_newest_files_that_are_lost_is_missed() -> None:
    count = len(segments(await _disk_of_several()))
    for keep in range(1, count):
        disk = await _disk_of_several()
        for path in segments(disk)[keep:]:
            disk.unlink(path)
        with pytest.raises(CorruptionError, match="term and vote may be lost") as caught:
            await open_on(disk, SteppedWriter())
        assert caught.value.file == segments(disk)[-1]


async def _disk_of_several() -> SimDisk:
    disk = SimDisk()
    await several_files(disk, SteppedWriter())
    return disk


async def test_every_file_but_the_newest_is_sealed_and_counted() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await several_files(disk, writer)
    total = sum(len(disk.contents(path)) for path in segments(disk))
    assert storage.size_on_disk() == total
    assert (await open_on(disk, SteppedWriter())).size_on_disk() == total


async def test_a_seal_that_a_crash_prevented_is_made_good() -> None:
    """The new file exists, the old one is not sealed, and nothing is in the new one yet."""
    disk = await _disk_of_several()
    *_, before, last = segments(disk)
    number = int(last.rpartition("/")[2].removesuffix(".log"))
    header = record_at(disk.contents(last), 0, salt_of(GROUP, number), 0)[2]
    for torn in range(SEALING_SIZE + 1):
        fresh = SimDisk()
        fresh.make_directory(FOLDER)
        for path in segments(disk)[:-1]:
            contents = disk.contents(path)
            keep = len(contents) - (torn if path == before else 0)
            made = fresh.open(path, create=True)
            made.write(contents[:keep], 0)
            made.datasync()
        new = fresh.open(last, create=True)
        new.write(disk.contents(last)[:header], 0)
        new.datasync()
        fresh.sync_directory(FOLDER)
        found = (await open_on(fresh, SteppedWriter())).recovered
        power_loss(fresh, torn)
        assert (await open_on(fresh, SteppedWriter())).recovered == found
        fresh.unlink(last)  # now its loss is told
        with pytest.raises(CorruptionError, match="term and vote may be lost"):
            await open_on(fresh, SteppedWriter())


async def test_an_unsealed_file_before_one_with_records_is_corruption() -> None:
    disk = await _disk_of_several()
    before = segments(disk)[-2]
    file = disk.open(before)
    file.truncate(len(disk.contents(before)) - SEALING_SIZE)
    with pytest.raises(CorruptionError, match="the end of the file is missing") as caught:
        await open_on(disk, SteppedWriter())
    assert caught.value.file == before


async def test_a_snapshot_that_is_lost_after_compaction_is_missed() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await several_files(disk, writer)
    await take_snapshot(storage, 8, b"state", term=1)
    storage.compact(8, 1)
    writer.drain()
    snapshot = next(n for n in disk.list_directory(FOLDER) if n.endswith(".snapshot"))
    disk.unlink(f"{FOLDER}/{snapshot}")
    with pytest.raises(CorruptionError, match="begins after entry"):
        await open_on(disk, SteppedWriter())


# -- the data directory


def opened(disk: SimDisk) -> DataDirectory:
    return DataDirectory.open("/data", node_id="n1", cluster="c", filesystem=disk)


async def with_group(disk: SimDisk) -> None:
    directory, writer = opened(disk), SteppedWriter()
    storage = await directory.open_group(GROUP, writer)
    storage.persist(PersistBatch(HardState(3, "n1")), Answers())
    writer.step()
    disk.locks.clear()  # the process is killed


async def test_a_group_whose_log_is_lost_does_not_start_empty() -> None:
    disk = SimDisk()
    await with_group(disk)
    disk.unlink(segment_path())
    with pytest.raises(CorruptionError, match="its entries, term and vote are lost"):
        await opened(disk).open_group(GROUP, SteppedWriter())


async def test_a_group_whose_folder_is_lost_does_not_start_empty() -> None:
    disk = SimDisk()
    await with_group(disk)
    disk.unlink(segment_path())
    disk.remove_directory(FOLDER)
    directory = opened(disk)
    assert directory.groups() == [GROUP]
    with pytest.raises(CorruptionError, match="its entries, term and vote are lost"):
        await directory.open_group(GROUP, SteppedWriter())


@pytest.mark.parametrize("lost", ["groups", "registered"])
async def test_a_lost_folder_of_the_directory_is_missed(lost: str) -> None:
    disk = SimDisk()
    opened(disk).close()
    disk.remove_directory(f"/data/{lost}")
    with pytest.raises(CorruptionError, match="the folder is missing"):
        opened(disk)


async def test_a_lost_identity_is_missed() -> None:
    disk = SimDisk()
    await with_group(disk)
    disk.unlink("/data/node.json")
    with pytest.raises(DataDirectoryError, match="not a trioraft data directory"):
        opened(disk)


@pytest.mark.parametrize("seed", range(60))
async def test_a_power_loss_while_a_group_is_made_or_deleted_leaves_no_riddle(seed: int) -> None:
    """It is there with its vote, or it is not there: whatever the operation that failed."""
    rng = random.Random(seed)
    disk, writer = SimDisk(), SteppedWriter()
    directory = opened(disk)
    disk.fail("*", 5, after=rng.randrange(40))
    acknowledged = begun_to_delete = False
    try:
        storage = await directory.open_group(GROUP, writer)
        answers = Answers()
        storage.persist(PersistBatch(HardState(3, "n1")), answers)
        writer.step()
        acknowledged = answers == [None]
        storage._files.close()
        directory._open_groups.clear()
        begun_to_delete = True
        await directory.delete_group(GROUP, writer)
    except (StorageError, OSError):
        pass
    disk.heal()
    power_loss(disk, seed)
    again = opened(disk)
    listed = again.groups()
    found = (await again.open_group(GROUP, SteppedWriter())).recovered
    assert found.hard_state in (HardState(), HardState(3, "n1"))
    if acknowledged and not begun_to_delete:
        assert found.hard_state == HardState(3, "n1")
    if found.hard_state.term:
        assert listed == [GROUP]


async def test_a_deleted_group_can_be_made_anew() -> None:
    disk = SimDisk()
    await with_group(disk)
    directory, writer = opened(disk), SteppedWriter()
    await directory.delete_group(GROUP, writer)
    assert directory.groups() == []
    assert not disk.exists(FOLDER)
    await directory.delete_group(GROUP, writer)
    storage = await directory.open_group(GROUP, writer)
    assert storage.recovered.hard_state == HardState()
    with pytest.raises(DataDirectoryError, match="close it first"):
        await directory.delete_group(GROUP, writer)


# -- other people's directories


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EACCES, "permission denied: check the owner and mode"),
        (errno.EROFS, "the file system is read-only: remount it"),
        (errno.ENOSPC, "the disk is full: make room"),
        (errno.EIO, "the disk reports a fault"),
    ],
)
@pytest.mark.parametrize("operation", ["open", "lock", "make_directory", "sync_directory"])
def test_a_directory_that_cannot_be_used_is_named_with_what_to_do(
    operation: str, code: int, advice: str
) -> None:
    disk = SimDisk()
    disk.fail(operation, code, path="/data")
    with pytest.raises(StorageError, match=advice) as caught:
        opened(disk)
    assert "/data" in str(caught.value)
    disk.heal()
    opened(disk).close()
