"""What the RPC tests share: the echo service, servers to talk to, in-memory networks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trio.testing
from echo_grpc import EchoBase
from echo_pb2 import EchoReply, EchoRequest

from trioraft.rpc import Cardinality, Channel, Handler, Limits, Service, open_channel, serve

UNARY = "/trioraft.testing.Echo/Unary"
CHAT = "/trioraft.testing.Echo/Chat"


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


class One:
    """A service with one method, given as a function, under the echo service's path."""

    def __init__(
        self,
        handler: Callable[[Any], Any],
        cardinality: Cardinality = Cardinality.UNARY_UNARY,
        path: str = UNARY,
    ) -> None:
        self._handler = Handler(handler, cardinality, EchoRequest, EchoReply)
        self._path = path

    def __mapping__(self) -> dict[str, Handler]:
        return {self._path: self._handler}


def chat(handler: Callable[[Any], Any]) -> One:
    """A service whose bidirectional method is `handler`."""
    return One(handler, Cardinality.STREAM_STREAM, CHAT)


@asynccontextmanager
async def serving(services: Sequence[Service], **options: Any) -> AsyncIterator[str]:
    """A server on a free loopback port; gives `host:port`."""
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(serve, services, port=0, **options))
        yield f"{address[0]}:{address[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(
    services: Sequence[Service], *, limits: Limits | None = None, client: Limits | None = None
) -> AsyncIterator[Channel]:
    """A server on a free loopback port, and a channel to it."""
    async with (
        serving(services, limits=limits) as address,
        open_channel(address, limits=client) as channel,
    ):
        yield channel


class CountingStream(trio.abc.Stream):
    """Passes on to another stream, counting the sends and keeping what was sent."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.sends: list[bytes] = []
        self.peer_address = "memory"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends.append(bytes(data))
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


class MemoryNetwork(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose clients dial by a plain call: no sockets, no threads."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](100)
        self.client_ends: list[CountingStream] = []
        self.server_ends: list[CountingStream] = []

    async def dial(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self.client_ends.append(CountingStream(ours))
        self.server_ends.append(CountingStream(theirs))
        try:
            await self._send.send(self.server_ends[-1])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise OSError("nobody listens") from None
        return self.client_ends[-1]

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._receive.aclose()


@asynccontextmanager
async def in_memory(
    services: Sequence[Service], *, limits: Limits | None = None, client: Limits | None = None
) -> AsyncIterator[tuple[Channel, MemoryNetwork]]:
    """A server and a channel to it over memory streams."""
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, services, listeners=[network], limits=limits))
        async with open_channel("memory", dial=network.dial, limits=client) as channel:
            yield channel, network
        nursery.cancel_scope.cancel()
