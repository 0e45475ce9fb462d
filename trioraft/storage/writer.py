"""Group commit: one thread per host that carries out writes and syncs each file once.

The event loop's side of a write is one put into a queue. The thread takes everything that is
waiting, runs the writes in order, syncs every file they touched once, and wakes the event loop
once for all of them. Under load the group grows while the disk is busy, so the number of syncs
follows the disk's pace and not the number of writes. The files of several groups are synced at
the same time, with the help of more threads: file systems and drives join such requests, and so a
commit of thirty files takes little longer than one of one. Reads do not stand behind syncs: they
go to worker threads through `run`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar, TypeVarTuple

import trio

from trioraft.raft.errors import StorageError

__all__ = ["DiskWriter", "Done", "GroupCommit", "Syncable", "Write", "open_disk_writer"]

READER_THREADS = 8  # at once, per writer: enough to keep a disk's queue filled
SYNC_THREADS = 16  # per writer, the writer's own included; with one group it is the only one

Done = Callable[[BaseException | None], Any]

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


class Syncable(Protocol):
    """What a write leaves to be synced, once for all the writes of its group."""

    def sync(self) -> None:
        """Make everything written so far durable, perhaps in another thread than the writer's,
        and while other targets are synced. Raises StorageError."""


Write = Callable[[], Syncable | None]


class DiskWriter(Protocol):
    """Carries out writes in order, and other disk work beside them."""

    def submit(self, write: Write, done: Done, *, delay: float = 0) -> None:
        """Queue `write`, or do so in `delay` seconds, and return at once.

        `write()` runs in the writer thread; it returns what is to be synced afterwards, or
        None. `done(None)`, or `done(error)` if the write or its sync failed, is called on the
        event loop, in the order of the calls. Unbounded here: `FileStorage` bounds the bytes
        that it queues. Raises StorageError when the writer has ended; a delayed write is
        dropped then.
        """

    async def run(self, function: Callable[[*_Args], _T], *args: *_Args) -> _T:
        """Run blocking disk work outside the write queue and return its result.

        Cancelling does not interrupt work that has begun: it is waited for, and the
        cancellation is delivered at the next checkpoint.
        """


class GroupCommit:
    """One group of writes. `write`, then `sync`, then `deliver` on the event loop."""

    def __init__(self, jobs: list[tuple[Write, Done]]) -> None:
        self._jobs = jobs
        self._targets: list[Syncable | None] = []
        self._errors: list[Exception | None] = []

    def write(self) -> None:
        """Run every write in order. One that fails does not keep the others from running."""
        for write, _ in self._jobs:
            target, error = None, None
            try:
                target = write()
            except Exception as caught:  # handed to the `done` of this write
                error = caught
            self._targets.append(target)
            self._errors.append(error)

    def sync(self, helpers: Executor | None = None) -> None:
        """Sync each distinct target once; a failure reaches every write to that target.

        helpers: up to `SYNC_THREADS` - 1 of its threads sync other targets meanwhile.
        """
        waiting = deque(dict.fromkeys(target for target in self._targets if target is not None))
        failures: dict[Syncable, Exception] = {}

        def work() -> None:
            while True:
                try:
                    target = waiting.popleft()
                except IndexError:
                    return
                try:
                    target.sync()
                except Exception as caught:  # handed to the `done` of these writes
                    failures[target] = caught

        helped = min(len(waiting), SYNC_THREADS) - 1 if helpers is not None else 0
        helping = [helpers.submit(work) for _ in range(helped)] if helpers is not None else []
        work()
        for helper in helping:
            helper.result()
        if failures:
            for position, target in enumerate(self._targets):
                if target in failures:
                    self._errors[position] = failures[target]

    def deliver(self) -> None:
        """Call every `done` in order, then raise what they raised, if they did."""
        raised: list[Exception] = []
        for (_, done), error in zip(self._jobs, self._errors, strict=True):
            try:
                done(error)
            except Exception as caught:  # the other groups still get their answers
                raised.append(caught)
        if raised:
            raise ExceptionGroup("completion of a disk write failed", raised)


class _ThreadWriter:
    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._queue: SimpleQueue[tuple[Write, Done] | None] = SimpleQueue()
        self._finished: deque[GroupCommit] = deque()
        self._limiter = trio.CapacityLimiter(READER_THREADS)
        self._ended = trio.Event()

    def submit(self, write: Write, done: Done, *, delay: float = 0) -> None:
        if self._ended.is_set():
            raise StorageError("the disk writer has ended; nothing more can be written")
        if delay > 0:
            self._nursery.start_soon(self._submit_later, write, done, delay)
        else:
            self._queue.put((write, done))

    async def _submit_later(self, write: Write, done: Done, delay: float) -> None:
        with trio.move_on_after(delay):
            await self._ended.wait()
        if not self._ended.is_set():
            self._queue.put((write, done))

    async def run(self, function: Callable[[*_Args], _T], *args: *_Args) -> _T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def serve(self) -> None:
        """The writer thread, for as long as `stop` is not called."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread, limiter=trio.CapacityLimiter(1))
        self.deliver()

    def stop(self) -> None:
        """Accept nothing more; the thread ends once everything queued is done."""
        self._ended.set()
        self._queue.put(None)

    def deliver(self) -> None:
        while self._finished:
            self._finished.popleft().deliver()

    def _deliver_soon(self) -> None:
        # Called by the event loop outside any task: an exception must not escape here but in
        # the nursery of the writer, where whoever opened it sees it.
        try:
            self.deliver()
        except Exception as error:
            self._nursery.start_soon(_raise, error)

    def _thread(self) -> None:
        # The helpers are started when several files wait at once, and end with this thread.
        with ThreadPoolExecutor(SYNC_THREADS - 1, "trioraft-sync") as helpers:
            while (jobs := self._next_jobs()) is not None:
                commit = GroupCommit(jobs)
                commit.write()
                commit.sync(helpers)
                self._finished.append(commit)
                self._token.run_sync_soon(self._deliver_soon, idempotent=True)

    def _next_jobs(self) -> list[tuple[Write, Done]] | None:
        """Everything that waits, at least one job; None at the end."""
        jobs: list[tuple[Write, Done]] = []
        job = self._queue.get()
        try:
            while job is not None:
                jobs.append(job)
                job = self._queue.get_nowait()
        except Empty:
            return jobs  # that is all there is for now
        self._queue.put(None)  # to be found again behind these
        return jobs or None


async def _raise(error: Exception) -> None:
    raise error


@asynccontextmanager
async def open_disk_writer() -> AsyncGenerator[DiskWriter, None]:
    """The writer thread of a host, shared by all its groups.

    It lives in this block. Leaving the block, also by cancellation, first carries out what is
    queued and delivers the outcomes: bounded by the disk, not interruptible. An exception out
    of a `done` callback ends the block with it.
    """
    async with trio.open_nursery() as nursery:
        writer = _ThreadWriter(nursery)
        nursery.start_soon(writer.serve)
        try:
            yield writer
        finally:
            writer.stop()
