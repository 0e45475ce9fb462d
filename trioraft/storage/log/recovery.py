"""Opening a log: reads every record, cuts a torn tail, and refuses anything else that is wrong.

What a crash can leave is known exactly (docs/storage.md): only bytes behind the last sync of
the last file may be missing or wrong. Every write begins with a mark that says how far the file
was durable at that time. So damage before any mark's position is no torn tail but lost
data, and is reported with file and offset, and nothing is changed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trioraft.raft.errors import CorruptionError
from trioraft.raft.log import ENTRY_OVERHEAD
from trioraft.raft.types import NO_INDEX, NO_TERM, Entry, HardState, SnapshotMeta
from trioraft.storage.filesystem import File, FileSystem, write_aside

from .index import LogIndex
from .reads import read_spans
from .record import (
    RecordType,
    SegmentHeader,
    encode_mark,
    encode_position,
    encode_segment_header,
    salt_of,
)
from .replay import Place, Replay, Stop
from .scan import SLICE
from .segments import SEALING_SIZE, ActiveFile, encode_sealing, segment_name, segment_number

__all__ = ["ExaminedLog", "OpenedLog", "examine_log", "open_log", "segment_numbers"]

_log = logging.getLogger(__name__)

_ALL = 1 << 62  # bytes: no limit


@dataclass(slots=True)
class OpenedLog:
    """A log that is ready to be appended to: all of it is durable."""

    index: LogIndex
    hard_state: HardState
    configurations: list[Entry]
    tail: list[Entry]
    active: ActiveFile


def open_log(
    filesystem: FileSystem,
    folder: str,
    group_id: bytes,
    snapshot: SnapshotMeta | None,
    tail_bytes: int,
    *,
    must_exist: bool = False,
) -> OpenedLog:
    """Recover the log in `folder`, or begin one. Blocking; reads a slice of a file at a time.

    must_exist: there was a log, and a new one would forget its vote.
    Raises CorruptionError having changed nothing, and OSError.
    """
    if not segment_numbers(filesystem, folder) and snapshot is None and not must_exist:
        header = encode_segment_header(
            SegmentHeader(1, NO_INDEX, NO_TERM, HardState()), salt_of(group_id, 1)
        )
        write_aside(filesystem, f"{folder}/{segment_name(1)}", header)
    examined = examine_log(filesystem, folder, group_id, snapshot)
    replay, last = examined.replay, examined.last
    if examined.unfinished is not None:
        _seal(filesystem, replay, examined.unfinished)
    end = _make_durable(filesystem, replay, last, examined.reset)
    tail = _read_tail(filesystem, replay, tail_bytes)
    active = ActiveFile(last.number, last.salt, end)
    return OpenedLog(replay.index, replay.hard_state, replay.configurations, tail, active)


class ExaminedLog(NamedTuple):
    """What the files say, and what is to be done before the log can go on."""

    replay: Replay
    last: Stop
    unfinished: Stop | None  # the file whose seal may not be durable
    reset: SnapshotMeta | None  # the snapshot behind which the log has to begin anew


def examine_log(
    filesystem: FileSystem, folder: str, group_id: bytes, snapshot: SnapshotMeta | None
) -> ExaminedLog:
    """Read and check every record; changes nothing. Raises CorruptionError, OSError."""
    numbers = segment_numbers(filesystem, folder)
    if not numbers:
        what = "there is a snapshot but no log" if snapshot else "the group had a log and has none"
        raise CorruptionError(folder, 0, f"{what}: its entries, term and vote are lost")
    _refuse_gaps(folder, numbers)
    replay = Replay(folder, group_id)
    stops = [_replay(filesystem, replay, number, numbers) for number in numbers]
    last, before = stops[-1], stops[-2] if len(stops) > 1 else None
    is_fresh = last.end == last.header_end and last.rest.blank
    if before is not None and not before.sealed and not is_fresh:
        raise CorruptionError(before.path, before.end, "the end of the file is missing")
    reset = _behind_snapshot(replay, last.path, snapshot)
    return ExaminedLog(replay, last, before if is_fresh else None, reset)


def segment_numbers(filesystem: FileSystem, folder: str) -> list[int]:
    """The numbers of the log's files, ascending. Raises OSError."""
    return [n for name in filesystem.list_directory(folder) if (n := segment_number(name))]


def _refuse_gaps(folder: str, numbers: Sequence[int]) -> None:
    for position, number in enumerate(numbers):
        if number != numbers[0] + position:
            missing = segment_name(numbers[0] + position)
            raise CorruptionError(f"{folder}/{missing}", 0, "the file is missing")


def _replay(filesystem: FileSystem, replay: Replay, number: int, numbers: Sequence[int]) -> Stop:
    left = numbers[-1] - number
    place = {0: Place.LAST, 1: Place.BEFORE_LAST}.get(left, Place.OLDER)
    file = filesystem.open(f"{replay.folder}/{segment_name(number)}")
    try:
        return replay.segment(number, file, place)
    finally:
        file.close()


def _behind_snapshot(
    replay: Replay, path: str, snapshot: SnapshotMeta | None
) -> SnapshotMeta | None:
    """The snapshot that the log has to be reset to, if any.

    A follower makes a received snapshot durable before it resets its log, so a crash may
    come between: then the log ends before the snapshot, or has another term there
    (Raft §7, figure 13). Raises CorruptionError if entries are missing between the two.
    """
    index = replay.index
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


def _seal(filesystem: FileSystem, replay: Replay, stop: Stop) -> None:
    """Finish what a crash may have interrupted: the birth of the last file.

    A seal that is there already may be in the page cache only, just as its file's name.
    """
    at = stop.end - SEALING_SIZE if stop.sealed else stop.end
    filesystem.sync_directory(replay.folder)
    file = filesystem.open(stop.path)
    try:
        file.truncate(at)
        file.write(encode_sealing(stop.number + 1, stop.salt, at), at)
        file.datasync()
    finally:
        file.close()
    replay.index.segments[-2].size = at + SEALING_SIZE


def _make_durable(
    filesystem: FileSystem, replay: Replay, stop: Stop, reset: SnapshotMeta | None
) -> int:
    """Cut a torn tail off the last file, and let nothing in it be doubtful; returns its end."""
    file = filesystem.open(stop.path)
    try:
        if stop.end < stop.size:
            if not stop.rest.blank:  # more than the reserve of a killed process
                torn = stop.size - stop.end
                _log.warning("%s: cut a torn tail of %d bytes at %d", stop.path, torn, stop.end)
            file.truncate(stop.end)
        # What was read counts as durable from now on, but may be in the page cache only, and
        # marked clean there if an earlier process died of a failed sync. So what no mark
        # vouches for is written again.
        _write_again(file, stop.durable, stop.end)
        file.datasync()
        filesystem.sync_directory(replay.folder)
        end = stop.end
        if reset is not None:
            mark = encode_mark(end, stop.salt, end)
            at = end + len(mark)
            position = encode_position(RecordType.RESET, reset.index, reset.term, stop.salt, at)
            file.write(mark + position, end)
            file.datasync()
            end = at + len(position)
            replay.index.segments[-1].size = end
            replay.reset(reset.index, reset.term)
    finally:
        file.close()
    return end


def _write_again(file: File, start: int, end: int) -> None:
    while start < end:
        data = file.read(min(SLICE, end - start), start)
        file.write(data, start)
        start += len(data)


def _read_tail(filesystem: FileSystem, replay: Replay, max_bytes: int) -> list[Entry]:
    """The newest entries, as many as `max_bytes` of memory hold; at least one if there is any."""
    index = replay.index
    first = index.newest(max_bytes, ENTRY_OVERHEAD)
    if first > index.last_index:
        return []
    spans = index.locate(first, index.last_index + 1, _ALL)
    found = read_spans(filesystem, replay.folder, replay.group_id, spans, _ALL)
    tail: deque[Entry] = deque()
    for entry in reversed(found):
        max_bytes -= len(entry.data) + ENTRY_OVERHEAD
        if max_bytes < 0 and tail:
            break
        tail.appendleft(entry)
    return list(tail)
