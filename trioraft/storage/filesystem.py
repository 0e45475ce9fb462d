"""The few file operations that storage needs, as an interface, and the operating system's.

Everything here is synchronous and blocking: it runs in the writer thread or in a worker
thread, never on the event loop. The simulated disk (`trioraft.testing.disk`) implements the
same interface with a page cache that can lose and tear what was not synced.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from typing import Protocol

from trioraft.raft.errors import DataDirectoryError, StorageError

__all__ = [
    "File",
    "FileLock",
    "FileSystem",
    "OsFile",
    "OsFileSystem",
    "storage_error",
    "write_aside",
]


class File(Protocol):
    """An open file. Every method may raise OSError, `write_out` excepted."""

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`. Durable only after `datasync`."""

    def allocate(self, offset: int, size: int) -> None:
        """Grow the file to `offset` + `size` bytes of reserved space, zeros where it grows.

        Does nothing where the platform cannot.
        """

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes. Durable only after `datasync`."""

    def write_out(self, offset: int, size: int) -> None:
        """Begin to bring these bytes to the disk; of those that are there, keep none in memory.

        A hint, after which nothing is durable that was not before: it raises nothing, and does
        nothing where the platform cannot. A disk that fails shows in `datasync`.
        """

    def datasync(self) -> None:
        """Make contents and size durable. After an error nothing is known: never retry."""

    def size(self) -> int:
        """Length in bytes."""

    def close(self) -> None:
        """Close the handle; syncs nothing."""


class FileLock(Protocol):
    """A held lock; it also ends with the process."""

    def release(self) -> None: ...


class FileSystem(Protocol):
    """Files by path. Every method may raise OSError.

    A created, renamed or deleted name is durable only after `sync_directory` of its folder.
    """

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing. `create` makes an empty file, replacing any other."""

    def exists(self, path: str) -> bool: ...

    def list_directory(self, path: str) -> list[str]:
        """Names in the folder, sorted."""

    def make_directory(self, path: str) -> None:
        """Make the folder and its missing parents, durably. Fine if it exists."""

    def rename(self, source: str, target: str) -> None:
        """Atomically give `source` the name `target`, replacing what was there."""

    def unlink(self, path: str) -> None: ...

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory, durably. Raises OSError if it is not empty."""

    def sync_directory(self, path: str) -> None:
        """Make the names in the folder durable."""

    def lock(self, path: str) -> FileLock:
        """Take the lock file exclusively, without waiting.

        Raises DataDirectoryError naming the holder's process id, if it is known.
        """


def storage_error(action: str, path: str, error: OSError) -> StorageError:
    """A StorageError that says what failed, where, and what to do about it."""
    advice = {
        errno.ENOSPC: "the disk is full: make room, then restart this node",
        errno.EDQUOT: "the disk quota is used up: raise it, then restart this node",
        errno.EIO: "the disk reports a fault: check it (dmesg, smartctl) before a restart",
        errno.EACCES: "permission denied: check the owner and mode of the data directory",
        errno.EROFS: "the file system is read-only: remount it, then restart this node",
        errno.EMFILE: "too many open files: raise the limit (ulimit -n), then restart this node",
    }.get(error.errno or 0, "restart this node once the cause is mended")
    return StorageError(f"cannot {action} {path}: {error.strerror or error}; {advice}")


def write_aside(filesystem: FileSystem, path: str, contents: bytes) -> None:
    """Create `path` whole: it holds all of `contents` durably, or keeps what it was before.

    Written under another name, synced, renamed, and the folder synced. Raises OSError.
    """
    aside = path + ".tmp"
    file = filesystem.open(aside, create=True)
    try:
        file.write(contents, 0)
        file.datasync()
    finally:
        file.close()
    filesystem.rename(aside, path)
    filesystem.sync_directory(os.path.dirname(path))


class OsFile:
    """A `File` of the operating system; owns the descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int, offset: int) -> bytes:
        chunks = []
        while size > 0:
            chunk = os.pread(self._fd, size, offset)
            if not chunk:
                break
            chunks.append(chunk)
            size -= len(chunk)
            offset += len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def write(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._fd, data, offset)
        # A full disk or a signal may shorten a write; what is left then raises or goes through.
        while written < len(data):
            written += os.pwrite(self._fd, memoryview(data)[written:], offset + written)

    def allocate(self, offset: int, size: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, offset, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def write_out(self, offset: int, size: int) -> None:
        if hasattr(os, "posix_fadvise"):  # Linux writes what is dirty, and forgets what is not
            with suppress(OSError):  # a file system that takes no advice
                os.posix_fadvise(self._fd, offset, size, os.POSIX_FADV_DONTNEED)

    def datasync(self) -> None:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone stops at the drive's cache
            fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class _OsLock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)  # the lock belongs to the open file and ends with it


class OsFileSystem:
    """The operating system's files (POSIX)."""

    def open(self, path: str, *, create: bool = False) -> File:
        flags = os.O_RDWR | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT | os.O_TRUNC
        return OsFile(os.open(path, flags, 0o600))

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def list_directory(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def make_directory(self, path: str) -> None:
        parent = os.path.dirname(path) or "."
        if not os.path.isdir(path):
            self.make_directory(parent)
            os.mkdir(path, 0o700)
        # Also if it was there: whoever made it may have died before this.
        self.sync_directory(parent)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def remove_directory(self, path: str) -> None:
        os.rmdir(path)
        self.sync_directory(os.path.dirname(path) or ".")

    def sync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> FileLock:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise DataDirectoryError(
                f"{path} is held by another process (pid {holder or 'unknown'}): "
                "stop that process, or give this node a data directory of its own"
            ) from None
        except OSError:
            os.close(fd)
            raise
        return _OsLock(fd)
