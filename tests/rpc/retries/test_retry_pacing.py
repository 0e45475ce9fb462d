"""When the next attempt is made: what the server says, and what throttling says."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing
from retry_kit import UNARY, config, converse, failing
from scripted_server import Request, scripted

from trioraft.rpc import Encoded, GRPCError, Status
from trioraft.rpc.client.retrying.policy import read_pushback


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
