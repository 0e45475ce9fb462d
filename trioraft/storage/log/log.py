"""`FileStorage`: the durable log, hard state and snapshots of one group.

It keeps the index ahead of the disk, hands one job per batch to the writer, and reads entries
back. Where bytes go is `placement.py`, files are `segments.py`, what is where is `index.py`,
starting up is `recovery.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import trio

from trioraft.raft.errors import OverloadedError, StorageError
from trioraft.raft.types import NO_INDEX, Entry, SnapshotMeta
from trioraft.storage.filesystem import FileSystem, OsFileSystem, storage_error
from trioraft.storage.handles import HandleCache
from trioraft.storage.interface import PersistBatch, RecoveredState, SnapshotReader, SnapshotWriter
from trioraft.storage.settings import StorageSettings
from trioraft.storage.snapshots.store import SnapshotStore, delete_leftovers, find_newest
from trioraft.storage.writer import DiskWriter

from .batch import check_batch
from .index import Span
from .pending import PendingEntries, take_within
from .placement import LogEnd
from .reads import read_spans
from .recovery import OpenedLog, open_log
from .segments import LogFiles
from .upkeep import Upkeep

__all__ = ["FileStorage"]

_log = logging.getLogger(__name__)


class FileStorage:
    """A `GroupStorage` on files. Made by `DataDirectory.open_group`.

    Bounds are those of `StorageSettings`. Memory: 16 bytes per 16 KiB of log, and the entries
    that wait for the disk.
    """

    def __init__(
        self,
        folder: str,
        group_id: bytes,
        writer: DiskWriter,
        filesystem: FileSystem,
        opened: OpenedLog,
        snapshot: SnapshotMeta | None,
        *,
        settings: StorageSettings,
        handles: HandleCache,
        on_close: Callable[[], None] | None,
    ) -> None:
        index = opened.index
        self._folder = folder
        self._group_id = group_id
        self._writer = writer
        self._filesystem = filesystem
        self._index = index
        self._end = LogEnd(group_id, index, opened.hard_state, settings.segment_bytes)
        self._files = LogFiles(filesystem, folder, opened.active, settings, handles)
        interval = settings.fsync.interval
        self._upkeep = Upkeep(self._files, writer, interval, self._failed_behind)
        self._snapshots = SnapshotStore(filesystem, folder, writer, snapshot)
        self._settings = settings
        self._on_close = on_close
        self._pending = PendingEntries()
        self._failure: BaseException | None = None
        self._on_failure: Callable[[BaseException], Any] | None = None
        self._closed = False
        self._recovered = RecoveredState(
            hard_state=opened.hard_state,
            snapshot=snapshot,
            base_index=index.base_index,
            base_term=index.base_term,
            last_index=index.last_index,
            term_runs=index.terms.runs(),
            configurations=opened.configurations,
            tail=opened.tail,
        )

    @classmethod
    async def open(
        cls,
        folder: str,
        group_id: bytes,
        writer: DiskWriter,
        *,
        filesystem: FileSystem | None = None,
        settings: StorageSettings | None = None,
        handles: HandleCache | None = None,
        must_exist: bool = False,
        on_close: Callable[[], None] | None = None,
    ) -> FileStorage:
        """Recover the group in `folder`, which exists, or begin it unless it `must_exist`.

        handles: shared by the groups of a directory. Raises CorruptionError having changed
        nothing, and StorageError. Cancelling waits for the disk and leaves nothing open.
        """
        fs = filesystem or OsFileSystem()
        settings = settings or StorageSettings()

        def recover() -> tuple[OpenedLog, SnapshotMeta | None]:
            snapshot = find_newest(fs, folder)
            opened = open_log(
                fs, folder, group_id, snapshot, settings.tail_bytes, must_exist=must_exist
            )
            delete_leftovers(fs, folder, snapshot)
            return opened, snapshot

        try:
            opened, snapshot = await writer.run(recover)
        except OSError as error:
            raise storage_error("open the log in", folder, error) from error
        return cls(
            folder,
            group_id,
            writer,
            fs,
            opened,
            snapshot,
            settings=settings,
            handles=HandleCache() if handles is None else handles,
            on_close=on_close,
        )

    @property
    def recovered(self) -> RecoveredState:
        """The state found when the storage was opened."""
        return self._recovered

    @property
    def queued_bytes(self) -> int:
        """Bytes of records that wait for the disk."""
        return self._pending.stored_bytes

    def persist(self, batch: PersistBatch, done: Callable[[BaseException | None], Any]) -> None:
        """See `GroupStorage.persist`. Not a checkpoint.

        Raises, with nothing changed: StorageError after a failure or `aclose`, OverloadedError
        beyond `queue_bytes`, ValueError or IndexError for a batch that breaks the log.
        """
        self._refuse_when_unusable()
        index, end = self._index, self._end
        newest = self._snapshots.newest
        before = check_batch(batch, end.hard_state, newest, index.last_index, index.term_at)
        placement = end.place(batch, before)
        limit = self._settings.queue_bytes
        if self._pending and self.queued_bytes + placement.size > limit:
            raise OverloadedError(
                f"{self.queued_bytes} bytes wait for the disk already; the limit is {limit}"
            )
        self._writer.submit(
            partial(self._files.append, placement.parts, placement.start, placement.begin),
            partial(self._finished, done),
        )
        end.advance(placement, batch, before)
        self._pending.push(before + 1, tuple(batch.entries), placement.size)
        if batch.reset is not None:
            self.compact(batch.reset.index, batch.reset.term)  # no file before it is of use

    def watch(self, failed: Callable[[BaseException], Any]) -> None:
        """See `GroupStorage.watch`."""
        self._on_failure = failed

    def _finished(
        self, done: Callable[[BaseException | None], Any], error: BaseException | None
    ) -> None:
        self._pending.pop()
        if error is not None and self._failure is None:
            self._failure = error
        if error is None:
            self._upkeep.written()
        done(error)

    def _failed_behind(self, error: BaseException) -> None:
        """Something failed that nobody's `done` tells of."""
        if self._failure is None:
            self._failure = error
            if self._on_failure is not None:
                self._on_failure(error)

    async def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """See `GroupStorage.read`. The disk is asked once per file. Cancelling waits for it."""
        self._refuse_when_unusable()
        index = self._index
        if not index.base_index < low <= index.last_index or low >= high:
            raise IndexError(
                f"entries {low} to {high - 1} are not in the log "
                f"({index.base_index + 1} to {index.last_index})"
            )
        high = min(high, index.last_index + 1)
        on_disk = max(low, min(high, self._pending.first(high)))  # [low, on_disk) is there
        queued = self._pending.read(on_disk, high)
        entries: list[Entry] = []
        if low < on_disk:
            entries = await self._read(index.locate(low, on_disk, max_bytes), max_bytes)
            if entries[-1].index + 1 != on_disk:
                return entries
        else:
            await trio.lowlevel.checkpoint()
        return take_within(entries, queued, max_bytes)

    async def _read(self, spans: list[Span], max_bytes: int) -> list[Entry]:
        try:
            return await self._writer.run(
                read_spans, self._filesystem, self._folder, self._group_id, spans, max_bytes
            )
        except FileNotFoundError as error:
            raise IndexError(f"entry {spans[0].low} was compacted away meanwhile") from error
        except OSError as error:
            raise storage_error("read the log in", self._folder, error) from error

    def compact(self, index: int, term: int, done: Callable[[], Any] | None = None) -> None:
        """See `GroupStorage.compact`. `done` is called on the event loop once the files are
        deleted; not at all if the storage fails before. Raises StorageError, ValueError.
        """
        self._refuse_when_unusable()
        log = self._index
        if log.base_index <= index <= log.last_index and log.term_at(index) != term:
            raise ValueError(f"entry {index} has term {log.term_at(index)}, not {term}")
        snapshot = self._snapshots.newest
        floor = min(index, NO_INDEX if snapshot is None else snapshot.index)
        numbers = [segment.number for segment in log.drop(log.droppable(floor))]
        self._upkeep.delete(numbers, done)

    def create_snapshot(self) -> AbstractAsyncContextManager[SnapshotWriter]:
        """See `GroupStorage.create_snapshot`."""
        self._refuse_when_unusable()
        return self._snapshots.create()

    def open_snapshot(self) -> AbstractAsyncContextManager[SnapshotReader]:
        """See `GroupStorage.open_snapshot`."""
        self._refuse_when_unusable()
        return self._snapshots.open()

    def size_on_disk(self) -> int:
        """Bytes of the log, with what is queued, and of the snapshots."""
        return sum(s.size for s in self._index.segments) + self._snapshots.size_on_disk

    async def aclose(self) -> None:
        """See `GroupStorage.aclose`. Idempotent; to be called while the writer lives.

        Raises nothing about the disk: `done` has told what became of every write.
        """
        if self._closed:
            return
        self._closed = True
        self._upkeep.stop()
        ended = trio.Event()
        outcome: list[BaseException | None] = []

        def closed(error: BaseException | None) -> None:
            outcome.append(error)
            ended.set()

        self._writer.submit(self._files.close, closed)
        with trio.CancelScope(shield=True):
            await ended.wait()
        if outcome[0] is not None:
            _log.warning("%s: closed without its last mark: %s", self._folder, outcome[0])
        if self._on_close is not None:
            self._on_close()

    def _refuse_when_unusable(self) -> None:
        if self._failure is not None:
            raise StorageError(f"{self._folder}: stopped earlier: {self._failure}")
        if self._closed:
            raise StorageError(f"{self._folder}: already closed")
