"""`deliver`: messages handed to a plain function by whoever reads the connection."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, chat, in_memory, running

from trioraft.rpc import Cardinality, Encoded, GRPCError, Limits, ServerStream, Status


class Sink:
    """A handler that echoes from inside its sink, and remembers what it was given."""

    def __init__(self, *, enough_at: int = 1 << 30) -> None:
        self.batches: list[list[str]] = []
        self.rounds: list[bool] = []
        self._enough_at = enough_at
        self.go_on = trio.Event()

    async def __call__(self, stream: ServerStream[Any, Any]) -> None:
        def take(messages: list[EchoRequest]) -> bool:
            self.batches.append([message.payload.decode() for message in messages])
            for message in messages:
                if message.payload == b"bad":
                    raise GRPCError(Status.INVALID_ARGUMENT, "bad")
                stream.send_message_nowait(EchoReply(payload=message.payload))
            return self.taken < self._enough_at

        more = True
        while more:
            more = await stream.deliver(take)
            self.rounds.append(more)
            if more:
                await self.go_on.wait()
                self._enough_at = 1 << 30

    @property
    def taken(self) -> int:
        return sum(map(len, self.batches))


async def echoed(stream: Any, *payloads: bytes) -> None:
    for payload in payloads:
        await stream.send_message(EchoRequest(payload=payload))
    for payload in payloads:
        reply = await stream.recv_message()
        assert reply.payload == payload


async def test_what_one_read_brings_is_one_batch_in_order_and_the_end_ends_it() -> None:
    sink = Sink()
    async with in_memory([chat(sink)]) as (channel, _), EchoStub(channel).Chat.open() as stream:
        await echoed(stream, b"a", b"b", b"c")
        await echoed(stream, b"d")
        await stream.end()
        assert await stream.recv_message() is None
    assert sink.batches == [["a", "b", "c"], ["d"]]
    assert sink.rounds == [False]


async def test_messages_and_the_end_in_one_read() -> None:
    sink = Sink()
    async with in_memory([chat(sink)]) as (channel, _), EchoStub(channel).Chat.open() as stream:
        await stream.send_message(EchoRequest(payload=b"a"))
        await stream.send_message(EchoRequest(payload=b"b"), end=True)
        assert [reply.payload async for reply in stream] == [b"a", b"b"]
    assert sink.taken == 2


async def test_a_sink_that_has_enough_leaves_the_rest_to_the_window() -> None:
    sink = Sink(enough_at=2)
    async with in_memory([chat(sink)]) as (channel, _), EchoStub(channel).Chat.open() as stream:
        await echoed(stream, b"a", b"b")
        await stream.send_message(EchoRequest(payload=b"c"))
        await trio.testing.wait_all_tasks_blocked()
        assert sink.batches == [["a", "b"]]
        sink.go_on.set()
        assert (await stream.recv_message()).payload == b"c"
        await echoed(stream, b"d")
        await stream.end()
    assert sink.batches == [["a", "b"], ["c"], ["d"]]
    assert sink.rounds == [True, False]


async def test_what_a_sink_raises_is_raised_by_deliver_and_ends_no_other_call() -> None:
    sink = Sink()
    async with running([chat(sink)]) as channel:
        stub = EchoStub(channel)
        async with stub.Chat.open() as other:
            await echoed(other, b"x")
            with pytest.raises(GRPCError) as caught:
                async with stub.Chat.open() as stream:
                    await stream.send_message(EchoRequest(payload=b"bad"))
                    await stream.recv_message()
            assert caught.value.status is Status.INVALID_ARGUMENT
            await echoed(other, b"y")
            await other.end()


async def test_a_message_that_does_not_decode_ends_the_call_behind_the_ones_before_it() -> None:
    sink = Sink()
    async with running([chat(sink)]) as channel:
        call = channel.request(CHAT, Cardinality.STREAM_STREAM, Encoded, EchoReply)
        with pytest.raises(GRPCError) as caught:
            async with call as stream:
                await stream.send_message(Encoded(EchoRequest(payload=b"a").SerializeToString()))
                await stream.send_message(Encoded(b"\xff\xff"))
                assert (await stream.recv_message()).payload == b"a"
                await stream.recv_message()
    assert caught.value.status is Status.INTERNAL
    assert sink.taken == 1


async def test_a_client_delivers_too_and_cancelling_it_loses_nothing() -> None:
    got: list[bytes] = []
    sent = trio.Event()

    def take(messages: list[EchoReply]) -> bool:
        got.extend(message.payload for message in messages)
        return True

    async def answer(stream: ServerStream[Any, Any]) -> None:
        await stream.send_message(EchoReply(payload=b"1"))
        await sent.wait()
        await stream.send_message(EchoReply(payload=b"2"))
        await stream.send_message(EchoReply(payload=b"3"))

    async with running([chat(answer)]) as channel, EchoStub(channel).Chat.open() as stream:
        await stream.send_request()
        with trio.move_on_after(0.1):
            await stream.deliver(take)
        assert got == [b"1"]
        sent.set()
        assert (await stream.recv_message()).payload == b"2"
        await stream.end()
        assert not await stream.deliver(take)
    assert got == [b"1", b"3"]


async def test_a_lost_connection_is_raised_once_everything_before_it_is_delivered() -> None:
    got: list[bytes] = []

    def take(messages: list[EchoReply]) -> bool:
        got.extend(message.payload for message in messages)
        return True

    async def answer(stream: ServerStream[Any, Any]) -> None:
        await stream.send_message(EchoReply(payload=b"1"))
        await trio.sleep_forever()

    async with in_memory([chat(answer)]) as (channel, network), trio.open_nursery() as nursery:

        async def cut() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await network.server_ends[0].aclose()

        with pytest.raises(GRPCError) as caught:
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_request()
                nursery.start_soon(cut)
                await stream.deliver(take)
        assert caught.value.status is Status.UNAVAILABLE
    assert got == [b"1"]


async def test_more_than_the_window_goes_through_a_sink() -> None:
    """Bytes are acknowledged as the sink takes them."""
    sink = Sink()
    limits = Limits(stream_window=16 * 1024, max_queued_bytes=1 << 20)
    async with running([chat(sink)], limits=limits) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            for _ in range(20):
                await echoed(stream, bytes(5000), bytes(5000))
            await stream.end()
    assert sink.taken == 40
