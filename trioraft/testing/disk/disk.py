"""The disk itself: a `FileSystem`, its open files and its locks."""

from __future__ import annotations

import errno
import os
import posixpath
import random

from trioraft.raft.errors import DataDirectoryError
from trioraft.storage.filesystem import File, FileLock

from .directory import Directory
from .failures import Failures
from .inode import SECTOR, Inode

__all__ = ["SimDisk"]


class SimDisk:
    """The disk of one simulated machine: a `FileSystem`. Paths are POSIX strings.

    After `crash` every open file and lock of before is dead (EIO), as its process is.
    """

    def __init__(self) -> None:
        self.crashes = 0
        self.syncs = 0  # successful `datasync` calls
        self.locks: set[str] = set()
        self._directory = Directory()
        self._failures = Failures()

    def fail(
        self,
        operation: str,
        code: int,
        *,
        path: str = "",
        after: int = 0,
        times: int | None = None,
    ) -> None:
        """Make operations fail with OSError `code`, on paths that contain `path`.

        operation: a method of `File` or `FileSystem`, such as "write" or "datasync", or "*"
        for any: with `after`, power that goes out in the middle of something.
        after: how many of them still go well. times: how many fail; None is all.
        """
        self._failures.order(operation, code, path, after, times)

    def heal(self) -> None:
        """End all failures."""
        self._failures.clear()

    def crash(self, rng: random.Random) -> None:
        """Lose power: keep what was synced, and of the rest what `rng` says."""
        self.crashes += 1
        self.locks.clear()
        self._directory.crash(rng)

    def paths(self) -> list[str]:
        """All files that a program would see, sorted."""
        return sorted(self._directory.seen)

    def contents(self, path: str) -> bytes:
        """What a program would read."""
        return bytes(self._directory.seen[path].seen)

    def corrupt(self, path: str, offset: int, data: bytes) -> None:
        """Overwrite bytes behind everybody's back, durably: rot."""
        inode = self._directory.seen[path]
        inode.sync()
        inode.seen[offset : offset + len(data)] = data
        inode.durable[offset : offset + len(data)] = data

    def check(self, operation: str, path: str) -> None:
        """Raise what `fail` has ordered for this operation."""
        self._failures.check(operation, path)

    # FileSystem

    def open(self, path: str, *, create: bool = False) -> File:
        self.check("open", path)
        directory = self._directory
        inode = directory.create(path) if create else directory.existing(path)
        return _SimFile(self, path, inode)

    def exists(self, path: str) -> bool:
        return path in self._directory.seen or path in self._directory.folders

    def list_directory(self, path: str) -> list[str]:
        return self._directory.list(path)

    def make_directory(self, path: str) -> None:
        self.check("make_directory", path)
        while path not in self._directory.folders:
            self._directory.folders.add(path)
            path = posixpath.dirname(path)

    def rename(self, source: str, target: str) -> None:
        self.check("rename", source)
        self._directory.rename(source, target)

    def unlink(self, path: str) -> None:
        self.check("unlink", path)
        self._directory.unlink(path)

    def remove_directory(self, path: str) -> None:
        self.check("remove_directory", path)
        if self._directory.list(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        self._directory.folders.remove(path)

    def sync_directory(self, path: str) -> None:
        self.check("sync_directory", path)
        self._directory.sync(path)

    def lock(self, path: str) -> FileLock:
        self.check("lock", path)
        if path in self.locks:
            raise DataDirectoryError(f"{path} is held by another process (pid unknown)")
        self._directory.require_folder(posixpath.dirname(path))
        if path not in self._directory.seen:
            self._directory.create(path)
        self.locks.add(path)
        return _SimLock(self, path)


class _SimFile:
    def __init__(self, disk: SimDisk, path: str, inode: Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._boot = disk.crashes

    def read(self, size: int, offset: int) -> bytes:
        self._check("read")
        return bytes(self._inode.seen[offset : offset + size])

    def write(self, data: bytes, offset: int) -> None:
        try:
            self._check("write")
        except OSError as error:
            if error.errno == errno.ENOSPC:  # what still fitted is there
                self._inode.change(offset, bytes(data[: len(data) // 2]))
            raise
        self._inode.change(offset, bytes(data))

    def allocate(self, offset: int, size: int) -> None:
        self._check("allocate")
        # A little stands for the whole: megabytes of zeros would only slow the simulation down.
        end = offset + min(size, 8 * SECTOR)
        self._inode.change(max(len(self._inode.seen), end), None)

    def truncate(self, size: int) -> None:
        self._check("truncate")
        self._inode.change(size, None)

    def write_out(self, offset: int, size: int) -> None:
        """Nothing to do: a crash keeps of what is not synced what it likes, in any case."""

    def datasync(self) -> None:
        try:
            self._check("datasync")
        except OSError:
            # As Linux does: the dirty pages stay readable but are marked clean, so that a second
            # attempt succeeds without having written anything. Sizes are in the journal.
            self._inode.changes = [c for c in self._inode.changes if c[1] is None]
            raise
        self._disk.syncs += 1
        self._inode.sync()

    def size(self) -> int:
        self._check("size")
        return len(self._inode.seen)

    def close(self) -> None:
        """Nothing to give back."""

    def _check(self, operation: str) -> None:
        if self._boot != self._disk.crashes:
            raise OSError(errno.EIO, "the machine of this file handle has crashed", self._path)
        self._disk.check(operation, self._path)


class _SimLock:
    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._boot = disk.crashes

    def release(self) -> None:
        if self._boot == self._disk.crashes:
            self._disk.locks.discard(self._path)
