"""Resolvers of an application's own: when they run, and what they may bring."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from fleet import Directory, ask, asks, fleet_of, refusal

from trioraft.rpc import (
    Address,
    Limits,
    PollingResolver,
    Resolution,
    ResolverUpdates,
    RoundRobin,
    open_channel,
)
from trioraft.rpc.client.naming.resolver import MAX_ADDRESSES

# ---- resolvers of one's own ----------------------------------------------------------------------


async def test_a_resolver_lives_while_the_channel_is_not_idle(autojump_clock: object) -> None:
    directory = Directory("a")
    async with (
        fleet_of("a") as fleet,
        open_channel(
            "fleet", dial_address=fleet.dial, resolver=directory, limits=Limits(idle_timeout=10)
        ) as channel,
    ):
        assert directory.runs == 0
        await ask(channel)
        await trio.sleep(15)
        assert channel.state == "IDLE"
        before = directory.updates
        assert before is not None
        before.found(Resolution([Address("b", 1)]))  # heard by nobody
        await ask(channel)
        assert directory.runs == 2
        before.found(Resolution([]))
        before.failed(OSError("late"))
        assert await ask(channel) == "a"


async def test_a_resolver_that_fails_is_run_again(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Directory):
        async def run(self, updates: ResolverUpdates) -> None:
            self.runs += 1
            if self.runs < 3:
                raise KeyError("the application's own mistake")
            await super().run(updates)

    broken = Broken("a")
    async with (
        fleet_of("a") as fleet,
        open_channel("fleet", dial_address=fleet.dial, resolver=broken) as channel,
    ):
        assert "mistake" in str((await refusal(channel)).message)
        assert await ask(channel, wait_for_ready=True) == "a"
    assert caplog.text.count("the resolver failed") == 2


async def test_a_resolver_may_return(autojump_clock: object) -> None:
    class Once:
        async def run(self, updates: ResolverUpdates) -> None:
            updates.found(Resolution([Address("a", 1)]))

    async with (
        fleet_of("a") as fleet,
        open_channel("fleet", dial_address=fleet.dial, resolver=Once()) as channel,
    ):
        assert await ask(channel) == "a"
        await fleet.disconnect("a")
        assert await ask(channel) == "a"


async def test_polling(autojump_clock: object) -> None:
    class Polled(PollingResolver):
        def __init__(self) -> None:
            super().__init__(interval=10)
            self.asked: list[float] = []

        async def resolve(self) -> Resolution:
            self.asked.append(trio.current_time())
            if len(self.asked) == 1:
                return Resolution([])
            return Resolution([Address("a", 1)])

    polled = Polled()
    async with (
        fleet_of("") as fleet,
        open_channel("fleet", dial_address=fleet.dial, resolver=polled) as channel,
    ):
        assert "no address" in str((await refusal(channel)).message)
        await trio.sleep(60)
        gaps = [
            after - before for before, after in zip(polled.asked, polled.asked[1:], strict=False)
        ]
        assert gaps[0] == pytest.approx(1)  # none at all is a failure
        assert min(gaps[1:]) >= 10


async def test_addresses_are_bounded(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    many = " ".join(f"n{index}" for index in range(MAX_ADDRESSES + 5))
    async with (
        fleet_of("n0") as fleet,
        open_channel("fleet", dial_address=fleet.dial, resolver=Directory(many)) as channel,
    ):
        assert await ask(channel) == "n0"
        assert len(channel.connector._addresses) == MAX_ADDRESSES
    assert "1005 addresses" in caplog.text


async def test_a_resolver_may_bring_a_service_config(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    directory = Directory("a b")
    seen: list[Any] = []
    async with (
        fleet_of("a b") as fleet,
        open_channel("fleet", dial_address=fleet.dial, resolver=directory) as channel,
    ):

        def configure(config: Any) -> None:
            seen.append(config)
            if config == {"bad": 1}:
                raise ValueError("refused")
            channel.connector.balance(RoundRobin())

        channel.connector.on_service_config = configure
        assert await asks(channel, 3) == ["a"] * 3
        directory.found("a b", {"round": "robin"})
        await trio.sleep(1)
        assert sorted(await asks(channel, 2)) == ["a", "b"]
        directory.found("a b", {"bad": 1})
        assert sorted(await asks(channel, 2)) == ["a", "b"]
    assert seen == [{"round": "robin"}, {"bad": 1}]
    assert "refused" in caplog.text
