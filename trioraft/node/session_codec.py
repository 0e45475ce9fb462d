"""The session table as bytes: a file of every snapshot, beside the state machine's own.

All numbers are big-endian; nothing may follow. Checksums are the snapshot's business.

    header   "TRSN" | version u8 = 1 | limits: clients, idle entries, foreign calls, reply bytes,
             each u64 | horizon, blind to, settled index, each i64 | clients u32 | replies u32
    client   id length u16 | id | used i64 | floor u64 | calls u32 | (call u64, index i64) ...
    reply    index i64 | length u32 | bytes

Clients come longest idle first, calls and replies in the table's own order, because what is
forgotten next depends on it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain

from trioraft.raft.errors import ConfigurationError
from trioraft.raft.session_ids import birth_of

from .sessions import REPLY_OVERHEAD, ClientRecord, SessionLimits, SessionTable

__all__ = ["SESSIONS_FILE", "SessionsCapture", "decode_sessions", "encode_sessions"]

#: The name of this file in a snapshot.
SESSIONS_FILE = "_sessions"

_MAGIC = b"TRSN"
_HEADER = struct.Struct(">4sBQQQQqqqII")
_ID = struct.Struct(">H")
_CLIENT = struct.Struct(">qQI")
_REPLY = struct.Struct(">qI")
_VERSION = 1
_CHUNK = 64 << 10


class SessionsCapture:
    """The table between two entries, to be encoded beside the applier."""

    def __init__(self, table: SessionTable) -> None:
        """Copies what would change: about a microsecond for a client."""
        limits = table.limits
        self._header = _HEADER.pack(
            _MAGIC,
            _VERSION,
            limits.max_clients,
            limits.idle_entries,
            limits.max_foreign_calls,
            limits.max_reply_bytes,
            table.horizon,
            table.blind_to,
            table.settled,
            len(table.clients),
            len(table.replies),
        )
        self._clients = [
            (client_id, client.used, client.floor, tuple(client.calls.items()))
            for client_id, client in table.clients.items()
        ]
        self._replies = list(table.replies.items())

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces of about 64 KiB that take about a millisecond each."""
        parts, size = [self._header], 0
        for part in chain(map(_encode_client, self._clients), map(_encode_reply, self._replies)):
            parts.append(part)
            size += len(part)
            if size >= _CHUNK:
                yield b"".join(parts)
                parts, size = [], 0
        yield b"".join(parts)


def encode_sessions(table: SessionTable) -> bytes:
    """The table between two entries, at once."""
    return b"".join(SessionsCapture(table).chunks())


def _encode_client(row: tuple[bytes, int, int, tuple[tuple[int, int], ...]]) -> bytes:
    client_id, used, floor, calls = row
    numbers = struct.pack(f">{'Qq' * len(calls)}", *chain.from_iterable(calls))
    return b"".join(
        (_ID.pack(len(client_id)), client_id, _CLIENT.pack(used, floor, len(calls)), numbers)
    )


def _encode_reply(row: tuple[int, bytes]) -> bytes:
    index, reply = row
    return _REPLY.pack(index, len(reply)) + reply


def decode_sessions(data: bytes, limits: SessionLimits) -> SessionTable:
    """Inverse of `encode_sessions`.

    Raises ValueError for other bytes, and ConfigurationError for a table that was kept under
    other limits than this node's: it would not go on as the other replicas do.
    """
    try:
        return _decode(data, limits)
    except (struct.error, IndexError) as error:
        raise ValueError(f"not a session table: {error}") from error


def _decode(data: bytes, limits: SessionLimits) -> SessionTable:
    fields = _HEADER.unpack_from(data)
    magic, version, *found, horizon, blind_to, settled, clients, replies = fields
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(f"not a session table of version {_VERSION}: {data[:5]!r}")
    names = ("max_clients", "idle_entries", "max_foreign_calls", "max_reply_bytes")
    kept_with = SessionLimits(**dict(zip(names, found, strict=True)))
    if kept_with != limits:
        raise ConfigurationError(
            f"session limits: this node is set to {limits}, and the group's snapshot was taken "
            f"with {kept_with}; they must be the same on every node, always"
        )
    table = SessionTable(limits)
    table.horizon, table.blind_to = horizon, blind_to
    offset = _HEADER.size
    for _ in range(clients):
        (size,) = _ID.unpack_from(data, offset)
        offset += _ID.size
        client_id = data[offset : offset + size]
        offset += size
        used, floor, count = _CLIENT.unpack_from(data, offset)
        offset += _CLIENT.size
        numbers = struct.unpack_from(f">{'Qq' * count}", data, offset)
        offset += 16 * count
        calls = dict(zip(numbers[::2], numbers[1::2], strict=True))
        table.clients[client_id] = ClientRecord(birth_of(client_id), used, floor, calls)
    for index, reply in _replies(data, offset, replies):
        table.replies[index] = reply
        table.reply_bytes += len(reply) + REPLY_OVERHEAD
    table.settle_to(settled)
    return table


def _replies(data: bytes, offset: int, count: int) -> Iterator[tuple[int, bytes]]:
    for _ in range(count):
        index, size = _REPLY.unpack_from(data, offset)
        offset += _REPLY.size
        reply = data[offset : offset + size]
        if len(reply) < size:
            raise ValueError("not a session table: it is cut short")
        offset += size
        yield index, reply
    if offset != len(data):
        raise ValueError(f"not a session table: {len(data) - offset} bytes follow it")
