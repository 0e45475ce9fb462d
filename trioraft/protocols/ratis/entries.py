"""Log entries: LogEntryProto <-> Entry.

| kind          | body                 | Entry.data                                    |
|---------------|----------------------|-----------------------------------------------|
| WRITE         | stateMachineLogEntry | logData; clientId and callId are the session  |
| CONFIGURATION | configurationEntry   | Configuration.encode()                        |
| METADATA      | metadataEntry        | the commit index, 8 bytes, big-endian, signed |
| BLANK         | none exists          |                                               |

An empty body makes a Java peer close its division, so a blank entry is refused here. So does the
empty client id, sixteen zero bytes: a write without a session carries a client id that stands for
nobody, and its index as call id, because peers remember replies by client and call.
"""

from __future__ import annotations

import struct

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.protocols.protobuf import varint
from trioraft.raft.types import FIRST_INDEX, Configuration, Entry, EntryKind, Session

from .members import decode_configuration, encode_configuration

__all__ = ["CLIENT_ID_BYTES", "NOBODY", "decode_entry", "entry_field"]

CLIENT_ID_BYTES = 16
#: The client id of writes without a session.
NOBODY = b"trioraft-nobody!"
_NOBODY_TAIL = b"\x72\x10" + NOBODY + b"\x78"
_COMMIT_INDEX = struct.Struct(">q")
# What stands before the length of the fields that are written by hand: number << 3 | 2.
_ENTRIES = b"\x22"  # AppendEntriesRequestProto
_STATE_MACHINE_LOG_ENTRY = b"\x1a"  # LogEntryProto
_LOG_DATA = b"\x0a"  # StateMachineLogEntryProto
_WRITE = pb.StateMachineLogEntryProto.WRITE
_WRITE_KIND = EntryKind.WRITE
_EMPTY_CLIENT = bytes(CLIENT_ID_BYTES)


def entry_field(entry: Entry) -> bytes:
    """`entry` as one element of AppendEntriesRequestProto.entries, encoded once and then shared.

    Raises ValueError for a blank entry and for a client id that is not 16 bytes.
    """
    field: bytes | None = entry.wire
    if field is None:
        # LogEntryProto: term 1, index 2 (left out when 0), body 3..5
        term, index = varint(entry.term), varint(entry.index) if entry.index else b""
        if entry.kind is _WRITE_KIND:
            field = _write_field(entry, term, index)
        else:
            body = _encode_other(entry).SerializeToString()
            place = b"\x10" + index if index else b""
            size = 1 + len(term) + len(place) + len(body)
            field = b"".join((_ENTRIES, varint(size), b"\x08", term, place, body))
        entry.wire = field
    return field


def _write_field(entry: Entry, term: bytes, index: bytes) -> bytes:
    """By hand, because this is done for every write, and protobuf copies large data three times."""
    data = entry.data
    size = len(data)
    if entry.session is not None:
        tail = _session_tail(entry.index, entry.session)
    else:
        tail = _NOBODY_TAIL + index if index else _NOBODY_TAIL[:-1]
    inner = _LOG_DATA + varint(size) if size else b""
    body = varint(len(inner) + size + len(tail))
    place = b"\x10" + index if index else b""
    whole = varint(2 + len(term) + len(place) + len(body) + len(inner) + size + len(tail))
    return b"".join(
        (_ENTRIES, whole, b"\x08", term, place, _STATE_MACHINE_LOG_ENTRY, body, inner, data, tail)
    )


def _session_tail(index: int, session: Session) -> bytes:
    """clientId 14 and callId 15 of StateMachineLogEntryProto."""
    client_id, call_id = session
    if len(client_id) != CLIENT_ID_BYTES:
        raise ValueError(
            f"entry {index}: client id of {len(client_id)} bytes; Ratis needs {CLIENT_ID_BYTES}"
        )
    tail = b"\x72\x10" + client_id
    return tail + b"\x78" + varint(call_id) if call_id else tail


def _encode_other(entry: Entry) -> pb.LogEntryProto:
    """The body of an entry that is no write, without term and index."""
    if entry.kind is EntryKind.CONFIGURATION:
        configuration = Configuration.decode(entry.data)
        return pb.LogEntryProto(configurationEntry=encode_configuration(configuration))
    if entry.kind is EntryKind.METADATA:
        (commit,) = _COMMIT_INDEX.unpack(entry.data)
        return pb.LogEntryProto(metadataEntry=pb.MetadataProto(commitIndex=commit))
    raise ValueError(f"entry {entry.index}: Ratis has no blank entries")


def decode_entry(proto: pb.LogEntryProto) -> Entry:
    """Raises ValueError for an entry that this node could not keep and pass on unchanged."""
    index = proto.index
    if index < FIRST_INDEX:
        raise ValueError(f"entry index {index} is negative")
    if proto.HasField("stateMachineLogEntry"):
        write = proto.stateMachineLogEntry
        client_id = write.clientId
        session = None if client_id == NOBODY else _decode_session(index, client_id, write.callId)
        if write.type != _WRITE or write.HasField("stateMachineEntry"):
            _check_complete(index, write)
        return Entry(proto.term, index, _WRITE_KIND, write.logData, session)
    body = proto.WhichOneof("LogEntryBody")
    if body == "configurationEntry":
        data = decode_configuration(proto.configurationEntry).encode()
        return Entry(proto.term, index, EntryKind.CONFIGURATION, data)
    if body == "metadataEntry":
        data = _COMMIT_INDEX.pack(proto.metadataEntry.commitIndex)
        return Entry(proto.term, index, EntryKind.METADATA, data)
    raise ValueError(f"entry {index} has no body that this version knows")


def _decode_session(index: int, client_id: bytes, call_id: int) -> Session:
    if len(client_id) != CLIENT_ID_BYTES or client_id == _EMPTY_CLIENT:
        raise ValueError(f"entry {index}: client id {client_id.hex()!r}")
    return Session(client_id, call_id)


def _check_complete(index: int, write: pb.StateMachineLogEntryProto) -> None:
    """Refuse what belongs to features that keep part of a write outside the log.

    Dropping that part would make this replica differ from the others without a sign of it.
    """
    if write.type != _WRITE:
        raise ValueError(f"entry {index}: writes of type {write.type} are not supported")
    if write.stateMachineEntry.stateMachineData:
        raise ValueError(f"entry {index}: state machine data is not supported")
