"""Opening a log: reads every record, cuts a torn tail, and refuses anything else that is wrong.

What a crash can leave is known exactly (docs/storage.md): only bytes behind the last sync of
the last file may be missing or wrong. Every write begins with a mark that says how far the file
was durable at that time. So damage before any mark's position is no torn tail but lost
data, and is reported with file and offset, and nothing is changed.
"""

from __future__ import annotations

import logging
from array import array
from collections import deque
from dataclasses import dataclass

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import NO_INDEX, NO_TERM, Entry, EntryKind, HardState, SnapshotMeta

from .filesystem import File, FileSystem, write_aside
from .index import LogIndex, Segment
from .record import (
    BadRecordError,
    RecordType,
    SegmentHeader,
    decode_entry,
    decode_hard_state,
    decode_mark,
    decode_position,
    decode_segment_header,
    encode_mark,
    encode_position,
    encode_segment_header,
    record_at,
    salt_of,
    valid_marks,
)
from .segments import segment_name, segment_number

__all__ = ["OpenedLog", "open_log"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenedLog:
    """A log that is ready to be appended to: all of it durable, `file` is its last segment."""

    index: LogIndex
    hard_state: HardState
    configurations: list[Entry]
    tail: list[Entry]
    file: File


def open_log(
    filesystem: FileSystem,
    folder: str,
    group_id: bytes,
    snapshot: SnapshotMeta | None,
    tail_bytes: int,
) -> OpenedLog:
    """Recover the log in `folder`, or begin one. Blocking.

    Raises CorruptionError having changed nothing, and OSError.
    """
    numbers = [n for name in filesystem.list_directory(folder) if (n := segment_number(name))]
    if not numbers:
        if snapshot is not None:
            reason = "there is a snapshot but no log: term and vote are lost"
            raise CorruptionError(folder, 0, reason)
        numbers = [1]
        header = encode_segment_header(
            SegmentHeader(1, NO_INDEX, NO_TERM, HardState()), salt_of(group_id, 1)
        )
        write_aside(filesystem, f"{folder}/{segment_name(1)}", header)
    replay = _Replay(folder, group_id, tail_bytes)
    for number in numbers[:-1]:
        data = _read(filesystem, f"{folder}/{segment_name(number)}")
        replay.segment(number, data, is_last=False)
    return _open_last(filesystem, replay, numbers[-1], snapshot)


def _open_last(
    filesystem: FileSystem, replay: _Replay, number: int, snapshot: SnapshotMeta | None
) -> OpenedLog:
    path = f"{replay.folder}/{segment_name(number)}"
    file = filesystem.open(path)
    try:
        data = file.read(file.size(), 0)
        end = replay.segment(number, data, is_last=True)
        reset = replay.check_snapshot(path, snapshot)
        if end < len(data):
            if data.count(0, end) < len(data) - end:  # more than the reserve of a killed process
                _log.warning("%s: cut a torn tail of %d bytes at %d", path, len(data) - end, end)
            file.truncate(end)
        # What was read counts as durable from now on, but may be in the page cache only, and
        # marked clean there if an earlier process died of a failed sync. So what no mark
        # vouches for is written again.
        file.write(data[replay.durable : end], replay.durable)
        file.datasync()
        filesystem.sync_directory(replay.folder)
        if reset is not None:
            record = replay.encode_reset(reset, end)
            file.write(record, end)
            file.datasync()
            replay.index.segments[-1].size = end + len(record)
            replay.reset(reset.index, reset.term)
    except BaseException:
        file.close()
        raise
    return OpenedLog(
        replay.index, replay.hard_state, replay.configurations, list(replay.tail), file
    )


def _read(filesystem: FileSystem, path: str) -> bytes:
    file = filesystem.open(path)
    try:
        return file.read(file.size(), 0)
    finally:
        file.close()


class _Replay:
    """The records of all segments, oldest first, applied to an index."""

    def __init__(self, folder: str, group_id: bytes, tail_bytes: int) -> None:
        self.folder = folder
        self.index = LogIndex()
        self.hard_state = HardState()
        self.configurations: list[Entry] = []
        self.tail: deque[Entry] = deque()
        self.durable = 0  # how far the marks vouch for the file read last
        self._group_id = group_id
        self._tail_budget = tail_bytes
        self._salt = 0

    def segment(self, number: int, data: bytes, *, is_last: bool) -> int:
        """Apply the records of a file; returns where they end. Raises CorruptionError."""
        path = f"{self.folder}/{segment_name(number)}"
        self._salt = salt_of(self._group_id, number)
        offset = 0
        try:
            offset = self._header(number, data)
            while offset < len(data):
                try:
                    kind, body, end = record_at(data, offset, self._salt, offset)
                except BadRecordError:
                    if is_last and _is_torn(data, offset, self._salt):
                        break
                    raise
                self._apply(kind, data, offset, body, end)
                offset = end
        except BadRecordError as error:
            raise CorruptionError(path, offset, str(error)) from error
        self.index.segments[-1].size = offset
        return offset

    def _header(self, number: int, data: bytes) -> int:
        kind, body, end = record_at(data, 0, self._salt, 0)
        if kind != RecordType.SEGMENT:
            raise BadRecordError("the file does not begin with a segment header")
        header = decode_segment_header(data, body, end)
        index = self.index
        if not index.segments:
            self.index = LogIndex(header.base_index, header.base_term)
        elif index.segments[-1].number + 1 != number:
            raise BadRecordError(f"segment {index.segments[-1].number + 1} is missing before it")
        elif (header.base_index, header.base_term) != (index.last_index, index.last_term):
            raise BadRecordError(
                f"the file continues entry {header.base_index} but the one before it ends "
                f"at {index.last_index}"
            )
        elif header.hard_state != self.hard_state:
            raise BadRecordError(f"{header.hard_state} follows {self.hard_state}")
        self.index.segments.append(Segment(number, end))
        self.hard_state = header.hard_state
        self.durable = end  # a file gets its name after its header is durable
        return end

    def _apply(self, kind: int, data: bytes, offset: int, body: int, end: int) -> None:
        if kind == RecordType.ENTRY:
            self._entry(decode_entry(data, body, end), offset)
        elif kind == RecordType.MARK:
            synced = decode_mark(data, body, end)
            if not self.durable <= synced <= offset:
                raise BadRecordError(f"a mark vouches for {synced} bytes, after {self.durable}")
            self.durable = synced
        elif kind == RecordType.HARD_STATE:
            self.hard_state = decode_hard_state(data, body, end)
        elif kind == RecordType.CUT:
            self._cut(*decode_position(data, body, end))
        elif kind == RecordType.RESET:
            self.reset(*decode_position(data, body, end))
        else:
            raise BadRecordError(f"record type {kind} is not known")

    def _entry(self, entry: Entry, offset: int) -> None:
        index = self.index
        if entry.index != index.last_index + 1 or entry.term < index.last_term:
            raise BadRecordError(
                f"entry {entry.index} of term {entry.term} follows entry {index.last_index} "
                f"of term {index.last_term}"
            )
        index.terms.append(entry.index, entry.term)
        index.extend(entry.index, array("Q", (offset,)))
        if entry.kind is EntryKind.CONFIGURATION:
            self.configurations.append(entry)
        self.tail.append(entry)
        self._tail_budget -= len(entry.data)
        while self._tail_budget < 0 and len(self.tail) > 1:
            self._tail_budget += len(self.tail.popleft().data)

    def _cut(self, last: int, term: int) -> None:
        index = self.index
        if last > index.last_index or (last >= index.base_index and index.term_at(last) != term):
            raise BadRecordError(f"the log is cut at entry {last} of term {term}, which it lacks")
        index.cut(last, term)
        while self.configurations and self.configurations[-1].index > last:
            self.configurations.pop()
        while self.tail and self.tail[-1].index > last:
            self._tail_budget += len(self.tail.pop().data)

    def reset(self, index: int, term: int) -> None:
        self.index.reset(index, term)
        self.configurations.clear()
        self._tail_budget += sum(len(entry.data) for entry in self.tail)
        self.tail.clear()

    def check_snapshot(self, path: str, snapshot: SnapshotMeta | None) -> SnapshotMeta | None:
        """The snapshot that the log has to be reset to, if any.

        A follower makes a received snapshot durable before it resets its log, so a crash may
        come between: then the log ends before the snapshot, or has another term there
        (Raft §7, figure 13). Raises CorruptionError if entries are missing between the two.
        """
        index = self.index
        covered = NO_INDEX if snapshot is None else snapshot.index
        if index.base_index > covered:
            raise CorruptionError(
                path,
                0,
                f"the log begins after entry {index.base_index}, but the newest "
                f"snapshot covers only up to {covered}",
            )
        if snapshot is None:
            return None
        if covered <= index.last_index and index.term_at(covered) == snapshot.term:
            return None
        return snapshot

    def encode_reset(self, snapshot: SnapshotMeta, end: int) -> bytes:
        """The RESET with its mark, for offset `end` of the last file."""
        mark = encode_mark(end, self._salt, end)
        position = encode_position(
            RecordType.RESET, snapshot.index, snapshot.term, self._salt, end + len(mark)
        )
        return mark + position


def _is_torn(data: bytes, offset: int, salt: int) -> bool:
    """Whether a bad record at `offset` of the last file is what a crash may leave there.

    It is not if a mark behind it says that the file was durable beyond `offset`.
    """
    return all(synced <= offset for _, synced in valid_marks(data, offset, salt))
