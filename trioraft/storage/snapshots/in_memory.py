"""Writing and reading one snapshot of `MemoryStorage`."""

from __future__ import annotations

from typing import Protocol

import trio

from trioraft.raft.errors import StorageError
from trioraft.raft.types import SnapshotFile, SnapshotMeta

from .container import DATA_FILE, MAX_FILES, check_file_name, describe_file

__all__ = ["MemorySnapshotReader", "MemorySnapshotWriter"]


class _Store(Protocol):
    def replace_snapshot(self, meta: SnapshotMeta, files: dict[str, bytes]) -> SnapshotMeta: ...


class MemorySnapshotWriter:
    """A `SnapshotWriter`."""

    def __init__(self, storage: _Store) -> None:
        self._storage = storage
        self._files: dict[str, bytearray] = {}
        self._current: bytearray | None = None
        self._closed = False

    @property
    def position(self) -> tuple[int, int]:
        """See `SnapshotWriter.position`."""
        if self._current is None:
            return 0, 0
        return len(self._files) - 1, len(self._current)

    async def create_file(self, name: str) -> None:
        """See `SnapshotWriter.create_file`."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        check_file_name(name)
        if name in self._files:
            raise ValueError(f"a snapshot with two files {name!r}")
        if len(self._files) >= MAX_FILES:
            raise ValueError(f"a snapshot of more than {MAX_FILES} files")
        self._current = self._files[name] = bytearray()

    async def write(self, data: bytes) -> None:
        """See `SnapshotWriter.write`."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._data_file().extend(data)

    async def finish(self) -> tuple[SnapshotFile, ...]:
        """See `SnapshotWriter.finish`. Idempotent."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._data_file()
        return tuple(describe_file(name, bytes(data)) for name, data in self._files.items())

    async def commit(self, meta: SnapshotMeta) -> SnapshotMeta:
        """See `SnapshotWriter`; a snapshot older than the newest is dropped."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        if meta.index < 0 or not 0 <= meta.term < 1 << 128:
            raise ValueError(f"a snapshot cannot stand at entry {meta.index} of term {meta.term}")
        self._closed = True
        self._data_file()
        files = {name: bytes(data) for name, data in self._files.items()}
        return self._storage.replace_snapshot(meta, files)

    async def discard(self) -> None:
        """See `SnapshotWriter.discard`."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()

    def _data_file(self) -> bytearray:
        if self._current is None:
            self._current = self._files[DATA_FILE] = bytearray()
        return self._current

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("this snapshot is already closed")


class MemorySnapshotReader:
    """A `SnapshotReader`."""

    def __init__(self, meta: SnapshotMeta, files: dict[str, bytes]) -> None:
        self.meta = meta
        self._files = files
        self._data = files[meta.files[0].name]
        self._position = 0

    async def open_file(self, name: str, offset: int = 0) -> None:
        """See `SnapshotReader.open_file`."""
        await trio.lowlevel.checkpoint()
        data = self._files[name]
        if not 0 <= offset <= len(data):
            raise ValueError(f"{name} has {len(data)} bytes, there is no byte {offset}")
        self._data, self._position = data, offset

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        """See `SnapshotReader.read`."""
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}; it must be at least 1")
        await trio.lowlevel.checkpoint()
        data = self._data[self._position : self._position + max_bytes]
        self._position += len(data)
        return data
