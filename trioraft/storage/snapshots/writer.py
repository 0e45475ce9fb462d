"""Writing one snapshot to the disk: the asynchronous end of the container."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Protocol
from zlib import crc32

import trio

from trioraft.raft.errors import StorageError
from trioraft.raft.types import SnapshotFile, SnapshotMeta
from trioraft.storage.filesystem import File, storage_error
from trioraft.storage.writer import DiskWriter

from .container import (
    BLOCK_BYTES,
    DATA_FILE,
    MAGIC,
    MAX_FILES,
    check_file_name,
    encode_end,
    file_checksum,
    with_files,
)

__all__ = ["FileSnapshotWriter", "Publisher"]

# While a snapshot is written, what there is of it goes to the disk in stretches of so many bytes.
_STRETCH = 8 << 20
_CACHED = 8 * _STRETCH  # behind these, what was written is given back to the system


class Publisher(Protocol):
    """What a writer needs of the store that it belongs to."""

    @property
    def newest(self) -> SnapshotMeta | None: ...

    def publish(self, aside: str, meta: SnapshotMeta) -> None:
        """Give the complete, synced file `aside` its name. Blocking."""

    def remove(self, aside: str) -> None:
        """Delete `aside`, if it is there. Blocking."""

    async def published(self, meta: SnapshotMeta) -> None: ...


class FileSnapshotWriter:
    """A `SnapshotWriter` into a file aside."""

    def __init__(self, store: Publisher, writer: DiskWriter, file: File, aside: str) -> None:
        self._store = store
        self._writer = writer
        self._file = file
        self._aside = aside
        self._pending: list[bytes] = []  # of the block that is not full yet
        self._pending_bytes = 0
        self._files: list[SnapshotFile] = []  # complete ones
        self._name: str | None = None
        self._size = 0  # of the file being written
        self._end = len(MAGIC)
        self._written_out = 0  # up to here the disk is at it
        self._checksums = array("I")
        self._first_block = 0  # of the file being written
        self._committed = False
        self._failed = False

    @property
    def position(self) -> tuple[int, int]:
        """(complete files, bytes of the one being written) that have been handed in."""
        return len(self._files), self._size + self._pending_bytes

    async def create_file(self, name: str) -> None:
        """See `SnapshotWriter.create_file`."""
        self._check_open()
        check_file_name(name)
        begun = len(self._files) + (self._name is not None)
        if name == self._name or any(name == file.name for file in self._files):
            raise ValueError(f"a snapshot with two files {name!r}")
        if begun >= MAX_FILES:
            raise ValueError(f"a snapshot of more than {MAX_FILES} files")
        await self._finish_file()
        self._name = name

    async def write(self, data: bytes) -> None:
        """See `SnapshotWriter.write`; bytes reach the disk in blocks of 1 MiB."""
        self._check_open()
        if self._name is None:
            self._name = DATA_FILE
        data = bytes(data)
        while self._pending_bytes + len(data) >= BLOCK_BYTES:
            room = BLOCK_BYTES - self._pending_bytes
            await self._flush(data[:room])
            data = data[room:]
        if data:
            self._pending.append(data)
            self._pending_bytes += len(data)
        await trio.lowlevel.checkpoint()

    async def finish(self) -> tuple[SnapshotFile, ...]:
        """See `SnapshotWriter.finish`. Idempotent."""
        self._check_open()
        if self._name is None and not self._files:
            self._name = DATA_FILE
        await self._finish_file()
        await trio.lowlevel.checkpoint()
        return tuple(self._files)

    async def commit(self, meta: SnapshotMeta) -> SnapshotMeta:
        """See `SnapshotWriter`. A snapshot older than the newest is dropped: the newest's meta
        is returned. Once begun, a commit is carried out even if cancelled."""
        self._check_open()
        if meta.index < 0 or not 0 <= meta.term < 1 << 128:
            raise ValueError(f"a snapshot cannot stand at entry {meta.index} of term {meta.term}")
        newest = self._store.newest
        if newest is not None and newest.index > meta.index:
            return newest
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            meta = with_files(meta, await self.finish())
            await self._run("commit", self._publish, meta)
            self._committed = True
            await self._store.published(meta)
        return meta

    async def discard(self) -> None:
        """Close, and delete what was written unless it was committed. Shielded. Idempotent."""
        with trio.CancelScope(shield=True):
            try:
                await self._writer.run(self._cleanup)
            except OSError as error:
                raise storage_error("delete", self._aside, error) from error

    def _check_open(self) -> None:
        if self._committed or self._failed:
            raise StorageError(f"{self._aside}: this snapshot is already closed")

    async def _finish_file(self) -> None:
        if self._name is None:
            return
        if self._pending_bytes:
            await self._flush(b"")
        checksum = file_checksum(self._checksums[self._first_block :])
        self._files.append(SnapshotFile(self._name, self._size, checksum))
        self._name, self._size, self._first_block = None, 0, len(self._checksums)

    async def _flush(self, last: bytes) -> None:
        block = b"".join((*self._pending, last))
        self._pending.clear()
        self._pending_bytes = 0
        await self._run("write", self._write_block, block)

    async def _run(self, action: str, function: Callable[[Any], None], argument: Any) -> None:
        self._failed = True  # until it is known to have gone well
        try:
            await self._writer.run(function, argument)
        except OSError as error:
            raise storage_error(f"{action} the snapshot", self._aside, error) from error
        self._failed = False

    def _write_block(self, block: bytes) -> None:
        self._file.write(block, self._end)
        self._checksums.append(crc32(block))
        self._end += len(block)
        self._size += len(block)
        self._write_out()

    def _write_out(self) -> None:
        """Let the disk work meanwhile, and leave the memory of others alone.

        Without it everything would wait for the sync at the end, which then holds up the log's,
        and a large snapshot would take the page cache for itself, a fresh page for each of its own.
        """
        begin, end = self._written_out, self._end - self._end % _STRETCH
        if begin < end:
            self._file.write_out(begin, end - begin)
            if begin >= _CACHED:
                self._file.write_out(begin - _CACHED, end - begin)
            self._written_out = end

    def _publish(self, meta: SnapshotMeta) -> None:
        self._file.write(encode_end(meta, self._checksums), self._end)
        self._file.write(MAGIC, 0)
        self._file.datasync()
        self._store.publish(self._aside, meta)

    def _cleanup(self) -> None:
        self._file.close()
        if not self._committed:
            self._failed = True
            self._store.remove(self._aside)
