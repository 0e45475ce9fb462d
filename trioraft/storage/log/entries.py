"""Log entries as records: the two loops that every byte of every write and read goes through.

Both are written for speed, and measured by bench/storage.py: one pack and one checksum per
entry, and no object that is not part of the result.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from zlib import crc32

from trioraft.raft.types import Entry, EntryKind, Session

from .record import HEAD, MAX_BODY, BadRecordError, RecordType, record_at, term_bytes

__all__ = [
    "ENTRY_BODY",
    "POINT_STRIDE",
    "decode_entry",
    "decode_run",
    "encode_entries",
    "entry_position",
]

POINT_STRIDE = 16 << 10  # bytes of records from one entry that the index knows to the next

_MAX_CLIENT_ID = 0xFFFF  # bytes
_JOINED = 4096  # bytes of data up to which it is quicker to copy than to add another part

_CRC = struct.Struct("<I")
_ENTRY = struct.Struct("<IBBBq16s")  # length, type, kind, session form, index, term
ENTRY_BODY = struct.Struct("<BBq16s")  # kind, session form, index, term
_WHOLE = struct.Struct("<IIBBBq16s")  # a record's head and the fixed part of an entry
_SESSION = struct.Struct("<HQ")  # length of client id, call id

_NO_SESSION, _SESSION_UNSIGNED, _SESSION_NEGATIVE = 0, 1, 2
_KINDS = {int(kind): kind for kind in EntryKind}


def encode_entries(
    entries: Sequence[Entry],
    salt: int,
    offset: int,
    parts: list[bytes],
    points: list[tuple[int, int]],
    due: int,
) -> int:
    """Append the records of `entries` to `parts`; returns the offset behind the last.

    offset: where the first one goes in the file.
    points: (index, offset) of the entries that the index is to know: the first one from offset
        `due` on, and then one every `POINT_STRIDE` bytes.
    Raises ValueError for a field out of range, leaving rubbish in the two lists.
    """
    term: int | None = None
    encoded_term = b""
    pack, checksum, append = _ENTRY.pack, _CRC.pack, parts.append
    record_type, fixed, overhead = int(RecordType.ENTRY), ENTRY_BODY.size, _CRC.size
    for entry in entries:
        if entry.term != term:
            term = entry.term
            encoded_term = term_bytes(term)
        if offset >= due:
            points.append((entry.index, offset))
            due = offset + POINT_STRIDE
        data, session = entry.data, entry.session
        length = fixed + len(data)
        if session is None:
            form, suffix = _NO_SESSION, b""
        else:
            form, suffix = _encode_session(session)
            length += len(suffix)
        if length > MAX_BODY:
            raise ValueError(f"entry {entry.index} has {len(data)} bytes; the limit is {MAX_BODY}")
        rest = pack(length, record_type, entry.kind, form, entry.index, encoded_term) + suffix
        if length <= _JOINED:
            rest += data
            append(checksum(crc32(rest, salt ^ offset)) + rest)
            offset += overhead + len(rest)
        else:
            append(checksum(crc32(data, crc32(rest, salt ^ offset))) + rest)
            append(data)
            offset += overhead + len(rest) + len(data)
    return offset


def _encode_session(session: Session) -> tuple[int, bytes]:
    client_id, call_id = session
    if len(client_id) > _MAX_CLIENT_ID:
        raise ValueError(f"client id of {len(client_id)} bytes; the limit is {_MAX_CLIENT_ID}")
    if not -(1 << 63) <= call_id < 1 << 64:
        raise ValueError(f"call id {call_id} does not fit into 64 bits")
    form = _SESSION_NEGATIVE if call_id < 0 else _SESSION_UNSIGNED
    return form, _SESSION.pack(len(client_id), call_id & 0xFFFF_FFFF_FFFF_FFFF) + client_id


def entry_position(data: bytes, body: int, end: int) -> tuple[int, int, int]:
    """(kind, index, term) of the entry in data[body:end]. Raises BadRecordError."""
    if end - body < ENTRY_BODY.size:
        raise BadRecordError("not an entry: its record is too short")
    kind, form, index, term = ENTRY_BODY.unpack_from(data, body)
    if kind not in _KINDS or form > _SESSION_NEGATIVE:
        raise BadRecordError(f"not an entry: kind {kind}, session form {form}")
    return kind, index, int.from_bytes(term, "little")


def decode_entry(data: bytes, body: int, end: int) -> Entry:
    """The entry whose body is data[body:end]. Raises BadRecordError."""
    kind, index, term = entry_position(data, body, end)
    start = body + ENTRY_BODY.size
    session = None
    if (form := data[body + 1]) != _NO_SESSION:
        session, start = _decode_session(data, start, end, form)
    return Entry(term, index, _KINDS[kind], data[start:end], session)


def _decode_session(data: bytes, start: int, end: int, form: int) -> tuple[Session, int]:
    """The session at data[start:], and where it ends. Raises BadRecordError."""
    behind = start + _SESSION.size
    if behind <= end:
        size, call_id = _SESSION.unpack_from(data, start)
        behind += size
        if behind <= end:
            if form == _SESSION_NEGATIVE:
                call_id -= 1 << 64
            return Session(data[behind - size : behind], call_id), behind
    raise BadRecordError("an entry's session does not fit into its record")


def decode_run(
    data: bytes, at: int, base: int, salt: int, expected: int, stop: int
) -> tuple[list[Entry], int]:
    """The entries `expected`, `expected` + 1 ... before `stop` from data[at:], each checked.

    base: offset of data[0] in the file. Records of other types in between are skipped. Returns
    the entries and where the record behind them begins; the list is shorter than asked if
    `data` ends before. Raises BadRecordError, whose `position` is where in `data`.
    """
    view = memoryview(data)
    size = len(data)
    unpack, fixed, entry_type = _WHOLE.unpack_from, _WHOLE.size, int(RecordType.ENTRY)
    behind_crc = _CRC.size
    encoded_term, term = b"", 0
    kinds = _KINDS
    found: list[Entry] = []
    append = found.append
    try:
        while expected < stop and at + fixed <= size:
            crc, length, record_type, kind, form, index, read_term = unpack(data, at)
            if record_type != entry_type:
                if length > MAX_BODY or at + HEAD.size + length > size:
                    if length > MAX_BODY:
                        raise BadRecordError(f"a record of {length} bytes")
                    break
                at = record_at(data, at, salt, base + at)[2]
                continue
            end = at + 9 + length
            if end > size:
                if length > MAX_BODY:
                    raise BadRecordError(f"a record of {length} bytes")
                break
            if crc32(view[at + behind_crc : end], salt ^ (base + at)) != crc:
                raise BadRecordError("checksum mismatch")
            if index != expected:
                raise BadRecordError(f"entry {index} is in place of {expected}")
            if read_term != encoded_term:
                encoded_term, term = read_term, int.from_bytes(read_term, "little")
            start = at + fixed
            if form == _NO_SESSION:
                append(Entry(term, index, kinds[kind], data[start:end]))
            else:
                session, start = _decode_session(data, start, end, form)
                append(Entry(term, index, kinds[kind], data[start:end], session))
            expected += 1
            at = end
    except BadRecordError as error:
        error.position = at
        raise
    except KeyError as error:
        unknown = BadRecordError(f"not an entry: kind {error}")
        unknown.position = at
        raise unknown from error
    return found, at
