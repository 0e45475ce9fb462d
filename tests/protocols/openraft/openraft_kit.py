"""What the tests of openraft's service and transport share: messages, and calls by hand."""

from __future__ import annotations

from typing import Any

import msgpack
from peer_wire import Wire

from trioraft.protocols import dialect
from trioraft.protocols.openraft.payload import wrap
from trioraft.protocols.openraft.terms import pack_term
from trioraft.raft.messages import (
    AppendRequest,
)
from trioraft.raft.types import (
    Entry,
    EntryKind,
    Session,
)
from trioraft.rpc import Cardinality, ClientStream, Encoded

OPENRAFT = dialect("openraft")
SERVICE = "/coordinode.v1.replication.RaftService/"
T3, T5 = pack_term(3, 1), pack_term(5, 1)
OK_NONE = bytes.fromhex("81a24f6bc0")


def entries(first: int, count: int) -> list[Entry]:
    session = Session(b"client", 7)
    return [Entry(T3, first + i, EntryKind.WRITE, b"w%d" % i, session) for i in range(count)]


def append(prev: int, count: int, **fields: Any) -> AppendRequest:
    prev_term = T3 if prev >= 0 else 0
    return AppendRequest(T3, "1", prev, prev_term, entries(prev + 1, count), prev, **fields)


def raw(wire: Wire, method: str, cardinality: Cardinality) -> ClientStream[Any, Any]:
    return wire.channel.request(SERVICE + method, cardinality, Encoded, Encoded)


async def unary(wire: Wire, method: str, body: Encoded) -> bytes:
    async with raw(wire, method, Cardinality.UNARY_UNARY) as stream:
        await stream.send_message(body, end=True)
        answer: bytes | None = await stream.recv_message()
        assert answer is not None
        return answer


def append_bytes(prev: object, *extra: object, commit: object = None) -> Encoded:
    return wrap(msgpack.packb([[[3, 1], True], prev, list(extra), commit]))
