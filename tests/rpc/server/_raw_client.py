"""A client of bare HTTP/2 frames, to see what a server says about its connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from echo_pb2 import EchoRequest
from echo_service import UNARY

from trioraft.rpc import Limits, Service, open_server
from trioraft.rpc.server.server import Server
from trioraft.rpc.testing import MemoryListener
from trioraft.rpc.wire.http2 import GoAwayReceived, Http2Error, PingReceived, client_engine

MAX_STREAM_ID = 2**31 - 1


class RawClient:
    """Answers nothing by itself but what the engine does: SETTINGS and, if it `pongs`, PING."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.engine = client_engine(Limits())
        self.stream = stream
        self.events: list[Any] = []
        self.times: list[float] = []
        self.pongs = True
        self.closed_at: float | None = None
        self._news = trio.Event()
        self._sending = trio.Lock()

    def goaways(self) -> list[tuple[int, int, bytes]]:
        """Last stream id, code and text of each GOAWAY."""
        return [
            (event.last_stream_id, event.error_code, event.debug_data)
            for event in self.events
            if isinstance(event, GoAwayReceived)
        ]

    def pings(self) -> list[float]:
        """When the server has pinged."""
        return [
            at
            for at, event in zip(self.times, self.events, strict=True)
            if isinstance(event, PingReceived)
        ]

    def statuses(self) -> dict[int, tuple[int, str]]:
        """Status and message by stream."""
        found = {}
        for event in self.events:
            fields = dict(getattr(event, "headers", ()))
            if b"grpc-status" in fields:
                message = fields.get(b"grpc-message", b"").decode()
                found[event.stream_id] = int(fields[b"grpc-status"]), message
        return found

    async def flush(self) -> None:
        """Send what the engine has."""
        async with self._sending:
            data = self.engine.data_to_send()
            if not self.pongs:
                data = _without_pongs(data)
            if data:
                await self.stream.send_all(data)

    async def request(self, path: str = UNARY, *, end: bool = False) -> int:
        """Begin a call; with `end` a unary one, complete."""
        stream_id = self.engine.send_request(
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", path.encode()),
                (b":authority", b"test"),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
            ]
        )
        if end:
            data = EchoRequest(payload=b"x").SerializeToString()
            prefix = b"\0" + len(data).to_bytes(4, "big")
            self.engine.send_data(stream_id, prefix + data, end_stream=True)
        await self.flush()
        return stream_id

    async def ping(self) -> None:
        self.engine.ping(b"12345678")
        await self.flush()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something has come that makes `condition` true."""
        while not condition():
            assert self.closed_at is None, (self.events, "and then the end")
            await self._news.wait()

    async def until_closed(self) -> float:
        """Wait until the server has closed the connection; gives the time."""
        while self.closed_at is None:
            await self._news.wait()
        return self.closed_at

    async def run(self) -> None:
        try:
            await self.flush()
            while data := await self.stream.receive_some():
                self.engine.receive_data(data)
                found = self.engine.events()
                self.events += found
                self.times += [trio.current_time()] * len(found)
                self._tell()
                await self.flush()
                if not self.engine.want_read and not self.engine.want_write:
                    break  # GOAWAY, and no calls: clients close then
        except (trio.BrokenResourceError, Http2Error):
            self._tell()
        self.closed_at = trio.current_time()
        self._tell()
        await self.stream.aclose()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


def _without_pongs(data: bytes) -> bytes:
    """Drop PING frames with ACK. What the engine gives are whole frames (but for the preface)."""
    kept, position = bytearray(), 24 if data.startswith(b"PRI") else 0
    kept += data[:position]
    while position < len(data):
        end = position + 9 + int.from_bytes(data[position : position + 3], "big")
        if not (data[position + 3] == 6 and data[position + 4] & 1):
            kept += data[position:end]
        position = end
    return bytes(kept)


@asynccontextmanager
async def raw_client(dial: Callable[[], Awaitable[trio.abc.Stream]]) -> AsyncIterator[RawClient]:
    """One connection, greeted: the server's SETTINGS are here."""
    async with trio.open_nursery() as nursery:
        client = RawClient(await dial())
        nursery.start_soon(client.run)
        await client.until(lambda: client.events)
        yield client
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(client.stream)


@asynccontextmanager
async def raw(
    services: Sequence[Service], **options: Any
) -> AsyncIterator[tuple[Server, RawClient, MemoryListener]]:
    """A server in memory and a raw client of it."""
    listener = MemoryListener()
    async with open_server(services, listeners=[listener], **options) as server:
        async with raw_client(partial(listener.dial)) as client:
            yield server, client, listener
