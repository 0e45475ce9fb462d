"""Flow control, backpressure and batching: what a slow end costs, and what a fast one saves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, chat, in_memory, running

from trioraft.rpc import Limits

KIB = 1024
SMALL = Limits(stream_window=64 * KIB, max_queued_bytes=32 * KIB)


async def settled(read: Callable[[], int], at_least: int) -> int:
    """Wait until a counter is large enough and stands still; return it."""
    with trio.fail_after(20):
        value, still = read(), 0
        while value < at_least or still < 4:
            await trio.sleep(0.02)
            still = still + 1 if read() == value else 0
            value = read()
        return value


async def test_a_reader_that_sleeps_stops_its_sender_and_nobody_else() -> None:
    """The sender gets no further than window plus queue; a neighbour's call goes through."""
    wake = trio.Event()

    async def sleepy(stream: Any) -> None:
        await wake.wait()
        total = 0
        async for request in stream:
            total += len(request.payload)
        await stream.send_message(EchoReply(index=total))

    class Both(Echo):
        Chat = staticmethod(sleepy)  # type: ignore[assignment]

    sent = 0

    async def flood(stream: Any, count: int) -> None:
        nonlocal sent
        for number in range(count):
            await stream.send_message(EchoRequest(payload=bytes(KIB)), end=number == count - 1)
            sent += 1

    async with running([Both()], limits=SMALL, client=SMALL) as channel:
        stub = EchoStub(channel)
        async with stub.Chat.open() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(flood, stream, 500)
            stalled_at = await settled(lambda: sent, at_least=64)
            # Queue and window of the stream, one message over each, and framing.
            assert 64 <= stalled_at <= 100
            for _ in range(20):
                with trio.fail_after(10):
                    await stub.Unary(EchoRequest(payload=bytes(50 * KIB)))
            assert sent == stalled_at
            wake.set()
            reply = await stream.recv_message()
            assert reply.index == 500 * KIB


async def test_every_stream_may_stall_and_new_calls_still_pass() -> None:
    wake = trio.Event()

    async def sleepy(stream: Any) -> None:
        await wake.wait()

    class Both(Echo):
        Chat = staticmethod(sleepy)  # type: ignore[assignment]

    limits = Limits(stream_window=64 * KIB, max_concurrent_streams=20)
    async with running([Both()], limits=limits) as channel, trio.open_nursery() as nursery:
        stub = EchoStub(channel)

        async def stall() -> None:
            async with stub.Chat.open() as stream:
                for _ in range(100):
                    await stream.send_message(EchoRequest(payload=bytes(4 * KIB)))

        for _ in range(19):
            nursery.start_soon(stall)
        await trio.sleep(0.1)
        with trio.fail_after(10):
            reply = await stub.Unary(EchoRequest(payload=bytes(500 * KIB)))
        assert len(reply.payload) == 500 * KIB
        nursery.cancel_scope.cancel()


async def test_a_client_that_does_not_read_stops_the_server() -> None:
    sent = 0

    async def firehose(stream: Any) -> None:
        nonlocal sent
        while True:
            await stream.send_message(EchoReply(payload=bytes(KIB)))
            sent += 1

    async with (
        running([chat(firehose)], limits=SMALL, client=SMALL) as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_request()
        stalled_at = await settled(lambda: sent, at_least=64)
        assert stalled_at <= 100
        for _ in range(200):
            await stream.recv_message()
        assert await settled(lambda: sent, at_least=stalled_at + 1) <= stalled_at + 200
        await stream.cancel()


async def test_a_message_larger_than_the_window_arrives() -> None:
    limits = Limits(stream_window=10_000, max_queued_bytes=1000)
    async with running([Echo()], limits=limits, client=limits) as channel:
        requests = [EchoRequest(payload=b"x" * size) for size in (3, 300_000, 0, 70_000, 9_995)]
        replies = await EchoStub(channel).Chat([requests[1]])
        assert [len(reply.payload) for reply in replies] == [300_000]
        reply = await EchoStub(channel).Collect(requests)
        assert len(reply.payload) == sum(len(request.payload) for request in requests)


@pytest.mark.parametrize("window", [1, 5, 100, 65_535, 1_000_000])
async def test_any_window_works(window: int) -> None:
    limits = Limits(stream_window=window)
    async with running([Echo()], limits=limits, client=limits) as channel:
        size = min(3 * window, 200_000)
        replies = await EchoStub(channel).Chat([EchoRequest(payload=bytes(size))] * 4)
        assert [len(reply.payload) for reply in replies] == [size] * 4


async def test_nowait_refuses_above_the_bound() -> None:
    wake = trio.Event()

    async def sleepy(stream: Any) -> None:
        await wake.wait()
        async for _ in stream:
            pass

    async with running([chat(sleepy)], limits=SMALL, client=SMALL) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_request()
            with pytest.raises(trio.WouldBlock):
                for _ in range(1000):
                    stream.send_message_nowait(EchoRequest(payload=bytes(KIB)))
            wake.set()
            await stream.wait_writable()
            stream.send_message_nowait(EchoRequest(payload=bytes(KIB)))
            await stream.cancel()


# ---- batching ------------------------------------------------------------------------------------


async def test_messages_of_one_pass_leave_in_one_send_and_wake_the_reader_once() -> None:
    wakeups: list[int] = []

    async def batches(stream: Any) -> None:
        while batch := await stream.receive_available():
            wakeups.append(len(batch))
            for request in batch:
                stream.send_message_nowait(EchoReply(payload=request.payload))

    async with (
        in_memory([chat(batches)]) as (channel, network),
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_message(EchoRequest())
        await stream.recv_message()
        await trio.testing.wait_all_tasks_blocked()
        [client], [server] = network.client_ends, network.server_ends
        client.sends.clear()
        server.sends.clear()
        wakeups.clear()
        for number in range(100):
            stream.send_message_nowait(EchoRequest(payload=b"%d" % number))
        replies = await stream.receive_available()
        assert len(replies) == 100
        assert wakeups == [100]
        assert len(client.sends) == 1
        assert len(server.sends) == 1
        await stream.cancel()


async def test_replies_of_concurrent_calls_leave_together() -> None:
    async with in_memory([Echo()]) as (channel, network):
        stub = EchoStub(channel)
        await stub.Unary(EchoRequest())
        [client], [server] = network.client_ends, network.server_ends
        client.sends.clear()
        server.sends.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(stub.Unary, EchoRequest(payload=b"x"))
        # One for the messages; a second where window updates go first.
        assert len(client.sends) <= 2
        assert len(server.sends) <= 2


async def test_a_unary_call_wakes_its_caller_once() -> None:
    class Instrument(trio.abc.Instrument):
        def __init__(self, task: trio.lowlevel.Task) -> None:
            self.task, self.steps = task, 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.steps += task is self.task

    async with in_memory([Echo()]) as (channel, _):
        stub = EchoStub(channel)
        await stub.Unary(EchoRequest())
        instrument = Instrument(trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(instrument)
        await stub.Unary(EchoRequest())
        trio.lowlevel.remove_instrument(instrument)
        assert instrument.steps == 1
