"""Several connections to one address, when the streams of those there are do not suffice (A105)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from fleet import Directory, Fleet, ask, fleet_of, refusal

from trioraft.rpc import Channel, Limits, Status, open_channel


@asynccontextmanager
async def crowded(connections: int, **options: Any) -> AsyncIterator[tuple[Channel, Fleet]]:
    """A server that takes two calls per connection, and holds each until the gate opens."""
    limits = Limits(max_connections_per_address=connections, **options)
    async with (
        fleet_of("a", limits=Limits(max_concurrent_streams=2)) as fleet,
        open_channel(
            "fleet", dial_address=fleet.dial, resolver=Directory("a"), limits=limits
        ) as channel,
    ):
        fleet.gate = trio.Event()
        yield channel, fleet


async def calls(nursery: trio.Nursery, channel: Channel, number: int) -> None:
    for _ in range(number):
        nursery.start_soon(ask, channel)
    await trio.testing.wait_all_tasks_blocked()


async def test_by_default_calls_wait_for_a_stream(autojump_clock: object) -> None:
    async with crowded(Limits().max_connections_per_address) as (channel, fleet):
        async with trio.open_nursery() as nursery:
            await calls(nursery, channel, 5)
            assert fleet.running["a"] == 2
            assert len(fleet.dialled) == 1
            fleet.gate.set()


async def test_more_connections_are_made_up_to_the_bound(autojump_clock: object) -> None:
    async with crowded(3) as (channel, fleet):
        async with trio.open_nursery() as nursery:
            await calls(nursery, channel, 2)
            assert len(fleet.dialled) == 1
            await calls(nursery, channel, 1)
            assert len(fleet.dialled) == 2
            await calls(nursery, channel, 6)
            assert fleet.running["a"] == 6
            assert len(fleet.dialled) == 3
            assert len(channel.connector._shared.waiting) == 3
            fleet.gate.set()


async def test_calls_that_begin_together_get_all_the_connections_they_need(
    autojump_clock: object,
) -> None:
    async with crowded(5) as (channel, fleet):
        async with trio.open_nursery() as nursery:
            await calls(nursery, channel, 12)
            assert fleet.running["a"] == 10
            assert len(fleet.dialled) == 5
            assert len(channel.connector._shared.waiting) == 2
            fleet.gate.set()


async def test_the_oldest_connection_with_room_is_used(autojump_clock: object) -> None:
    async with crowded(3) as (channel, fleet):
        async with trio.open_nursery() as nursery:
            await calls(nursery, channel, 3)
            fleet.gate.set()
        first, second = channel.connector._shared.live
        fleet.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            await calls(nursery, channel, 2)
            assert (len(first.calls), len(second.calls)) == (2, 0)
            await calls(nursery, channel, 1)
            assert (len(first.calls), len(second.calls)) == (2, 1)
            fleet.gate.set()
        assert len(fleet.dialled) == 2


async def test_a_further_connection_that_cannot_be_made_harms_nobody(
    autojump_clock: object,
) -> None:
    async with crowded(2) as (channel, fleet):
        async with trio.open_nursery() as nursery:
            await calls(nursery, channel, 2)
            live, fleet._servers = fleet._servers, {}  # refused from now on
            await calls(nursery, channel, 2)
            assert len(fleet.dialled) == 2
            assert channel.state == "READY"
            await trio.sleep(5)
            assert 3 <= len(fleet.dialled) <= 5  # it is tried on, with pauses
            fleet._servers = live
            await trio.sleep(10)
            assert fleet.running["a"] == 4
            fleet.gate.set()


async def test_losing_the_first_leaves_the_second(autojump_clock: object) -> None:
    async with crowded(2) as (channel, fleet):
        async with trio.open_nursery() as nursery:
            await calls(nursery, channel, 4)
            fleet.gate.set()
        first, second = channel.connector._shared.live
        first.stop("a test has said so")
        await trio.testing.wait_all_tasks_blocked()
        assert channel.state == "READY"
        assert await ask(channel) == "a"
        assert channel.connector.current is second


async def test_losing_the_only_one_while_another_is_made(autojump_clock: object) -> None:
    async with crowded(2) as (channel, fleet):
        errors: list[Status] = []

        async def doomed() -> None:
            errors.append((await refusal(channel)).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(doomed)
            nursery.start_soon(doomed)
            await trio.testing.wait_all_tasks_blocked()
            fleet.silent = ["a"]
            nursery.start_soon(doomed)
            await trio.testing.wait_all_tasks_blocked()
            assert len(fleet.dialled) == 2
            await fleet.disconnect("a")
            assert channel.state == "CONNECTING"
            fleet.silent = []
        assert errors == [Status.UNAVAILABLE] * 3
        await channel.wait_for_state_change("TRANSIENT_FAILURE")
        fleet.gate.set()
        assert await ask(channel, wait_for_ready=True) == "a"


async def test_a_place_that_is_not_used_is_passed_on(autojump_clock: object) -> None:
    async with crowded(1, max_concurrent_streams=1) as (channel, fleet):
        assert fleet.gate is not None
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                await calls(nursery, channel, 1)
                nursery.start_soon(give_up, channel)
                await trio.testing.wait_all_tasks_blocked()
                await calls(nursery, channel, 1)
                fleet.gate.set()


async def give_up(channel: Channel) -> None:
    """Wait for one's turn, and make no call."""
    await channel.connection()
    channel.connector.pass_on()
