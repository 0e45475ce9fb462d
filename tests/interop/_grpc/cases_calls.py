"""The cases about calls and their messages: unary, streams, cancellation, deadlines."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from trioraft.rpc import Status

from ._gen.grpc_testing_pb2 import (
    COMPRESSABLE,
    BoolValue,
    Empty,
    ResponseParameters,
    SimpleRequest,
    SimpleResponse,
    StreamingOutputCallRequest,
)
from .case import Tester, case, expect, expect_status
from .payloads import LARGE_REPLY, REPLY_SIZES, REQUEST_SIZES, asking_for, large_unary, upload

CONCURRENT = 1000
PICKS = 100
#: One for all calls: a thousand of them at once would be many megabytes.
LARGE = large_unary()


def check_large(reply: SimpleResponse | None) -> None:
    """The reply of `large_unary`: its kind, its size, zeros."""
    expect(reply is not None, "no reply")
    assert reply is not None
    expect(reply.payload.type == COMPRESSABLE, f"a payload of type {reply.payload.type}")
    size = len(reply.payload.body)
    expect(reply.payload.body == bytes(LARGE_REPLY), f"{size} bytes, not {LARGE_REPLY} zeros")


async def large_call(tester: Tester) -> None:
    """One call of `large_unary`."""
    check_large(await tester.stub.UnaryCall(LARGE, metadata=tester.metadata))


@case
async def empty_unary(tester: Tester) -> None:
    reply = await tester.stub.EmptyCall(Empty(), metadata=tester.metadata)
    expect(reply == Empty(), f"not empty: {reply}")


@case
async def large_unary_(tester: Tester) -> None:
    await large_call(tester)


@case
async def concurrent_large_unary(tester: Tester) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENT):
            nursery.start_soon(large_call, tester)


@case
async def client_streaming(tester: Tester) -> None:
    async with tester.stub.StreamingInputCall.open(metadata=tester.metadata) as stream:
        for size in REQUEST_SIZES:
            await stream.send_message(upload(size), end=size == REQUEST_SIZES[-1])
        reply = await stream.recv_message()
    total = reply.aggregated_payload_size
    expect(total == sum(REQUEST_SIZES), f"{total} bytes arrived of {sum(REQUEST_SIZES)}")


@case
async def server_streaming(tester: Tester) -> None:
    async with tester.stub.StreamingOutputCall.open(metadata=tester.metadata) as stream:
        await stream.send_message(asking_for(*REPLY_SIZES), end=True)
        sizes = tuple([len(reply.payload.body) async for reply in stream])
    expect(sizes == REPLY_SIZES, f"replies of {sizes}, not {REPLY_SIZES} bytes")


@case
async def ping_pong(tester: Tester) -> None:
    async with tester.stub.FullDuplexCall.open(metadata=tester.metadata) as stream:
        for request, reply in zip(REQUEST_SIZES, REPLY_SIZES, strict=True):
            await stream.send_message(asking_for(reply, request=request))
            received = await stream.recv_message()
            expect(received is not None, "the server ended the call early")
            size = len(received.payload.body)
            expect(size == reply, f"a reply of {size} bytes, not {reply}")
        await stream.end()
        expect(await stream.recv_message() is None, "a reply that nobody asked for")


@case
async def empty_stream(tester: Tester) -> None:
    async with tester.stub.FullDuplexCall.open(metadata=tester.metadata) as stream:
        await stream.send_request(end=True)
        expect(await stream.recv_message() is None, "a reply that nobody asked for")


@case
async def cancel_after_begin(tester: Tester) -> None:
    async with tester.stub.StreamingInputCall.open(metadata=tester.metadata) as stream:
        await stream.send_request()
        await stream.cancel()
        async with expect_status(Status.CANCELLED):
            await stream.recv_message()


@case
async def cancel_after_first_response(tester: Tester) -> None:
    async with tester.stub.FullDuplexCall.open(metadata=tester.metadata) as stream:
        await stream.send_message(asking_for(REPLY_SIZES[0], request=REQUEST_SIZES[0]))
        expect(await stream.recv_message() is not None, "no reply")
        await stream.cancel()
        async with expect_status(Status.CANCELLED):
            await stream.recv_message()


@case
async def timeout_on_sleeping_server(tester: Tester) -> None:
    call = tester.stub.FullDuplexCall.open(timeout=0.001, metadata=tester.metadata)
    async with expect_status(Status.DEADLINE_EXCEEDED):
        async with call as stream:
            await stream.send_message(asking_for(request=REQUEST_SIZES[0]))
            await stream.recv_message()


@case
async def pick_first_unary(tester: Tester) -> None:
    request = SimpleRequest(response_size=1, fill_server_id=True)
    servers = []
    for _ in range(PICKS):
        reply = await tester.stub.UnaryCall(request, metadata=tester.metadata)
        servers.append(reply.server_id)
    expect(servers[0], "the server does not say who it is")
    expect(servers == servers[:1] * PICKS, f"calls went to {sorted(dict.fromkeys(servers))}")


@case
async def max_concurrent_streams_connection_scaling(tester: Tester) -> None:
    """On a server that allows two streams: the third call has a connection of its own."""
    request = StreamingOutputCallRequest(
        response_parameters=[ResponseParameters(fill_peer_socket_address=BoolValue(value=True))]
    )
    addresses = []
    async with AsyncExitStack() as stack:
        for _ in range(3):
            call = tester.stub.FullDuplexCall.open(metadata=tester.metadata)
            stream = await stack.enter_async_context(call)
            await stream.send_message(request)
            reply = await stream.recv_message()
            expect(reply is not None, "no reply")
            addresses.append(reply.peer_socket_address)
            stack.push_async_callback(stream.end)
    first, second, third = addresses
    expect(first and first == second != third, f"the calls came from {addresses}")
