"""Deadlines kept by a channel's timers, and what else happens in the same moment."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, MemoryNetwork, One, in_memory

from trioraft.rpc import Channel, GRPCError, Limits, Status, open_channel
from trioraft.rpc.codegen.calls import unary_unary
from trioraft.rpc.testing import open_test_channel

HEDGING = {
    "methodConfig": [
        {
            "name": [{}],
            "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "1s", "nonFatalStatusCodes": [14]},
        }
    ]
}
RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


async def unary(channel: Channel, payload: bytes = b"", **options: Any) -> EchoReply:
    request = EchoRequest(payload=payload)
    return await unary_unary(channel, UNARY, EchoRequest, EchoReply, request, None, options)  # type: ignore[arg-type]


def nothing_left(channel: Channel) -> None:
    """No timer, and no call on any connection."""
    assert not channel.timers._at
    assert not channel.timers._timed
    assert not any(connection.calls for connection in channel.connector._shared.live)


# ---- one moment ----------------------------------------------------------------------------------


async def never(stream: Any) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("_", range(8))  # which task runs first is Trio's choice
async def test_the_scope_around_goes_before_the_call(
    _: int, autojump_clock: trio.testing.MockClock
) -> None:
    """As with two scopes of Trio's: the outer one is cancelled, so that is what is seen."""
    async with in_memory([One(never)]) as (channel, _network):
        at = trio.current_time() + 5
        with trio.CancelScope(deadline=at) as scope:
            with pytest.raises((trio.Cancelled, GRPCError)):
                await unary(channel, timeout=5)
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert trio.current_time() == at
        await trio.testing.wait_all_tasks_blocked()
        nothing_left(channel)


@pytest.mark.parametrize("_", range(8))
async def test_somebody_cancels_as_it_passes(
    _: int, autojump_clock: trio.testing.MockClock
) -> None:
    outcomes: list[str] = []

    async def call(scope: trio.CancelScope) -> None:
        with scope:
            try:
                await unary(channel, timeout=5)
            except GRPCError as error:
                outcomes.append(error.status.name)
        if scope.cancelled_caught:
            outcomes.append("cancelled")

    async with in_memory([One(never)]) as (channel, _network):
        scopes = [trio.CancelScope() for _ in range(20)]
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(call, scope)
            await trio.sleep(5)
            for scope in scopes:
                scope.cancel()
        assert set(outcomes) <= {"DEADLINE_EXCEEDED", "cancelled"}
        assert len(outcomes) == len(scopes)
        await trio.testing.wait_all_tasks_blocked()
        nothing_left(channel)


@pytest.mark.parametrize("service_config", [None, RETRIES, HEDGING], ids=["", "retry", "hedge"])
@pytest.mark.parametrize("seed", range(6))
async def test_everything_at_the_full_second(
    seed: int, service_config: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """Deadlines, replies, failures, cancellations, lost connections: all of them coincide."""
    rng = random.Random(seed)
    unasked = Limits(reconnect_min=1, reconnect_max=1)

    async def handler(stream: Any) -> None:
        pause, fails = (await stream.recv_message()).payload.split()
        await trio.sleep(float(pause))
        if fails == b"1":
            raise GRPCError(Status.UNAVAILABLE)
        await stream.send_message(EchoReply())

    async def call(channel: Channel, timeout: int, payload: bytes, within: int) -> None:
        start = trio.current_time()
        status = Status.OK
        with trio.move_on_after(within):
            try:
                await unary(channel, payload, timeout=timeout, wait_for_ready=True)
            except GRPCError as error:
                status = error.status
        assert status in (Status.OK, Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE)
        assert trio.current_time() <= start + min(timeout, within)
        if status is Status.DEADLINE_EXCEEDED:
            assert trio.current_time() == start + timeout

    async def breaks(network: MemoryNetwork) -> None:
        for _ in range(4):
            await trio.sleep(rng.randrange(1, 4))
            await trio.aclose_forcefully(network.server_ends[-1])

    limits = Limits(max_concurrent_streams=20)
    async with in_memory([One(handler)], limits=limits, client=unasked) as (channel, network):
        if service_config is not None:
            channel.configure(service_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaks, network)
            for _ in range(60):
                payload = b"%d %d" % (rng.randrange(6), rng.random() < 0.3)
                within = rng.randrange(1, 12)
                nursery.start_soon(call, channel, rng.randrange(1, 8), payload, within)
                if rng.random() < 0.1:
                    await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()
        nothing_left(channel)


# ---- where a timer could be missed or left behind ------------------------------------------------


async def test_a_reply_without_a_status_does_not_save_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def handler(stream: Any) -> None:
        await stream.send_message(EchoReply())
        await trio.sleep_forever()

    async with in_memory([One(handler)]) as (channel, _):
        start = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await unary(channel, timeout=5)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() == start + 5
        await trio.testing.wait_all_tasks_blocked()
        nothing_left(channel)


async def test_it_passes_while_the_request_is_compressed(
    mock_clock: trio.testing.MockClock,
) -> None:
    """That gives way now and then. The time goes by without the call's task being looked at."""
    opened = open_test_channel([One(never)], client_compression="gzip")
    async with opened as channel, trio.open_nursery() as nursery:

        async def late() -> None:
            await trio.lowlevel.checkpoint()
            mock_clock.jump(10)

        await channel.connection()
        nursery.start_soon(late)
        with pytest.raises(GRPCError) as caught:
            await unary(channel, bytes(2**20), timeout=5)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        nothing_left(channel)


async def test_the_earlier_deadline_of_a_handler_goes_before_the_calls_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[float] = []
    ended: list[float] = []

    async def watched(stream: Any) -> None:
        told.append(stream.deadline.at)
        await trio.sleep_forever()

    async with in_memory([One(watched)]) as (inner, _):

        async def relay(stream: Any) -> None:
            try:
                await unary(inner, timeout=8)
            finally:
                ended.append(trio.current_time())

        async with in_memory([One(relay)]) as (outer, _other):
            start = trio.current_time()
            with pytest.raises(GRPCError) as caught:
                await unary(outer, timeout=5)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
            await trio.testing.wait_all_tasks_blocked()
        assert [*told, *ended] == pytest.approx([start + 5] * 2, abs=1e-3)
        nothing_left(inner)


@pytest.mark.parametrize("before", ["connected", "connecting"])
async def test_a_channel_that_closes_leaves_no_timer(
    before: str, autojump_clock: trio.testing.MockClock
) -> None:
    network = MemoryNetwork()  # where nobody accepts

    async def call(channel: Channel) -> None:
        with pytest.raises(GRPCError) as caught:
            await unary(channel, timeout=50, wait_for_ready=True)
        assert caught.value.status is Status.UNAVAILABLE

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nobody = open_channel("memory", dial=network.dial)
            async with in_memory([One(never)]) as (served, _), nobody as waiting:
                channel = served if before == "connected" else waiting
                for _ in range(10):
                    nursery.start_soon(call, channel)
                await trio.sleep(1)
    nothing_left(channel)


async def test_calls_that_have_ended_are_not_remembered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However far their deadlines are away."""

    async def handler(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply())

    most = 0
    async with in_memory([One(handler)]) as (channel, _):
        for _ in range(500):
            await unary(channel, timeout=3600)
            most = max(most, len(channel.timers._heap))
        nothing_left(channel)
    assert most < 100


async def test_a_deadline_without_an_end_is_none(autojump_clock: trio.testing.MockClock) -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        await trio.sleep(80_000)
        await stream.send_message(EchoReply(payload=str(stream.deadline).encode()))

    limits = Limits(idle_timeout=float("inf"))
    async with in_memory([One(handler)], client=limits) as (channel, _):
        reply = await unary(channel, timeout=float("inf"))
        assert reply.payload == b"None"
        nothing_left(channel)
