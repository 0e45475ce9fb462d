"""A server whose HTTP/2 is trying: `python -m _grpc.bad_server --port=8080 --test_case=goaway`.

Each case is one of doc/negative-http2-interop-test-descriptions.md in grpc/grpc, whose own server
(test/http2_test) this one stands for. HTTP/2 is done by the h2 library, so that neither code of
ours nor the engine below it decides what is on the wire.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RequestReceived,
    StreamEnded,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from ._gen.grpc_testing_pb2 import SimpleRequest, SimpleResponse
from .flags import add_flag
from .payloads import payload

MAX_FRAME = 16_384
#: In the cases about padding, frames have so few bytes of data, and so many of padding.
FEW, PADDING = 5, 255
#: How long a call takes in the case about limits: long enough for others to be in its way.
SLOW = 0.02


@dataclass
class Record:
    """What a server has seen."""

    connections: int = 0
    calls: list[tuple[int, int]] = field(default_factory=list)  # (connection, stream)
    unanswered_pings: int = 0
    most_streams: int = 0
    violations: list[str] = field(default_factory=list)


class BadConnection:
    """One connection. Each complete request is answered as the case has it, in a task."""

    def __init__(self, stream: trio.abc.Stream, behave: Behaviour, record: Record) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.leaving = False
        self.record = record
        self._stream = stream
        self._behave = behave
        self._sending = trio.Lock()
        self._window_opened = trio.lowlevel.ParkingLot()
        self._requests: dict[int, bytearray] = {}
        self._open = 0
        self._unsent = False
        record.connections += 1
        self._number = record.connections

    async def run(self, settings: dict[SettingCodes | int, int]) -> None:
        """Serve until the client goes."""
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(settings)
        async with self._stream, trio.open_nursery() as nursery:
            await self.flush()
            while data := await self._receive():
                if self.leaving:
                    continue  # taken from the socket and dropped, so that the client sees our end
                try:
                    events = self.h2.receive_data(data)
                except ProtocolError as error:
                    self.record.violations.append(repr(error))
                    break
                for event in events:
                    self._on_event(event, nursery)
                await self.flush()
            nursery.cancel_scope.cancel()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(65_536))
        except trio.BrokenResourceError:
            return b""

    def _on_event(self, event: Event, nursery: trio.Nursery) -> None:
        if isinstance(event, RequestReceived):
            self._requests[event.stream_id] = bytearray()
            self._open += 1
            self.record.most_streams = max(self.record.most_streams, self._open)
        elif isinstance(event, DataReceived):
            self._requests[event.stream_id] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.record.calls.append((self._number, event.stream_id))
            request = SimpleRequest.FromString(bytes(self._requests.pop(event.stream_id)[5:]))
            nursery.start_soon(self._answer, event.stream_id, request)
        elif isinstance(event, WindowUpdated):
            self._window_opened.unpark_all()
        elif isinstance(event, PingAckReceived):
            self.record.unanswered_pings -= 1

    async def _answer(self, stream_id: int, request: SimpleRequest) -> None:
        try:
            await self._behave(self, stream_id, framed(request.response_size))
        except trio.BrokenResourceError:
            return  # the client has gone

    # ---- what behaviours are made of ---------------------------------------------------------

    async def flush(self) -> None:
        """Send what h2 has."""
        async with self._sending:
            self._unsent = False
            data = self.h2.data_to_send()
            if data:
                await self._stream.send_all(data)

    async def headers(self, stream_id: int) -> None:
        self.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        await self.flush()

    async def data(
        self, stream_id: int, data: bytes, *, size: int = MAX_FRAME, padding: int | None = None
    ) -> None:
        """DATA frames of `size` bytes, each with `padding`, as the client's windows allow."""
        extra = 0 if padding is None else padding + 1
        for position in range(0, len(data), size):
            piece = data[position : position + size]
            while self.h2.local_flow_control_window(stream_id) < len(piece) + extra:
                if self._unsent:
                    await self.flush()  # the window may open meanwhile
                else:
                    await self._window_opened.park()
            self.h2.send_data(stream_id, piece, pad_length=padding)
            self._unsent = True
        await self.flush()

    async def trailers(self, stream_id: int) -> None:
        self._open -= 1
        self.h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
        await self.flush()

    async def reset(self, stream_id: int) -> None:
        """RST_STREAM that says NO_ERROR."""
        self._open -= 1
        self.h2.reset_stream(stream_id, 0)
        await self.flush()

    async def ping(self) -> None:
        self.record.unanswered_pings += 1
        self.h2.ping(bytes(8))
        await self.flush()


Behaviour: TypeAlias = Callable[[BadConnection, int, bytes], Awaitable[None]]

BEHAVIOURS: dict[str, Behaviour] = {}
SETTINGS: dict[str, dict[SettingCodes | int, int]] = {
    "max_streams": {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
}


def behaviour(function: Behaviour) -> Behaviour:
    """Register a behaviour under its function's name."""
    BEHAVIOURS[function.__name__] = function
    return function


def framed(size: int) -> bytes:
    """A reply with so many zeros, as gRPC frames it."""
    message = SimpleResponse(payload=payload(size)).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


@behaviour
async def goaway(connection: BadConnection, stream_id: int, body: bytes) -> None:
    """An orderly reply, and GOAWAY behind it."""
    await connection.headers(stream_id)
    await connection.data(stream_id, body)
    await connection.trailers(stream_id)
    connection.h2.close_connection(0, last_stream_id=stream_id)
    connection.leaving = True
    await connection.flush()


@behaviour
async def rst_after_header(connection: BadConnection, stream_id: int, body: bytes) -> None:
    await connection.headers(stream_id)
    await connection.reset(stream_id)


@behaviour
async def rst_during_data(connection: BadConnection, stream_id: int, body: bytes) -> None:
    await connection.headers(stream_id)
    await connection.data(stream_id, body[: len(body) // 2])
    await connection.reset(stream_id)


@behaviour
async def rst_after_data(connection: BadConnection, stream_id: int, body: bytes) -> None:
    await connection.headers(stream_id)
    await connection.data(stream_id, body)
    await connection.reset(stream_id)


@behaviour
async def ping(connection: BadConnection, stream_id: int, body: bytes) -> None:
    """PING around the headers and around the data."""
    await connection.ping()
    await connection.headers(stream_id)
    await connection.ping()
    await connection.ping()
    await connection.data(stream_id, body)
    await connection.ping()
    await connection.trailers(stream_id)


@behaviour
async def max_streams(connection: BadConnection, stream_id: int, body: bytes) -> None:
    """Calls that take their time, on connections that allow one (h2 sees to that)."""
    await connection.headers(stream_id)
    await trio.sleep(SLOW)
    await connection.data(stream_id, body)
    await connection.trailers(stream_id)


@behaviour
async def data_frame_padding(connection: BadConnection, stream_id: int, body: bytes) -> None:
    """Far more padding than data. Padding counts against the windows (RFC 9113 §6.9.1)."""
    await connection.headers(stream_id)
    await connection.data(stream_id, body, size=FEW, padding=PADDING)
    await connection.trailers(stream_id)


@behaviour
async def no_df_padding_sanity_test(connection: BadConnection, stream_id: int, body: bytes) -> None:
    """The same frames without padding."""
    await connection.headers(stream_id)
    await connection.data(stream_id, body, size=FEW)
    await connection.trailers(stream_id)


async def serve(
    case: str,
    record: Record,
    port: int = 0,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; started, it returns the port."""

    async def handle(stream: trio.SocketStream) -> None:
        connection = BadConnection(stream, BEHAVIOURS[case], record)
        await connection.run(SETTINGS.get(case, {}))

    async with trio.open_nursery() as nursery:
        start = partial(trio.serve_tcp, handle, port, host="127.0.0.1")
        listeners = await nursery.start(start)
        task_status.started(listeners[0].socket.getsockname()[1])


async def run(flags: argparse.Namespace) -> None:
    """Serve as the flags say, and print the port."""
    async with trio.open_nursery() as nursery:
        print(await nursery.start(serve, flags.test_case, Record(), flags.port), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server whose HTTP/2 is trying.")
    add_flag(parser, "port", 8080, "0: any free one; the port is printed")
    add_flag(parser, "test_case", "goaway", f"one of {', '.join(BEHAVIOURS)}")
    trio.run(run, parser.parse_args())
