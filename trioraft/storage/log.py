"""`FileStorage`: the durable log, hard state and snapshots of one group.

The event loop's side of a write happens here, in `persist`: it lays out the bytes, keeps the
index ahead of the disk, and hands one job to the writer. Files are `segments.py`, bytes are
`record.py`, what is where is `index.py`, starting up is `recovery.py`.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import trio

from trioraft.raft.errors import OverloadedError, StorageError
from trioraft.raft.types import NO_INDEX, Entry, SnapshotMeta

from .batch import check_batch
from .filesystem import FileSystem, OsFileSystem, storage_error
from .index import Segment, Span
from .interface import PersistBatch, RecoveredState, SnapshotReader, SnapshotWriter
from .pending import PendingEntries, take_within
from .reads import read_spans
from .record import (
    MARK_SIZE,
    RecordType,
    SegmentHeader,
    encode_entries,
    encode_hard_state,
    encode_position,
    encode_segment_header,
    salt_of,
)
from .recovery import OpenedLog, open_log
from .segments import LogFiles, NewSegment
from .snapshots import SnapshotStore, delete_leftovers, find_newest
from .writer import DiskWriter

__all__ = [
    "DEFAULT_PREALLOCATE_BYTES",
    "DEFAULT_QUEUE_BYTES",
    "DEFAULT_SEGMENT_BYTES",
    "DEFAULT_TAIL_BYTES",
    "FileStorage",
]

_log = logging.getLogger(__name__)

DEFAULT_SEGMENT_BYTES = 64 << 20  # a new file is begun once one has this many bytes
DEFAULT_PREALLOCATE_BYTES = 4 << 20  # reserved ahead in the file that is appended to
DEFAULT_TAIL_BYTES = 32 << 20  # of entries handed over by recovery
DEFAULT_QUEUE_BYTES = 256 << 20  # of entries waiting for the disk, at most


class FileStorage:
    """A `GroupStorage` on files. Made by `DataDirectory.open_group`.

    Bounds: `segment_bytes` (64 MiB) per file plus one batch, `queue_bytes` (256 MiB) of entry
    data waiting for the disk, after which `persist` raises OverloadedError; 8 bytes of memory
    per live entry.
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
        segment_bytes: int,
        queue_bytes: int,
        preallocate_bytes: int,
        on_close: Callable[[], None] | None,
    ) -> None:
        index = opened.index
        self._folder = folder
        self._group_id = group_id
        self._writer = writer
        self._filesystem = filesystem
        self._index = index
        self._hard_state = opened.hard_state
        self._snapshots = SnapshotStore(filesystem, folder, writer, snapshot)
        self._segment_bytes = segment_bytes
        self._queue_bytes = queue_bytes
        self._on_close = on_close
        active = index.segments[-1]
        self._salt = salt_of(group_id, active.number)
        self._files = LogFiles(
            filesystem,
            folder,
            active.number,
            self._salt,
            opened.file,
            active.size,
            preallocate_bytes,
        )
        self._pending = PendingEntries()
        self._failure: BaseException | None = None
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
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        tail_bytes: int = DEFAULT_TAIL_BYTES,
        preallocate_bytes: int = DEFAULT_PREALLOCATE_BYTES,
        on_close: Callable[[], None] | None = None,
    ) -> FileStorage:
        """Recover the group in `folder`, which exists, or begin it.

        Raises CorruptionError having changed nothing, and StorageError. Cancelling waits for
        the disk and leaves nothing open.
        """
        fs = filesystem or OsFileSystem()

        def recover() -> tuple[OpenedLog, SnapshotMeta | None]:
            snapshot = find_newest(fs, folder)
            opened = open_log(fs, folder, group_id, snapshot, tail_bytes)
            try:
                delete_leftovers(fs, folder, snapshot)
            except BaseException:
                opened.file.close()
                raise
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
            segment_bytes=segment_bytes,
            queue_bytes=queue_bytes,
            preallocate_bytes=preallocate_bytes,
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
        index = self._index
        snapshot = self._snapshots.newest
        before = check_batch(batch, self._hard_state, snapshot, index.last_index, index.term_at)
        segment, salt = index.segments[-1], self._salt
        begin = None
        if segment.size >= self._segment_bytes:
            begin = self._next_segment(segment.number + 1)
            segment, salt = Segment(begin.number, len(begin.header)), begin.salt
        parts = [b""]  # the place of the mark
        offsets = array("Q")
        start = segment.size + MARK_SIZE
        end = self._encode(batch, before, salt, start, parts, offsets)
        size = end - start
        if self._pending and self.queued_bytes + size > self._queue_bytes:
            raise OverloadedError(
                f"{self.queued_bytes} bytes wait for the disk already; "
                f"the limit is {self._queue_bytes}"
            )
        self._writer.submit(
            partial(self._files.append, parts, start - MARK_SIZE, begin),
            partial(self._finished, done),
        )
        if begin is not None:
            index.segments.append(segment)
            self._salt = salt
        segment.size = end
        self._apply(batch, before, offsets)
        self._pending.push(before + 1, tuple(batch.entries), size)
        if batch.reset is not None:
            self.compact(batch.reset.index, batch.reset.term)  # no file before it is of use

    def _encode(
        self,
        batch: PersistBatch,
        before: int,
        salt: int,
        offset: int,
        parts: list[bytes],
        offsets: array[int],
    ) -> int:
        """Append the records of `batch` to `parts`; returns the offset behind them."""
        if batch.hard_state is not None:
            record = encode_hard_state(batch.hard_state, salt, offset)
            parts.append(record)
            offset += len(record)
        if batch.reset is not None:
            reset = batch.reset
            record = encode_position(RecordType.RESET, reset.index, reset.term, salt, offset)
            parts.append(record)
            offset += len(record)
        elif before < self._index.last_index:
            term = self._index.term_at(before)
            record = encode_position(RecordType.CUT, before, term, salt, offset)
            parts.append(record)
            offset += len(record)
        if not batch.entries:
            return offset
        return encode_entries(batch.entries, salt, offset, parts, offsets)

    def _apply(self, batch: PersistBatch, before: int, offsets: array[int]) -> None:
        index = self._index
        if batch.hard_state is not None:
            self._hard_state = batch.hard_state
        if batch.reset is not None:
            index.reset(batch.reset.index, batch.reset.term)
        elif before < index.last_index:
            index.cut(before, index.term_at(before))
        if batch.entries:
            index.extend(before + 1, offsets)
            term = None
            for entry in batch.entries:
                if entry.term != term:
                    term = entry.term
                    index.terms.append(entry.index, term)

    def _next_segment(self, number: int) -> NewSegment:
        index = self._index
        salt = salt_of(self._group_id, number)
        header = SegmentHeader(number, index.last_index, index.last_term, self._hard_state)
        return NewSegment(number, salt, encode_segment_header(header, salt))

    def _finished(
        self, done: Callable[[BaseException | None], Any], error: BaseException | None
    ) -> None:
        self._pending.pop()
        if error is not None and self._failure is None:
            self._failure = error
        done(error)

    async def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """See `GroupStorage.read`. What counts against `max_bytes` is the stored size.

        Cancelling waits for the disk.
        """
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
            entries = await self._read_spans(index.locate(low, on_disk, max_bytes))
            if entries[-1].index + 1 != on_disk:
                return entries
        else:
            await trio.lowlevel.checkpoint()
        return take_within(entries, queued, max_bytes)

    async def _read_spans(self, spans: list[Span]) -> list[Entry]:
        try:
            return await self._writer.run(
                read_spans, self._filesystem, self._folder, self._group_id, spans
            )
        except FileNotFoundError as error:
            raise IndexError(f"entry {spans[0].first} was compacted away meanwhile") from error
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
        # They go once all that was queued by now is durable: perhaps a CUT or RESET that is
        # still queued is the reason why nothing in them counts.
        self._writer.submit(lambda: self._files, partial(self._delete, numbers, done))

    def _delete(
        self, numbers: list[int], done: Callable[[], Any] | None, error: BaseException | None
    ) -> None:
        if error is None and numbers and not self._closed:
            self._writer.submit(partial(self._files.delete, numbers), partial(self._deleted, done))
        else:
            self._deleted(done, error)

    def _deleted(self, done: Callable[[], Any] | None, error: BaseException | None) -> None:
        if error is not None:
            self._failure = self._failure or error
        elif done is not None:
            done()

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
