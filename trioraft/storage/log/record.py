"""The records of a log file: their bytes, and nothing about files.

    record = crc32 (4) | length of body (4) | type (1) | body          little-endian throughout

The checksum covers everything behind itself and starts from a seed made of the file's salt
(group and segment number) and the record's offset: bytes that strayed here from another group,
segment or place do not pass. docs/storage.md describes the bodies and the reasons.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

from trioraft.raft.types import HardState

__all__ = [
    "FORMAT_VERSION",
    "HEAD",
    "MARK_PATTERN",
    "MARK_SIZE",
    "MAX_BODY",
    "MAX_TERM",
    "SEAL_SIZE",
    "BadRecordError",
    "RecordType",
    "SegmentHeader",
    "decode_hard_state",
    "decode_mark",
    "decode_position",
    "decode_seal",
    "decode_segment_header",
    "encode_hard_state",
    "encode_mark",
    "encode_position",
    "encode_seal",
    "encode_segment_header",
    "record_at",
    "salt_of",
    "term_bytes",
]

FORMAT_VERSION = 2
MAX_BODY = 1 << 30  # bytes; a longer record is refused when written and is damage when read
MAX_TERM = (1 << 128) - 1
_INDEX_RANGE = range(-1, 1 << 63)

_MAGIC = b"trioraft"
_MARK_MAGIC = b"\x89synced\n"

_CRC = struct.Struct("<I")
HEAD = struct.Struct("<IIB")  # crc, length of body, type
_TAIL_OF_HEAD = struct.Struct("<IB")
_MARK = struct.Struct("<IB8sQ")  # length, type, magic, synced
_SEAL = struct.Struct("<Q")  # number of the next file
_POSITION = struct.Struct("<q16s")  # index, term
_SEGMENT = struct.Struct("<8sHQq16s")  # magic, version, number, index and term before

MARK_SIZE = _CRC.size + _MARK.size
SEAL_SIZE = HEAD.size + _SEAL.size


class RecordType(IntEnum):
    SEGMENT = 1  # first record of every file
    MARK = 2  # begins every write: everything before `synced` was durable by then
    HARD_STATE = 3
    RESET = 4  # the log is empty and starts after this position
    CUT = 5  # the log ends at this position; what came after it is replaced
    ENTRY = 6
    SEAL = 7  # ends every file but the newest: the next one exists


# What every mark has behind its checksum: a way to find marks behind rubbish.
MARK_PATTERN = _TAIL_OF_HEAD.pack(_MARK.size - _TAIL_OF_HEAD.size, RecordType.MARK) + _MARK_MAGIC


class BadRecordError(Exception):
    """The bytes at an offset are not a record. The reason is for people.

    position: where in the bytes that were looked at, if it is known.
    """

    position = 0


class SegmentHeader(NamedTuple):
    """What a file needs to stand alone once the files before it are deleted."""

    number: int
    base_index: int
    base_term: int
    hard_state: HardState


def salt_of(group_id: bytes, number: int) -> int:
    """The checksum salt of segment `number` of a group."""
    return crc32(number.to_bytes(8, "little"), crc32(group_id))


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


def encode_seal(successor: int, salt: int, offset: int) -> bytes:
    """The last record of a file once file `successor` is durable."""
    return _encode_record(RecordType.SEAL, _SEAL.pack(successor), salt, offset)


def decode_seal(data: bytes, body: int, end: int) -> int:
    """Number of the file that follows. Raises BadRecordError."""
    if end - body != _SEAL.size:
        raise BadRecordError("a seal of the wrong size")
    return int.from_bytes(data[body:end], "little")


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
    return _encode_record(kind, _POSITION.pack(index, term_bytes(term)), salt, offset)


def decode_position(data: bytes, body: int, end: int) -> tuple[int, int]:
    """(index, term) of a RESET or CUT record. Raises BadRecordError."""
    if end - body != _POSITION.size:
        raise BadRecordError("a log position of the wrong size")
    index, term = _POSITION.unpack_from(data, body)
    return index, int.from_bytes(term, "little")


def encode_segment_header(header: SegmentHeader, salt: int) -> bytes:
    """The first record of a file, at offset 0."""
    body = _SEGMENT.pack(
        _MAGIC, FORMAT_VERSION, header.number, header.base_index, term_bytes(header.base_term)
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
    if len(data) - position < HEAD.size:
        raise BadRecordError("the file ends inside a record's head")
    crc, length, kind = HEAD.unpack_from(data, position)
    if kind == 0:
        raise BadRecordError("no record")  # reserved space is zeros
    body = position + HEAD.size
    end = body + length
    if end > len(data):
        raise BadRecordError(f"a record of {length} bytes runs past the end of the file")
    if crc32(memoryview(data)[position + _CRC.size : end], salt ^ offset) != crc:
        raise BadRecordError("checksum mismatch")
    return kind, body, end


def term_bytes(term: int) -> bytes:
    """The 16 bytes of a term. Raises ValueError if it needs more."""
    if not 0 <= term <= MAX_TERM:
        raise ValueError(f"term {term} does not fit into 128 bits")
    return term.to_bytes(16, "little")


def _hard_state_body(state: HardState) -> bytes:
    vote = state.voted_for
    voted = b"\0" if vote is None else b"\1" + vote.encode("utf-8", "surrogateescape")
    return term_bytes(state.term) + voted
