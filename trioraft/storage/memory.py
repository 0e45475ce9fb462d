"""`MemoryStorage`: the twin of `FileStorage` without files, for tests and for what may be lost.

It behaves alike in everything but durability, and passes the same tests. `done` comes from the
event loop a moment after `persist`, never from within it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from trioraft.raft.errors import StorageError
from trioraft.raft.types import NO_INDEX, NO_TERM, Entry, EntryKind, HardState, SnapshotMeta

from .interface import PersistBatch, RecoveredState, SnapshotReader, SnapshotWriter
from .log.batch import check_batch
from .log.pending import take_within
from .snapshots.container import describe_file, with_files
from .snapshots.in_memory import MemorySnapshotReader, MemorySnapshotWriter

__all__ = ["MemoryStorage"]


class MemoryStorage:
    """A `GroupStorage` in memory. `reopen` gives what a restart would find."""

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._base_index = NO_INDEX
        self._base_term = NO_TERM
        self._entries: list[Entry] = []
        self._snapshot: tuple[SnapshotMeta, dict[str, bytes]] | None = None
        self._unanswered: list[Callable[[], Any]] = []
        self._closed = False
        self._recovered = RecoveredState()

    @property
    def recovered(self) -> RecoveredState:
        """The state found when the storage was opened."""
        return self._recovered

    @property
    def queued_bytes(self) -> int:
        """None ever wait."""
        return 0

    @property
    def _last_index(self) -> int:
        return self._base_index + len(self._entries)

    def reopen(self) -> MemoryStorage:
        """A storage that starts with everything this one holds; this one is closed."""
        self._closed = True
        other = MemoryStorage()
        other._hard_state = self._hard_state
        other._base_index, other._base_term = self._base_index, self._base_term
        other._entries = list(self._entries)
        other._snapshot = self._snapshot
        if self._snapshot is not None:
            meta = self._snapshot[0]
            has_it = self._base_index <= meta.index <= self._last_index
            if not has_it or self._term_at(meta.index) != meta.term:
                other._reset(meta)
        other._recovered = other._recover()
        return other

    def persist(self, batch: PersistBatch, done: Callable[[BaseException | None], Any]) -> None:
        """See `GroupStorage.persist`. Raises StorageError, ValueError, IndexError."""
        self._refuse_when_closed()
        snapshot = None if self._snapshot is None else self._snapshot[0]
        before = check_batch(batch, self._hard_state, snapshot, self._last_index, self._term_at)
        if batch.hard_state is not None:
            self._hard_state = batch.hard_state
        if batch.reset is not None:
            self._reset(batch.reset)
        if batch.entries:
            del self._entries[before - self._base_index :]
            self._entries.extend(batch.entries)
        self._answer_soon(lambda: done(None))

    def watch(self, failed: Callable[[BaseException], Any]) -> None:
        """See `GroupStorage.watch`. Here nothing can fail."""

    async def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """See `GroupStorage.read`."""
        await trio.lowlevel.checkpoint()
        self._refuse_when_closed()
        first = self._base_index + 1
        if not first <= low <= self._last_index or low >= high:
            raise IndexError(
                f"entries {low} to {high - 1} are not in the log ({first} to {self._last_index})"
            )
        return take_within([], self._entries[low - first : high - first], max_bytes)

    def compact(self, index: int, term: int, done: Callable[[], Any] | None = None) -> None:
        """See `GroupStorage.compact`; here every entry that may go does go."""
        self._refuse_when_closed()
        if self._base_index <= index <= self._last_index and self._term_at(index) != term:
            raise ValueError(f"entry {index} has term {self._term_at(index)}, not {term}")
        covered = NO_INDEX if self._snapshot is None else self._snapshot[0].index
        floor = min(index, covered, self._last_index)
        if floor > self._base_index:
            term = self._term_at(floor)
            del self._entries[: floor - self._base_index]
            self._base_index, self._base_term = floor, term
        if done is not None:
            self._answer_soon(done)

    def create_snapshot(self) -> AbstractAsyncContextManager[SnapshotWriter]:
        """See `GroupStorage.create_snapshot`."""
        self._refuse_when_closed()
        return self._create_snapshot()

    @asynccontextmanager
    async def _create_snapshot(self) -> AsyncGenerator[SnapshotWriter, None]:
        writer = MemorySnapshotWriter(self)
        try:
            yield writer
        finally:
            await writer.discard()

    def open_snapshot(self) -> AbstractAsyncContextManager[SnapshotReader]:
        """See `GroupStorage.open_snapshot`."""
        self._refuse_when_closed()
        return self._open_snapshot()

    @asynccontextmanager
    async def _open_snapshot(self) -> AsyncGenerator[SnapshotReader, None]:
        if self._snapshot is None:
            raise StorageError("there is no snapshot yet")
        yield MemorySnapshotReader(*self._snapshot)

    def size_on_disk(self) -> int:
        """Bytes of data that a disk would hold."""
        snapshot = 0 if self._snapshot is None else self._snapshot[0].size
        return snapshot + sum(len(entry.data) for entry in self._entries)

    async def aclose(self) -> None:
        """See `GroupStorage.aclose`: every `done` has been called afterwards. Idempotent."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        self._answer()

    def replace_snapshot(self, meta: SnapshotMeta, files: dict[str, bytes]) -> SnapshotMeta:
        """Make this the newest snapshot, unless it is older; returns the newest's meta."""
        newest = self._snapshot
        if newest is not None and newest[0].index > meta.index:
            return newest[0]
        meta = with_files(meta, [describe_file(name, data) for name, data in files.items()])
        self._snapshot = (meta, files)
        return meta

    def _answer_soon(self, answer: Callable[[], Any]) -> None:
        if not self._unanswered:
            trio.lowlevel.current_trio_token().run_sync_soon(self._answer)
        self._unanswered.append(answer)

    def _answer(self) -> None:
        answers, self._unanswered = self._unanswered, []
        for answer in answers:
            answer()

    def _reset(self, meta: SnapshotMeta) -> None:
        self._base_index, self._base_term = meta.index, meta.term
        self._entries = []

    def _term_at(self, index: int) -> int:
        if index == self._base_index:
            return self._base_term
        if not self._base_index < index <= self._last_index:
            raise IndexError(
                f"entry {index} is not in the log ({self._base_index + 1} to {self._last_index})"
            )
        return self._entries[index - self._base_index - 1].term

    def _recover(self) -> RecoveredState:
        term_runs: list[tuple[int, int]] = []
        for entry in self._entries:
            if not term_runs or term_runs[-1][1] != entry.term:
                term_runs.append((entry.index, entry.term))
        return RecoveredState(
            hard_state=self._hard_state,
            snapshot=None if self._snapshot is None else self._snapshot[0],
            base_index=self._base_index,
            base_term=self._base_term,
            last_index=self._last_index,
            term_runs=term_runs,
            configurations=[e for e in self._entries if e.kind is EntryKind.CONFIGURATION],
            tail=list(self._entries),
        )

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StorageError("this storage is already closed")
