"""Many timers in one task, and no leftovers."""

from __future__ import annotations

import random
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import trio
import trio.testing

from trioraft.rpc.wire.timers import Timers


class Alarm:
    """Notes when it was due; `repeat` seconds later it is due again."""

    def __init__(self, repeat: float = inf) -> None:
        self.rang: list[float] = []
        self._repeat = repeat

    def due(self, now: float) -> float:
        self.rang.append(now)
        return now + self._repeat


@asynccontextmanager
async def timers() -> AsyncIterator[Timers]:
    async with trio.open_nursery() as nursery:
        clocks = Timers()
        nursery.start_soon(clocks.run)
        yield clocks
        nursery.cancel_scope.cancel()


async def test_each_rings_at_its_time(autojump_clock: trio.testing.MockClock) -> None:
    rng = random.Random(1)
    async with timers() as clocks:
        start = trio.current_time()
        delays = [rng.uniform(0, 100) for _ in range(500)]
        alarms = [Alarm() for _ in delays]
        for alarm, delay in zip(alarms, delays, strict=True):
            clocks.watch(alarm, start + delay)
        await trio.sleep(200)
        for alarm, delay in zip(alarms, delays, strict=True):
            assert alarm.rang == [start + delay]


async def test_it_rings_again_when_it_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with timers() as clocks:
        alarm = Alarm(repeat=10)
        clocks.watch(alarm, 5)
        await trio.sleep(36)
        assert alarm.rang == [5, 15, 25, 35]


async def test_the_earlier_time_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with timers() as clocks:
        alarm = Alarm()
        clocks.watch(alarm, 50)
        await trio.sleep(1)  # the task sleeps until 50 now
        clocks.watch(alarm, 10)
        clocks.watch(alarm, 70)
        await trio.sleep(100)
        assert alarm.rang == [10]


async def test_what_is_forgotten_stays_silent(autojump_clock: trio.testing.MockClock) -> None:
    async with timers() as clocks:
        alarm, other = Alarm(), Alarm()
        clocks.watch(alarm, 10)
        clocks.watch(other, 10)
        clocks.forget(alarm)
        clocks.forget(alarm)
        await trio.sleep(20)
        assert (alarm.rang, other.rang) == ([], [10])
        clocks.watch(alarm, 30)
        await trio.sleep(20)
        assert alarm.rang == [30]


async def test_forgotten_ones_are_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    async with timers() as clocks:
        kept = [Alarm() for _ in range(100)]
        for index, alarm in enumerate(kept):
            clocks.watch(alarm, 3600 + index)
        for _ in range(20_000):
            passing = Alarm()
            clocks.watch(passing, 7200)
            clocks.forget(passing)
        assert len(clocks._heap) < 1000
        await trio.sleep(7300)
        assert [alarm.rang for alarm in kept] == [[3600 + index] for index in range(100)]


async def test_what_is_forgotten_is_not_held(autojump_clock: trio.testing.MockClock) -> None:
    async with timers() as clocks:
        alarm = Alarm()
        gone = weakref.ref(alarm)
        clocks.watch(alarm, trio.current_time() + 60)
        clocks.watch(alarm, trio.current_time() + 50)
        clocks.forget(alarm)
        del alarm
        assert gone() is None
