"""The timers of all connections of a server, in one task: a connection costs no task for them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
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
    many), the task wakes only when something is due, and in the order of times.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._at: dict[Timed, float] = {}
        self._number = 0  # of equal times, the one set first
        self._scope = trio.CancelScope()

    def watch(self, timed: Timed, at: float) -> None:
        """Have `timed.due` called at `at`, or at the time it has already if that is earlier."""
        known = self._at.get(timed)
        if known is not None and known <= at:
            return
        self._at[timed] = at
        self._number += 1
        heappush(self._heap, (at, self._number, timed))
        if at < self._scope.deadline:
            self._scope.deadline = at

    def forget(self, timed: Timed) -> None:
        """No more calls of `timed.due`."""
        self._at.pop(timed, None)
        if len(self._heap) > 2 * len(self._at) + _FEW:
            self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[0]]
            heapify(self._heap)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            first = self._heap[0][0] if self._heap else float("inf")
            with trio.CancelScope(deadline=first) as self._scope:
                await trio.sleep_forever()
            self._call(trio.current_time())

    def _call(self, now: float) -> None:
        again: list[tuple[Timed, float]] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, timed = heappop(self._heap)
            if self._at.get(timed) == at:
                del self._at[timed]
                again.append((timed, timed.due(now)))
        for timed, at in again:
            if at != float("inf"):
                self.watch(timed, at)
