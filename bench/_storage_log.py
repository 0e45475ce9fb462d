"""The log of a node without the node, and what it costs while bench/storage.py lets it grow."""

from __future__ import annotations

import random
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from rich.console import Console

from trioraft.raft.log import RaftLog
from trioraft.raft.types import Configuration, Entry, EntryKind, Member, SnapshotMeta
from trioraft.storage import (
    DataDirectory,
    DiskWriter,
    FileStorage,
    FsyncPolicy,
    PersistBatch,
    StorageSettings,
    open_disk_writer,
)

GROUP = b"bench"
BATCH = 1000
SNAPSHOT_EVERY = 500_000
KEPT = 10_000
MEMBERS = Configuration((Member("n1", "127.0.0.1:1"),))


def rss() -> float:
    """Resident memory of this process now, MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / (1 << 20)


def make(low: int, count: int, data: bytes) -> list[Entry]:
    return [Entry(1, index, EntryKind.WRITE, data) for index in range(low, low + count)]


class Log:
    """What a node holds of its log: the files, and the core's window of the newest entries."""

    def __init__(self, storage: FileStorage) -> None:
        self.storage = storage
        found = storage.recovered
        self.log = RaftLog.recovered(
            found.base_index,
            found.base_term,
            found.last_index,
            found.term_runs,
            found.configurations,
            found.tail,
            32 << 20,
        )
        self.answered = trio.Event()  # set once the newest batch is
        self._slots = trio.Semaphore(64)

    async def append(self, entries: list[Entry]) -> None:
        """Hand a batch to the disk; waits while many are on their way."""
        await self._slots.acquire()
        last = entries[-1].index
        answered = self.answered = trio.Event()
        self.log.append(entries)

        def done(error: BaseException | None) -> None:
            if error is not None:
                raise error
            self.log.mark_durable(last)
            self._slots.release()
            answered.set()

        self.storage.persist(PersistBatch(None, entries, None), done)

    async def settle(self) -> None:
        while self.storage.queued_bytes:
            await trio.sleep(0.001)

    async def compact(self) -> None:
        await self.settle()
        index = self.log.last_index
        async with self.storage.create_snapshot() as writer:
            await writer.write(bytes(1000))
            await writer.commit(SnapshotMeta(index, 1, MEMBERS))
        self.log.compact(index - KEPT)
        self.storage.compact(index - KEPT, 1)


async def opened(directory: DataDirectory, writer: DiskWriter, fsync: str) -> FileStorage:
    settings = StorageSettings(fsync=FsyncPolicy.parse(fsync))
    return await directory.open_group(GROUP, writer, settings)


async def grow(
    path: Path, entries: int, data: bytes, compacting: bool, fsync: str, console: Console
) -> list[dict[str, float]]:
    """Append `entries`; at each size: memory, and what single operations cost."""
    sizes = [size for power in range(4, 9) for size in (10**power, 3 * 10**power)]
    sizes = [size for size in sizes if size < entries] + [entries]
    rows: list[dict[str, float]] = []
    async with open_disk_writer() as writer:
        directory = DataDirectory.open(path, node_id="n1", cluster="bench")
        log = Log(await opened(directory, writer, fsync))
        since_snapshot = 0
        start, counted = time.perf_counter(), 0
        for size in sizes:
            while log.log.last_index + 1 < size:
                count = min(BATCH, size - log.log.last_index - 1)
                await log.append(make(log.log.last_index + 1, count, data))
                since_snapshot += count
                counted += count
                if compacting and since_snapshot >= SNAPSHOT_EVERY:
                    await log.compact()
                    since_snapshot = 0
            await log.settle()
            rate = counted / (time.perf_counter() - start)
            row = {"entries": float(size), "rss": rss(), "rate": rate}
            row |= await sample(log, data)
            rows.append(row)
            console.print(f"[dim]{size:,} entries, compacting {compacting}: {row}[/dim]")
            start, counted = time.perf_counter(), 0
        await log.storage.aclose()
        directory.close()
    return rows


async def sample(log: Log, data: bytes) -> dict[str, float]:
    """Median cost (µs) of a single append until it is answered, and of reading 1 and 1000."""
    rng = random.Random(1)

    async def append() -> None:
        await log.append(make(log.log.last_index + 1, 1, data))
        await log.answered.wait()

    async def read(count: int) -> None:
        low = rng.randrange(log.log.base_index + 1, log.log.last_index - count)
        found = await log.storage.read(low, low + count, 1 << 30)
        assert len(found) == count, len(found)

    return {
        "append": await median_us(append, 300),
        "read_1": await median_us(lambda: read(1), 300),
        "read_1000": await median_us(lambda: read(1000), 60),
    }


async def median_us(work: Callable[[], Any], times: int) -> float:
    """Of CPU time, all threads: the clock on the wall tells of other programs, too."""
    took = []
    for _ in range(times):
        start = time.process_time()
        await work()
        took.append(time.process_time() - start)
    return statistics.median(took) * 1e6
