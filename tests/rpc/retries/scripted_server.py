"""A gRPC server by hand: each request is answered by a script, frame by frame."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import trio
from echo_service import MemoryNetwork

from trioraft.rpc import Channel, Dial, Limits, Status, open_channel
from trioraft.rpc.wire.http2 import (
    Connection,
    DataReceived,
    ErrorCode,
    Http2Error,
    RequestReceived,
    StreamClosed,
    server_engine,
)

RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]

Script: TypeAlias = "Callable[[Request], Awaitable[None]]"


class Request:
    """One stream that a client has opened, and how to answer it."""

    def __init__(self, server: ScriptedServer, connection: Peer, number: int, event: Any) -> None:
        self._server = server
        self.connection = connection
        #: Of all requests that the server has seen, from 0.
        self.number = number
        self.id: int = event.stream_id
        self.headers = dict(event.headers)
        self.at = trio.current_time()
        self.data = b""
        self.ended = trio.Event()
        self.closed = trio.Event()
        self.code: int | None = None

    @property
    def messages(self) -> list[bytes]:
        """The messages that have come, without their prefixes."""
        found, data = [], self.data
        while data:
            size = int.from_bytes(data[1:5], "big")
            found.append(data[5 : 5 + size])
            data = data[5 + size :]
        return found

    async def headers_only(self) -> None:
        """Send the response headers."""
        self.connection.engine.send_response(self.id, RESPONSE)
        await self.connection.flush()

    async def say(self, message: bytes) -> None:
        """Send one message; the response headers are sent."""
        data = b"\0" + len(message).to_bytes(4, "big") + message
        self.connection.engine.send_data(self.id, data)
        await self.connection.flush()

    async def end(self, status: Status = Status.OK) -> None:
        """Send the trailers."""
        fields = [(b"grpc-status", str(status.value).encode())]
        self.connection.engine.send_trailers(self.id, fields)
        await self.connection.flush()

    async def reply(self, message: bytes = b"ok") -> None:
        """A whole answer: headers, one message, OK."""
        await self.headers_only()
        await self.say(message)
        await self.end()

    async def fail(self, status: Status, pushback: bytes | None = None, text: bytes = b"") -> None:
        """Answer with trailers only."""
        fields = [(b"grpc-status", str(status.value).encode())]
        if text:
            fields.append((b"grpc-message", text))
        if pushback is not None:
            fields.append((b"grpc-retry-pushback-ms", pushback))
        self.connection.engine.send_response(self.id, RESPONSE + fields, end_stream=True)
        await self.connection.flush()

    async def reset(self, code: int) -> None:
        """RST_STREAM."""
        self.connection.engine.reset_stream(self.id, code)
        await self.connection.flush()

    async def refuse(self) -> None:
        """RST_STREAM with REFUSED_STREAM: no handler has seen it."""
        await self.reset(ErrorCode.REFUSED_STREAM)

    async def leave(self, last: int = 0) -> None:
        """GOAWAY: streams above `last` were not looked at."""
        self.connection.engine.send_goaway(last_stream_id=last)
        await self.connection.flush()


class Peer:
    """One accepted connection."""

    def __init__(self, server: ScriptedServer, stream: trio.abc.Stream, number: int) -> None:
        self._server = server
        self.stream = stream
        self.number = number
        self.engine: Connection = server_engine(server.limits)
        self._requests: dict[int, Request] = {}
        self._sending = trio.Lock()

    async def flush(self) -> None:
        """Send what the engine has."""
        async with self._sending:
            while data := self.engine.data_to_send():
                try:
                    await self.stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    async def run(self) -> None:
        """Until the client goes away."""
        try:
            async with trio.open_nursery() as nursery:
                await self.flush()
                while data := await self.stream.receive_some():
                    try:
                        self.engine.receive_data(data)
                    except Http2Error:
                        continue  # what still comes after the last GOAWAY is not looked at
                    for event in self.engine.events():
                        self._on_event(event, nursery)
                    await self.flush()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(self.stream)

    def _on_event(self, event: Any, nursery: trio.Nursery) -> None:
        if isinstance(event, RequestReceived):
            request = Request(self._server, self, len(self._server.requests), event)
            self._requests[event.stream_id] = request
            self._server.requests.append(request)
            if event.end_stream:
                request.ended.set()
            nursery.start_soon(self._server.script, request)
        elif isinstance(event, DataReceived):
            request = self._requests[event.stream_id]
            request.data += event.data
            self.engine.acknowledge_received_data(len(event.data), event.stream_id)
            if event.end_stream:
                request.ended.set()
        elif isinstance(event, StreamClosed) and event.stream_id in self._requests:
            request = self._requests[event.stream_id]
            request.code = event.error_code
            request.closed.set()


class ScriptedServer:
    """Runs `script` for every request, on any number of connections."""

    def __init__(self, script: Script, limits: Limits) -> None:
        self.script = script
        self.limits = limits
        self.requests: list[Request] = []
        self.connections: list[Peer] = []
        #: How other channels get here, if it is not by TCP.
        self.dial: Dial | None = None

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection."""
        peer = Peer(self, stream, len(self.connections))
        self.connections.append(peer)
        await peer.run()


@asynccontextmanager
async def scripted(
    script: Script,
    *,
    tcp: bool = False,
    limits: Limits | None = None,
    channel_limits: Limits | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Channel, ScriptedServer]]:
    """A channel (`options` are its own) to a server that does what `script` says."""
    server = ScriptedServer(script, limits or Limits())
    options["limits"] = channel_limits
    async with trio.open_nursery() as nursery:
        if tcp:
            serve = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            target = f"127.0.0.1:{listener.socket.getsockname()[1]}"
            channel = open_channel(target, **options)
        else:
            network = MemoryNetwork()
            server.dial = network.dial
            nursery.start_soon(partial(trio.serve_listeners, server.serve, [network]))
            channel = open_channel("scripted", dial=network.dial, **options)
        async with channel:
            yield channel, server
        nursery.cancel_scope.cancel()
