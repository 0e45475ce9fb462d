"""Snapshot files: written aside, synced, renamed; checksummed; the newest one counts.

    file = magic (8) | data | meta (JSON) | trailer: data size, meta size, crc of data, crc of meta

Meta comes last because it is known last. Its own checksum lets a restart trust it without
reading the data; the data is checked by whoever reads it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from zlib import crc32

import trio

from trioraft.raft.errors import CorruptionError, StorageError
from trioraft.raft.types import Configuration, SnapshotMeta

from .filesystem import File, FileSystem, storage_error
from .writer import DiskWriter

__all__ = ["SnapshotStore", "delete_leftovers", "find_newest"]

_MAGIC = b"TRsnap\x01\n"
_TRAILER = struct.Struct("<QIII")
_CRC = struct.Struct("<I")
_SUFFIX = ".snapshot"
_FLUSH = 1 << 20  # bytes gathered before the disk is asked


def _file_name(meta: SnapshotMeta) -> str:
    return f"{meta.index:020d}-{meta.term:032x}{_SUFFIX}"


def _position(name: str) -> tuple[int, int] | None:
    """(index, term) out of a snapshot's file name, None if it is another file."""
    stem = name.removesuffix(_SUFFIX)
    index, dash, term = stem.partition("-")
    if stem == name or not dash:
        return None
    try:
        return int(index), int(term, 16)
    except ValueError:
        return None


def find_newest(filesystem: FileSystem, folder: str) -> SnapshotMeta | None:
    """The meta of the newest snapshot. Blocking. Raises CorruptionError, OSError."""
    found = [p for name in filesystem.list_directory(folder) if (p := _position(name))]
    if not found:
        return None
    index, term = max(found)
    path = f"{folder}/{_file_name(SnapshotMeta(index, term, Configuration(())))}"
    file = filesystem.open(path)
    try:
        meta, _ = _read_meta(file, path)
    finally:
        file.close()
    if (meta.index, meta.term) != (index, term):
        raise CorruptionError(path, 0, f"it holds the snapshot of entry {meta.index}")
    return meta


def delete_leftovers(filesystem: FileSystem, folder: str, newest: SnapshotMeta | None) -> None:
    """Delete what a crash left: files that never got their name, and superseded snapshots.

    Blocking; for a folder that nobody else uses yet. Raises OSError.
    """
    for name in filesystem.list_directory(folder):
        if name.endswith(".tmp"):
            filesystem.unlink(f"{folder}/{name}")
    if newest is not None:
        _delete_superseded(filesystem, folder, _file_name(newest), frozenset())


def _encode_meta(meta: SnapshotMeta) -> bytes:
    fields = {
        "index": meta.index,
        "term": str(meta.term),  # 128 bits: as text, for readers whose numbers are doubles
        "configuration": meta.configuration.encode().decode(),
        "configuration_index": meta.configuration_index,
    }
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()


def _read_meta(file: File, path: str) -> tuple[SnapshotMeta, int]:
    """(meta, checksum of the data). Raises CorruptionError."""
    size = file.size()
    end = size - _TRAILER.size - _CRC.size
    if end < len(_MAGIC) or file.read(len(_MAGIC), 0) != _MAGIC:
        raise CorruptionError(path, 0, "not a snapshot of this version of trioraft")
    tail = file.read(_TRAILER.size + _CRC.size, end)
    if len(tail) != _TRAILER.size + _CRC.size or crc32(tail[:-4]) != _CRC.unpack(tail[-4:])[0]:
        raise CorruptionError(path, end, "checksum mismatch in the trailer")
    data_size, meta_size, data_crc, meta_crc = _TRAILER.unpack(tail[:-4])
    start = len(_MAGIC) + data_size
    if start + meta_size != end:
        raise CorruptionError(path, end, f"{size} bytes do not match the trailer")
    encoded = file.read(meta_size, start)
    if crc32(encoded) != meta_crc:
        raise CorruptionError(path, start, "checksum mismatch in the description")
    try:
        fields = json.loads(encoded)
        configuration = Configuration.decode(fields["configuration"].encode())
        meta = SnapshotMeta(
            fields["index"],
            int(fields["term"]),
            configuration,
            data_size,
            fields["configuration_index"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(path, start, f"the description cannot be read: {error}") from error
    return meta, data_crc


class _Writer:
    """A `SnapshotWriter`."""

    def __init__(self, store: SnapshotStore, file: File, aside: str) -> None:
        self._store = store
        self._file = file
        self._aside = aside
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._size = 0
        self._crc = 0
        self.committed = False
        self._failed = False

    async def write(self, data: bytes) -> None:
        """Append bytes; they reach the disk in pieces of about 1 MiB. Raises StorageError.

        Cancelling leaves a snapshot that can only be abandoned.
        """
        self._check_open()
        self._pending.append(bytes(data))
        self._pending_bytes += len(data)
        if self._pending_bytes >= _FLUSH:
            await self._run("write", self._flush)
        else:
            await trio.lowlevel.checkpoint()

    async def commit(self, meta: SnapshotMeta) -> SnapshotMeta:
        """See `SnapshotWriter`. A snapshot older than the newest is dropped: the newest's meta
        is returned. Once begun, a commit is carried out even if cancelled."""
        self._check_open()
        if meta.index < 0 or not 0 <= meta.term < 1 << 128:
            raise ValueError(f"a snapshot cannot stand at entry {meta.index} of term {meta.term}")
        newest = self._store.newest
        if newest is not None and newest.index > meta.index:
            return newest
        meta = replace(meta, size=self._size + self._pending_bytes)
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            await self._run("commit", self._publish, meta)
            self.committed = True
            await self._store.published(meta)
        return meta

    async def discard(self) -> None:
        """Close, and delete what was written unless it was committed. Shielded."""
        with trio.CancelScope(shield=True):
            try:
                await self._store.writer.run(self._cleanup)
            except OSError as error:
                raise storage_error("delete", self._aside, error) from error

    def _check_open(self) -> None:
        if self.committed or self._failed:
            raise StorageError(f"{self._aside}: this snapshot is already closed")

    async def _run(self, action: str, function: Callable[..., None], *args: SnapshotMeta) -> None:
        self._failed = True  # until it is known to have gone well
        try:
            await self._store.writer.run(function, *args)
        except OSError as error:
            raise storage_error(f"{action} the snapshot", self._aside, error) from error
        self._failed = False

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._file.write(data, len(_MAGIC) + self._size)
        self._crc = crc32(data, self._crc)
        self._size += len(data)

    def _publish(self, meta: SnapshotMeta) -> None:
        self._flush()
        encoded = _encode_meta(meta)
        trailer = _TRAILER.pack(self._size, len(encoded), self._crc, crc32(encoded))
        self._file.write(encoded + trailer + _CRC.pack(crc32(trailer)), len(_MAGIC) + self._size)
        self._file.write(_MAGIC, 0)
        self._file.datasync()
        self._store.filesystem.rename(self._aside, f"{self._store.folder}/{_file_name(meta)}")
        self._store.filesystem.sync_directory(self._store.folder)

    def _cleanup(self) -> None:
        self._file.close()
        if not self.committed and self._store.filesystem.exists(self._aside):
            self._store.filesystem.unlink(self._aside)


class _Reader:
    """A `SnapshotReader`."""

    def __init__(
        self, writer: DiskWriter, file: File, path: str, meta: SnapshotMeta, crc: int
    ) -> None:
        self.meta = meta
        self._writer = writer
        self._file = file
        self._path = path
        self._expected = crc
        self._crc = 0
        self._read = 0

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        """Next bytes, b"" at the end. Raises CorruptionError with the last bytes if the whole
        does not match its checksum, StorageError. Cancelling loses nothing that was not returned.
        """
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}; it must be at least 1")
        size = min(max_bytes, self.meta.size - self._read)
        if not size:
            await trio.lowlevel.checkpoint()
            return b""
        try:
            data = await self._writer.run(self._file.read, size, len(_MAGIC) + self._read)
        except OSError as error:
            raise storage_error("read", self._path, error) from error
        if len(data) < size:
            raise CorruptionError(self._path, len(_MAGIC) + self._read, "the file is too short")
        self._crc = crc32(data, self._crc)
        self._read += len(data)
        if self._read == self.meta.size and self._crc != self._expected:
            raise CorruptionError(self._path, len(_MAGIC), "checksum mismatch in the data")
        return data


class SnapshotStore:
    """The snapshots of one group: the newest, and older ones that are still being read."""

    def __init__(
        self,
        filesystem: FileSystem,
        folder: str,
        writer: DiskWriter,
        newest: SnapshotMeta | None,
    ) -> None:
        self.filesystem = filesystem
        self.folder = folder
        self.writer = writer
        self.newest = newest
        self._readers: dict[str, int] = {}
        self._sizes = {_file_name(newest): newest.size} if newest is not None else {}
        self._created = 0

    @property
    def size_on_disk(self) -> int:
        """Bytes of data in the newest snapshot and in older ones that are still being read."""
        return sum(self._sizes.values())

    @asynccontextmanager
    async def create(self) -> AsyncGenerator[_Writer, None]:
        """See `GroupStorage.create_snapshot`."""
        self._created += 1
        aside = f"{self.folder}/incoming-{self._created}{_SUFFIX}.tmp"
        try:
            file = await self.writer.run(lambda: self.filesystem.open(aside, create=True))
        except OSError as error:
            raise storage_error("create", aside, error) from error
        snapshot = _Writer(self, file, aside)
        try:
            yield snapshot
        finally:
            await snapshot.discard()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_Reader, None]:
        """See `GroupStorage.open_snapshot`."""
        if self.newest is None:
            raise StorageError(f"{self.folder}: there is no snapshot yet")
        name = _file_name(self.newest)
        path = f"{self.folder}/{name}"
        self._readers[name] = self._readers.get(name, 0) + 1
        try:
            file, meta, crc = await self._open_file(path)
            try:
                yield _Reader(self.writer, file, path, meta, crc)
            finally:
                file.close()
        finally:
            self._readers[name] -= 1
            if not self._readers[name]:
                del self._readers[name]
                with trio.CancelScope(shield=True):
                    await self._delete_older()

    async def published(self, meta: SnapshotMeta) -> None:
        """`meta` is durable and the newest; delete what it supersedes. Raises StorageError."""
        if self.newest is None or meta.index >= self.newest.index:
            self.newest = meta
            self._sizes[_file_name(meta)] = meta.size
        await self._delete_older()

    async def _open_file(self, path: str) -> tuple[File, SnapshotMeta, int]:
        def open_and_check() -> tuple[File, SnapshotMeta, int]:
            file = self.filesystem.open(path)
            try:
                return file, *_read_meta(file, path)
            except BaseException:
                file.close()
                raise

        try:
            return await self.writer.run(open_and_check)
        except OSError as error:
            raise storage_error("open", path, error) from error

    async def _delete_older(self) -> None:
        if self.newest is None:
            return
        # Never more than what is older than this one: a newer one may appear meanwhile.
        newest, reading = _file_name(self.newest), frozenset(self._readers)
        try:
            deleted = await self.writer.run(
                _delete_superseded, self.filesystem, self.folder, newest, reading
            )
        except OSError as error:
            raise storage_error("delete old snapshots in", self.folder, error) from error
        for name in deleted:
            self._sizes.pop(name, None)


def _delete_superseded(
    filesystem: FileSystem, folder: str, newest: str, reading: frozenset[str]
) -> list[str]:
    """Delete the snapshots older than `newest` that are not being read; returns their names.

    Blocking. Raises OSError.
    """
    newest_position = _position(newest)
    assert newest_position is not None
    deleted = []
    for name in filesystem.list_directory(folder):
        position = _position(name)
        if position is not None and position < newest_position and name not in reading:
            filesystem.unlink(f"{folder}/{name}")
            deleted.append(name)
    return deleted
