"""Clocks around named functions: how the time of a thread divides into steps, without overlaps.

At any time one step is on: that of the innermost probed function, or the first of all, while no
probed function runs or a task waits inside of one. What a probe does for itself is between two
readings of the clock and in no step; what is left of it, the readings and one more call, is found
by probing everything twice: see `net`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio


@dataclass
class Ledger:
    """What was counted, step by step: sums, or means per call.

    Attributes:
        spent: Time, in ns or us.
        entered: Probed calls of functions of the step.
        left: Probed calls made from it.
    """

    spent: list[float]
    entered: list[float]
    left: list[float]

    def total(self) -> float:
        """The time of all steps."""
        return sum(self.spent)

    def net(self, doubled: Ledger) -> list[float]:
        """The time of each step without the probes.

        doubled: The same with two probes around everything: what it has spent more is what one
            probe costs here, where it cools the caches and not in a loop of its own. Half of that
            is counted in the probed function's step, and half in its caller's.
        """
        probe = (doubled.total() - self.total()) / sum(self.entered)
        rows = zip(self.spent, self.entered, self.left, strict=True)
        return [spent - probe * (entered + left) / 2 for spent, entered, left in rows]


class Probes(trio.abc.Instrument):
    """Steps are numbered: 0 is Trio's scheduler, 1 its waiting for I/O."""

    def __init__(self, steps: int) -> None:
        self._ledger = Ledger([0] * steps, [0] * steps, [0] * steps)
        self._step = 0
        self._cpu = 0
        self._reading = min(_reading() for _ in range(1000))
        self._since = time.perf_counter_ns()

    def around(self, step: int, inner: Callable[..., Any]) -> Callable[..., Any]:
        """`inner` with a clock around it. It must not wait."""
        clock, found = time.perf_counter_ns, self._ledger
        spent, entered, left = found.spent, found.entered, found.left

        def probed(*args: Any, **options: Any) -> Any:
            at = clock()
            before = self._step
            spent[before] += at - self._since
            entered[step] += 1
            left[before] += 1
            self._step = step
            self._since = clock()
            try:
                return inner(*args, **options)
            finally:
                at = clock()
                spent[self._step] += at - self._since
                self._step = before
                self._since = clock()

        return probed

    def around_coroutine(self, step: int, inner: Callable[..., Any]) -> Callable[..., Any]:
        """The same for a coroutine function. What it waits in must be probed as step 0."""
        clock, found = time.perf_counter_ns, self._ledger
        spent, entered, left = found.spent, found.entered, found.left

        async def probed(*args: Any, **options: Any) -> Any:
            at = clock()
            before = self._step
            spent[before] += at - self._since
            entered[step] += 1
            left[before] += 1
            self._step = step
            self._since = clock()
            try:
                return await inner(*args, **options)
            finally:
                at = clock()
                spent[self._step] += at - self._since
                self._step = before
                self._since = clock()

        return probed

    def around_system_call(self, step: int, inner: Callable[..., Any]) -> Callable[..., Any]:
        """The same for what may wait in the kernel, or wake another there: CPU time counts."""

        def probed(*args: Any) -> Any:
            self._pause()
            try:
                return inner(*args)
            finally:
                self._resume(step)

        return probed

    def before_io_wait(self, timeout: float) -> None:
        """Trio asks the kernel what is ready."""
        self._pause()

    def after_io_wait(self, timeout: float) -> None:
        """It has said so."""
        self._resume(1)

    def _pause(self) -> None:
        self._ledger.spent[self._step] += time.perf_counter_ns() - self._since
        self._cpu = time.thread_time_ns()

    def _resume(self, step: int) -> None:
        self._ledger.spent[step] += time.thread_time_ns() - self._cpu - self._reading
        self._since = time.perf_counter_ns()

    def take(self) -> Ledger:
        """What was counted since the last time."""
        at, now = time.perf_counter_ns(), self._ledger
        now.spent[self._step] += at - self._since
        taken = Ledger(now.spent[:], now.entered[:], now.left[:])
        for counts in (now.spent, now.entered, now.left):
            counts[:] = [0] * len(counts)
        self._since = time.perf_counter_ns()
        return taken


def _reading() -> int:
    """What reading the clock of the thread's CPU time adds to what is between two readings."""
    return -(time.thread_time_ns() - time.thread_time_ns())
