"""Snapshots on the disk: written aside, synced, renamed; the newest one counts.

Each is one container (`container`), named after its position.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from trioraft.raft.errors import CorruptionError, StorageError
from trioraft.raft.types import Configuration, SnapshotMeta
from trioraft.storage.filesystem import File, FileSystem, storage_error
from trioraft.storage.writer import DiskWriter

from .container import Contents, read_contents
from .reader import FileSnapshotReader
from .writer import FileSnapshotWriter

__all__ = ["SnapshotStore", "delete_leftovers", "find_newest"]

_SUFFIX = ".snapshot"


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
    """The meta of the newest snapshot. Blocking. Raises CorruptionError, OSError.

    The newest is never passed over: the log behind it may be gone, and what it held was
    acknowledged. If it is damaged and an older one is whole, the error says which.
    """
    found = sorted(p for name in filesystem.list_directory(folder) if (p := _position(name)))
    if not found:
        return None
    try:
        return _read_meta(filesystem, folder, found[-1])
    except CorruptionError as error:
        for position in reversed(found[:-1]):
            try:
                older = _read_meta(filesystem, folder, position)
            except CorruptionError:
                continue  # the error of the newest is the one to report
            raise CorruptionError(
                error.file,
                error.offset,
                f"{error.reason}; the snapshot of entry {older.index} beside it is whole: if the "
                f"log still has entry {older.index + 1}, move the damaged file away and start "
                "again, else restore this node from its peers",
            ) from error
        raise


def _read_meta(filesystem: FileSystem, folder: str, position: tuple[int, int]) -> SnapshotMeta:
    path = f"{folder}/{_file_name(SnapshotMeta(*position, Configuration(())))}"
    file = filesystem.open(path)
    try:
        meta = read_contents(file, path).meta
    finally:
        file.close()
    if (meta.index, meta.term) != position:
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
    async def create(self) -> AsyncGenerator[FileSnapshotWriter, None]:
        """See `GroupStorage.create_snapshot`."""
        self._created += 1
        aside = f"{self.folder}/incoming-{self._created}{_SUFFIX}.tmp"
        try:
            file = await self.writer.run(lambda: self.filesystem.open(aside, create=True))
        except OSError as error:
            raise storage_error("create", aside, error) from error
        snapshot = FileSnapshotWriter(self, self.writer, file, aside)
        try:
            yield snapshot
        finally:
            await snapshot.discard()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[FileSnapshotReader, None]:
        """See `GroupStorage.open_snapshot`."""
        if self.newest is None:
            raise StorageError(f"{self.folder}: there is no snapshot yet")
        name = _file_name(self.newest)
        path = f"{self.folder}/{name}"
        self._readers[name] = self._readers.get(name, 0) + 1
        try:
            file, contents = await self._open_file(path)
            try:
                yield FileSnapshotReader(self.writer, file, path, contents)
            finally:
                file.close()
        finally:
            self._readers[name] -= 1
            if not self._readers[name]:
                del self._readers[name]
                with trio.CancelScope(shield=True):
                    await self._delete_older()

    def publish(self, aside: str, meta: SnapshotMeta) -> None:
        """Give a complete, synced file its name, durably. Blocking. Raises OSError."""
        self.filesystem.rename(aside, f"{self.folder}/{_file_name(meta)}")
        self.filesystem.sync_directory(self.folder)

    def remove(self, aside: str) -> None:
        """Delete what was not published, if it is there. Blocking. Raises OSError."""
        if self.filesystem.exists(aside):
            self.filesystem.unlink(aside)

    async def published(self, meta: SnapshotMeta) -> None:
        """`meta` is durable and the newest; delete what it supersedes. Raises StorageError."""
        if self.newest is None or meta.index >= self.newest.index:
            self.newest = meta
            self._sizes[_file_name(meta)] = meta.size
        await self._delete_older()

    async def _open_file(self, path: str) -> tuple[File, Contents]:
        def open_and_check() -> tuple[File, Contents]:
            file = self.filesystem.open(path)
            try:
                return file, read_contents(file, path)
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
