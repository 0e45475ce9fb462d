"""Reading entries back from the log files. Blocking: runs in a worker thread.

A file is opened by its name for each read: the writer's handle stays the writer's, and a file
that compaction deletes meanwhile is simply gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import Entry
from trioraft.storage.filesystem import FileSystem

from .entries import decode_run
from .index import Span
from .record import HEAD, BadRecordError, salt_of
from .scan import SLICE
from .segments import segment_name

__all__ = ["read_spans"]


def read_spans(
    filesystem: FileSystem, folder: str, group_id: bytes, spans: Sequence[Span], max_bytes: int
) -> list[Entry]:
    """The entries at `spans`, checked, as many as fit into `max_bytes` of data; at least one.

    One read per file. Raises CorruptionError naming file and offset, OSError.
    """
    entries: list[Entry] = []
    for span in spans:
        found = _read_span(filesystem, folder, salt_of(group_id, span.number), span)
        taken = _within(found, max_bytes, at_least=0 if entries else 1)
        entries += found[:taken] if taken < len(found) else found
        if taken < span.high - span.low:
            break
        max_bytes -= sum(len(entry.data) for entry in found)
    return entries


def _within(entries: Sequence[Entry], max_bytes: int, at_least: int) -> int:
    """How many of `entries` have no more than `max_bytes` of data."""
    for count, entry in enumerate(entries):
        max_bytes -= len(entry.data)
        if max_bytes < 0 and count >= at_least:
            return count
    return len(entries)


def _read_span(filesystem: FileSystem, folder: str, salt: int, span: Span) -> list[Entry]:
    path = f"{folder}/{segment_name(span.number)}"
    base = span.blocks[0][1]
    file = filesystem.open(path)
    try:
        data = file.read(span.end - base, base)
        found, at = _decode(path, data, base, salt, span)
        while not found:
            # The first one is longer than what was asked for: its head says how long.
            wanted = min(_end_of_record(data, at), file.size() - base)
            if wanted <= len(data):
                raise CorruptionError(path, base + at, "the file ends inside an entry")
            data += file.read(wanted - len(data), base + len(data))
            found, at = _decode(path, data, base, salt, span)
    finally:
        file.close()
    return found


def _end_of_record(data: bytes, at: int) -> int:
    """Where the record at data[at:] ends, as far as can be told; behind the end of `data`."""
    if at + HEAD.size > len(data):
        return len(data) + SLICE
    return max(at + HEAD.size + int(HEAD.unpack_from(data, at)[1]), len(data) + 1)


def _decode(path: str, data: bytes, base: int, salt: int, span: Span) -> tuple[list[Entry], int]:
    """What of the span is whole in `data`, and where in `data` that ends."""
    found: list[Entry] = []
    at = 0
    for number, (first, offset) in enumerate(span.blocks):
        is_last = number + 1 == len(span.blocks)
        stop = span.high if is_last else span.blocks[number + 1][0]
        try:
            run, at = decode_run(data, offset - base, base, salt, first, stop)
        except BadRecordError as error:
            raise CorruptionError(path, base + error.position, str(error)) from error
        found += run if first >= span.low else run[span.low - first :]
        if len(run) < stop - first:
            break
    return found, at
