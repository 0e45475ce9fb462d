"""Log entries, and what they carry.

| kind          | payload        | Entry.data                                     |
|---------------|----------------|------------------------------------------------|
| WRITE         | Normal(D)      | see below                                      |
| CONFIGURATION | Membership(..) | Configuration.encode()                         |
| BLANK         | Blank          | empty                                          |
| METADATA      | none exists    |                                                |

D is whatever the application of a cluster serializes. trioraft's own writes are

    bin data                         a write without a session
    [bin client, int call, bin data] a write with one
    [nil, 0, bin data]               a write without one whose data begins with the byte C1

and any other D, of an application that is not ours, is kept as it came: its msgpack behind the
byte C1, which begins no msgpack value, is the entry's data, and goes out again byte for byte.
"""

from __future__ import annotations

import msgpack

from trioraft.raft.types import Configuration, Entry, EntryKind, Session

from .membership import membership_value, read_membership
from .values import log_id_value, pack, read_log_id, reader, variant

__all__ = ["FOREIGN", "encode_entry", "read_entry"]

#: First byte of the data of an entry whose D is not ours.
FOREIGN = b"\xc1"

_PAYLOADS = ("Blank", "Normal", "Membership")
_ENTRY = 0x92  # an array of two
_NORMAL = b"\x81\xa6Normal"
_BIN_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # marker to bytes of length
_TRIPLE = 0x93
_TRIPLE_FIRST = {*_BIN_SIZES, 0xC0}


def encode_entry(entry: Entry) -> bytes:
    """The entry as msgpack, encoded once and then shared. Raises ValueError for METADATA."""
    encoded: bytes | None = entry.wire
    if encoded is None:
        log_id = log_id_value(entry.term, entry.index)
        if entry.kind is EntryKind.WRITE:
            application = _encode_application(entry.data, entry.session)
            encoded = b"\x92" + pack(log_id) + _NORMAL + application
        elif entry.kind is EntryKind.CONFIGURATION:
            membership = membership_value(Configuration.decode(entry.data))
            encoded = pack([log_id, {"Membership": membership}])
        elif entry.kind is EntryKind.BLANK:
            encoded = pack([log_id, "Blank"])
        else:
            raise ValueError(f"entry {entry.index}: openraft has no metadata entries")
        entry.wire = encoded
    return encoded


def read_entry(unpacker: msgpack.Unpacker, data: bytes) -> Entry:
    """The entry that `unpacker`, which runs over `data`, comes to. Raises ValueError."""
    if _next_byte(unpacker, data) == _ENTRY:
        unpacker.read_array_header()
        term, index = read_log_id(unpacker.unpack())
        kind, content, session = _read_payload(unpacker, data)
    else:
        term, index, (kind, content, session) = _read_named(unpacker, data)
    if index < 0:
        raise ValueError("an entry without a log id")
    return Entry(term, index, kind, content, session)


def _next_byte(unpacker: msgpack.Unpacker, data: bytes) -> int:
    """The byte that `unpacker` comes to. Raises ValueError at the end."""
    place: int = unpacker.tell()
    if place >= len(data):
        raise ValueError("the entries are cut off")
    return data[place]


def _read_named(
    unpacker: msgpack.Unpacker, data: bytes
) -> tuple[int, int, tuple[EntryKind, bytes, Session | None]]:
    """An entry written as a map of its fields."""
    position = payload = None
    for _ in range(unpacker.read_map_header()):
        name = unpacker.unpack()
        if name == "log_id":
            position = read_log_id(unpacker.unpack())
        elif name == "payload":
            payload = _read_payload(unpacker, data)
        else:
            unpacker.skip()
    if position is None or payload is None:
        raise ValueError("an entry has a log_id and a payload")
    return *position, payload


def _read_payload(
    unpacker: msgpack.Unpacker, data: bytes
) -> tuple[EntryKind, bytes, Session | None]:
    if _next_byte(unpacker, data) != 0x81:
        name, _ = variant(unpacker.unpack(), _PAYLOADS)
    else:
        unpacker.read_map_header()
        name = unpacker.unpack()
        if name != "Normal":
            name, _ = variant(name, _PAYLOADS)
        if name == "Normal":
            start = unpacker.tell()
            unpacker.skip()
            return EntryKind.WRITE, *_read_application(data[start : unpacker.tell()])
        content = unpacker.unpack()
        if name == "Membership":
            return EntryKind.CONFIGURATION, read_membership(content).encode(), None
    if name != "Blank":
        raise ValueError(f"payload {name} without content")
    return EntryKind.BLANK, b"", None


# ---- D


def _encode_application(data: bytes, session: Session | None) -> bytes:
    if session is not None:
        return pack([session.client_id, session.call_id, data])
    if not data.startswith(FOREIGN):
        return pack(data)
    raw = data[1:]
    return raw if _is_value(raw) and _own(raw) is None else pack([None, 0, data])


def _read_application(raw: bytes) -> tuple[bytes, Session | None]:
    own = _own(raw)
    return (FOREIGN + raw, None) if own is None else own


def _own(raw: bytes) -> tuple[bytes, Session | None] | None:
    """(data, session) if `raw` is one of our forms exactly as we write it, else None."""
    marker = raw[0]
    if marker in _BIN_SIZES:
        data = raw[1 + _BIN_SIZES[marker] :]
        return None if data.startswith(FOREIGN) or pack(data) != raw else (data, None)
    # A triple of ours begins with bytes or nil: most others need not be unpacked to tell.
    if marker != _TRIPLE or raw[1] not in _TRIPLE_FIRST:
        return None
    try:
        client_id, call_id, data = msgpack.unpackb(raw, raw=False, strict_map_key=False)
    except (ValueError, TypeError):
        return None  # a value of another application that Python cannot represent
    if type(data) is not bytes or type(call_id) is not int or call_id < 0:
        return None
    if pack([client_id, call_id, data]) != raw:
        return None
    if client_id is not None:
        return data, Session(client_id, call_id)
    return (data, None) if call_id == 0 and data.startswith(FOREIGN) else None


def _is_value(raw: bytes) -> bool:
    """Whether `raw` is exactly one msgpack value."""
    try:
        with reader(raw) as unpacker:
            unpacker.skip()
    except ValueError:
        return False
    return True
