"""Servers, names, policies and callers that come and go at random: nobody is forgotten."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing
from fleet import Directory, Fleet, ask, fleet_of

from trioraft.rpc import (
    Channel,
    GRPCError,
    Limits,
    PickFirst,
    RoundRobin,
    Status,
    WeightedRoundRobin,
    open_channel,
)
from trioraft.testing.scheduler import SeededRun, run_seeded

NAMES = "abcd"
ENDS = {Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED}
LIMITS = Limits(
    idle_timeout=60,
    resolve_interval=5,
    reconnect_max=20,
    max_connections_per_address=2,
    max_concurrent_streams=3,
    max_waiting_calls=30,
)


class Chaos:
    """What may happen, one thing after the other, as a seed has it."""

    def __init__(
        self, rng: random.Random, fleet: Fleet, directory: Directory, nursery: trio.Nursery
    ) -> None:
        self.rng = rng
        self.fleet = fleet
        self.directory = directory
        self.nursery = nursery
        self.up: list[str] = []
        self.answers = 0
        self.failures: list[GRPCError] = []

    async def step(self, channel: Channel) -> None:
        events: list[Callable[[Channel], object]] = [self.call] * 8
        events += [self.resolve, self.idle, self.policy, self.silence]
        self.rng.choice(events)(channel)
        name = self.rng.choice(NAMES)
        what = self.rng.random()
        if what < 0.2 and name not in self.up:
            self.up.append(name)
            await self.fleet.start(name)
        elif what < 0.35 and name in self.up:
            self.up.remove(name)
            await self.fleet.stop(name)
        elif what < 0.5 and name in self.up:
            await self.fleet.disconnect(name)
        await trio.sleep(self.rng.choice([0, 0.01, 0.3, 2, 30]))

    def resolve(self, channel: Channel) -> None:
        if self.directory.updates is None:
            return
        if self.rng.random() < 0.2:
            self.directory.failed(OSError("the directory is away"))
        else:
            self.directory.found(" ".join(self.rng.sample(NAMES, self.rng.randint(0, 4))))

    def policy(self, channel: Channel) -> None:
        policies = [PickFirst(), PickFirst(shuffle=True), RoundRobin(), WeightedRoundRobin()]
        channel.connector.balance(self.rng.choice(policies))

    def silence(self, channel: Channel) -> None:
        self.fleet.silent = self.rng.sample(NAMES, self.rng.randint(0, 2))

    def idle(self, channel: Channel) -> None:
        channel.connect()

    def call(self, channel: Channel) -> None:
        patient = self.rng.random() < 0.3
        cancelled = self.rng.random() < 0.2
        timeout = self.rng.choice([0.2, 5, 60])
        self.nursery.start_soon(self._call, channel, patient, cancelled, timeout)

    async def _call(self, channel: Channel, patient: bool, cancelled: bool, timeout: float) -> None:
        with trio.CancelScope() as scope:
            if cancelled:
                scope.deadline = trio.current_time() + 0.1
            try:
                await ask(channel, wait_for_ready=patient, timeout=timeout)
                self.answers += 1
            except GRPCError as error:
                self.failures.append(error)


async def live(seed: int) -> list[object]:
    """One life of a channel; returns what has happened in it."""
    rng = random.Random(seed)
    directory = Directory("a b")
    async with (
        fleet_of("") as fleet,
        open_channel(
            "fleet",
            dial_address=fleet.dial,
            resolver=directory,
            balancing=rng.choice(["pick_first", "round_robin"]),
            limits=LIMITS,
            rng=random.Random(rng.random()),
        ) as channel,
    ):
        async with trio.open_nursery() as nursery:
            chaos = Chaos(rng, fleet, directory, nursery)
            for _ in range(120):
                await chaos.step(channel)
        await trio.sleep(70)  # every deadline has passed
        assert not channel.connector._shared.waiting
        assert fleet.running == dict.fromkeys(fleet.running, 0)
        assert chaos.answers > 0
        assert all(error.status in ENDS for error in chaos.failures)

        fleet.silent = []
        for name in NAMES:
            if name not in chaos.up:
                await fleet.start(name)
        channel.connect()
        await trio.sleep(0.001)
        directory.found("a b c d")
        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(lambda: ask(channel, wait_for_ready=True, timeout=60))
        assert channel.state == "READY"
        await trio.sleep(100)
        assert channel.state == "IDLE"
        assert channel.connector._shared.live == []
    assert channel.state == "SHUTDOWN"
    return [chaos.answers, fleet.dialled, [str(error) for error in chaos.failures]]


@pytest.mark.parametrize("seed", range(20))
async def test_nobody_is_forgotten(seed: int, autojump_clock: object) -> None:
    await live(seed)


@pytest.mark.parametrize("seed", [3, 4])
def test_everything_follows_from_the_seed(seed: int) -> None:
    async def run(_: SeededRun) -> list[object]:
        return await live(seed)

    assert run_seeded(run, seed) == run_seeded(run, seed)
