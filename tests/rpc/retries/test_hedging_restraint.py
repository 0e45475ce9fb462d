"""What holds hedging back: pushback of servers, and throttling."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hedging_kit import config, silent
from retry_kit import UNARY, converse
from scripted_server import Request, scripted

from trioraft.rpc import (
    Encoded,
    GRPCError,
    Status,
)


async def test_pushback_sets_the_time_of_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        if request.number == 0:
            await request.fail(Status.UNAVAILABLE, b"3000")
        else:
            await silent(request)

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        with pytest.raises(GRPCError):
            await converse(channel, timeout=10)
        at = [each.at - began for each in server.requests]
        assert at == [pytest.approx(each, abs=0.01) for each in (0.0, 3.0, 4.0)]


async def test_pushback_can_forbid_further_attempts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Those that are on their way go on."""

    async def script(request: Request) -> None:
        if request.number == 0:
            await trio.sleep(1.5)
            await request.fail(Status.UNAVAILABLE, b"-1")
        else:
            await trio.sleep(3)
            await request.reply(b"%d" % request.number)

    async with scripted(script, service_config=config()) as (channel, server):
        assert await converse(channel) == [b"1"]
        assert len(server.requests) == 2


async def test_pushback_against_the_only_attempt_ends_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await request.fail(Status.UNAVAILABLE, b"never")

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        with pytest.raises(GRPCError):
            await converse(channel)
        assert trio.current_time() - began < 0.01
        assert len(server.requests) == 1


async def test_throttling_holds_back_all_but_the_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await trio.sleep(0.25)
        await request.fail(Status.UNAVAILABLE)

    throttled = config({"maxTokens": 3, "tokenRatio": 0.1})
    async with scripted(script, service_config=throttled) as (channel, server):
        for expected in (2, 3, 4):  # 3 tokens: after two failures at most 1.5 are left
            with pytest.raises(GRPCError):
                await converse(channel)
            assert len(server.requests) == expected


async def test_tokens_that_run_out_while_the_next_one_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The call ends when it is due to be made, with the failure that was to be made up for."""

    async def script(request: Request) -> None:
        pushback = b"3000" if request.headers[b":path"] == b"/s.S/M" else b"-1"
        await request.fail(Status.UNAVAILABLE, pushback)

    throttled = config({"maxTokens": 5, "tokenRatio": 0.1})
    async with scripted(script, service_config=throttled) as (channel, server):
        began = trio.current_time()

        async def drain() -> None:
            await trio.sleep(1)
            for _ in range(3):
                with pytest.raises(GRPCError):
                    async with channel.request("/o/M", UNARY, Encoded, Encoded) as stream:
                        await stream.send_message(Encoded(b""), end=True)
                        await stream.recv_message()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            with pytest.raises(GRPCError) as caught:
                await converse(channel)
        assert caught.value.status is Status.UNAVAILABLE
        assert trio.current_time() - began == pytest.approx(3, abs=0.01)
        assert len(server.requests) == 4
