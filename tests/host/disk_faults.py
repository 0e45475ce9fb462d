"""Real files whose operations can be made to fail, and hosts that use them."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from trioraft.host import RealEnvironment
from trioraft.host.environment import Disk
from trioraft.storage import (
    DataDirectory,
    DiskWriter,
    File,
    GroupStorage,
    OsFileSystem,
    StorageSettings,
    open_disk_writer,
)


class FaultyFileSystem(OsFileSystem):
    """The operating system's files; `fail` makes operations on some of them fail."""

    def __init__(self) -> None:
        self._faults: list[tuple[str, str, int]] = []
        self.failed: list[str] = []  # operations that were made to fail
        self.free = threading.Event()  # while it is not set, syncs take for ever
        self.free.set()

    def fail(self, operation: str, code: int, path: str = "") -> None:
        """From now on `operation` (of `File`) fails on paths that contain `path`."""
        self._faults.append((operation, path, code))

    def heal(self) -> None:
        self._faults.clear()

    def open(self, path: str, *, create: bool = False) -> File:
        return _FaultyFile(super().open(path, create=create), path, self.check)  # type: ignore[return-value]

    def check(self, operation: str, path: str) -> None:
        if operation == "datasync":
            self.free.wait()
        for wanted, part, code in self._faults:
            if wanted == operation and part in path:
                self.failed.append(operation)
                raise OSError(code, os.strerror(code), path)


class _FaultyFile:
    def __init__(self, file: File, path: str, check: Callable[[str, str], None]) -> None:
        self._file = file
        self._path = path
        self._check = check

    def __getattr__(self, operation: str) -> Any:
        method = getattr(self._file, operation)

        def checked(*args: Any) -> Any:
            self._check(operation, self._path)
            return method(*args)

        return checked


class FaultyEnvironment(RealEnvironment):
    """The real network, and a disk with faults."""

    def __init__(self) -> None:
        super().__init__()
        self.files = FaultyFileSystem()

    @asynccontextmanager
    async def open_disk(
        self, path: Path | None, *, node_id: str, cluster: str
    ) -> AsyncIterator[Disk]:
        assert path is not None
        directory = DataDirectory.open(
            path, node_id=node_id, cluster=cluster, filesystem=self.files
        )
        try:
            async with open_disk_writer() as writer:
                yield _Groups(directory, writer)
        finally:
            directory.close()


class _Groups:
    def __init__(self, directory: DataDirectory, writer: DiskWriter) -> None:
        self._directory = directory
        self._writer = writer

    async def open_group(self, group_id: bytes, settings: StorageSettings) -> GroupStorage:
        return await self._directory.open_group(group_id, self._writer, settings)

    async def delete_group(self, group_id: bytes) -> None:
        await self._directory.delete_group(group_id, self._writer)
