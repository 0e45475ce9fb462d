"""The four kinds of calls over a real socket, with generated code as it comes."""

from __future__ import annotations

import pytest
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, running


async def test_unary() -> None:
    async with running([Echo()]) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"hello"))
        assert reply.payload == b"hello"


async def test_server_streaming() -> None:
    async with running([Echo()]) as channel:
        replies = await EchoStub(channel).Expand(EchoRequest(payload=b"x", count=300))
        assert [reply.index for reply in replies] == list(range(300))


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_client_streaming(count: int) -> None:
    async with running([Echo()]) as channel:
        requests = [EchoRequest(payload=b"%d," % i) for i in range(count)]
        reply = await EchoStub(channel).Collect(requests)
        assert reply.index == count
        assert reply.payload == b"".join(request.payload for request in requests)


async def test_bidirectional_streaming_takes_turns() -> None:
    async with running([Echo()]) as channel, EchoStub(channel).Chat.open() as stream:
        for turn in range(10):
            await stream.send_message(EchoRequest(payload=b"%d" % turn))
            reply = await stream.recv_message()
            assert reply is not None
            assert reply.payload == b"%d" % turn
        await stream.end()
        assert await stream.recv_message() is None
