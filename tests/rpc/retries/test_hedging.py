"""Calls with a hedging policy, against a scripted server, on a virtual clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hedging_kit import answering, config, silent
from retry_kit import KINDS, converse
from scripted_server import Request, scripted

from trioraft.rpc import (
    Cardinality,
    GRPCError,
    Status,
    open_channel,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("winner", [0, 1, 2])
async def test_the_first_answer_counts_and_the_others_are_cancelled(
    kind: Cardinality, winner: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with scripted(answering(winner), service_config=config()) as (channel, server):
        began = trio.current_time()
        assert await converse(channel, kind) == [b"%d" % winner]
        assert trio.current_time() - began == pytest.approx(winner, abs=0.01)
        await trio.sleep(5)
        assert len(server.requests) == winner + 1
        for request in server.requests:
            assert request.number == winner or request.code == 8
            assert request.messages == ([b"one", b"two"] if kind.client_streaming else [b"one"])
        previous = [each.headers.get(b"grpc-previous-rpc-attempts") for each in server.requests]
        assert previous == [None, b"1", b"2"][: winner + 1]


async def test_over_real_sockets() -> None:
    quick = config(hedgingDelay="0.02s")
    async with scripted(answering(2), tcp=True, service_config=quick) as (channel, server):
        with trio.fail_after(5):
            assert await converse(channel) == [b"2"]
        assert len(server.requests) == 3


async def test_all_at_once_without_a_delay(autojump_clock: trio.testing.MockClock) -> None:
    everywhere = config(hedgingDelay="0s", maxAttempts=4)
    async with scripted(answering(3), service_config=everywhere) as (channel, server):
        began = trio.current_time()
        assert await converse(channel) == [b"3"]
        assert trio.current_time() - began < 0.01
        assert len(server.requests) == 4


async def test_a_slow_first_attempt_may_still_win(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        await trio.sleep(2.5 if request.number == 0 else 100)
        await request.reply(b"%d" % request.number)

    async with scripted(script, service_config=config()) as (channel, server):
        assert await converse(channel) == [b"0"]
        assert [each.code for each in server.requests[1:]] == [8, 8]


async def test_a_failure_that_is_not_fatal_brings_the_next_attempt_forward(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        if request.number == 0:
            await trio.sleep(0.25)
            await request.fail(Status.UNAVAILABLE)
        else:
            await silent(request)

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await converse(channel, timeout=10)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        at = [each.at - began for each in server.requests]
        assert at == [pytest.approx(each, abs=0.01) for each in (0.0, 0.25, 1.25)]


async def test_a_fatal_failure_ends_the_call(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        if request.number == 1:
            await request.fail(Status.ABORTED, text=b"no")
        else:
            await silent(request)

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        with pytest.raises(GRPCError, match="no") as caught:
            await converse(channel)
        assert caught.value.status is Status.ABORTED
        assert trio.current_time() - began == pytest.approx(1, abs=0.01)
        await trio.sleep(5)
        assert [each.code for each in server.requests] == [8, 0]


async def test_when_all_have_failed_the_last_failure_is_the_calls(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await trio.sleep(5 - request.number)
        await request.fail(Status.UNAVAILABLE, text=b"%d" % request.number)

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await converse(channel)
        assert caught.value.status is Status.UNAVAILABLE
        assert len(server.requests) == 3
        assert trio.current_time() - began == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize("attempts", [2, 3])
async def test_the_last_attempt_is_waited_for_though_all_before_it_have_failed(
    attempts: int, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(request: Request) -> None:
        if request.number < attempts - 1:
            await request.fail(Status.UNAVAILABLE)
        else:
            await trio.sleep(5)
            await request.reply()

    several = config(maxAttempts=attempts)
    async with scripted(script, service_config=several) as (channel, server):
        assert await converse(channel) == [b"ok"]
        assert len(server.requests) == attempts


async def test_a_refused_attempt_that_is_about_to_be_made_again_counts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """While the other one fails, there is still that one."""

    async def script(request: Request) -> None:
        if request.number == 0:
            await silent(request)
        elif request.number == 1:
            await trio.sleep(0.5)
            server.requests[0].connection.engine.reset_stream(server.requests[0].id, 7)
            await server.requests[1].fail(Status.UNAVAILABLE)
        else:
            await request.reply()

    both = config(maxAttempts=2, hedgingDelay="0s")
    async with scripted(script, service_config=both) as (channel, server):
        assert await converse(channel) == [b"ok"]


async def test_no_attempt_gets_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    async def dial() -> trio.abc.Stream:
        raise OSError("nobody there")

    async with open_channel("x", dial=dial, service_config=config()) as channel:
        with pytest.raises(GRPCError, match="nobody there"):
            await converse(channel)
