"""Shared by the storage tests: short ways to make entries and to wait for the disk."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import trio

from trioraft.raft.types import Configuration, Entry, EntryKind, HardState, Member, SnapshotMeta
from trioraft.storage import FileStorage, GroupStorage, PersistBatch, StorageSettings
from trioraft.storage.writer import Done, GroupCommit, Write
from trioraft.testing.disk import SimDisk

GROUP = b"\x01group"
FOLDER = "/data/groups/" + GROUP.hex()
MEMBERS = Configuration((Member("n1", "127.0.0.1:1"), Member("n2", "127.0.0.1:2", 5)))


def entry(index: int, term: int = 1, data: bytes | None = None) -> Entry:
    return Entry(term, index, EntryKind.WRITE, b"%d@%d" % (index, term) if data is None else data)


def entries(low: int, high: int, term: int = 1, size: int | None = None) -> list[Entry]:
    """Entries of [low, high), each of `size` bytes if given."""
    data = None if size is None else b"x" * size
    return [entry(index, term, data) for index in range(low, high)]


def meta(index: int, term: int = 1) -> SnapshotMeta:
    return SnapshotMeta(index, term, MEMBERS, configuration_index=index)


async def persist(
    storage: GroupStorage,
    new: Sequence[Entry] = (),
    *,
    hard_state: HardState | None = None,
    reset: SnapshotMeta | None = None,
) -> None:
    """Persist and wait for the answer; raises it if it is an error."""
    answered = trio.Event()
    answer: list[BaseException | None] = []

    def done(error: BaseException | None) -> None:
        answer.append(error)
        answered.set()

    storage.persist(PersistBatch(hard_state, new, reset), done)
    await answered.wait()
    if answer[0] is not None:
        raise answer[0]


async def take_snapshot(storage: GroupStorage, index: int, data: bytes, term: int = 1) -> None:
    async with storage.create_snapshot() as writer:
        await writer.write(data)
        await writer.commit(meta(index, term))


async def read_snapshot(storage: GroupStorage, piece: int = 1000) -> bytes:
    async with storage.open_snapshot() as reader:
        pieces = []
        while data := await reader.read(piece):
            pieces.append(data)
        return b"".join(pieces)


async def compact(storage: GroupStorage, index: int, term: int = 1) -> None:
    deleted = trio.Event()
    storage.compact(index, term, deleted.set)
    await deleted.wait()


class Twin(ABC):
    """A storage that can be closed and opened again. Its files roll after 2000 bytes."""

    storage: GroupStorage

    @abstractmethod
    async def reopen(self) -> GroupStorage:
        """Close it as a clean stop does, and open it again."""


class SteppedWriter:
    """A `DiskWriter` that does nothing until `step`, so that a test owns every moment."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Write, Done]] = []
        self.later: list[tuple[Write, Done]] = []  # what was submitted with a delay

    def submit(self, write: Write, done: Done, *, delay: float = 0) -> None:
        if delay > 0:
            self.later.append((write, done))
        else:
            self.jobs.append((write, done))

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def begin(self, count: int | None = None) -> GroupCommit:
        """Write, but do not sync, the first `count` jobs."""
        count = len(self.jobs) if count is None else count
        jobs, self.jobs = self.jobs[:count], self.jobs[count:]
        commit = GroupCommit(jobs)
        commit.write()
        return commit

    def step(self, count: int | None = None) -> None:
        """One whole group commit."""
        commit = self.begin(count)
        commit.sync()
        commit.deliver()

    def drain(self) -> None:
        while self.jobs:
            self.step()


class Answers(list[BaseException | None]):
    """A `done` that remembers."""

    def __call__(self, error: BaseException | None) -> None:
        self.append(error)


async def open_on(disk: SimDisk, writer: Any, **bounds: Any) -> FileStorage:
    disk.make_directory(FOLDER)
    bounds.setdefault("preallocate_bytes", 0)  # files as long as what is in them
    settings = StorageSettings(**bounds)
    return await FileStorage.open(FOLDER, GROUP, writer, filesystem=disk, settings=settings)


def segment_path(number: int = 1) -> str:
    return f"{FOLDER}/{number:016d}.log"


def power_loss(disk: SimDisk, seed: int) -> None:
    disk.crash(random.Random(seed))
