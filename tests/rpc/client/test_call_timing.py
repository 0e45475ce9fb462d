"""Deadlines of unary calls of generated stubs: kept by timers of the channel, not by scopes."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, One, in_memory

from trioraft.rpc import Channel, Deadline, GRPCError, Limits, Status, open_channel
from trioraft.rpc.codegen.calls import unary_unary
from trioraft.rpc.testing import open_test_channel
from trioraft.rpc.wire.http2 import RequestReceived, server_engine

RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "100s",
                "maxBackoff": "100s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


async def unary(channel: Channel, payload: bytes = b"", **options: Any) -> EchoReply:
    request = EchoRequest(payload=payload)
    return await unary_unary(channel, UNARY, EchoRequest, EchoReply, request, None, options)  # type: ignore[arg-type]


async def late(channel: Channel, **options: Any) -> float:
    """Make a call that gets DEADLINE_EXCEEDED; returns when."""
    with pytest.raises(GRPCError) as caught:
        await unary(channel, **options)
    assert caught.value.status is Status.DEADLINE_EXCEEDED
    assert not channel.timers._at
    return trio.current_time()


async def never(stream: Any) -> None:
    await trio.sleep_forever()


async def test_it_ends_on_time_and_so_does_the_handler(
    autojump_clock: trio.testing.MockClock,
) -> None:
    cancelled: list[float] = []

    async def handler(stream: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with in_memory([One(handler)]) as (channel, _):
        start = trio.current_time()
        assert await late(channel, timeout=5) == start + 5
        await trio.testing.wait_all_tasks_blocked()
        assert await late(channel, deadline=Deadline(start + 9)) == start + 9
        await trio.testing.wait_all_tasks_blocked()
        assert cancelled == pytest.approx([start + 5, start + 9], abs=1e-3)
        connection = channel.connector.ready
        assert connection is not None
        assert not connection.calls


async def test_each_of_many_ends_at_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    rng = random.Random(3)
    left = 200

    async def handler(stream: Any) -> None:
        request = await stream.recv_message()
        await trio.sleep(float(request.payload))
        await stream.send_message(EchoReply(payload=request.payload))

    async def one(channel: Channel, timeout: float, pause: float) -> None:
        nonlocal left
        start = trio.current_time()
        payload = str(pause).encode()
        if pause <= timeout:
            assert (await unary(channel, payload, timeout=timeout)).payload == payload
        else:
            with pytest.raises(GRPCError) as caught:
                await unary(channel, payload, timeout=timeout)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
            assert trio.current_time() == start + timeout
        left -= 1

    async with in_memory([One(handler)]) as (channel, _):
        await unary(channel, b"0")
        async with trio.open_nursery() as nursery:
            for _ in range(left):
                nursery.start_soon(one, channel, rng.uniform(0, 20), rng.uniform(0, 20))
        assert left == 0
        assert not channel.timers._at


async def test_waiting_for_a_connection_ends_too(autojump_clock: trio.testing.MockClock) -> None:
    async def dial() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    limits = Limits(connect_timeout=1000)
    async with open_channel("nowhere", dial=dial, limits=limits) as channel:
        start = trio.current_time()
        assert await late(channel, timeout=5, wait_for_ready=True) == start + 5


async def test_what_has_passed_already_sends_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with in_memory([One(never)]) as (channel, network):
        with trio.move_on_after(1):
            await unary(channel)
        await trio.testing.wait_all_tasks_blocked()
        sent = len(network.client_ends[0].sends)
        start = trio.current_time()
        for timeout in (0, -1):
            assert await late(channel, timeout=timeout) == start
        assert len(network.client_ends[0].sends) == sent


async def test_looking_for_another_stream_ends_too(autojump_clock: trio.testing.MockClock) -> None:
    """The server leaves without having looked at the call, and there is no other."""
    async with trio.open_nursery() as nursery:
        dialled = 0

        async def leave(stream: trio.abc.Stream) -> None:
            engine = server_engine(Limits())
            while data := await stream.receive_some():
                engine.receive_data(data)
                if any(isinstance(event, RequestReceived) for event in engine.events()):
                    engine.send_goaway(last_stream_id=0)
                await stream.send_all(engine.data_to_send())

        async def dial() -> trio.abc.Stream:
            nonlocal dialled
            dialled += 1
            if dialled > 1:
                await trio.sleep_forever()
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(leave, theirs)
            return ours

        limits = Limits(connect_timeout=1000)
        async with open_channel("leaving", dial=dial, limits=limits) as channel:
            start = trio.current_time()
            assert await late(channel, timeout=5, wait_for_ready=True) == start + 5
        assert dialled == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("service_config", [None, RETRIES])
async def test_scopes_around_act_as_ever(
    service_config: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with in_memory([One(never)]) as (channel, _):
        if service_config is not None:
            channel.configure(service_config)
        start = trio.current_time()
        with trio.move_on_after(3) as scope:
            await unary(channel, timeout=5)
        assert scope.cancelled_caught
        assert trio.current_time() == start + 3
        with trio.move_on_after(5) as scope:
            assert await late(channel, timeout=3) == start + 6
        assert not scope.cancelled_caught


async def test_a_call_between_its_attempts_ends_too(autojump_clock: trio.testing.MockClock) -> None:
    async def handler(stream: Any) -> None:
        raise GRPCError(Status.UNAVAILABLE)

    async with in_memory([One(handler)]) as (channel, _):
        channel.configure(RETRIES)
        start = trio.current_time()
        assert await late(channel, timeout=5) == start + 5


async def test_interceptors_see_it(autojump_clock: trio.testing.MockClock) -> None:
    outcomes = []

    class Watch:
        def __init__(self, call: Any) -> None:
            self.call = call

        async def __aenter__(self) -> None:
            await trio.sleep(1)

        async def __aexit__(self, *details: object) -> None:
            outcomes.append(self.call.outcome.status)

    opened = open_test_channel([One(never)], client_interceptors=[Watch])
    async with opened as channel:
        start = trio.current_time()
        assert await late(channel, timeout=5) == start + 5
    assert outcomes == [Status.DEADLINE_EXCEEDED]


async def test_a_channel_that_closes_ends_its_calls(autojump_clock: trio.testing.MockClock) -> None:
    async def call() -> None:
        with pytest.raises(GRPCError) as caught:
            await unary(channel, timeout=5)
        assert caught.value.status is Status.UNAVAILABLE

    async with trio.open_nursery() as nursery:
        async with in_memory([One(never)]) as (channel, _):
            nursery.start_soon(call)
            await trio.sleep(1)
