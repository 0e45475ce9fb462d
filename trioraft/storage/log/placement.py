"""Where the next batch goes, and its bytes: the event loop's side of a write.

The checksum of a record depends on its file and offset, so the place is decided here, ahead of
the disk; the writer thread only puts the bytes there.
"""

from __future__ import annotations

from typing import NamedTuple

from trioraft.raft.types import HardState
from trioraft.storage.interface import PersistBatch

from .entries import encode_entries
from .index import LogIndex, Segment
from .record import (
    MARK_SIZE,
    RecordType,
    SegmentHeader,
    encode_hard_state,
    encode_position,
    encode_segment_header,
    salt_of,
)
from .segments import SEALING_SIZE, NewSegment

__all__ = ["LogEnd", "Placement"]


class Placement(NamedTuple):
    """The bytes of a batch and their place. Nothing has changed yet."""

    begin: NewSegment | None
    segment: Segment  # the file that they go to, perhaps a new one
    salt: int
    parts: list[bytes]  # the first is the place of the mark
    start: int  # offset of the mark
    end: int
    points: list[tuple[int, int]]

    @property
    def size(self) -> int:
        return self.end - self.start


class LogEnd:
    """The end of a log: the hard state and the file to write to, as of what is queued."""

    def __init__(
        self, group_id: bytes, index: LogIndex, hard_state: HardState, segment_bytes: int
    ) -> None:
        self.hard_state = hard_state
        self._group_id = group_id
        self._index = index
        self._segment_bytes = segment_bytes
        self._salt = salt_of(group_id, index.segments[-1].number)

    def place(self, batch: PersistBatch, before: int) -> Placement:
        """Encode `batch`, whose entries go after entry `before`. Raises ValueError."""
        segment, salt, begin = self._index.segments[-1], self._salt, None
        if segment.size >= self._segment_bytes:
            begin = self._next_segment(segment.number + 1)
            segment, salt = Segment(begin.number, len(begin.header)), begin.salt
        start = segment.size
        parts = [b""]
        offset = start + MARK_SIZE
        for record in self._records(batch, before, salt, offset):
            parts.append(record)
            offset += len(record)
        points: list[tuple[int, int]] = []
        if batch.entries:
            is_break = batch.reset is not None or before < self._index.last_index
            due = 0 if is_break else segment.due
            offset = encode_entries(batch.entries, salt, offset, parts, points, due)
        return Placement(begin, segment, salt, parts, start, offset, points)

    def _records(self, batch: PersistBatch, before: int, salt: int, offset: int) -> list[bytes]:
        """What comes before the entries: each record's checksum knows its own offset."""
        records: list[bytes] = []
        if batch.hard_state is not None:
            records.append(encode_hard_state(batch.hard_state, salt, offset))
            offset += len(records[0])
        if (reset := batch.reset) is not None:
            records.append(encode_position(RecordType.RESET, reset.index, reset.term, salt, offset))
        elif before < self._index.last_index:
            term = self._index.term_at(before)
            records.append(encode_position(RecordType.CUT, before, term, salt, offset))
        return records

    def _next_segment(self, number: int) -> NewSegment:
        index = self._index
        salt = salt_of(self._group_id, number)
        header = SegmentHeader(number, index.last_index, index.last_term, self.hard_state)
        return NewSegment(number, salt, encode_segment_header(header, salt))

    def advance(self, placement: Placement, batch: PersistBatch, before: int) -> None:
        """The placement has been queued: from now on the index has it."""
        index = self._index
        if placement.begin is not None:
            index.segments[-1].size += SEALING_SIZE
            index.segments.append(placement.segment)
            self._salt = placement.salt
        placement.segment.size = placement.end
        if batch.hard_state is not None:
            self.hard_state = batch.hard_state
        if batch.reset is not None:
            index.reset(batch.reset.index, batch.reset.term)
        elif before < index.last_index:
            index.cut(before, index.term_at(before))
        if batch.entries:
            index.extend(len(batch.entries), placement.points)
            term = None
            for entry in batch.entries:
                if entry.term != term:
                    term = entry.term
                    index.terms.append(entry.index, term)
