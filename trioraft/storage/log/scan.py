"""Reading a log file from front to back, a slice at a time, however long it is.

Recovery and `trioraft log` share it. Blocking: for worker threads and commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from trioraft.storage.filesystem import File

from .record import (
    HEAD,
    MARK_PATTERN,
    MARK_SIZE,
    MAX_BODY,
    BadRecordError,
    decode_mark,
    record_at,
)

__all__ = ["SLICE", "Record", "Rest", "examine_rest", "scan"]

SLICE = 1 << 20  # bytes read at once; more only for a longer record

Record = tuple[int, int, bytes, int, int]
"""(offset in the file, type, data, start of the body in data, its end in data)"""


def scan(file: File, salt: int, start: int, end: int) -> Iterator[Record]:
    """The records in [start, end) of a file, in order, each with its checksum checked.

    Raises BadRecordError at the first bytes that are none, which is where the last record
    ended; OSError.
    """
    data, base, at = b"", start, 0
    head, unpack, seed = HEAD.size, HEAD.unpack_from, salt
    while (offset := base + at) < end:
        if at + head > len(data):
            data, base, at = file.read(min(SLICE, end - offset), offset), offset, 0
            if len(data) < head:
                raise BadRecordError("the file ends inside a record's head")
        crc, length, kind = unpack(data, at)
        if kind == 0:
            raise BadRecordError("no record")  # reserved space is zeros
        body = at + head
        stop = body + length
        if stop > len(data):
            if length > MAX_BODY or offset + head + length > end:
                raise BadRecordError(f"a record of {length} bytes runs past the end of the file")
            wanted = min(max(SLICE, head + length), end - offset)
            data, base, at, body, stop = file.read(wanted, offset), offset, 0, head, head + length
            if stop > len(data):
                raise BadRecordError("the file is shorter than it was")
        if crc32(memoryview(data)[at + 4 : stop], seed ^ offset) != crc:
            raise BadRecordError("checksum mismatch")
        yield offset, kind, data, body, stop
        at = stop


class Rest(NamedTuple):
    """What is behind the last good record."""

    vouched: int  # the highest offset that an intact mark behind it calls durable; 0 if none
    blank: bool  # nothing but zeros: space that was reserved and not used


def examine_rest(file: File, salt: int, start: int, end: int) -> Rest:
    """Look for marks in [start, end), whatever lies between them. Raises OSError."""
    vouched, blank = 0, True
    offset = start
    while offset < end:
        # Slices overlap by almost a mark, so that none is cut in two.
        data = file.read(min(SLICE, end - offset), offset)
        if not data:
            break
        blank = blank and data.count(0) == len(data)
        at = data.find(MARK_PATTERN, 4)
        while at >= 0:
            vouched = max(vouched, _vouched_by(data, at - 4, salt, offset + at - 4))
            at = data.find(MARK_PATTERN, at + 1)
        if offset + len(data) >= end:
            break
        offset += max(len(data) - MARK_SIZE + 1, 1)
    return Rest(vouched, blank)


def _vouched_by(data: bytes, at: int, salt: int, offset: int) -> int:
    try:
        _, body, stop = record_at(data, at, salt, offset)
        return decode_mark(data, body, stop)
    except BadRecordError:
        return 0  # only looks like one, or continues in the next slice
