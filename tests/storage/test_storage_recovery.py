"""Opening a log after a crash or after damage: a torn tail is cut, anything else is named."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

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
    read_snapshot,
    segment_path,
)

from trioraft.raft.errors import CorruptionError
from trioraft.raft.log import ENTRY_OVERHEAD
from trioraft.raft.types import Entry, EntryKind, HardState, Session
from trioraft.storage import FileStorage, PersistBatch
from trioraft.storage.record import record_at, salt_of
from trioraft.testing.disk import SimDisk

BIG = 1 << 30


async def opened(disk: SimDisk) -> FileStorage:
    return await open_on(disk, SteppedWriter())


async def written(*groups: list[PersistBatch], close: bool = False, **bounds: int) -> SimDisk:
    """A disk with a log of these batches, each inner list being one group commit."""
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer, **bounds)
    answers = Answers()
    for group in groups:
        for batch in group:
            storage.persist(batch, answers)
        writer.step()
    assert answers == [None] * sum(len(group) for group in groups)
    if close:
        # What `aclose` does, without waiting for an event loop.
        storage._files.close()
    return disk


def records(disk: SimDisk, number: int = 1) -> Iterator[tuple[int, int, int]]:
    """(offset, type, end) of each record of a file."""
    data, salt = disk.contents(segment_path(number)), salt_of(GROUP, number)
    offset = 0
    while offset < len(data):
        kind, _, end = record_at(data, offset, salt, offset)
        yield offset, kind, end
        offset = end


def shortened(disk: SimDisk, size: int) -> None:
    file = disk.open(segment_path())
    file.truncate(size)
    file.datasync()


async def test_a_last_batch_torn_anywhere_is_cut_there(caplog: pytest.LogCaptureFixture) -> None:
    first = [PersistBatch(HardState(1, "n1"), entries(0, 3))]
    session = Session(b"client", 7)
    last = [Entry(1, 3, EntryKind.WRITE, b"abc", session), *entries(4, 6)]
    keep = len((await written(first)).contents(segment_path()))
    full = await written(first, [PersistBatch(HardState(2, "n2"), last)])
    ends = [end for offset, _, end in records(full) if offset >= keep]
    contents = full.contents(segment_path())
    assert len(ends) == 5  # mark, hard state, three entries
    for size in range(keep, len(contents)):
        disk = await written(first, [PersistBatch(HardState(2, "n2"), last)])
        shortened(disk, size)
        caplog.clear()
        found = (await opened(disk)).recovered
        whole = sum(end <= size for end in ends)
        assert found.hard_state == (HardState(1, "n1") if whole < 2 else HardState(2, "n2"))
        assert found.tail == entries(0, 3) + last[: max(0, whole - 2)]
        cut = max([keep, *(end for end in ends if end <= size)])
        assert disk.contents(segment_path()) == contents[:cut]
        assert [r.levelno for r in caplog.records] == [logging.WARNING] * (cut < size)


async def test_a_group_commit_torn_in_its_middle_is_cut_there() -> None:
    """Pages reach the disk in any order: later records of an unsynced group may be whole."""
    groups = [
        [PersistBatch(entries=entries(0, 3))],
        [PersistBatch(entries=entries(i, i + 1)) for i in range(3, 9)],
    ]
    disk = await written(*groups)
    fifth = [offset for offset, kind, _ in records(disk) if kind == 6][4]
    disk.corrupt(segment_path(), fifth, bytes(4))
    storage = await opened(disk)
    assert storage.recovered.tail == entries(0, 4)
    assert len(disk.contents(segment_path())) == fifth


async def test_damage_before_a_sync_is_corruption_and_changes_nothing() -> None:
    """Every bit of every record that a later mark vouches for."""
    batch = PersistBatch(
        HardState(1, "n1"),
        [Entry(1, 0, EntryKind.WRITE, b"data", Session(b"client", 3)), *entries(1, 2)],
    )
    disk = await written([batch], [PersistBatch(entries=entries(0, 1, 2))], [PersistBatch()])
    contents = disk.contents(segment_path())
    spans = list(records(disk))
    vouched = spans[-1][0]  # the last mark's own write is not vouched for by anything
    for position in range(vouched):
        offset = next(start for start, _, end in spans if start <= position < end)
        flipped = contents[position] ^ (1 << (position % 8))
        disk.corrupt(segment_path(), position, bytes([flipped]))
        damaged = disk.contents(segment_path())
        with pytest.raises(CorruptionError) as caught:
            await opened(disk)
        assert (caught.value.file, caught.value.offset) == (segment_path(), offset)
        assert f"offset {offset}" in str(caught.value)
        assert disk.contents(segment_path()) == damaged
        disk.corrupt(segment_path(), position, contents[position : position + 1])
    assert (await opened(disk)).recovered.tail == entries(0, 1, 2)


async def test_after_a_clean_close_the_last_batch_is_vouched_for_too() -> None:
    disk = await written([PersistBatch(entries=entries(0, 3))], close=True)
    last = [offset for offset, kind, _ in records(disk) if kind == 6][-1]
    disk.corrupt(segment_path(), last + 9, b"\xff")
    with pytest.raises(CorruptionError) as caught:
        await opened(disk)
    assert caught.value.offset == last


async def test_an_acknowledged_batch_that_a_later_write_followed_is_vouched_for() -> None:
    """Even if the later one was handed over before the earlier one's sync had ended."""
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    storage.persist(PersistBatch(entries=entries(0, 3)), Answers())
    storage.persist(PersistBatch(entries=entries(3, 4)), Answers())
    writer.step(1)
    writer.step(1)
    third = [offset for offset, kind, _ in records(disk) if kind == 6][2]
    disk.corrupt(segment_path(), third, b"\xff\xff\xff\xff")
    with pytest.raises(CorruptionError):
        await opened(disk)


@pytest.mark.parametrize("position", [0, 30, 90, -1])
async def test_damage_in_any_file_but_the_last_is_corruption(position: int) -> None:
    groups = [[PersistBatch(entries=entries(i, i + 1, size=80))] for i in range(10)]
    disk = await written(*groups, segment_bytes=300)
    size = len(disk.contents(segment_path(1)))
    assert disk.exists(segment_path(3))
    at = position % size
    disk.corrupt(segment_path(1), at, bytes([disk.contents(segment_path(1))[at] ^ 1]))
    with pytest.raises(CorruptionError) as caught:
        await opened(disk)
    assert caught.value.file == segment_path(1)


async def test_a_missing_file_is_corruption() -> None:
    groups = [[PersistBatch(entries=entries(i, i + 1, size=80))] for i in range(10)]
    disk = await written(*groups, segment_bytes=300)
    disk.unlink(segment_path(2))
    with pytest.raises(CorruptionError, match=r"002\.log: .* the file is missing"):
        await opened(disk)
    disk.unlink(segment_path(1))
    with pytest.raises(CorruptionError, match="begins after entry"):
        await opened(disk)


async def test_a_file_of_another_group_or_place_is_corruption() -> None:
    groups = [[PersistBatch(entries=entries(i, i + 1, size=80))] for i in range(10)]
    disk = await written(*groups, segment_bytes=300)
    with pytest.raises(CorruptionError) as caught:
        await FileStorage.open(FOLDER, b"another", SteppedWriter(), filesystem=disk)
    assert (caught.value.file, caught.value.offset) == (segment_path(1), 0)
    second = disk.contents(segment_path(2))
    disk.corrupt(segment_path(3), 0, second)
    with pytest.raises(CorruptionError) as caught:
        await opened(disk)
    assert caught.value.file == segment_path(3)


async def test_an_emptied_file_is_corruption() -> None:
    disk = await written([PersistBatch(entries=entries(0, 3))])
    shortened(disk, 0)
    with pytest.raises(CorruptionError):
        await opened(disk)


async def test_a_snapshot_without_a_log_is_corruption() -> None:
    """Without the log the vote is lost, and voting twice loses data."""
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    async with storage.create_snapshot() as snapshot:
        await snapshot.write(b"state")
        await snapshot.commit(meta(5))
    disk.unlink(segment_path())
    with pytest.raises(CorruptionError, match="no log"):
        await opened(disk)


async def test_what_recovery_returns_is_durable() -> None:
    """Written but not synced when the process died: the next one reads it, so it must sync it."""
    for seed in range(20):
        disk, writer = SimDisk(), SteppedWriter()
        storage = await open_on(disk, writer)
        storage.persist(PersistBatch(HardState(3, "n1"), entries(0, 3)), Answers())
        writer.begin()  # and the process is killed, the machine lives on
        found = (await opened(disk)).recovered
        assert found.tail == entries(0, 3)
        power_loss(disk, seed)
        again = (await opened(disk)).recovered
        assert (again.tail, again.hard_state) == (found.tail, found.hard_state)


async def test_what_a_failed_sync_left_in_the_page_cache_is_not_trusted() -> None:
    """The kernel calls such pages clean: syncing them again, in any process, does nothing."""
    for seed in range(20):
        disk, writer = SimDisk(), SteppedWriter()
        storage = await open_on(disk, writer)
        storage.persist(PersistBatch(HardState(3, "n1"), entries(0, 3)), Answers())
        disk.fail("datasync", 5, times=1)
        writer.step()
        found = (await opened(disk)).recovered
        assert found.tail == entries(0, 3)
        power_loss(disk, seed)
        again = (await opened(disk)).recovered
        assert (again.tail, again.hard_state) == (found.tail, found.hard_state)


async def test_reserved_space_is_no_torn_tail(caplog: pytest.LogCaptureFixture) -> None:
    groups = [[PersistBatch(entries=entries(i, i + 1, size=80))] for i in range(9)]
    disk = await written(*groups, segment_bytes=500, preallocate_bytes=1000)
    last = max(n for n in disk.list_directory(FOLDER) if n.endswith(".log"))
    assert disk.contents(f"{FOLDER}/{last}").endswith(bytes(500))
    assert b"x" in disk.contents(segment_path(1))[-80:]  # a full file keeps no reserve
    storage = await opened(disk)
    assert storage.recovered.tail == entries(0, 9, size=80)
    assert sum(len(disk.contents(f"{FOLDER}/{n}")) for n in disk.list_directory(FOLDER)) == (
        storage.size_on_disk()
    )
    assert caplog.records == []


async def test_a_closed_file_keeps_no_reserve() -> None:
    batch = PersistBatch(entries=entries(0, 3))
    reserved = await written([batch], close=True, preallocate_bytes=5000)
    plain = await written([batch], close=True)
    assert reserved.contents(segment_path()) == plain.contents(segment_path())


async def test_a_disk_that_cannot_reserve_is_used_without() -> None:
    disk, writer, answers = SimDisk(), SteppedWriter(), Answers()
    storage = await open_on(disk, writer, preallocate_bytes=5000)
    disk.fail("allocate", 28)
    storage.persist(PersistBatch(entries=entries(0, 3)), answers)
    writer.step()
    assert answers == [None]
    assert (await opened(disk)).recovered.tail == entries(0, 3)


async def test_leftovers_are_deleted() -> None:
    disk = await written([PersistBatch(entries=entries(0, 3))])
    for name in ("incoming-1.snapshot.tmp", "0000000000000002.log.tmp"):
        disk.open(f"{FOLDER}/{name}", create=True).write(b"half", 0)
    await opened(disk)
    assert disk.list_directory(FOLDER) == ["0000000000000001.log"]


async def test_the_tail_keeps_to_its_budget() -> None:
    disk = await written([PersistBatch(entries=entries(0, 100, size=100))])
    room = 10 * (100 + ENTRY_OVERHEAD)
    storage = await open_on(disk, SteppedWriter(), tail_bytes=room)
    assert storage.recovered.tail == entries(90, 100, size=100)
    assert storage.recovered.last_index == 99
    assert await storage.read(0, 2, BIG) == entries(0, 2, size=100)
    storage = await open_on(disk, SteppedWriter(), tail_bytes=1)
    assert storage.recovered.tail == entries(99, 100, size=100)


async def test_rot_is_found_when_an_entry_is_read() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    storage.persist(PersistBatch(entries=entries(0, 5)), Answers())
    writer.step()
    offset = [offset for offset, kind, _ in records(disk) if kind == 6][3]
    disk.corrupt(segment_path(), offset + 20, b"\xff\xff")
    assert await storage.read(0, 3, BIG) == entries(0, 3)
    with pytest.raises(CorruptionError) as caught:
        await storage.read(2, 5, BIG)
    assert (caught.value.file, caught.value.offset) == (segment_path(), offset)


async def test_rot_in_a_snapshot_is_found() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    storage.persist(PersistBatch(entries=entries(0, 9)), Answers())
    writer.step()
    async with storage.create_snapshot() as snapshot:
        await snapshot.write(b"state" * 20)
        await snapshot.commit(meta(5))
    path = next(f"{FOLDER}/{n}" for n in disk.list_directory(FOLDER) if n.endswith(".snapshot"))
    contents = disk.contents(path)
    rng = random.Random(0)
    for position in range(len(contents)):
        disk.corrupt(path, position, bytes([contents[position] ^ (1 << rng.randrange(8))]))
        with pytest.raises(CorruptionError) as caught:
            await read_snapshot(await opened(disk), 33)
        assert caught.value.file == path
        disk.corrupt(path, position, contents[position : position + 1])
