"""The applier: the one task that touches the state machine.

It applies committed entries in order, answers the proposals and queries that wait for them,
restores snapshots that a leader sent, and takes snapshots of its own. Because all of that
happens in one task, the state machine is never called concurrently with itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import trio

from trioraft.raft.errors import OverloadedError
from trioraft.raft.log import ENTRY_OVERHEAD, RaftLog
from trioraft.raft.types import Configuration, Entry, EntryKind, SnapshotMeta
from trioraft.storage.interface import GroupStorage, SnapshotWriter

from .machine import Command, StateMachine
from .settings import RuntimeSettings
from .wakeups import Doorbell, Slot

__all__ = ["Applier", "Read"]


class Read(NamedTuple):
    """A query and where its answer goes; `request` None asks for the read index itself."""

    request: bytes | None
    answer: Slot[Any]


class _Install(NamedTuple):
    writer: SnapshotWriter
    meta: SnapshotMeta
    installed: Callable[[SnapshotMeta], None]
    done: Slot[None]


class Applier:
    """Follows the commit index.

    configuration_at: the configuration in force at an index, and the index of its entry.
    waiters: proposals of this node by log index; the applier takes them out as it answers.
    on_snapshot: told of each snapshot taken here, so that the log can be compacted.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        log: RaftLog,
        storage: GroupStorage,
        settings: RuntimeSettings,
        configuration_at: Callable[[int], tuple[int, Configuration]],
        waiters: dict[int, tuple[int, Slot[bytes]]],
        on_snapshot: Callable[[SnapshotMeta], None],
    ) -> None:
        self._machine = machine
        self._log = log
        self._storage = storage
        self._settings = settings
        self._waiters = waiters
        self._on_snapshot = on_snapshot
        self._doorbell = Doorbell()
        self._reads: list[tuple[int, int, Read]] = []  # heap by (index, arrival)
        self._arrivals = 0
        self._install: _Install | None = None  # waits for its turn
        self._installing: _Install | None = None
        self._snapshot_wanted: list[Slot[SnapshotMeta]] = []
        snapshot = storage.recovered.snapshot
        self._snapshot_index = snapshot.index if snapshot else log.base_index
        self._snapshot_size = snapshot.size if snapshot else 0
        self._bytes_since_snapshot = 0
        self._configuration_at = configuration_at
        self.applied = self._snapshot_index
        self.applied_term = snapshot.term if snapshot else 0
        self._commit = self.applied

    @property
    def snapshot_index(self) -> int:
        return self._snapshot_index

    def commit_to(self, index: int) -> None:
        """Entries up to `index` are committed. Never blocks."""
        if index > self._commit:
            self._commit = index
            self._doorbell.ring()

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
        self._doorbell.ring()

    async def install(
        self,
        writer: SnapshotWriter,
        meta: SnapshotMeta,
        installed: Callable[[SnapshotMeta], None],
    ) -> None:
        """Make a received snapshot durable and restore the machine from it, in its turn.

        `installed` is called from the applier when that is done. Cancelling while it waits for
        its turn drops it; once begun it runs to its end, and is waited for, because `writer`
        must stay open until then.
        """
        request = _Install(writer, meta, installed, Slot())
        if self._install is not None:
            self._install.done.fail(OverloadedError("a newer snapshot has taken its turn"))
        self._install = request
        self._doorbell.ring()
        try:
            await request.done.wait()
        except trio.Cancelled:
            if self._install is request:
                self._install = None
            else:
                with trio.CancelScope(shield=True):
                    await request.done.wait()
            raise

    async def take_snapshot(self) -> SnapshotMeta:
        """Snapshot at the applied index, after what is being applied now."""
        done: Slot[SnapshotMeta] = Slot()
        self._snapshot_wanted.append(done)
        self._doorbell.ring()
        return await done.wait()

    def stop(self, error: BaseException) -> None:
        """Fail everything that waits, when the group has stopped."""
        for _, _, read in self._reads:
            read.answer.fail(error)
        self._reads.clear()
        for wanted in self._snapshot_wanted:
            wanted.fail(error)
        self._snapshot_wanted.clear()
        for request in (self._install, self._installing):
            if request is not None:
                request.done.fail(error)

    async def run(self) -> None:
        """Runs until cancelled. Cancellation between batches loses nothing: the log has it all."""
        await self._restore_latest()
        while True:
            await self._doorbell.wait()
            if self._install is not None:
                await self._install_snapshot(self._install)
            while self.applied < self._commit:
                await self._apply_batch()
                await self._answer_reads()
                await self._snapshot_if_due()
            await self._answer_reads()
            await self._snapshot_if_due()

    async def _restore_latest(self) -> None:
        if self._storage.recovered.snapshot is not None:
            async with self._storage.open_snapshot() as reader:
                await self._machine.restore(reader)

    async def _apply_batch(self) -> None:
        low, high = self.applied + 1, self._commit + 1
        entries = self._log.cached(low, high, self._settings.apply_batch_bytes)
        if entries is None:
            entries = await self._storage.read(low, high, self._settings.apply_batch_bytes)
        assert entries[0].index == low, f"applying {low}, got {entries[0].index}"
        commands = [
            Command(entry.index, entry.term, entry.data, entry.session)
            for entry in entries
            if entry.kind is EntryKind.WRITE
        ]
        replies: Sequence[bytes] = ()
        if commands:
            replies = await self._machine.apply(commands)
            if len(replies) != len(commands):
                raise RuntimeError(
                    f"{type(self._machine).__name__}.apply returned {len(replies)} replies "
                    f"for {len(commands)} commands"
                )
        self._finish(entries, replies)

    def _finish(self, entries: Sequence[Entry], replies: Sequence[bytes]) -> None:
        waiters = self._waiters
        position = 0
        size = 0
        for entry in entries:
            size += len(entry.data)
            if entry.kind is EntryKind.WRITE:
                reply = replies[position]
                position += 1
                if waiters and (waiter := waiters.pop(entry.index, None)) is not None:
                    term, slot = waiter
                    assert term == entry.term, "a waiter outlived its truncated entry"
                    slot.resolve(reply)
        self.applied = entries[-1].index
        self.applied_term = entries[-1].term
        self._bytes_since_snapshot += size

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

    async def _snapshot_if_due(self) -> None:
        settings = self._settings
        entries = self.applied - self._snapshot_index
        size = self._bytes_since_snapshot
        due = entries >= settings.snapshot_after_entries or size >= settings.snapshot_after_bytes
        # A large state is not written again before as much has changed: writing snapshots stays
        # a constant part of the work, and the log at most about as long as the state.
        due = due and size + entries * ENTRY_OVERHEAD >= self._snapshot_size
        if not due and not self._snapshot_wanted:
            return
        configuration_index, configuration = self._configuration_at(self.applied)
        meta = SnapshotMeta(
            self.applied,
            self.applied_term,
            configuration,
            configuration_index=configuration_index,
        )
        async with self._storage.create_snapshot() as writer:
            await self._machine.snapshot(writer)
            meta = await writer.commit(meta)
        self._snapshot_index = meta.index
        self._snapshot_size = meta.size
        self._bytes_since_snapshot = 0
        self._on_snapshot(meta)
        wanted, self._snapshot_wanted = self._snapshot_wanted, []
        for slot in wanted:
            slot.resolve(meta)

    async def _install_snapshot(self, request: _Install) -> None:
        self._install, self._installing = None, request
        meta = request.meta
        if meta.index > self.applied:
            meta = await request.writer.commit(meta)
            async with self._storage.open_snapshot() as reader:
                await self._machine.restore(reader)
            self.applied = self._snapshot_index = meta.index
            self._snapshot_size = meta.size
            self.applied_term = meta.term
            self._commit = max(self._commit, meta.index)
            self._bytes_since_snapshot = 0
        self._installing = None
        request.installed(meta)
        request.done.resolve(None)
