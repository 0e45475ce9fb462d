"""A snapshot goes to the disk while it is written, and does not fill the page cache."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from storage_kit import SteppedWriter, meta, open_on

from trioraft.storage.filesystem import File, OsFileSystem
from trioraft.storage.snapshots import writer as snapshot_writer
from trioraft.storage.snapshots.container import BLOCK_BYTES
from trioraft.testing.disk import SimDisk

PAGE = 4096


class Told(SimDisk):
    """Keeps what the files of snapshots were told to write out, and how long they were then."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, int, int]] = []

    def open(self, path: str, *, create: bool = False) -> File:
        file = super().open(path, create=create)

        def write_out(offset: int, size: int) -> None:
            self.told.append((offset, size, file.size()))

        file.write_out = write_out  # type: ignore[method-assign]
        return file


async def test_stretches_are_written_out_as_they_are_there_and_given_back_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stretch = 2 * BLOCK_BYTES
    monkeypatch.setattr(snapshot_writer, "_STRETCH", stretch)
    monkeypatch.setattr(snapshot_writer, "_CACHED", 2 * stretch)
    disk = Told()
    writer = SteppedWriter()
    storage = await open_on(disk, writer)
    async with storage.create_snapshot() as snapshot:
        await snapshot.write(bytes(9 * BLOCK_BYTES))
        await snapshot.commit(meta(3))
    assert all(offset + size <= there for offset, size, there in disk.told)
    # Four whole stretches; the first two again when they are two stretches behind.
    expected = [0, 1, 2, 0, 3, 1]
    assert [(offset, size) for offset, size, _ in disk.told] == [
        (number * stretch, stretch) for number in expected
    ]


async def test_a_small_snapshot_stays_in_memory() -> None:
    disk = Told()
    storage = await open_on(disk, SteppedWriter())
    async with storage.create_snapshot() as snapshot:
        await snapshot.write(bytes(3 * BLOCK_BYTES))
        await snapshot.commit(meta(3))
    assert disk.told == []


def test_what_was_synced_and_written_out_is_not_kept_in_memory(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    file = OsFileSystem().open(path, create=True)
    data = os.urandom(16 * PAGE)
    file.write(data, 0)
    file.write_out(0, len(data))
    assert file.read(len(data), 0) == data
    file.datasync()
    assert cached(path), "it was read a moment ago"
    file.write_out(0, len(data))
    assert not cached(path)
    assert file.read(len(data), 0) == data
    file.close()


def test_a_file_system_that_takes_no_advice_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    file = OsFileSystem().open(str(tmp_path / "file"), create=True)
    file.write(b"abc", 0)
    file.write_out(0, 3)
    file.datasync()
    assert file.read(3, 0) == b"abc"
    file.close()


def cached(path: str) -> bool:
    """Whether the first page of the file can be read without asking the disk for it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(fd, [bytearray(PAGE)], 0, os.RWF_NOWAIT) == PAGE
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this file system does not tell what it keeps in memory")
        raise
    finally:
        os.close(fd)
