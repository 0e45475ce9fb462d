"""Those who wait until an entry has been replicated as far as they want it.

The levels are Ratis's (`raft.types.ReplicationLevel`). Only the leader can tell them; the driver
asks the core once a turn while somebody waits.
"""

from __future__ import annotations

import heapq

from trioraft.raft.core import RaftCore
from trioraft.raft.errors import OverloadedError
from trioraft.raft.types import ReplicationLevel

from .wakeups import Slot

__all__ = ["Watches"]


class Watches:
    """The waiting calls of one leadership, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slots: dict[int, Slot[int]] = {}  # by number
        # Heaps of (index, number); those whose caller has gone stay until their turn or a sweep.
        self._heaps: dict[ReplicationLevel, list[tuple[int, int]]] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._slots)

    async def wait(self, index: int, level: ReplicationLevel) -> int:
        """Wait until `level` has reached `index`; returns how far it is.

        Raises OverloadedError at the limit, and what `fail_all` is told. Cancelling is safe.
        """
        if len(self._slots) >= self._limit:
            raise OverloadedError(f"{self._limit} watches are waiting; back off and retry")
        number, slot = self._number, Slot[int]()
        self._number += 1
        self._slots[number] = slot
        heapq.heappush(self._heaps.setdefault(level, []), (index, number))
        try:
            return await slot.wait()
        finally:
            if self._slots.pop(number, None) is not None:
                self._sweep(level)

    def check(self, core: RaftCore) -> None:
        """Answer those whose index is reached. The core must lead."""
        for level, heap in self._heaps.items():
            if not heap:
                continue
            reached = core.replicated(level)
            while heap and heap[0][0] <= reached:
                _, number = heapq.heappop(heap)
                slot = self._slots.pop(number, None)
                if slot is not None:
                    slot.resolve(reached)

    def fail_all(self, error: BaseException) -> None:
        """This node cannot tell any more."""
        slots = list(self._slots.values())
        self._slots.clear()
        self._heaps.clear()
        for slot in slots:
            slot.fail(error)

    def _sweep(self, level: ReplicationLevel) -> None:
        """Keep what callers left behind below as many as wait."""
        heap = self._heaps.get(level, [])
        if len(heap) > 2 * len(self._slots) + 16:
            self._heaps[level] = [row for row in heap if row[1] in self._slots]
            heapq.heapify(self._heaps[level])
