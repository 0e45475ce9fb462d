"""Calls with a retry policy, against a scripted server, on a virtual clock."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from retry_kit import KINDS, UNARY, call, config, converse, failing
from scripted_server import Request, scripted

from trioraft.rpc import (
    Cardinality,
    Encoded,
    GRPCError,
    Limits,
    ProtocolError,
    Status,
    open_channel,
)
from trioraft.rpc.client.retrying.policy import RetryPolicy


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_failed_attempt_is_followed_by_others(
    kind: Cardinality, autojump_clock: trio.testing.MockClock
) -> None:
    async with scripted(failing(2), service_config=config()) as (channel, server):
        began = trio.current_time()
        metadata = {"who": "me"}
        assert await converse(channel, kind, metadata=metadata) == [b"ok"]
        first, second, third = server.requests
        expected = [b"one", b"two"] if kind.client_streaming else [b"one"]
        assert [each.messages for each in server.requests] == [expected] * 3
        assert {each.headers[b"who"] for each in server.requests} == {b"me"}
        previous = [each.headers.get(b"grpc-previous-rpc-attempts") for each in server.requests]
        assert previous == [None, b"1", b"2"]
        assert 0.8 <= second.at - began <= 1.2
        assert 1.6 <= third.at - second.at <= 2.4
        assert first.at == pytest.approx(began, abs=0.01)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_over_real_sockets(kind: Cardinality) -> None:
    quick = config(initialBackoff="0.01s")
    async with scripted(failing(2), tcp=True, service_config=quick) as (channel, server):
        with trio.fail_after(5):
            assert await converse(channel, kind) == [b"ok"]
        assert len(server.requests) == 3


async def test_the_jitter_comes_from_the_channels_rng_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    runs = []
    for _ in range(2):
        rng = random.Random(7)
        async with scripted(failing(2), service_config=config(), rng=rng) as (channel, server):
            began = trio.current_time()
            await converse(channel)
            runs.append([round(each.at - began, 6) for each in server.requests])
    assert runs[0] == runs[1]


def test_backoff_grows_up_to_its_bound_with_a_fifth_of_jitter() -> None:
    policy = RetryPolicy(
        max_attempts=5,
        initial_backoff=0.1,
        max_backoff=1.0,
        multiplier=3.0,
        retryable=frozenset({Status.UNAVAILABLE}),
    )
    for retries, middle in enumerate([0.1, 0.3, 0.9, 1.0, 1.0]):
        drawn = [policy.backoff(retries, random.Random(seed)) for seed in range(500)]
        assert middle * 0.8 <= min(drawn) < middle * 0.82
        assert middle * 1.18 < max(drawn) <= middle * 1.2
    assert policy.backoff(100_000, random.Random(1)) <= 1.2


async def test_the_last_failure_is_the_calls(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        await request.fail(Status.UNAVAILABLE, text=b"attempt %d" % request.number)

    async with scripted(script, service_config=config()) as (channel, server):
        with pytest.raises(GRPCError, match="attempt 2") as caught:
            await converse(channel)
        assert caught.value.status is Status.UNAVAILABLE
        assert len(server.requests) == 3


async def test_other_statuses_are_final(autojump_clock: trio.testing.MockClock) -> None:
    async with scripted(failing(1, Status.ABORTED), service_config=config()) as (channel, server):
        async with call(channel, UNARY) as stream:
            await stream.send_message(Encoded(b"one"), end=True)
            with pytest.raises(GRPCError):
                await stream.recv_message()
            assert stream.initial_metadata == {}
            assert stream.trailing_metadata is not None
            assert stream.peer is not None
            await stream.cancel()
        assert len(server.requests) == 1


async def test_a_lost_connection_is_retried_if_unavailable_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.number == 0:
            await request.connection.stream.aclose()
        else:
            await request.reply()

    async with scripted(script, service_config=config()) as (channel, server):
        assert await converse(channel) == [b"ok"]
        assert [each.connection.number for each in server.requests] == [0, 1]


async def test_a_reset_and_a_reply_that_is_not_grpc_count_by_their_status(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.number == 0:
            await request.reset(0x2)  # INTERNAL
        elif request.number == 1:
            request.connection.engine.send_response(
                request.id, [(b":status", b"503"), (b"content-type", b"text/html")]
            )
            await request.connection.flush()
        else:
            await request.reply()

    both = config(retryableStatusCodes=["UNAVAILABLE", "INTERNAL"])
    async with scripted(script, service_config=both) as (channel, server):
        assert await converse(channel) == [b"ok"]
        assert len(server.requests) == 3
        with trio.fail_after(1):
            await server.requests[1].closed.wait()  # its body is of no use to us


async def test_no_connection_counts_as_an_attempt(autojump_clock: trio.testing.MockClock) -> None:
    dialled = 0

    async def dial() -> trio.abc.Stream:
        nonlocal dialled
        dialled += 1
        raise OSError("nobody there")

    limits = Limits(reconnect_min=0.1, reconnect_max=0.1)
    async with open_channel("x", dial=dial, limits=limits, service_config=config()) as channel:
        with pytest.raises(GRPCError, match="nobody there"):
            await converse(channel)
    assert dialled >= 3


# ---- transparent retries besides -------------------------------------------------------------


async def test_what_no_server_has_seen_is_no_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.number == 0:
            await request.refuse()  # transparent, once
        elif request.number < 3:
            await request.fail(Status.UNAVAILABLE)
        else:
            await request.reply()

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        assert await converse(channel) == [b"ok"]
        previous = [each.headers.get(b"grpc-previous-rpc-attempts") for each in server.requests]
        assert previous == [None, None, b"1", b"2"]
        assert server.requests[1].at == pytest.approx(began, abs=0.01)


async def test_a_second_refusal_is_an_attempt(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        await request.refuse()

    async with scripted(script, service_config=config()) as (channel, server):
        with pytest.raises(GRPCError, match="REFUSED_STREAM"):
            await converse(channel)
        assert len(server.requests) == 4


async def test_a_call_that_is_no_block_is_refused() -> None:
    async with scripted(failing(0), service_config=config()) as (channel, _):
        with pytest.raises(ProtocolError, match="async with"):
            await call(channel, UNARY).send_message(Encoded(b"one"), end=True)
