"""The echo service that the RPC tests talk to, and a server with a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from echo_grpc import EchoBase
from echo_pb2 import EchoReply

from trioraft.rpc import Channel, Limits, Service, open_channel, serve


class Echo(EchoBase):
    """Each method as its proto comment says."""

    async def Unary(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(EchoReply(payload=request.payload))

    async def Expand(self, stream: Any) -> None:
        request = await stream.recv_message()
        for index in range(request.count):
            await stream.send_message(EchoReply(payload=request.payload, index=index))

    async def Collect(self, stream: Any) -> None:
        payloads = [request.payload async for request in stream]
        await stream.send_message(EchoReply(payload=b"".join(payloads), index=len(payloads)))

    async def Chat(self, stream: Any) -> None:
        async for request in stream:
            await stream.send_message(EchoReply(payload=request.payload))


@asynccontextmanager
async def running(
    services: Sequence[Service], *, limits: Limits | None = None, client: Limits | None = None
) -> AsyncIterator[Channel]:
    """A server on a free loopback port, and a channel to it."""
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(
            partial(serve, services, host="127.0.0.1", port=0, limits=limits)
        )
        async with open_channel(f"{address[0]}:{address[1]}", limits=client) as channel:
            yield channel
        nursery.cancel_scope.cancel()
