"""Reading entries back from the log files. Blocking: runs in a worker thread.

A file is opened by its name for each read: the writer's handle stays the writer's, and a file
that compaction deletes meanwhile is simply gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import Entry

from .filesystem import FileSystem
from .index import Span
from .record import BadRecordError, decode_entry, record_at, salt_of
from .segments import segment_name

__all__ = ["read_spans"]


def read_spans(
    filesystem: FileSystem, folder: str, group_id: bytes, spans: Sequence[Span]
) -> list[Entry]:
    """The entries at `spans`, checked. Raises CorruptionError, OSError."""
    entries: list[Entry] = []
    for span in spans:
        _read_span(filesystem, folder, salt_of(group_id, span.number), span, entries)
    return entries


def _read_span(
    filesystem: FileSystem, folder: str, salt: int, span: Span, entries: list[Entry]
) -> None:
    path = f"{folder}/{segment_name(span.number)}"
    start = span.offsets[0]
    file = filesystem.open(path)
    try:
        data = file.read(span.end - start, start)
    finally:
        file.close()
    for index, offset in enumerate(span.offsets, span.first):
        try:
            _, body, end = record_at(data, offset - start, salt, offset)
            entry = decode_entry(data, body, end)
        except BadRecordError as error:
            raise CorruptionError(path, offset, str(error)) from error
        if entry.index != index:
            raise CorruptionError(path, offset, f"entry {entry.index} is in place of {index}")
        entries.append(entry)
