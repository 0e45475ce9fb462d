"""What the tests of Ratis's service and transport share: messages, a stub, a call that fails."""

from __future__ import annotations

from typing import Any

import pytest
from fake_group import GROUP

from trioraft._proto.ratis.grpc_grpc import RaftServerProtocolServiceStub
from trioraft.protocols import dialect
from trioraft.protocols.ratis.header import Route
from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import Configuration, Entry, EntryKind, Member, Session
from trioraft.rpc import GRPCError

RATIS = dialect("ratis")
ROUTE = Route.between(GROUP, "n0", "n1")


def entries(first: int, count: int) -> list[Entry]:
    session = Session(b"0123456789abcdef", 7)
    return [Entry(3, first + i, EntryKind.WRITE, b"w%d" % i, session) for i in range(count)]


def append(prev: int, count: int, **fields: Any) -> AppendRequest:
    return AppendRequest(3, "n0", prev, 3, entries(prev + 1, count), prev, **fields)


def heartbeat(prev: int, round_number: int) -> AppendRequest:
    return AppendRequest(3, "n0", prev, 3, (), prev, round=round_number, heartbeat=True)


def server(channel: Any) -> RaftServerProtocolServiceStub:
    return RaftServerProtocolServiceStub(channel)


async def failed(method: Any, message: Any) -> tuple[GRPCError, dict[str, str]]:
    """Call `method`, which must fail: its status and trailers."""
    stream = method.open()

    async def call() -> None:
        async with stream:
            await stream.send_message(message, end=True)
            await stream.recv_message()

    with pytest.raises(GRPCError) as raised:
        await call()
    return raised.value, dict(stream.trailing_metadata or {})


CONFIGURATION = Configuration((Member("n0", "a:1"), Member("n1", "b:2", 3)))
