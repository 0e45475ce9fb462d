"""Many timers in one task: of a server's connections, of a channel's calls."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import Protocol

import trio

__all__ = ["Timed", "Timers"]

# Entries that are out of date are dropped when they are the greater part, beyond a few.
_FEW = 64


class Timed(Protocol):
    """What has times at which something is due."""

    def due(self, now: float) -> float:
        """It is `now`, the time that was asked for or later; returns the next one (infinity: none).

        Must not wait or raise.
        """


class Timers:
    """Calls each `Timed` at its time, on Trio's clock. For one Trio run.

    Setting and forgetting cost a few steps (a heap whose old entries stay until they are due or too
    many, and hold on to nothing), the task wakes only when something is due, and in the order of
    times.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._at: dict[Timed, tuple[float, int]] = {}  # the entry that counts
        self._timed: dict[int, Timed] = {}  # by the number of its entry
        self._number = 0  # of equal times, the one set first
        self._scope = trio.CancelScope()

    def watch(self, timed: Timed, at: float) -> None:
        """Have `timed.due` called at `at`, or at the time it has already if that is earlier."""
        known = self._at.get(timed)
        if known is not None:
            if known[0] <= at:
                return
            del self._timed[known[1]]
        self._number += 1
        self._at[timed] = entry = (at, self._number)
        self._timed[self._number] = timed
        heappush(self._heap, entry)
        if at < self._scope.deadline:
            self._scope.deadline = at

    def forget(self, timed: Timed) -> None:
        """No more calls of `timed.due`."""
        known = self._at.pop(timed, None)
        if known is not None:
            del self._timed[known[1]]
        if len(self._heap) > 2 * len(self._at) + _FEW:
            self._heap = sorted(self._at.values())  # which is a heap

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            first = self._heap[0][0] if self._heap else inf
            with trio.CancelScope(deadline=first) as self._scope:
                await trio.sleep_forever()
            self._call(trio.current_time())

    def _call(self, now: float) -> None:
        again: list[tuple[Timed, float]] = []
        while self._heap and self._heap[0][0] <= now:
            _, number = heappop(self._heap)
            timed = self._timed.pop(number, None)
            if timed is not None:
                del self._at[timed]
                again.append((timed, timed.due(now)))
        for timed, at in again:
            if at != inf:
                self.watch(timed, at)
