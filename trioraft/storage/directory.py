"""The data directory of a node: that only one process uses it, whose it is, and its groups.

DIR/lock              held while a process uses the directory; holds its process id
DIR/node.json         format, node id, cluster
DIR/registered/HEX    the group with that id exists
DIR/groups/HEX/       its log and snapshots
"""

from __future__ import annotations

import os

from trioraft.raft.errors import CorruptionError, DataDirectoryError, StorageError

from .filesystem import FileLock, FileSystem, OsFileSystem, storage_error
from .handles import DEFAULT_OPEN_FILES, HandleCache
from .identity import IDENTITY, check_identity, refuse_foreign
from .log import FileStorage
from .registry import GroupRegistry
from .settings import StorageSettings
from .writer import DiskWriter

__all__ = ["MAX_GROUP_ID", "DataDirectory"]

MAX_GROUP_ID = 64  # bytes
_FOLDERS = frozenset({"groups", "registered"})


class DataDirectory:
    """An opened data directory. Made by `open`; give it back with `close`."""

    def __init__(self, path: str, filesystem: FileSystem, lock: FileLock, open_files: int) -> None:
        self._path = path
        self._filesystem = filesystem
        self._lock = lock
        self._registry = GroupRegistry(filesystem, path)
        self._handles = HandleCache(open_files)
        self._open_groups: set[bytes] = set()
        self._dying_groups: set[bytes] = set()  # being deleted

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        node_id: str,
        cluster: str,
        filesystem: FileSystem | None = None,
        open_files: int = DEFAULT_OPEN_FILES,
    ) -> DataDirectory:
        """Open the directory for this node, or make it. Blocks for a few disk accesses.

        open_files: how many files its groups together keep open for writing.

        Raises DataDirectoryError if another process uses it, if it is not ours, or belongs to
        another node or cluster; CorruptionError if a part of it is missing; StorageError.
        """
        folder = os.fspath(path)
        fs = filesystem or OsFileSystem()
        try:
            # A directory that is not ours is left as it was found, without even a lock file.
            if fs.exists(folder) and not fs.exists(f"{folder}/{IDENTITY}"):
                refuse_foreign(fs, folder, _FOLDERS)
            fs.make_directory(folder)
            lock = fs.lock(f"{folder}/lock")
            try:
                if not fs.exists(f"{folder}/{IDENTITY}"):
                    refuse_foreign(fs, folder, _FOLDERS)
                    # Before the file that says that they are there.
                    for name in sorted(_FOLDERS):
                        fs.make_directory(f"{folder}/{name}")
                check_identity(fs, folder, node_id, cluster)
                _refuse_lost(fs, folder)
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            raise storage_error("open the data directory", folder, error) from error
        return cls(folder, fs, lock, open_files)

    @property
    def path(self) -> str:
        return self._path

    def groups(self) -> list[bytes]:
        """Ids of the groups that exist here, ascending. Raises StorageError."""
        try:
            return self._registry.groups()
        except OSError as error:
            raise storage_error("list the groups in", self._path, error) from error

    async def open_group(
        self, group_id: bytes, writer: DiskWriter, settings: StorageSettings | None = None
    ) -> FileStorage:
        """Recover the group's storage, or begin it. Close it with its `aclose`.

        group_id: 1 to 64 bytes. Raises ValueError for another length, DataDirectoryError if the
        group is open already or is being deleted, CorruptionError, StorageError. Cancelling waits
        for the disk and leaves nothing open.
        """
        if not 1 <= len(group_id) <= MAX_GROUP_ID:
            raise ValueError(f"a group id has 1 to {MAX_GROUP_ID} bytes, not {len(group_id)}")
        if group_id in self._open_groups:
            raise DataDirectoryError(f"group {group_id.hex()} is already open in this process")
        self._refuse_dying(group_id)
        self._open_groups.add(group_id)
        folder = self._registry.folder(group_id)
        try:
            known = await writer.run(self._registry.prepare, group_id)
            storage = await FileStorage.open(
                folder,
                group_id,
                writer,
                filesystem=self._filesystem,
                settings=settings,
                handles=self._handles,
                must_exist=known,
                on_close=lambda: self._open_groups.discard(group_id),
            )
            if not known:
                # Nobody has the storage yet: if this fails there is nothing to close.
                await writer.run(self._registry.enter, group_id)
        except OSError as error:
            self._open_groups.discard(group_id)
            raise storage_error("make", folder, error) from error
        except BaseException:
            self._open_groups.discard(group_id)
            raise
        return storage

    async def delete_group(self, group_id: bytes, writer: DiskWriter) -> None:
        """Remove a closed group's log, vote and snapshots. Does nothing for an unknown group.

        A crash in the middle leaves a group that is as it was, or one that is gone; what is left
        of its files goes when it is opened the next time. Raises DataDirectoryError if the group
        is open or is being deleted already, StorageError. Cancelling waits for the disk.
        """
        if group_id in self._open_groups:
            raise DataDirectoryError(f"group {group_id.hex()} is open: close it first")
        self._refuse_dying(group_id)
        self._dying_groups.add(group_id)
        try:
            await writer.run(self._registry.remove, group_id)
        except OSError as error:
            raise storage_error("delete", self._registry.folder(group_id), error) from error
        finally:
            self._dying_groups.discard(group_id)

    def close(self) -> None:
        """Let other processes have the directory.

        Raises StorageError if a group is open or is being deleted.
        """
        if busy := self._open_groups | self._dying_groups:
            names = ", ".join(sorted(group.hex() for group in busy))
            raise StorageError(f"{self._path}: close these groups first: {names}")
        self._lock.release()

    def _refuse_dying(self, group_id: bytes) -> None:
        """What is opened while its files go would acknowledge into files without a name."""
        if group_id in self._dying_groups:
            raise DataDirectoryError(f"group {group_id.hex()} is being deleted: try again later")


def _refuse_lost(filesystem: FileSystem, folder: str) -> None:
    for name in sorted(_FOLDERS):
        if not filesystem.exists(f"{folder}/{name}"):
            reason = "the folder is missing: logs, terms and votes of all groups may be lost"
            raise CorruptionError(f"{folder}/{name}", 0, reason)
