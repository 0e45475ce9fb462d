"""Damage to a log that no crash explains: named when the log is opened, or when it is read."""

from __future__ import annotations

import random

import pytest
from recovery_kit import BIG, opened, records, shortened, written
from storage_kit import (
    FOLDER,
    Answers,
    SteppedWriter,
    entries,
    meta,
    open_on,
    read_snapshot,
    segment_path,
)

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import Entry, EntryKind, HardState, Session
from trioraft.storage import FileStorage, PersistBatch
from trioraft.testing.disk import SimDisk


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
