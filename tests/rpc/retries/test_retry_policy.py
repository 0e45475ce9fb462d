"""Calls with a retry policy, against a scripted server, on a virtual clock."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from scripted_server import Request, Script, scripted

from trioraft.rpc import (
    Cardinality,
    Channel,
    ClientStream,
    Encoded,
    GRPCError,
    Limits,
    ProtocolError,
    Status,
    open_channel,
)
from trioraft.rpc.client.retrying.policy import RetryPolicy, read_pushback
from trioraft.rpc.client.retrying.retry import RetriedStream

PATH = "/s.S/M"
KINDS = list(Cardinality)
UNARY, UPLOAD, CHAT = (
    Cardinality.UNARY_UNARY,
    Cardinality.STREAM_UNARY,
    Cardinality.STREAM_STREAM,
)


def config(throttling: dict[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    """Three attempts after 1 s and 2 s (give or take 20%), on UNAVAILABLE."""
    found: dict[str, Any] = {
        "methodConfig": [
            {
                "name": [{"service": "s.S"}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "1s",
                    "maxBackoff": "30s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                    **policy,
                },
            }
        ]
    }
    if throttling is not None:
        found["retryThrottling"] = throttling
    return found


def call(channel: Channel, kind: Cardinality, **options: Any) -> ClientStream[Any, Any]:
    return channel.request(PATH, kind, Encoded, Encoded, **options)


async def converse(channel: Channel, kind: Cardinality = UNARY, **options: Any) -> list[bytes]:
    """Two requests where that is possible; all replies."""
    async with call(channel, kind, **options) as stream:
        await stream.send_message(Encoded(b"one"), end=not kind.client_streaming)
        if kind.client_streaming:
            await stream.send_message(Encoded(b"two"))
            await stream.end()
        return [reply async for reply in stream]


def failing(times: int, status: Status = Status.UNAVAILABLE, **options: Any) -> Script:
    """Fails the first `times` requests, answers the others."""

    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.number < times:
            await request.fail(status, **options)
        else:
            await request.reply()

    return script


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


# ---- commitment ------------------------------------------------------------------------------


async def test_response_headers_commit(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        await request.headers_only()
        await request.end(Status.UNAVAILABLE)

    async with scripted(script, service_config=config()) as (channel, server):
        with pytest.raises(GRPCError):
            await converse(channel)
        assert len(server.requests) == 1


@pytest.mark.parametrize("bound", ["call", "channel"])
async def test_more_than_is_kept_commits_to_the_stream_that_is_open(
    bound: str, autojump_clock: trio.testing.MockClock
) -> None:
    limits = Limits(max_replay=100) if bound == "call" else Limits(max_replay_channel=100)

    async with scripted(failing(1), limits=None, service_config=config()) as (plain, _):
        assert plain.plans is not None
        assert plain.plans.account.limit == 16 * 2**20
    async with (
        scripted(failing(1), service_config=config(), channel_limits=limits) as (channel, server),
        call(channel, UPLOAD) as stream,
    ):
        assert isinstance(stream, RetriedStream)
        for _ in range(4):
            await stream.send_message(Encoded(bytes(30)))
        assert stream._committed
        await stream.end()
        with pytest.raises(GRPCError) as caught:
            await stream.recv_message()
        assert caught.value.status is Status.UNAVAILABLE
        assert [len(each) for each in server.requests[0].messages] == [30] * 4
        assert len(server.requests) == 1
        assert channel.plans is not None
        assert channel.plans.account.used == 0
        await stream.cancel()


async def test_a_large_unary_request_is_sent_but_not_retried(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scripted(failing(1), service_config=config()) as (channel, server):
        async with call(channel, UNARY) as stream:
            await stream.send_message(Encoded(bytes(300 * 1024)), end=True)
            with pytest.raises(GRPCError):
                await stream.recv_message()
            await stream.cancel()
        assert len(server.requests) == 1


async def test_room_runs_out_between_two_attempts(autojump_clock: trio.testing.MockClock) -> None:
    """What does not fit goes out with the next attempt, which is the last; senders wait for it."""

    async def script(request: Request) -> None:
        if request.number == 0:
            await request.fail(Status.UNAVAILABLE)
        else:
            await request.ended.wait()
            await request.reply()

    limits = Limits(max_replay=100)
    async with scripted(script, service_config=config(), channel_limits=limits) as (
        channel,
        server,
    ):
        async with call(channel, UPLOAD) as stream:
            await stream.send_request()
            await trio.sleep(0.1)  # the first attempt has failed
            began = trio.current_time()
            for _ in range(4):
                await stream.send_message(Encoded(bytes(30)))
            assert trio.current_time() == began
            assert stream.crowded
            with pytest.raises(trio.WouldBlock):
                stream.send_message_nowait(Encoded(bytes(30)))
            await stream.send_message(Encoded(bytes(30)))
            assert trio.current_time() - began > 0.5
            assert not stream.crowded
            await stream.end()
            assert await stream.recv_message() == b"ok"
        assert [len(each) for each in server.requests[1].messages] == [30] * 5


async def test_after_the_answer_the_call_is_like_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A conversation goes on over the stream of the attempt that was answered."""

    async def script(request: Request) -> None:
        if request.number == 0:
            await request.fail(Status.UNAVAILABLE)
            return
        await request.headers_only()
        heard = 0
        while not request.ended.is_set() or heard < len(request.messages):
            if heard < len(request.messages):
                await request.say(b"re: " + request.messages[heard])
                heard += 1
            await trio.sleep(0.01)
        await request.end()

    async with scripted(script, service_config=config()) as (channel, server):
        async with call(channel, CHAT) as stream:
            await stream.send_message(Encoded(b"0"))
            assert await stream.recv_message() == b"re: 0"
            for index in range(1, 200):
                await stream.send_message(Encoded(b"%d" % index))
                assert await stream.recv_message() == b"re: %d" % index
            stream.queue_message(Encoded(b"more"))
            stream.flush()
            got: list[bytes] = []
            with trio.move_on_after(1):
                await stream.deliver(lambda messages: got.extend(messages) or True)  # type: ignore[func-returns-value]
            assert got == [b"re: more"]
            await stream.end()
            assert await stream.recv_message() is None
        assert len(server.requests) == 2


# ---- pushback --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"0", 0.0),
        (b"1500", 1.5),
        (b"2147483647", 2147483.647),
        (b"2147483648", -1.0),
        (b"99999999999", -1.0),
        (b"-1", -1.0),
        (b"01", -1.0),
        (b"+1", -1.0),
        (b"1.5", -1.0),
        (b"soon", -1.0),
        (b"", -1.0),
        (b"1,2", -1.0),
    ],
)
def test_what_pushback_says(value: bytes | None, seconds: float | None) -> None:
    assert read_pushback(value) == seconds


async def test_the_server_says_when(autojump_clock: trio.testing.MockClock) -> None:
    """Pushback replaces the backoff, which begins anew after it."""

    async def script(request: Request) -> None:
        await request.fail(Status.UNAVAILABLE, b"7000" if request.number == 1 else None)

    several = config(maxAttempts=5)
    async with scripted(script, service_config=several) as (channel, server):
        with pytest.raises(GRPCError):
            await converse(channel)
        at = [each.at for each in server.requests]
        pauses = [later - earlier for earlier, later in pairwise(at)]
        assert 0.8 <= pauses[0] <= 1.2
        assert pauses[1] == pytest.approx(7, abs=0.01)
        assert 0.8 <= pauses[2] <= 1.2
        assert 1.6 <= pauses[3] <= 2.4


@pytest.mark.parametrize("value", [b"-1", b"nonsense"])
async def test_the_server_says_never(value: bytes, autojump_clock: trio.testing.MockClock) -> None:
    script = failing(9, pushback=value)
    async with scripted(script, service_config=config()) as (channel, server):
        with pytest.raises(GRPCError):
            await converse(channel)
        assert len(server.requests) == 1


# ---- throttling ------------------------------------------------------------------------------


async def test_failures_use_tokens_up_and_successes_give_them_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    down = True

    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.headers[b":path"] == b"/s.S/M" and down:
            await request.fail(Status.UNAVAILABLE)
        else:
            await request.reply()

    throttled = config({"maxTokens": 8, "tokenRatio": 0.5})
    async with scripted(script, service_config=throttled) as (channel, server):

        async def attempts() -> int:
            before = len(server.requests)
            with pytest.raises(GRPCError):
                await converse(channel)
            return len(server.requests) - before

        # 8 tokens; an attempt follows while more than 4 are left after a failure.
        assert [await attempts() for _ in range(3)] == [3, 1, 1]
        for _ in range(5):  # a method without a policy gives back, too
            async with channel.request("/other/M", UNARY, Encoded, Encoded) as stream:
                await stream.send_message(Encoded(b""), end=True)
                await stream.recv_message()
        assert channel.plans is not None
        assert channel.plans.throttle is not None
        assert channel.plans.throttle._tokens == 5500
        assert await attempts() == 2  # 4.5 left, and then 3.5
        down = False
        assert await converse(channel) == [b"ok"]
        assert channel.plans.throttle._tokens == 4000
        # The same setting in the next config keeps the tokens; another one begins anew.
        channel.configure(throttled)
        assert channel.plans.throttle._tokens == 4000
        channel.configure(config({"maxTokens": 4, "tokenRatio": 0.5}))
        assert channel.plans.throttle._tokens == 4000
        channel.configure(config())
        assert channel.plans.throttle is None


async def test_failures_of_other_kinds_use_no_tokens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    throttled = config({"maxTokens": 4, "tokenRatio": 0.1})
    script = failing(9, Status.INVALID_ARGUMENT)
    async with scripted(script, service_config=throttled) as (channel, _):
        for _ in range(5):
            with pytest.raises(GRPCError):
                await converse(channel)
        assert channel.plans is not None
        assert channel.plans.throttle is not None
        assert channel.plans.throttle._tokens == 4000


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


# ---- time and cancellation -------------------------------------------------------------------


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


async def test_a_call_that_is_no_block_is_refused() -> None:
    async with scripted(failing(0), service_config=config()) as (channel, _):
        with pytest.raises(ProtocolError, match="async with"):
            await call(channel, UNARY).send_message(Encoded(b"one"), end=True)
