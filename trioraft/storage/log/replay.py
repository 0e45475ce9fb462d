"""The records of a log's files, applied to an index in the order in which they were written.

It checks that each file and record continues the one before, and stops at the first that does
not: whether that is a torn tail or damage is for `recovery.py` to say.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import NO_INDEX, Entry, EntryKind, HardState
from trioraft.storage.filesystem import File

from .entries import ENTRY_BODY, POINT_STRIDE, decode_entry, entry_position
from .index import LogIndex, Segment
from .record import (
    HEAD,
    BadRecordError,
    RecordType,
    decode_hard_state,
    decode_mark,
    decode_position,
    decode_seal,
    decode_segment_header,
    salt_of,
)
from .scan import Rest, examine_rest, scan
from .segments import segment_name

__all__ = ["Place", "Replay", "Stop"]

_CONFIGURATION = int(EntryKind.CONFIGURATION)


class Place(Enum):
    """Where a file stands in the log, which says what a crash may have left in it."""

    OLDER = auto()  # sealed long ago: nothing
    BEFORE_LAST = auto()  # the crash may have come before its seal was durable
    LAST = auto()  # all that was not synced


class Stop(NamedTuple):
    """Where the good records of a file end, and what is behind them."""

    path: str
    number: int
    salt: int
    header_end: int
    end: int
    durable: int  # how far the file's own marks vouch for it
    size: int
    sealed: bool
    rest: Rest


class _Run:
    """Entries from `first` to before `expected`, of one term, that the index lacks so far."""

    __slots__ = ("due", "expected", "first", "points", "term")

    def __init__(self, expected: int = NO_INDEX, term: bytes = b"", due: int = 0) -> None:
        self.first = self.expected = expected
        self.term = term
        self.due = due
        self.points: list[tuple[int, int]] = []


class Replay:
    """Apply the files with `segment`, oldest first; the attributes hold what they say."""

    def __init__(self, folder: str, group_id: bytes) -> None:
        self.folder = folder
        self.group_id = group_id
        self.index = LogIndex()
        self.hard_state = HardState()
        self.configurations: list[Entry] = []
        self._salt = 0
        self._header_end = 0
        self._durable = 0
        self._sealed = False

    def segment(self, number: int, file: File, place: Place) -> Stop:
        """Apply the records of a file. Raises CorruptionError, OSError."""
        path = f"{self.folder}/{segment_name(number)}"
        self._salt = salt_of(self.group_id, number)
        self._sealed = False
        size = file.size()
        end, reason = self._records(number, file, size)
        rest = Rest(0, True)
        if reason is not None:
            rest = examine_rest(file, self._salt, end, size)
            if place is Place.OLDER or not self.index.segments or rest.vouched > end:
                raise CorruptionError(path, end, reason)
            if self.index.segments[-1].number != number:
                raise CorruptionError(path, end, reason)  # its header: durable before its name
        elif place is Place.OLDER and not self._sealed:
            raise CorruptionError(path, end, "the end of the file is missing")
        if self._sealed and place is Place.LAST:
            raise CorruptionError(
                path,
                end,
                f"file {segment_name(number + 1)} existed and is missing: acknowledged entries, "
                "term and vote may be lost",
            )
        self.index.segments[-1].size = end
        return Stop(
            path,
            number,
            self._salt,
            self._header_end,
            end,
            self._durable,
            size,
            self._sealed,
            rest,
        )

    def reset(self, index: int, term: int) -> None:
        """The log is empty and begins after this position."""
        self.index.reset(index, term)
        self.configurations.clear()

    def _records(self, number: int, file: File, size: int) -> tuple[int, str | None]:
        """Apply a file's records; returns where they end, and why if that is not at `size`.

        Almost all records are entries that follow the one before in the same term. Those are
        only counted, and told to the index together.
        """
        end = 0
        entry_type, unpack = int(RecordType.ENTRY), ENTRY_BODY.unpack_from
        run = _Run()
        try:
            for offset, kind, data, body, stop in scan(file, self._salt, 0, size):
                if kind == entry_type and stop - body >= ENTRY_BODY.size:
                    what, form, index, term = unpack(data, body)
                    if index == run.expected and term == run.term and what == 0 and form <= 2:
                        run.expected += 1
                        if offset >= run.due:
                            run.points.append((index, offset))
                            run.due = offset + POINT_STRIDE
                        end = offset + HEAD.size + stop - body
                        continue
                self._tell(run)
                if kind == entry_type:
                    self._entry(offset, data, body, stop)
                    log = self.index
                    run = _Run(log.last_index + 1, term, log.segments[-1].due)
                else:
                    self._other(number, kind, offset, data, body, stop)
                    if kind != RecordType.MARK:
                        run = _Run()
                end = offset + HEAD.size + stop - body
        except BadRecordError as error:
            self._tell(run)
            return end, str(error)
        self._tell(run)
        return end, None if end else "the file is empty"

    def _tell(self, run: _Run) -> None:
        """The index learns of the entries that were only counted."""
        if run.expected > run.first:
            self.index.extend(run.expected - run.first, run.points)
            run.first = run.expected
            run.points.clear()

    def _header(self, number: int, data: bytes, body: int, end: int) -> None:
        header = decode_segment_header(data, body, end)
        index = self.index
        if header.number != number:
            raise BadRecordError(f"the header is that of file {header.number}")
        if not index.segments:
            self.index = LogIndex(header.base_index, header.base_term)
        elif (header.base_index, header.base_term) != (index.last_index, index.last_term):
            raise BadRecordError(
                f"the file continues entry {header.base_index} but the one before it ends "
                f"at {index.last_index}"
            )
        elif header.hard_state != self.hard_state:
            raise BadRecordError(f"{header.hard_state} follows {self.hard_state}")
        self.index.segments.append(Segment(number, end))
        self.hard_state = header.hard_state
        self._header_end = self._durable = end  # a file gets its name after its header is durable

    def _entry(self, offset: int, data: bytes, body: int, stop: int) -> None:
        log = self.index
        kind, index, term = entry_position(data, body, stop)
        if offset == 0 or self._sealed:
            raise BadRecordError("an entry in a place where none can be")
        if index != log.last_index + 1 or term < log.last_term:
            raise BadRecordError(
                f"entry {index} of term {term} follows entry {log.last_index} "
                f"of term {log.last_term}"
            )
        log.terms.append(index, term)
        log.extend(1, ((index, offset),) if offset >= log.segments[-1].due else ())
        if kind == _CONFIGURATION:
            self.configurations.append(decode_entry(data, body, stop))

    def _other(
        self, number: int, kind: int, offset: int, data: bytes, body: int, stop: int
    ) -> None:
        if (offset == 0) != (kind == RecordType.SEGMENT) or self._sealed:
            raise BadRecordError(f"a record of type {kind} in a place where none can be")
        if kind == RecordType.SEGMENT:
            self._header(number, data, body, stop)
        elif kind == RecordType.MARK:
            synced = decode_mark(data, body, stop)
            if not self._durable <= synced <= offset:
                raise BadRecordError(f"a mark vouches for {synced} bytes, after {self._durable}")
            self._durable = synced
        elif kind == RecordType.HARD_STATE:
            self.hard_state = decode_hard_state(data, body, stop)
        elif kind == RecordType.CUT:
            self._cut(*decode_position(data, body, stop))
        elif kind == RecordType.RESET:
            self.reset(*decode_position(data, body, stop))
        elif kind == RecordType.SEAL:
            if (successor := decode_seal(data, body, stop)) != number + 1:
                raise BadRecordError(f"the seal names file {successor} as the next one")
            self._sealed = True
        else:
            raise BadRecordError(f"record type {kind} is not known")

    def _cut(self, last: int, term: int) -> None:
        index = self.index
        if last > index.last_index or (last >= index.base_index and index.term_at(last) != term):
            raise BadRecordError(f"the log is cut at entry {last} of term {term}, which it lacks")
        index.cut(last, term)
        while self.configurations and self.configurations[-1].index > last:
            self.configurations.pop()
