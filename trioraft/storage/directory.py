"""The data directory of a node: whose it is, that only one process uses it, and its groups.

DIR/lock          held while a process uses the directory; holds its process id
DIR/node.json     format, node id, cluster
DIR/groups/HEX/   the log and snapshots of the group with that id
"""

from __future__ import annotations

import json
import os

from trioraft.raft.errors import CorruptionError, DataDirectoryError, StorageError

from .filesystem import FileLock, FileSystem, OsFileSystem, storage_error, write_aside
from .log import (
    DEFAULT_PREALLOCATE_BYTES,
    DEFAULT_QUEUE_BYTES,
    DEFAULT_SEGMENT_BYTES,
    DEFAULT_TAIL_BYTES,
    FileStorage,
)
from .writer import DiskWriter

__all__ = ["MAX_GROUP_ID", "MAX_SEGMENT_BYTES", "DataDirectory"]

FORMAT_VERSION = 1
MAX_GROUP_ID = 64  # bytes
MAX_SEGMENT_BYTES = 1 << 30  # a record's checksum tells places apart within 4 GiB
_DELETED = "deleted"  # marks a group's folder whose files are being removed
_IDENTITY = "node.json"
# What may be there before we are: our own first steps, and the mark of a fresh file system.
_HARMLESS = frozenset({"lock", f"{_IDENTITY}.tmp", "lost+found"})


class DataDirectory:
    """An opened data directory. Made by `open`; give it back with `close`."""

    def __init__(self, path: str, filesystem: FileSystem, lock: FileLock) -> None:
        self._path = path
        self._filesystem = filesystem
        self._lock = lock
        self._open_groups: set[bytes] = set()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        node_id: str,
        cluster: str,
        filesystem: FileSystem | None = None,
    ) -> DataDirectory:
        """Open the directory for this node, or make it. Blocks for a few disk accesses.

        Raises DataDirectoryError if another process uses it, if it is not ours, or belongs to
        another node or cluster; CorruptionError; StorageError.
        """
        folder = os.fspath(path)
        fs = filesystem or OsFileSystem()
        try:
            # A directory that is not ours is left as it was found, without even a lock file.
            if fs.exists(folder) and not fs.exists(f"{folder}/{_IDENTITY}"):
                _refuse_foreign(fs, folder)
            fs.make_directory(folder)
            lock = fs.lock(f"{folder}/lock")
            try:
                _check_identity(fs, folder, node_id, cluster)
                fs.make_directory(f"{folder}/groups")
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            raise storage_error("open the data directory", folder, error) from error
        return cls(folder, fs, lock)

    @property
    def path(self) -> str:
        return self._path

    def groups(self) -> list[bytes]:
        """Ids of the groups that have been opened here, ascending. Raises StorageError."""
        folder = f"{self._path}/groups"
        try:
            names = self._filesystem.list_directory(folder)
        except OSError as error:
            raise storage_error("list", folder, error) from error
        try:
            return [bytes.fromhex(name) for name in names]
        except ValueError as error:
            raise DataDirectoryError(
                f"{folder} holds something that is not ours ({error}): move it away"
            ) from error

    async def open_group(
        self,
        group_id: bytes,
        writer: DiskWriter,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        tail_bytes: int = DEFAULT_TAIL_BYTES,
        preallocate_bytes: int = DEFAULT_PREALLOCATE_BYTES,
    ) -> FileStorage:
        """Recover the group's storage, or begin it. Close it with its `aclose`.

        group_id: 1 to 64 bytes. Raises ValueError for another length or impossible bounds,
        DataDirectoryError if the group is open already, CorruptionError, StorageError.
        Cancelling waits for the disk and leaves nothing open.
        """
        if not 1 <= len(group_id) <= MAX_GROUP_ID:
            raise ValueError(f"a group id has 1 to {MAX_GROUP_ID} bytes, not {len(group_id)}")
        if min(segment_bytes, queue_bytes, tail_bytes) < 1:
            raise ValueError("segment_bytes, queue_bytes and tail_bytes must be at least 1")
        if segment_bytes > MAX_SEGMENT_BYTES:
            raise ValueError(f"segment_bytes is {segment_bytes}; the limit is {MAX_SEGMENT_BYTES}")
        if preallocate_bytes < 0:
            raise ValueError("preallocate_bytes must not be negative")
        if group_id in self._open_groups:
            raise DataDirectoryError(f"group {group_id.hex()} is already open in this process")
        folder = f"{self._path}/groups/{group_id.hex()}"
        self._open_groups.add(group_id)
        try:
            try:
                await writer.run(_make_group, self._filesystem, folder)
            except OSError as error:
                raise storage_error("make", folder, error) from error
            return await FileStorage.open(
                folder,
                group_id,
                writer,
                filesystem=self._filesystem,
                segment_bytes=segment_bytes,
                queue_bytes=queue_bytes,
                tail_bytes=tail_bytes,
                preallocate_bytes=preallocate_bytes,
                on_close=lambda: self._open_groups.discard(group_id),
            )
        except BaseException:
            self._open_groups.discard(group_id)
            raise

    async def delete_group(self, group_id: bytes, writer: DiskWriter) -> None:
        """Remove a closed group's log, vote and snapshots. Does nothing for an unknown group.

        A crash in the middle leaves a group that is deleted when it is opened the next time,
        never half of a log. Raises DataDirectoryError if the group is open, StorageError.
        Cancelling waits for the disk.
        """
        if group_id in self._open_groups:
            raise DataDirectoryError(f"group {group_id.hex()} is open: close it first")
        folder = f"{self._path}/groups/{group_id.hex()}"
        try:
            await writer.run(_delete_group, self._filesystem, folder)
        except OSError as error:
            raise storage_error("delete", folder, error) from error

    def close(self) -> None:
        """Let other processes have the directory. Raises StorageError if a group is open."""
        if self._open_groups:
            names = ", ".join(sorted(group.hex() for group in self._open_groups))
            raise StorageError(f"{self._path}: close these groups first: {names}")
        self._lock.release()


def _make_group(filesystem: FileSystem, folder: str) -> None:
    """Blocking. Also finishes a deletion that a crash interrupted."""
    if filesystem.exists(f"{folder}/{_DELETED}"):
        _delete_group(filesystem, folder)
    filesystem.make_directory(folder)


def _delete_group(filesystem: FileSystem, folder: str) -> None:
    """Blocking. The mark goes first and last: what is without it is whole."""
    if not filesystem.exists(folder):
        return
    mark = f"{folder}/{_DELETED}"
    if not filesystem.exists(mark):
        write_aside(filesystem, mark, b"")
    for name in filesystem.list_directory(folder):
        if name != _DELETED:
            filesystem.unlink(f"{folder}/{name}")
    filesystem.sync_directory(folder)
    filesystem.unlink(mark)
    filesystem.sync_directory(folder)
    filesystem.remove_directory(folder)


def _refuse_foreign(filesystem: FileSystem, folder: str) -> None:
    others = [n for n in filesystem.list_directory(folder) if n not in _HARMLESS]
    if others:
        raise DataDirectoryError(
            f"{folder} is not a trioraft data directory (it holds {others[0]!r} and no "
            f"{_IDENTITY}): name an empty or a new directory"
        )


def _check_identity(filesystem: FileSystem, folder: str, node_id: str, cluster: str) -> None:
    path = f"{folder}/{_IDENTITY}"
    wanted = {"format": FORMAT_VERSION, "node_id": node_id, "cluster": cluster}
    if not filesystem.exists(path):
        _refuse_foreign(filesystem, folder)
        write_aside(filesystem, path, (json.dumps(wanted, sort_keys=True) + "\n").encode())
        return
    file = filesystem.open(path)
    try:
        contents = file.read(file.size(), 0)
    finally:
        file.close()
    try:
        found = json.loads(contents)
        theirs = found["node_id"], found["cluster"]
        version = found["format"]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it does not say whose directory this is: {error}"
        raise CorruptionError(path, 0, reason) from error
    if version != FORMAT_VERSION:
        raise DataDirectoryError(
            f"{folder} has format {version}; this version of trioraft reads {FORMAT_VERSION}"
        )
    if theirs != (node_id, cluster):
        raise DataDirectoryError(
            f"{folder} belongs to node {theirs[0]!r} of cluster {theirs[1]!r}, not to node "
            f"{node_id!r} of cluster {cluster!r}: name that node's own directory, or a new one"
        )
