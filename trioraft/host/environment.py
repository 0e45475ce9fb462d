"""The outside world as a host sees it: network, disk and randomness, handed in.

`RealEnvironment` is TCP, files and one writer thread. The simulator hands in its own, so
that the same host runs under a virtual clock from a seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import trio

from trioraft.raft.errors import ConfigurationError
from trioraft.storage import (
    DataDirectory,
    DiskWriter,
    GroupStorage,
    MemoryStorage,
    OsFileSystem,
    StorageSettings,
    open_disk_writer,
)

__all__ = ["Disk", "Environment", "RealEnvironment", "split_address"]


class Disk(Protocol):
    """The open storage of a node: hands out the storage of its groups."""

    async def open_group(self, group_id: bytes, settings: StorageSettings) -> GroupStorage:
        """Recover a group's storage, or begin it. Raises CorruptionError, StorageError."""

    async def delete_group(self, group_id: bytes) -> None:
        """Remove a closed group's files. Raises StorageError."""


class Environment(Protocol):
    """What a host needs of the outside."""

    @property
    def rng(self) -> random.Random: ...

    @property
    def clock_rate(self) -> float:
        """How fast the machine's clock runs; other than 1.0 only in simulations."""

    async def dial(self, address: str) -> trio.abc.Stream:
        """Connect to `host:port`. Raises OSError, which says why."""

    async def listen(self, address: str) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        """Listen on `host:port`. Raises OSError, e.g. when the port is in use."""

    def open_disk(
        self, path: Path | None, *, node_id: str, cluster: str
    ) -> AbstractAsyncContextManager[Disk]:
        """Open the node's data directory; None keeps everything in memory.

        Raises DataDirectoryError, CorruptionError, StorageError.
        """


class RealEnvironment:
    """TCP with TCP_NODELAY, files, one writer thread per node."""

    clock_rate = 1.0

    def __init__(self) -> None:
        self.rng = random.Random()  # seeded by the operating system

    async def dial(self, address: str) -> trio.abc.Stream:
        host, port = split_address(address)
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise _unreachable(address, error) from error

    async def listen(self, address: str) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        host, port = split_address(address)
        return await trio.open_tcp_listeners(port, host=host)

    @asynccontextmanager
    async def open_disk(
        self, path: Path | None, *, node_id: str, cluster: str
    ) -> AsyncIterator[Disk]:
        if path is None:
            yield _MemoryDisk()
            return
        directory = DataDirectory.open(
            path, node_id=node_id, cluster=cluster, filesystem=OsFileSystem()
        )
        try:
            async with open_disk_writer() as writer:
                yield _FileDisk(directory, writer)
        finally:
            directory.close()


class _MemoryDisk:
    async def open_group(self, group_id: bytes, settings: StorageSettings) -> GroupStorage:
        return MemoryStorage()

    async def delete_group(self, group_id: bytes) -> None:
        await trio.lowlevel.checkpoint()


class _FileDisk:
    def __init__(self, directory: DataDirectory, writer: DiskWriter) -> None:
        self._directory = directory
        self._writer = writer

    async def open_group(self, group_id: bytes, settings: StorageSettings) -> GroupStorage:
        return await self._directory.open_group(group_id, self._writer, settings)

    async def delete_group(self, group_id: bytes) -> None:
        await self._directory.delete_group(group_id, self._writer)


def _unreachable(address: str, error: OSError) -> OSError:
    """Why nothing answers there: Trio keeps the reasons of its attempts behind its own error."""
    causes = error.__cause__
    attempts = causes.exceptions if isinstance(causes, BaseExceptionGroup) else (error,)
    first = next((each for each in attempts if isinstance(each, OSError)), error)
    # A resolver's errors have negative numbers, and words of their own.
    words = os.strerror(first.errno) if first.errno and first.errno > 0 else first.strerror
    return OSError(first.errno, f"{words or first} ({address})")


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises ConfigurationError naming the text."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(
            f"{address!r}: not an address; write host:port, e.g. 10.0.0.5:7101"
        )
    return host, int(port)
