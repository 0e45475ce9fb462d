"""Calls that wait until an index is reached: applied here, or replicated so far."""

from __future__ import annotations

import heapq

from trioraft.raft.errors import OverloadedError

from .wakeups import Slot

__all__ = ["IndexWaits"]


class IndexWaits:
    """At most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: The calls that wait, by number. To be looked at only.
        self.slots: dict[int, Slot[int]] = {}
        # (index, number); those whose caller has gone stay until their turn or a sweep.
        self._heap: list[tuple[int, int]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self.slots)

    async def wait(self, index: int) -> int:
        """Wait until `index` is reached; returns how far it is then.

        Raises OverloadedError at the limit, and what `fail_all` is told. Cancelling is safe and
        leaves nothing behind.
        """
        if len(self.slots) >= self.limit:
            raise OverloadedError(f"{self.limit} calls wait for an index; back off and retry")
        number, slot = self._number, Slot[int]()
        self._number += 1
        self.slots[number] = slot
        heapq.heappush(self._heap, (index, number))
        try:
            return await slot.wait()
        finally:
            if self.slots.pop(number, None) is not None:
                self._sweep()

    def reach(self, index: int) -> None:
        """Everything up to `index` is reached. Never blocks."""
        heap = self._heap
        while heap and heap[0][0] <= index:
            _, number = heapq.heappop(heap)
            slot = self.slots.pop(number, None)
            if slot is not None:
                slot.resolve(index)

    def fail_all(self, error: BaseException) -> None:
        """Nobody here will be told any more."""
        slots = list(self.slots.values())
        self.slots.clear()
        self._heap.clear()
        for slot in slots:
            slot.fail(error)

    def _sweep(self) -> None:
        """What callers leave behind stays below about as many as wait."""
        if len(self._heap) > 2 * len(self.slots) + 16:
            self._heap = [row for row in self._heap if row[1] in self.slots]
            heapq.heapify(self._heap)
