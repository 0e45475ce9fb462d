"""Compressed messages in every way to receive them, large ones and many."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from compression_kit import channel_and_server, framed, gzipped
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, Echo, chat, serving

from trioraft.rpc import Cardinality, Channel, open_channel

LARGE = bytes(3 << 20)


async def test_inflating_a_large_message_lets_others_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with channel_and_server(Echo(), "gzip", "gzip") as channel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            reply = await EchoStub(channel).Unary(EchoRequest(payload=LARGE))
            nursery.cancel_scope.cancel()
    assert reply.payload == LARGE
    assert turns > 2 * (len(LARGE) // (64 * 1024)) + 2 * (len(LARGE) // (256 * 1024))


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with (
        channel_and_server(Echo(), "gzip", "gzip") as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_message(EchoRequest(payload=LARGE), end=True)
        cancelled = 0
        while True:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after_passes, scope, 3 + cancelled)
                    reply = await stream.recv_message()
                    nursery.cancel_scope.cancel()
                break
            cancelled += 1
        assert reply.payload == LARGE
        assert cancelled
        assert await stream.recv_message() is None


async def cancel_after_passes(scope: trio.CancelScope, passes: int) -> None:
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def replies_to(channel: Channel, take: Callable[[Any], Any]) -> list[bytes]:
    sizes = [10, 3 << 20, 100, 400_000, 0, 1 << 20, 1 << 20, 5]
    async with channel.request(CHAT, Cardinality.STREAM_STREAM, EchoRequest, EchoReply) as stream:
        await stream.send_request()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for size in sizes:
                    await stream.send_message(EchoRequest(payload=bytes(size)))
                await stream.end()

            nursery.start_soon(send)
            taken = await take(stream)
    assert [len(message.payload) for message in taken] == sizes
    return taken


async def by_iterating(stream: Any) -> list[Any]:
    return [reply async for reply in stream]


async def one_by_one(stream: Any) -> list[Any]:
    replies = []
    while (reply := await stream.recv_message()) is not None:
        replies.append(reply)
    return replies


async def in_batches(stream: Any) -> list[Any]:
    replies: list[Any] = []
    while batch := await stream.receive_available():
        assert sum(len(reply.payload) for reply in batch) <= 5 << 20
        replies += batch
    return replies


async def without_waiting(stream: Any) -> list[Any]:
    replies: list[Any] = []
    while len(replies) < 8:
        reply = stream.recv_message_nowait()
        if reply is None:
            await trio.lowlevel.checkpoint()
        else:
            replies.append(reply)
    return replies


async def delivered(stream: Any) -> list[Any]:
    replies: list[Any] = []

    def sink(messages: list[Any]) -> bool:
        replies.extend(messages)
        return len(replies) % 3 != 0

    while await stream.deliver(sink):
        pass
    return replies


@pytest.mark.parametrize("take", [by_iterating, one_by_one, in_batches, without_waiting, delivered])
@pytest.mark.parametrize("server", ["gzip", None])
async def test_ways_to_receive(take: Callable[[Any], Any], server: str | None) -> None:
    async with channel_and_server(Echo(), "deflate", server) as channel:
        await replies_to(channel, take)


async def test_a_sink_that_was_there_before_the_headers() -> None:
    go = trio.Event()

    async def handle(stream: Any) -> None:
        await go.wait()
        for size in (5, 1_000_000, 5):
            await stream.send_message(EchoReply(payload=bytes(size)))

    sizes: list[int] = []

    def sink(messages: list[Any]) -> bool:
        sizes.extend(len(message.payload) for message in messages)
        return True

    async with (
        channel_and_server(chat(handle), None, "gzip") as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_request(end=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.deliver, sink)
            await trio.testing.wait_all_tasks_blocked()
            go.set()
    assert sizes == [5, 1_000_000, 5]


async def test_many_small_bombs_are_inflated_one_at_a_time() -> None:
    """What waits in the inbox stays compressed: 100 messages of 4 MiB in a few hundred KiB."""
    message = gzipped(EchoReply(payload=bytes(4_000_000)).SerializeToString())

    async def handle(stream: Any) -> None:
        stream.set_compression("gzip")
        await stream.send_initial_metadata()
        stream._connection.engine.send_data(stream._id, framed(message) * 100)
        stream._connection.mark_dirty()

    async with (
        channel_and_server(chat(handle)) as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_request(end=True)
        batch = await stream.receive_available()
        assert len(batch) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert len(stream._inbox) > 50
        assert sum(body.size for body in stream._inbox) <= 1 << 20
        await stream.cancel()


async def test_over_sockets_with_flow_control() -> None:
    noise = random.Random(6).randbytes(1 << 20) + bytes(1 << 20)
    async with (
        serving([Echo()], compression="gzip") as address,
        open_channel(address, compression="deflate") as channel,
    ):
        replies = await EchoStub(channel).Chat([EchoRequest(payload=noise)] * 3)
        assert [reply.payload for reply in replies] == [noise] * 3
