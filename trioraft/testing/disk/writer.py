"""A writer thread that is a task: group commits that take virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

import trio

from trioraft.raft.errors import StorageError
from trioraft.storage.writer import DiskWriter, Done, GroupCommit, Write

__all__ = ["open_sim_writer"]

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


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
