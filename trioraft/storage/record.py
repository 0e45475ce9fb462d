"""The records of a log file: their bytes, and nothing about files.

    record = crc32 (4) | length of body (4) | type (1) | body          little-endian throughout

The checksum covers everything behind itself and starts from a seed made of the file's salt
(group and segment number) and the record's offset: bytes that strayed here from another group,
segment or place do not pass. docs/storage.md describes the bodies and the reasons.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

from trioraft.raft.types import Entry, EntryKind, HardState, Session

__all__ = [
    "FORMAT_VERSION",
    "MARK_SIZE",
    "MAX_BODY",
    "MAX_TERM",
    "BadRecordError",
    "RecordType",
    "SegmentHeader",
    "decode_entry",
    "decode_hard_state",
    "decode_mark",
    "decode_position",
    "decode_segment_header",
    "encode_entries",
    "encode_hard_state",
    "encode_mark",
    "encode_position",
    "encode_segment_header",
    "record_at",
    "salt_of",
    "valid_marks",
]

FORMAT_VERSION = 1
MAX_BODY = 1 << 30  # bytes; a longer record is refused when written and is damage when read
MAX_TERM = (1 << 128) - 1
_MAX_CLIENT_ID = 0xFFFF  # bytes
_INDEX_RANGE = range(-1, 1 << 63)

_MAGIC = b"trioraft"
_MARK_MAGIC = b"\x89synced\n"

_CRC = struct.Struct("<I")
_HEAD = struct.Struct("<IIB")  # crc, length of body, type
_TAIL_OF_HEAD = struct.Struct("<IB")
_ENTRY = struct.Struct("<IBBBq16s")  # length, type, kind, session form, index, term
_ENTRY_BODY = struct.Struct("<BBq16s")
_SESSION = struct.Struct("<HQ")  # length of client id, call id
_MARK = struct.Struct("<IB8sQ")  # length, type, magic, synced
_POSITION = struct.Struct("<q16s")  # index, term
_SEGMENT = struct.Struct("<8sHQq16s")  # magic, version, number, index and term before

MARK_SIZE = _CRC.size + _MARK.size

_NO_SESSION, _SESSION_UNSIGNED, _SESSION_NEGATIVE = 0, 1, 2


class RecordType(IntEnum):
    SEGMENT = 1  # first record of every file
    MARK = 2  # begins every write: everything before `synced` was durable by then
    HARD_STATE = 3
    RESET = 4  # the log is empty and starts after this position
    CUT = 5  # the log ends at this position; what came after it is replaced
    ENTRY = 6


class BadRecordError(Exception):
    """The bytes at an offset are not a record. The reason is for people."""


class SegmentHeader(NamedTuple):
    """What a file needs to stand alone once the files before it are deleted."""

    number: int
    base_index: int
    base_term: int
    hard_state: HardState


def salt_of(group_id: bytes, number: int) -> int:
    """The checksum salt of segment `number` of a group."""
    return crc32(number.to_bytes(8, "little"), crc32(group_id))


def encode_entries(
    entries: Sequence[Entry], salt: int, offset: int, parts: list[bytes], offsets: array[int]
) -> int:
    """Append the records of `entries` to `parts` and where each begins to `offsets`.

    `offset` is where the first one goes in the file; returns the offset behind the last.
    Raises ValueError for a field out of range, leaving rubbish in the two lists.
    """
    term: int | None = None
    term_bytes = b""
    for entry in entries:
        if entry.term != term:
            term = entry.term
            term_bytes = _encode_term(term)
        data, session = entry.data, entry.session
        length = _ENTRY_BODY.size + len(data)
        if session is None:
            form, suffix = _NO_SESSION, b""
        else:
            form, suffix = _encode_session(session)
            length += len(suffix)
        if length > MAX_BODY:
            raise ValueError(f"entry {entry.index} has {len(data)} bytes; the limit is {MAX_BODY}")
        head = (
            _ENTRY.pack(length, RecordType.ENTRY, entry.kind, form, entry.index, term_bytes)
            + suffix
        )
        parts += (_CRC.pack(crc32(data, crc32(head, salt ^ offset))), head, data)
        offsets.append(offset)
        offset += _HEAD.size + length
    return offset


def _encode_session(session: Session) -> tuple[int, bytes]:
    client_id, call_id = session
    if len(client_id) > _MAX_CLIENT_ID:
        raise ValueError(f"client id of {len(client_id)} bytes; the limit is {_MAX_CLIENT_ID}")
    if not -(1 << 63) <= call_id < 1 << 64:
        raise ValueError(f"call id {call_id} does not fit into 64 bits")
    form = _SESSION_NEGATIVE if call_id < 0 else _SESSION_UNSIGNED
    return form, _SESSION.pack(len(client_id), call_id & 0xFFFF_FFFF_FFFF_FFFF) + client_id


def decode_entry(data: bytes, body: int, end: int) -> Entry:
    """The entry whose body is data[body:end]. Raises BadRecordError."""
    try:
        kind, form, index, term = _ENTRY_BODY.unpack_from(data, body)
        start = body + _ENTRY_BODY.size
        session = None
        if form != _NO_SESSION:
            size, call_id = _SESSION.unpack_from(data, start)
            start += _SESSION.size + size
            if form == _SESSION_NEGATIVE:
                call_id -= 1 << 64
            session = Session(data[start - size : start], call_id)
        if start > end or form > _SESSION_NEGATIVE:
            raise BadRecordError("an entry's session does not fit into its record")
        return Entry(int.from_bytes(term, "little"), index, _KINDS[kind], data[start:end], session)
    except (struct.error, KeyError) as error:
        raise BadRecordError(f"not an entry: {error}") from error


_KINDS = {int(kind): kind for kind in EntryKind}


def _encode_record(kind: RecordType, body: bytes, salt: int, offset: int) -> bytes:
    rest = _TAIL_OF_HEAD.pack(len(body), kind) + body
    return _CRC.pack(crc32(rest, salt ^ offset)) + rest


def encode_mark(synced: int, salt: int, offset: int) -> bytes:
    """The mark at `offset`: everything before `synced` in this file was durable by now."""
    rest = _MARK.pack(_MARK.size - _TAIL_OF_HEAD.size, RecordType.MARK, _MARK_MAGIC, synced)
    return _CRC.pack(crc32(rest, salt ^ offset)) + rest


def decode_mark(data: bytes, body: int, end: int) -> int:
    """`synced` of a mark. Raises BadRecordError."""
    if end - body != _MARK.size - _TAIL_OF_HEAD.size:
        raise BadRecordError("a mark of the wrong size")
    return int.from_bytes(data[end - 8 : end], "little")


def encode_hard_state(state: HardState, salt: int, offset: int) -> bytes:
    return _encode_record(RecordType.HARD_STATE, _hard_state_body(state), salt, offset)


def decode_hard_state(data: bytes, body: int, end: int) -> HardState:
    """Raises BadRecordError."""
    if end - body < 17 or data[body + 16] > 1:
        raise BadRecordError("not a hard state")
    term = int.from_bytes(data[body : body + 16], "little")
    if not data[body + 16]:
        return HardState(term)
    return HardState(term, data[body + 17 : end].decode("utf-8", "surrogateescape"))


def encode_position(kind: RecordType, index: int, term: int, salt: int, offset: int) -> bytes:
    """A RESET or CUT record. Raises ValueError for a term or index out of range."""
    if index not in _INDEX_RANGE:
        raise ValueError(f"index {index} does not fit into signed 64 bits")
    return _encode_record(kind, _POSITION.pack(index, _encode_term(term)), salt, offset)


def decode_position(data: bytes, body: int, end: int) -> tuple[int, int]:
    """(index, term) of a RESET or CUT record. Raises BadRecordError."""
    if end - body != _POSITION.size:
        raise BadRecordError("a log position of the wrong size")
    index, term = _POSITION.unpack_from(data, body)
    return index, int.from_bytes(term, "little")


def encode_segment_header(header: SegmentHeader, salt: int) -> bytes:
    """The first record of a file, at offset 0."""
    body = _SEGMENT.pack(
        _MAGIC, FORMAT_VERSION, header.number, header.base_index, _encode_term(header.base_term)
    )
    return _encode_record(RecordType.SEGMENT, body + _hard_state_body(header.hard_state), salt, 0)


def decode_segment_header(data: bytes, body: int, end: int) -> SegmentHeader:
    """Raises BadRecordError."""
    if end - body < _SEGMENT.size:
        raise BadRecordError("not a segment header")
    magic, version, number, index, term = _SEGMENT.unpack_from(data, body)
    if magic != _MAGIC:
        raise BadRecordError("not a log of trioraft")
    if version != FORMAT_VERSION:
        raise BadRecordError(f"format {version}; this version of trioraft reads {FORMAT_VERSION}")
    hard_state = decode_hard_state(data, body + _SEGMENT.size, end)
    return SegmentHeader(number, index, int.from_bytes(term, "little"), hard_state)


def record_at(data: bytes, position: int, salt: int, offset: int) -> tuple[int, int, int]:
    """(type, start of body, end) of the record at data[position:], `offset` in its file.

    Raises BadRecordError if it is not whole or its checksum does not match.
    """
    if len(data) - position < _HEAD.size:
        raise BadRecordError("the file ends inside a record's head")
    crc, length, kind = _HEAD.unpack_from(data, position)
    if kind == 0:
        raise BadRecordError("no record")  # reserved space is zeros
    body = position + _HEAD.size
    end = body + length
    if end > len(data):
        raise BadRecordError(f"a record of {length} bytes runs past the end of the file")
    if crc32(memoryview(data)[position + _CRC.size : end], salt ^ offset) != crc:
        raise BadRecordError("checksum mismatch")
    return kind, body, end


def valid_marks(data: bytes, start: int, salt: int) -> list[tuple[int, int]]:
    """(offset, synced) of every intact mark at or behind `start`, whatever lies between."""
    needle = _TAIL_OF_HEAD.pack(_MARK.size - _TAIL_OF_HEAD.size, RecordType.MARK) + _MARK_MAGIC
    found = []
    at = data.find(needle, start + _CRC.size)
    while at >= 0:
        offset = at - _CRC.size
        try:
            _, body, end = record_at(data, offset, salt, offset)
            found.append((offset, decode_mark(data, body, end)))
        except BadRecordError:
            pass  # only looks like one
        at = data.find(needle, at + 1)
    return found


def _encode_term(term: int) -> bytes:
    if not 0 <= term <= MAX_TERM:
        raise ValueError(f"term {term} does not fit into 128 bits")
    return term.to_bytes(16, "little")


def _hard_state_body(state: HardState) -> bytes:
    vote = state.voted_for
    voted = b"\0" if vote is None else b"\1" + vote.encode("utf-8", "surrogateescape")
    return _encode_term(state.term) + voted
