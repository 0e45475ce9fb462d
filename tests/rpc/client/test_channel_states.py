"""The state of a channel, watching it, and going idle."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from fleet import Directory, Fleet, ask, fleet_of, refusal

from trioraft.rpc import Channel, ConnectivityState, Limits, open_channel
from trioraft.rpc.registry import Registry


@asynccontextmanager
async def channel_to(names: str, **options: Any) -> AsyncIterator[tuple[Channel, Fleet]]:
    async with (
        fleet_of(names) as fleet,
        open_channel(
            "fleet", dial_address=fleet.dial, resolver=Directory("a"), **options
        ) as channel,
    ):
        yield channel, fleet


async def test_the_states_of_a_life(autojump_clock: object) -> None:
    seen: list[str] = []

    async def watch(channel: Channel) -> None:
        async for state in channel.states():
            seen.append(state)  # noqa: PERF401 (looked at while it grows)

    async with trio.open_nursery() as nursery:
        async with channel_to("a") as (channel, fleet):
            nursery.start_soon(watch, channel)
            await trio.testing.wait_all_tasks_blocked()
            assert seen == ["IDLE"]
            await ask(channel)
            await fleet.stop("a")
            await trio.testing.wait_all_tasks_blocked()
            await refusal(channel)
            await trio.testing.wait_all_tasks_blocked()
            await fleet.start("a")
            await channel.wait_for_state_change("TRANSIENT_FAILURE")
            await trio.testing.wait_all_tasks_blocked()
    assert seen[:4] == ["IDLE", "CONNECTING", "READY", "IDLE"]
    assert seen[4:] in (
        ["CONNECTING", "TRANSIENT_FAILURE", "READY", "SHUTDOWN"],
        ["TRANSIENT_FAILURE", "READY", "SHUTDOWN"],  # CONNECTING was over before anybody looked
    )
    assert channel.state is ConnectivityState.SHUTDOWN


async def test_connect_leaves_idle(autojump_clock: object) -> None:
    registry = Registry()
    async with channel_to("a", registry=registry) as (channel, fleet):
        [entry] = registry.channels.values()
        assert channel.state == entry.state == "IDLE"
        channel.connect()
        assert channel.state == entry.state == "CONNECTING"
        assert await channel.wait_for_state_change("CONNECTING") == "READY"
        channel.connect()
        await trio.sleep(10)
        assert fleet.dialled == [(0, "a")]
        assert entry.state == "READY"


async def test_a_change_that_has_been_is_returned_at_once(autojump_clock: object) -> None:
    async with channel_to("a") as (channel, _):
        assert await channel.wait_for_state_change("READY") == "IDLE"
        with trio.move_on_after(5) as scope:
            await channel.wait_for_state_change(ConnectivityState.IDLE)
        assert scope.cancelled_caught


async def test_connecting_needs_the_block() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        open_channel("127.0.0.1:1").connect()


# ---- idle ----------------------------------------------------------------------------------------


async def test_without_calls_it_goes_idle_and_comes_back(autojump_clock: object) -> None:
    async with channel_to("a") as (channel, fleet):
        await ask(channel)
        await channel.wait_for_state_change("READY")
        assert channel.state == "IDLE"
        assert 1800 <= fleet.now() <= 1980  # half an hour, and up to a tenth more
        await trio.testing.wait_all_tasks_blocked()
        assert channel.connector._shared.live == []
        await trio.sleep(10_000)
        assert len(fleet.dialled) == 1
        assert await ask(channel) == "a"
        assert len(fleet.dialled) == 2
        await channel.wait_for_state_change("READY")
        assert channel.state == "IDLE"


async def test_calls_keep_it_awake(autojump_clock: object) -> None:
    async with channel_to("a", limits=Limits(idle_timeout=10)) as (channel, fleet):
        for _ in range(10):
            await ask(channel)
            await trio.sleep(9)
            assert channel.state == "READY"
        fleet.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, channel)
            await trio.sleep(100)
            assert channel.state == "READY"  # a call is running
            fleet.gate.set()
        assert len(fleet.dialled) == 1
        await trio.sleep(12)
        assert channel.state == "IDLE"


async def test_idle_ends_attempts_to_connect(autojump_clock: object) -> None:
    async with channel_to("", limits=Limits(idle_timeout=100)) as (channel, fleet):
        await refusal(channel)
        await trio.sleep(1000)
        assert channel.state == "IDLE"
        assert all(time <= 110 for time, _ in fleet.dialled)


async def test_idle_spares_those_that_wait(autojump_clock: object) -> None:
    async with channel_to("", limits=Limits(idle_timeout=10)) as (channel, fleet):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ask(channel, wait_for_ready=True))
            await trio.sleep(100)
            await fleet.start("a")


async def test_it_never_goes_idle_if_told_so(autojump_clock: object) -> None:
    async with channel_to("a", limits=Limits(idle_timeout=math.inf)) as (channel, _):
        await ask(channel)
        await trio.sleep(80_000)
        assert channel.state == "READY"
