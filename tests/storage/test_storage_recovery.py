"""Opening a log after a crash: a torn tail is cut, what recovery returns is durable."""

from __future__ import annotations

import logging

import pytest
from recovery_kit import BIG, opened, records, shortened, written
from storage_kit import (
    FOLDER,
    Answers,
    SteppedWriter,
    entries,
    open_on,
    power_loss,
    segment_path,
)

from trioraft.raft.errors import CorruptionError
from trioraft.raft.log import ENTRY_OVERHEAD
from trioraft.raft.types import Entry, EntryKind, HardState, Session
from trioraft.storage import PersistBatch
from trioraft.testing.disk import SimDisk


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
