"""Attempts to connect: when the first is made, who shares it, how failures are spaced and told."""

from __future__ import annotations

import itertools
import random
from functools import partial

import pytest
import trio
import trio.testing
from channel_kit import failure, free_port
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, MemoryNetwork, in_memory

from trioraft.rpc import Limits, Status, open_channel, serve


async def test_nothing_is_dialled_before_the_first_call() -> None:
    async with open_channel("127.0.0.1:1"):
        await trio.sleep(0.01)


async def test_no_server_is_unavailable_and_says_why() -> None:
    async with open_channel(f"127.0.0.1:{free_port()}") as channel:
        error = await failure(channel)
        assert error.status is Status.UNAVAILABLE
        assert "127.0.0.1" in str(error.message)


async def test_concurrent_first_calls_share_one_attempt() -> None:
    async with in_memory([Echo()]) as (channel, network), trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
    assert len(network.client_ends) == 1


async def test_cancelling_the_first_caller_leaves_the_attempt_to_the_others() -> None:
    gate = trio.Event()
    network = MemoryNetwork()

    async def slow_dial() -> trio.abc.Stream:
        await gate.wait()
        return await network.dial()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [Echo()], listeners=[network]))
        async with open_channel("slow", dial=slow_dial) as channel:
            stub = EchoStub(channel)
            with trio.move_on_after(0.01):
                await stub.Unary(EchoRequest())
            async with trio.open_nursery() as callers:
                callers.start_soon(stub.Unary, EchoRequest())
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
        assert len(network.client_ends) == 1
        nursery.cancel_scope.cancel()


async def test_backoff_grows_with_jitter_and_fails_fast(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dials: list[float] = []

    async def dial() -> trio.abc.Stream:
        dials.append(trio.current_time())
        raise OSError("no route")

    limits = Limits(reconnect_min=1.0, reconnect_max=8.0)
    async with open_channel("far", dial=dial, limits=limits, rng=random.Random(1)) as channel:
        while trio.current_time() < 60:
            error = await failure(channel)
            assert error.status is Status.UNAVAILABLE
            assert "no route" in str(error.message)
            await trio.sleep(0.05)
    gaps = [later - earlier for earlier, later in itertools.pairwise(dials)]
    for number, gap in enumerate(gaps):
        pause = min(8.0, 1.6**number)
        assert 0.8 * pause <= gap <= 1.2 * pause + 0.06
    assert len(set(gaps[5:])) > 1


async def test_the_same_seed_gives_the_same_attempts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def attempts() -> list[float]:
        start = trio.current_time()
        dials: list[float] = []

        async def dial() -> trio.abc.Stream:
            dials.append(round(trio.current_time() - start, 6))
            raise OSError("no")

        async with open_channel("x", dial=dial, rng=random.Random(7)) as channel:
            while trio.current_time() < start + 10:
                await failure(channel)
                await trio.sleep(0.01)
        return dials

    assert await attempts() == await attempts()


async def test_a_failing_dial_of_any_kind_is_unavailable() -> None:
    async def dial() -> trio.abc.Stream:
        raise KeyError("the application's own mistake")

    async with open_channel("x", dial=dial) as channel:
        error = await failure(channel)
        assert error.status is Status.UNAVAILABLE
        assert "mistake" in str(error.message)


async def test_a_server_that_never_answers_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        kept.append(theirs)
        return ours

    kept: list[trio.abc.Stream] = []
    async with open_channel("mute", dial=dial, limits=Limits(connect_timeout=3)) as channel:
        error = await failure(channel)
        assert error.status is Status.UNAVAILABLE
        assert trio.current_time() == pytest.approx(3)


async def test_a_server_that_turns_everybody_away_is_not_stormed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It greets and says GOAWAY in one breath: the pauses grow as if it were not there."""
    greeting = bytes.fromhex("000000040000000000 00000807000000000000000000 00000000")
    kept: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        kept.append(theirs)
        await theirs.send_all(greeting)
        await theirs.send_eof()
        return ours

    async with open_channel("rude", dial=dial, limits=Limits(reconnect_min=1)) as channel:
        while trio.current_time() < 30:
            assert (await failure(channel)).status is Status.UNAVAILABLE
            await trio.sleep(0.1)
    assert len(kept) <= 12
