"""Thousands of streams at once, and what a connection keeps when nothing happens on it."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import AsyncExitStack
from typing import Any

import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, serving

from trioraft.rpc import open_channel

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0"


async def test_three_thousand_streams_are_open_at_once() -> None:
    """On three connections of a thousand; `bench/idle.py` does it with 10,000."""
    said, all_open = 0, trio.Event()

    async def call(channel: Any) -> None:
        nonlocal said
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_message(EchoRequest(payload=b"open"))
            assert (await stream.recv_message()).payload == b"open"
            said += 1
            if said == 3000:
                all_open.set()
            await all_open.wait()
            await stream.send_message(EchoRequest(payload=b"again"), end=True)
            assert (await stream.recv_message()).payload == b"again"
            assert await stream.recv_message() is None

    with trio.fail_after(60):
        async with serving([Echo()]) as address, AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(open_channel(address)) for _ in range(3)]
            async with trio.open_nursery() as nursery:
                for number in range(3000):
                    nursery.start_soon(call, channels[number % 3])


async def test_an_idle_connection_keeps_no_buffers() -> None:
    async with serving([Echo()]) as address, AsyncExitStack() as stack:
        host, port = address.split(":")

        async def connect(count: int) -> None:
            for _ in range(count):
                stream = await trio.open_tcp_stream(host, int(port))
                await stack.enter_async_context(stream)
                await stream.send_all(GREETING)
                await stream.receive_some()
            await trio.sleep(0.05)
            gc.collect()

        await connect(10)
        tracemalloc.start()
        try:
            await connect(50)
            used = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert used / 50 < 30 * 1024  # the client's end included
