"""The applier: the only thing that touches the state machine.

It applies committed entries in order, skips those that repeat a call of a session (`sessions`),
answers the proposals and queries that wait for them, and gives `snapshots` its turns in between.
All of that happens in one task, except what can be done on the spot: a few entries, or a query,
that the machine can answer without waiting are done in the turn that learned of them, if the
task has nothing in hand. So the state machine is never called concurrently with itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import trio

from trioraft.raft.errors import OverloadedError
from trioraft.raft.log import RaftLog
from trioraft.storage.interface import GroupStorage

from .applying import Applying, Batch
from .index_waits import IndexWaits
from .machine import StateMachine
from .occupancy import Occupancy
from .sessions import SessionTable
from .settings import RuntimeSettings
from .snapshots import Snapshots
from .wakeups import Answer, Doorbell, Flushes
from .writes import Writes

__all__ = ["Applier", "Read"]

# What is done in a turn of the group: about a millisecond of it.
_AT_ONCE_ENTRIES = 256
_AT_ONCE_BYTES = 256 << 10


class Read(NamedTuple):
    """A query and where its answer goes; `request` None asks for the read index itself."""

    request: bytes | None
    answer: Answer[Any]


class Applier(Applying):
    """Follows the commit index.

    sessions: changed here alone, as the log is applied, and by snapshots that are restored.
    writes: those of this node, to be answered.
    doorbell: rung when there is something to do, here or for `snapshots`.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        log: RaftLog,
        storage: GroupStorage,
        settings: RuntimeSettings,
        sessions: SessionTable,
        writes: Writes,
        snapshots: Snapshots,
        doorbell: Doorbell,
    ) -> None:
        super().__init__(
            machine=machine,
            sessions=sessions,
            writes=writes,
            waits=IndexWaits(settings.max_reads),
            snapshots=snapshots,
        )
        self._log = log
        self._storage = storage
        self._settings = settings
        self._doorbell = doorbell
        self.flushes = Flushes()  # run by whoever has answered: the driver's turn, or the task
        self._idle = False  # the task has nothing in hand
        self._prepared: Batch | None = None  # what the machine could not do on the spot
        self._reads: list[tuple[int, int, Read]] = []  # heap by (index, arrival)
        self._arrivals = 0
        self._commit = self.applied

    def commit_to(self, index: int) -> None:
        """Entries up to `index` are committed. Never blocks."""
        if index > self._commit:
            self._commit = index
            self._work_at_once()

    def read_at(self, index: int, reads: Sequence[Read]) -> None:
        """Answer `reads` once `index` is applied. Never blocks; full means OverloadedError."""
        for read in reads:
            if read.request is None:
                read.answer.resolve(index)
            elif len(self._reads) >= self._settings.max_reads:
                read.answer.fail(
                    OverloadedError(f"{len(self._reads)} queries are waiting; back off and retry")
                )
            else:
                self._arrivals += 1
                heapq.heappush(self._reads, (index, self._arrivals, read))
        self._work_at_once()

    def occupancy(self) -> list[Occupancy]:
        """How many reads wait for entries to be applied, and what sessions keep."""
        limit = self._settings.max_reads
        return [
            Occupancy("queries", len(self._reads), limit),
            Occupancy("reads for an index", len(self.waits), self.waits.limit),
            *self._sessions.occupancy(),
        ]

    def stop(self, error: BaseException) -> None:
        """Fail everything that waits, when the group has stopped."""
        for _, _, read in self._reads:
            read.answer.fail(error)
        self._reads.clear()
        self.waits.fail_all(error)
        self._snapshots.stop(error)

    def refuse_reads(self, error: BaseException) -> None:
        """Fail the queries that wait for entries which this node may never get."""
        for index, _, read in self._reads:
            if index > self.applied:
                read.answer.fail(error)
        self._reads = [waiting for waiting in self._reads if waiting[0] <= self.applied]
        heapq.heapify(self._reads)
        self.waits.fail_all(error)

    async def run(self) -> None:
        """Runs until cancelled. Cancellation between batches loses nothing: the log has it all."""
        await self._snapshots.restore_latest()
        while True:
            self._idle = True
            await self._doorbell.wait()
            self._idle = False
            if (installed := await self._snapshots.install_if_any(self.applied)) is not None:
                self.applied, self.applied_term = installed.index, installed.term
                self._prepared = None  # the snapshot has it
                self._commit = max(self._commit, installed.index)
                self.waits.reach(self.applied)
            while self.applied < self._commit:
                await self._apply_batch()
                await self._answer_reads()
                await self._snapshots.take_if_due(self.applied, self.applied_term)
                if self.applied < self._commit:
                    await trio.lowlevel.checkpoint()  # the machine may never have waited
            await self._answer_reads()
            await self._snapshots.take_if_due(self.applied, self.applied_term)

    # -- on the spot

    def _work_at_once(self) -> None:
        """Do what can be done without waiting; the task does the rest.

        What the machine raises from `apply_now` is raised here.
        """
        done = (
            self._idle
            and not self._snapshots.waiting
            and (self.applied == self._commit or self._apply_at_once())
            and self._answer_at_once()
            and not self._snapshots.due(self.applied)
        )
        if not done:
            self._doorbell.ring()

    def _apply_at_once(self) -> bool:
        """Whether everything committed is applied now."""
        low, high = self.applied + 1, self._commit + 1
        if self._prepared is not None or high - low > _AT_ONCE_ENTRIES:
            return False
        entries = self._log.cached(low, high, _AT_ONCE_BYTES)
        if not entries or entries[-1].index != self._commit:
            return False
        batch = self._prepare(entries)
        replies: Sequence[bytes] | None = ()
        if batch.commands:
            replies = self._machine.apply_now(batch.commands)
        if replies is None:
            self._prepared = batch
            return False
        self._finish(batch, replies)
        return True

    def _answer_at_once(self) -> bool:
        """Whether every query that waits for what is applied has its answer now."""
        for _ in range(_AT_ONCE_ENTRIES):
            if not self._reads or self._reads[0][0] > self.applied:
                return True
            read = self._reads[0][2]
            assert read.request is not None
            try:
                answer = self._machine.query_now(read.request)
            except Exception as error:  # a query changes nothing: only its caller is concerned
                heapq.heappop(self._reads)
                read.answer.fail(error)
                continue
            if answer is None:
                return False
            heapq.heappop(self._reads)
            read.answer.resolve(answer)
        return False

    # -- in the task

    async def _apply_batch(self) -> None:
        batch, self._prepared = self._prepared, None
        if batch is None:
            # To answer whoever waits for an entry takes longer than to apply it.
            most = _AT_ONCE_ENTRIES if self._writes else self._settings.apply_batch_entries
            low = self.applied + 1
            high = min(low + most, self._commit + 1)
            entries = self._log.cached(low, high, self._settings.apply_batch_bytes)
            if entries is None:
                entries = await self._storage.read(low, high, self._settings.apply_batch_bytes)
            batch = self._prepare(entries)
        replies: Sequence[bytes] = ()
        if batch.commands:
            replies = await self._machine.apply(batch.commands)
        self._finish(batch, replies)
        self.flushes.run()

    async def _answer_reads(self) -> None:
        while self._reads and self._reads[0][0] <= self.applied:
            _, _, read = heapq.heappop(self._reads)
            assert read.request is not None
            try:
                answer = await self._machine.query(read.request)
            except Exception as error:  # a query changes nothing: only its caller is concerned
                read.answer.fail(error)
            else:
                read.answer.resolve(answer)
            self.flushes.run()
