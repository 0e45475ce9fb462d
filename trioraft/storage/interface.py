"""What the runtime asks of storage: the durable log of a group and its snapshots.

`FileStorage` (files) and `MemoryStorage` (its in-memory twin) both implement it and pass the
same tests. The event loop never waits for the disk here: `persist` hands bytes to the writer
and returns; `done` is called back on the event loop when they are durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from trioraft.raft.types import NO_INDEX, NO_TERM, Entry, HardState, SnapshotFile, SnapshotMeta

__all__ = [
    "GroupStorage",
    "PersistBatch",
    "RecoveredState",
    "SnapshotReader",
    "SnapshotWriter",
]


@dataclass(slots=True)
class RecoveredState:
    """What a log held when it was opened. The core is built from it.

    `term_runs` are (first index of the run, term), ascending, for the entries that exist;
    `base_index`/`base_term` name the entry just before the first one (the compaction point).
    `configurations` are the CONFIGURATION entries in the log, ascending. `tail` are the newest
    entries, up to a byte budget, so that a restarted node need not read them again.
    """

    hard_state: HardState = field(default_factory=HardState)
    snapshot: SnapshotMeta | None = None
    base_index: int = NO_INDEX
    base_term: int = NO_TERM
    last_index: int = NO_INDEX
    term_runs: list[tuple[int, int]] = field(default_factory=list)
    configurations: list[Entry] = field(default_factory=list)
    tail: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class PersistBatch:
    """One step's changes. Order on disk is the order of `persist` calls.

    entries: consecutive; if the first one's index is not above the last stored index, it
        replaces the stored entries from there on (Raft §5.3).
    reset: the log is emptied and starts after this snapshot (follower install); comes before
        `entries` of the same batch.
    """

    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()
    reset: SnapshotMeta | None = None


class SnapshotWriter(Protocol):
    """A snapshot being written aside, file after file; nothing is visible before `commit`."""

    @property
    def position(self) -> tuple[int, int]:
        """(complete files, bytes of the one being written) that have been handed in."""

    async def create_file(self, name: str) -> None:
        """End the file before it and begin another, empty one.

        `name`: up to 128 of `A-Za-z0-9._-`, no dot or dash first; unique; at most 1024 of them.
        Raises ValueError, StorageError. Without any, bytes go to one file, "state".
        """

    async def write(self, data: bytes) -> None:
        """Append bytes to the current file. May run the disk in a thread. Raises StorageError.

        Cancelling it in the middle leaves a snapshot that can only be abandoned.
        """

    async def finish(self) -> tuple[SnapshotFile, ...]:
        """End the last file; what has been written. Raises StorageError."""

    async def commit(self, meta: SnapshotMeta) -> SnapshotMeta:
        """Sync, rename into place, sync the directory; returns `meta` with real size and files.

        Afterwards this is the newest snapshot. Older ones are deleted once nobody reads them.
        """

    async def discard(self) -> None:
        """Delete what was written, unless it is committed. Shielded. Idempotent."""


class SnapshotReader(Protocol):
    """An open snapshot. The file stays until the reader is closed."""

    @property
    def meta(self) -> SnapshotMeta:
        """With its files, in the order in which they were written."""

    async def open_file(self, name: str, offset: int = 0) -> None:
        """Read on in the file `name`. Raises KeyError, ValueError for an offset beyond it."""

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        """Next bytes of the current file, at first the first one; b"" at its end.

        At most `max_bytes`, perhaps fewer. Raises CorruptionError, StorageError; nothing that
        does not match its checksum is ever returned.
        """


class GroupStorage(Protocol):
    """The log, hard state and snapshots of one group."""

    @property
    def recovered(self) -> RecoveredState:
        """The state found when the storage was opened."""

    @property
    def queued_bytes(self) -> int:
        """Bytes of records that wait for the disk."""

    def persist(self, batch: PersistBatch, done: Callable[[BaseException | None], Any]) -> None:
        """Queue `batch` for the next group commit and return at once.

        `done(None)` is called on the event loop, in the order of the calls, once this batch
        and all before it are durable; `done(error)` with a StorageError if they are not, after
        which the storage refuses everything. Reads see queued entries immediately.
        """

    def watch(self, failed: Callable[[BaseException], Any]) -> None:
        """Call `failed` on the event loop when work that no `done` tells of has failed.

        That is compaction, and the later sync of a weaker fsync policy. Afterwards the storage
        refuses everything. One watcher; the latest counts.
        """

    async def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries of [low, high), at least one, cut where their data exceeds `max_bytes`.

        Raises IndexError if `low` is not in the log, CorruptionError, StorageError.
        """

    def compact(self, index: int, term: int, done: Callable[[], Any] | None = None) -> None:
        """Entries up to and including `index` are no longer needed; drop whole segments of them.

        Never removes what the newest snapshot does not cover.
        """

    def create_snapshot(self) -> AbstractAsyncContextManager[SnapshotWriter]:
        """A new snapshot; leaving the block without `commit` deletes what was written."""

    def open_snapshot(self) -> AbstractAsyncContextManager[SnapshotReader]:
        """The newest snapshot. Raises StorageError when entering if there is none."""

    def size_on_disk(self) -> int:
        """Bytes held on disk by log and snapshots."""

    async def aclose(self) -> None:
        """Wait until everything queued is durable, then close. Shielded from cancellation."""
