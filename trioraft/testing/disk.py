"""A simulated disk: files in memory behind a page cache that a crash can lose and tear.

`SimDisk` is a `FileSystem` for storage; `open_sim_writer` is a `DiskWriter` whose group commits
take virtual time. Writes are visible at once and durable only once synced. `SimDisk.crash`
decides from a seed what of the rest survives, no kinder than real disks: any subset of the
512-byte sectors, any subset of the names that were made, renamed or deleted, zeros or rubbish
where a file grew.
"""

from __future__ import annotations

import errno
import os
import posixpath
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar, TypeVarTuple

import trio

from trioraft.raft.errors import DataDirectoryError, StorageError
from trioraft.storage.filesystem import File, FileLock
from trioraft.storage.writer import DiskWriter, Done, GroupCommit, Write

__all__ = ["SECTOR", "SimDisk", "open_sim_writer"]

SECTOR = 512  # bytes that a disk writes whole or not at all

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


@dataclass(eq=False)
class _Inode:
    """A file: what programs see, what the platter holds, and the changes between the two."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    # (offset, bytes), or (length, None) for a change of length alone
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.seen, offset, data)
        self.changes.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.changes:
            _apply(self.durable, offset, data)
        self.changes.clear()

    def crash(self, rng: random.Random) -> None:
        """Keep of the unsynced changes what the seed says."""
        how = rng.choice(("all", "none", "prefix", "sectors", "sectors"))
        if how == "prefix":
            keep = rng.randint(0, sum(len(data) for _, data in self.changes if data))
            for offset, data in self.changes:
                _apply(self.durable, offset, data if data is None else data[:keep])
                keep = max(0, keep - len(data or b""))
        elif how == "sectors":
            for offset, data in self.changes:
                _apply_sectors(self.durable, offset, data, rng)
        elif how == "all":
            self.sync()
        self.changes.clear()
        self.seen = bytearray(self.durable)


def _apply(contents: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del contents[offset:]
        contents.extend(bytes(offset - len(contents)))
    elif data:
        contents.extend(bytes(max(0, offset - len(contents))))
        contents[offset : offset + len(data)] = data


def _apply_sectors(
    contents: bytearray, offset: int, data: bytes | None, rng: random.Random
) -> None:
    if data is None:
        if rng.random() < 0.5:
            _apply(contents, offset, None)
        return
    end = offset + len(data)
    size = len(contents)
    if end > size and rng.random() < 0.5:
        # The file's length went to disk before its bytes did.
        filler = rng.randbytes(end - size) if rng.random() < 0.2 else bytes(end - size)
        contents.extend(filler)
    start = offset
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if rng.random() < 0.5:
            _apply(contents, start, data[start - offset : stop - offset])
        start = stop


@dataclass
class _Fault:
    operation: str
    path: str
    code: int
    after: int
    times: int | None


class _SimFile:
    def __init__(self, disk: SimDisk, path: str, inode: _Inode) -> None:
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


class SimDisk:
    """The disk of one simulated machine: a `FileSystem`. Paths are POSIX strings.

    After `crash` every open file and lock of before is dead (EIO), as its process is.
    """

    def __init__(self) -> None:
        self.crashes = 0
        self.syncs = 0  # successful `datasync` calls
        self.locks: set[str] = set()
        self._folders = {"/", "", "."}
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        # (folder, new name or None, file, old name or None), in order
        self._name_changes: list[tuple[str, str | None, _Inode, str | None]] = []
        self._faults: list[_Fault] = []

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
        self._faults.append(_Fault(operation, path, code, after, times))

    def heal(self) -> None:
        """End all failures."""
        self._faults.clear()

    def crash(self, rng: random.Random) -> None:
        """Lose power: keep what was synced, and of the rest what `rng` says."""
        self.crashes += 1
        self.locks.clear()
        chance = rng.choice((0.0, 0.5, 1.0))
        for _, new, inode, old in self._name_changes:
            if rng.random() < chance:
                self._change_name(self._durable_names, new, inode, old)
        self._name_changes.clear()
        self._names = dict(self._durable_names)
        for path in sorted(self._names):
            self._names[path].crash(rng)

    def paths(self) -> list[str]:
        """All files that a program would see, sorted."""
        return sorted(self._names)

    def contents(self, path: str) -> bytes:
        """What a program would read."""
        return bytes(self._names[path].seen)

    def corrupt(self, path: str, offset: int, data: bytes) -> None:
        """Overwrite bytes behind everybody's back, durably: rot."""
        inode = self._names[path]
        inode.sync()
        inode.seen[offset : offset + len(data)] = data
        inode.durable[offset : offset + len(data)] = data

    def check(self, operation: str, path: str) -> None:
        """Raise what `fail` has ordered for this operation."""
        for fault in self._faults:
            if fault.operation not in ("*", operation) or fault.path not in path:
                continue
            if fault.after > 0:
                fault.after -= 1
            elif fault.times is None or fault.times > 0:
                if fault.times is not None:
                    fault.times -= 1
                raise OSError(fault.code, os.strerror(fault.code), path)

    # FileSystem

    def open(self, path: str, *, create: bool = False) -> File:
        self.check("open", path)
        if create:
            self._require_folder(path)
            inode = _Inode()
            self._record(path, inode, None)
        elif path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return _SimFile(self, path, self._names[path])

    def exists(self, path: str) -> bool:
        return path in self._names or path in self._folders

    def list_directory(self, path: str) -> list[str]:
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        everything = (*self._names, *self._folders)
        return sorted({posixpath.basename(p) for p in everything if _is_in(p, path)})

    def make_directory(self, path: str) -> None:
        self.check("make_directory", path)
        while path not in self._folders:
            self._folders.add(path)
            path = posixpath.dirname(path)

    def rename(self, source: str, target: str) -> None:
        self.check("rename", source)
        self._record(target, self._existing(source), source)

    def unlink(self, path: str) -> None:
        self.check("unlink", path)
        self._record(None, self._existing(path), path)

    def remove_directory(self, path: str) -> None:
        self.check("remove_directory", path)
        if self.list_directory(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        self._folders.remove(path)

    def sync_directory(self, path: str) -> None:
        self.check("sync_directory", path)
        for folder, new, inode, old in self._name_changes:
            if folder == path:
                self._change_name(self._durable_names, new, inode, old)
        self._name_changes = [c for c in self._name_changes if c[0] != path]

    def lock(self, path: str) -> FileLock:
        self.check("lock", path)
        if path in self.locks:
            raise DataDirectoryError(f"{path} is held by another process (pid unknown)")
        self._require_folder(path)
        if path not in self._names:
            self._record(path, _Inode(), None)
        self.locks.add(path)
        return _SimLock(self, path)

    def _record(self, new: str | None, inode: _Inode, old: str | None) -> None:
        self._change_name(self._names, new, inode, old)
        folder = posixpath.dirname(new or old or "")
        self._name_changes.append((folder, new, inode, old))

    @staticmethod
    def _change_name(
        names: dict[str, _Inode], new: str | None, inode: _Inode, old: str | None
    ) -> None:
        if old is not None and names.get(old) is inode:
            del names[old]
        if new is not None:
            names[new] = inode

    def _existing(self, path: str) -> _Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._names[path]

    def _require_folder(self, path: str) -> None:
        folder = posixpath.dirname(path)
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)


def _is_in(path: str, folder: str) -> bool:
    return bool(posixpath.basename(path)) and posixpath.dirname(path) == folder


class _SimWriter:
    def __init__(
        self, nursery: trio.Nursery, rng: random.Random, latency: tuple[float, float]
    ) -> None:
        self._nursery = nursery
        self._rng = rng
        self._latency = latency
        self._jobs: list[tuple[Write, Done]] = []
        self._idle = trio.lowlevel.ParkingLot()
        self._stopping = trio.Event()

    def submit(self, write: Write, done: Done, *, delay: float = 0) -> None:
        if self._stopping.is_set():
            raise StorageError("the disk writer has ended; nothing more can be written")
        if delay > 0:
            self._nursery.start_soon(self._submit_later, write, done, delay)
            return
        self._jobs.append((write, done))
        self._idle.unpark()

    async def _submit_later(self, write: Write, done: Done, delay: float) -> None:
        with trio.move_on_after(delay):
            await self._stopping.wait()
        if not self._stopping.is_set():
            self.submit(write, done)

    async def run(self, function: Callable[[*_Args], _T], *args: *_Args) -> _T:
        await trio.sleep(self._rng.uniform(*self._latency))
        return function(*args)

    async def serve(self) -> None:
        with trio.CancelScope(shield=True):
            while self._jobs or not self._stopping.is_set():
                if not self._jobs:
                    await self._idle.park()
                    continue
                jobs, self._jobs = self._jobs, []
                commit = GroupCommit(jobs)
                commit.write()
                with trio.move_on_after(self._rng.uniform(*self._latency)):
                    await self._stopping.wait()
                commit.sync()
                commit.deliver()

    def stop(self) -> None:
        self._stopping.set()
        self._idle.unpark_all()


@asynccontextmanager
async def open_sim_writer(
    rng: random.Random, *, latency: tuple[float, float] = (0.0001, 0.002)
) -> AsyncGenerator[DiskWriter, None]:
    """A `DiskWriter` that is a task: each group commit takes `latency` (seconds, low and high).

    Leaving the block carries out what is queued without further delay. To simulate a crash,
    call `SimDisk.crash` first and cancel the machine's tasks then: what they still try fails.
    """
    async with trio.open_nursery() as nursery:
        writer = _SimWriter(nursery, rng, latency)
        nursery.start_soon(writer.serve)
        try:
            yield writer
        finally:
            writer.stop()
