"""What the tests of peers that break the rules share: bytes out, bytes back, a look at the rest."""

from __future__ import annotations

import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest

from trioraft.rpc import (
    open_channel,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def exchange(address: str, data: bytes) -> bytes:
    """Send raw bytes and read until the server closes."""
    host, port = address.split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        answer = b""
        try:
            await stream.send_all(data)
            while chunk := await stream.receive_some(65536):
                answer += chunk
        except trio.BrokenResourceError:
            pass  # a reset instead of an orderly close is as good
        return answer


async def assert_alive(address: str) -> None:
    async with open_channel(address) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"ok"))
        assert reply.payload == b"ok"
