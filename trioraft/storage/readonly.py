"""The operating system's files, to be looked at and never changed: for `trioraft log`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, NoReturn

from .filesystem import File, FileLock, OsFile, OsFileSystem

__all__ = ["ReadOnlyFileSystem"]


class ReadOnlyFileSystem(OsFileSystem):
    """Opens files for reading and refuses everything else with EROFS.

    on_read: called with the number of bytes after each read, for a progress bar.
    """

    def __init__(self, on_read: Callable[[int], Any] | None = None) -> None:
        self._on_read = on_read

    def open(self, path: str, *, create: bool = False) -> File:
        if create:
            _refuse(path)
        return _WatchedFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), self._on_read)

    def make_directory(self, path: str) -> None:
        _refuse(path)

    def rename(self, source: str, target: str) -> None:
        _refuse(source)

    def unlink(self, path: str) -> None:
        _refuse(path)

    def remove_directory(self, path: str) -> None:
        _refuse(path)

    def sync_directory(self, path: str) -> None:
        _refuse(path)

    def lock(self, path: str) -> FileLock:
        _refuse(path)


def _refuse(path: str) -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


class _WatchedFile(OsFile):
    __slots__ = ("_on_read",)

    def __init__(self, fd: int, on_read: Callable[[int], Any] | None) -> None:
        super().__init__(fd)
        self._on_read = on_read

    def read(self, size: int, offset: int) -> bytes:
        data = super().read(size, offset)
        if self._on_read is not None:
            self._on_read(len(data))
        return data
