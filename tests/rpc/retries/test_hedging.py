"""Calls with a hedging policy, against a scripted server, on a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from scripted_server import Request, scripted

from trioraft.rpc import (
    Cardinality,
    Channel,
    ClientStream,
    Encoded,
    GRPCError,
    Limits,
    Status,
    open_channel,
)

PATH = "/s.S/M"
KINDS = list(Cardinality)
UNARY, UPLOAD, CHAT = (
    Cardinality.UNARY_UNARY,
    Cardinality.STREAM_UNARY,
    Cardinality.STREAM_STREAM,
)


def config(throttling: dict[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    """Up to three attempts, 1 s apart; UNAVAILABLE is not fatal."""
    hedging = {
        "maxAttempts": 3,
        "hedgingDelay": "1s",
        "nonFatalStatusCodes": ["UNAVAILABLE"],
        **policy,
    }
    found: dict[str, Any] = {"methodConfig": [{"name": [{}], "hedgingPolicy": hedging}]}
    if throttling is not None:
        found["retryThrottling"] = throttling
    return found


def call(channel: Channel, kind: Cardinality, **options: Any) -> ClientStream[Any, Any]:
    return channel.request(PATH, kind, Encoded, Encoded, **options)


async def converse(channel: Channel, kind: Cardinality = UNARY, **options: Any) -> list[bytes]:
    async with call(channel, kind, **options) as stream:
        await stream.send_message(Encoded(b"one"), end=not kind.client_streaming)
        if kind.client_streaming:
            await stream.send_message(Encoded(b"two"))
            await stream.end()
        return [reply async for reply in stream]


async def silent(request: Request) -> None:
    await request.closed.wait()


def answering(number: int) -> Any:
    """Answers one request, by its number, with that; is silent on the others."""

    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.number == number:
            await request.reply(b"%d" % number)
        else:
            await silent(request)

    return script


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


async def test_a_conversation_goes_to_all_until_one_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        if request.number != 1:
            await silent(request)
            return
        while len(request.messages) < 3:
            await trio.sleep(0.1)
        await request.headers_only()
        await request.say(b"three")
        await request.ended.wait()
        await request.say(b"all")
        await request.end()

    async with scripted(script, service_config=config()) as (channel, server):
        async with call(channel, CHAT) as stream:
            await stream.send_message(Encoded(b"0"))
            await trio.sleep(1.5)
            stream.send_message_nowait(Encoded(b"1"))
            stream.queue_message(Encoded(b"2"))
            stream.flush()
            assert await stream.recv_message() == b"three"
            await stream.send_message(Encoded(b"3"))
            await stream.end()
            assert await stream.recv_message() == b"all"
            assert await stream.recv_message() is None
        first, second = server.requests
        assert first.messages == [b"0", b"1", b"2"]
        assert second.messages == [b"0", b"1", b"2", b"3"]
        assert first.code == 8


async def test_more_than_is_kept_stays_with_the_oldest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await request.ended.wait()
        await request.reply(b"%d" % request.number)

    limits = Limits(max_replay=100)
    async with scripted(script, service_config=config(), channel_limits=limits) as (
        channel,
        server,
    ):
        async with call(channel, UPLOAD) as stream:
            await stream.send_message(Encoded(bytes(30)))
            await trio.sleep(1.5)
            for _ in range(4):
                await stream.send_message(Encoded(bytes(30)))
            await trio.sleep(5)
            assert [each.code for each in server.requests] == [None, 8]
            await stream.end()
            assert await stream.recv_message() == b"0"
        assert len(server.requests[0].messages) == 5
        assert channel.plans is not None
        assert channel.plans.account.used == 0


async def test_what_no_server_has_seen_is_made_up_for_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        if request.number == 0:
            await request.refuse()
        else:
            await request.ended.wait()
            await request.reply()

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        assert await converse(channel) == [b"ok"]
        assert trio.current_time() - began < 0.01
        assert b"grpc-previous-rpc-attempts" not in server.requests[1].headers


async def test_leaving_the_block_cancels_all(autojump_clock: trio.testing.MockClock) -> None:
    async with scripted(silent, service_config=config()) as (channel, server):
        with trio.move_on_after(1.5):
            await converse(channel)
        await trio.testing.wait_all_tasks_blocked()
        assert [each.code for each in server.requests] == [8, 8]
        assert channel.connector.ready is not None
        assert not channel.connector.ready.calls


async def test_no_attempt_gets_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    async def dial() -> trio.abc.Stream:
        raise OSError("nobody there")

    async with open_channel("x", dial=dial, service_config=config()) as channel:
        with pytest.raises(GRPCError, match="nobody there"):
            await converse(channel)
