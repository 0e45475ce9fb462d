"""Retried calls and deadlines, cancellation, and channels that close."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from retry_kit import CHAT, UNARY, call, config, converse, failing
from scripted_server import Request, scripted

from trioraft.rpc import Channel, Encoded, GRPCError, Status, open_channel


async def test_one_deadline_for_all_attempts(autojump_clock: trio.testing.MockClock) -> None:
    async with scripted(failing(9), service_config=config(maxAttempts=5)) as (channel, server):
        began = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await converse(channel, timeout=2.0)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - began == pytest.approx(2.0)
        assert len(server.requests) == 2
        told = [int(each.headers[b"grpc-timeout"][:-1]) / 1e6 for each in server.requests]
        for request, left in zip(server.requests, told, strict=True):
            assert left == pytest.approx(2.0 - (request.at - began), abs=0.01)


async def test_a_surrounding_scope_ends_the_pauses_as_trio_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scripted(failing(9), service_config=config()) as (channel, server):
        with trio.move_on_after(0.5) as scope:
            await converse(channel)
        assert scope.cancelled_caught
        await trio.sleep(10)
        assert len(server.requests) == 1


@pytest.mark.parametrize("how", ["cancel", "raise", "leave"])
async def test_leaving_the_block_ends_every_attempt(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(request: Request) -> None:
        await request.closed.wait()

    async with scripted(script, service_config=config()) as (channel, server):
        with pytest.raises((KeyError, GRPCError)) if how != "cancel" else trio.fail_after(1):
            async with call(channel, CHAT) as stream:
                await stream.send_message(Encoded(b"one"))
                await trio.sleep(0.1)
                if how == "cancel":
                    await stream.cancel()
                    assert stream.cancelled
                elif how == "raise":
                    raise KeyError("mine")
                else:
                    await stream.cancel()
                    await stream.recv_message()
        with trio.fail_after(1):
            await server.requests[0].closed.wait()
        assert server.requests[0].code == 8
        assert channel.plans is not None
        assert channel.plans.account.used == 0


async def test_cancelled_before_anything_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    async def dial() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with open_channel("x", dial=dial, service_config=config()) as channel:
        async with call(channel, UNARY) as stream:
            with trio.move_on_after(1) as scope:
                await stream.send_message(Encoded(b"one"), end=True)
            assert scope.cancelled_caught
            with pytest.raises(GRPCError) as caught:
                await stream.recv_message()
            assert caught.value.status is Status.CANCELLED
            await stream.cancel()
        with pytest.raises(GRPCError) as late:
            await converse(channel, timeout=1)
        assert late.value.status is Status.DEADLINE_EXCEEDED


async def test_a_closing_channel_fails_calls_that_wait_for_another_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outcome: list[GRPCError] = []

    async def one(channel: Channel) -> None:
        try:
            await converse(channel)
        except GRPCError as error:
            outcome.append(error)

    async with scripted(failing(9)) as (_, server), trio.open_nursery() as nursery:
        async with open_channel("x", dial=server.dial, service_config=config()) as channel:
            nursery.start_soon(one, channel)
            await trio.sleep(0.5)
    assert [error.status for error in outcome] == [Status.UNAVAILABLE]
