"""Servers that break the rules: the call fails with a status that says how."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import echo_trio
import pytest
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from ngh2 import (
    Configuration,
    Connection,
    DataReceived,
    Role,
)

from trioraft.rpc import (
    Cardinality,
    Channel,
    GRPCError,
    Status,
    open_channel,
)


async def answer_with(
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    trailers: list[tuple[bytes, bytes]] | None,
    stream: trio.SocketStream,
) -> None:
    engine = Connection(Role.SERVER, Configuration())
    engine.initiate_connection({})
    async with stream:
        while True:
            await stream.send_all(engine.data_to_send())
            data = await stream.receive_some(65536)
            if not data:
                return
            engine.receive_data(data)
            for event in engine.events():
                if isinstance(event, DataReceived) and event.end_stream:
                    engine.send_response(event.stream_id, headers)
                    engine.send_data(event.stream_id, body, end_stream=trailers is None)
                    if trailers is not None:
                        engine.send_trailers(event.stream_id, trailers)


OK = [(b":status", b"200"), (b"content-type", b"application/grpc")]
DONE = [(b"grpc-status", b"0")]
EMPTY = b"\0\0\0\0\0"


@pytest.mark.parametrize(
    ("headers", "body", "trailers", "status"),
    [
        ([(b":status", b"503"), (b"content-type", b"text/html")], b"<html>", None, "UNAVAILABLE"),
        ([(b":status", b"404")], b"", None, "UNIMPLEMENTED"),
        ([(b":status", b"200"), (b"content-type", b"text/html")], b"x", None, "UNKNOWN"),
        ([(b":status", b"200"), (b"grpc-status", b"12")], b"", None, "UNIMPLEMENTED"),
        (OK, EMPTY, None, "INTERNAL"),
        (OK, EMPTY, [(b"other", b"1")], "UNKNOWN"),
        (OK, b"", DONE, "INTERNAL"),
        (OK, b"\0\0\0\0\2\xff\xff", DONE, "INTERNAL"),
        (OK, b"\0\0\0\0\2x", DONE, "INTERNAL"),
        (OK, b"\1\0\0\0\0", DONE, "INTERNAL"),
        ([*OK, (b"grpc-encoding", b"gzip")], b"\1\0\0\0\1x", DONE, "INTERNAL"),
        ([*OK, (b"grpc-encoding", b"brotli")], b"\1\0\0\0\1x", DONE, "INTERNAL"),
        (OK, EMPTY, [(b"grpc-status", b"5"), (b"grpc-message", b"%zz")], "NOT_FOUND"),
    ],
)
async def test_bad_replies(
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    trailers: list[tuple[bytes, bytes]] | None,
    status: str,
    nursery: trio.Nursery,
) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await answer_with(headers, body, trailers, stream)

    [listener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with trio.fail_after(10), pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status[status]
    nursery.cancel_scope.cancel()


async def grpclib_unary(channel: Channel) -> None:
    await EchoStub(channel).Unary(EchoRequest())


async def our_unary(channel: Channel) -> None:
    await echo_trio.EchoStub(channel).Unary(EchoRequest())


async def our_upload(channel: Channel) -> None:
    async with echo_trio.EchoStub(channel).Collect() as upload:
        await upload.send(EchoRequest())
        await upload.reply()


async def taken_as_it_comes(channel: Channel) -> None:
    method = "/trioraft.testing.Echo/Unary"
    async with channel.request(method, Cardinality.UNARY_UNARY, EchoRequest, EchoReply) as stream:
        await stream.send_message(EchoRequest())
        await stream.recv_initial_metadata()
        stream.recv_message_nowait()


@pytest.mark.parametrize("end", [DONE, [(b"grpc-status", b"5")]], ids=["OK", "NOT_FOUND"])
@pytest.mark.parametrize("call", [grpclib_unary, our_unary, our_upload, taken_as_it_comes])
async def test_one_reply_too_many(
    call: Callable[[Channel], Awaitable[None]],
    end: list[tuple[bytes, bytes]],
    nursery: trio.Nursery,
) -> None:
    """Nobody could say which of them counts; but a bad status does."""

    async def handle(stream: trio.SocketStream) -> None:
        await answer_with(OK, EMPTY * 2, end, stream)

    [listener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with trio.fail_after(10), pytest.raises(GRPCError) as caught:
            await call(channel)
        assert caught.value.status is (Status.INTERNAL if end is DONE else Status.NOT_FOUND)
    nursery.cancel_scope.cancel()


async def test_a_server_that_speaks_something_else(nursery: trio.Nursery) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail ready\r\n")
        await trio.sleep_forever()

    [listener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with trio.fail_after(10), pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.UNAVAILABLE
    nursery.cancel_scope.cancel()
