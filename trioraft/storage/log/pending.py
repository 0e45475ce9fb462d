"""The entries that wait for the disk, so that they can be read before it has answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from trioraft.raft.types import Entry

__all__ = ["PendingEntries", "take_within"]


class PendingEntries:
    """Batches in the order they were queued. Of an entry queued twice, the later one counts.

    Every batch begins at most one behind the end of the one before, so the batches together
    hold everything from the lowest of their indices to the end of the log.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Sequence[Entry], int]] = deque()
        self.stored_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    def push(self, first: int, entries: Sequence[Entry], stored_bytes: int) -> None:
        """A batch was queued; `entries`, perhaps none, begin at index `first`."""
        self._batches.append((first, entries, stored_bytes))
        self.stored_bytes += stored_bytes

    def pop(self) -> None:
        """The oldest batch is on disk, or never will be."""
        self.stored_bytes -= self._batches.popleft()[2]

    def first(self, default: int) -> int:
        """The lowest index from which on everything is here."""
        return min((first for first, entries, _ in self._batches if entries), default=default)

    def read(self, low: int, high: int) -> list[Entry]:
        """Entries of [low, high), all of which are here."""
        found: list[Entry] = []
        for first, entries, _ in reversed(self._batches):
            if high <= low:
                break
            if entries and first < high:
                found[:0] = entries[max(0, low - first) : high - first]
                high = first
        return found


def take_within(taken: list[Entry], more: Sequence[Entry], max_bytes: int) -> list[Entry]:
    """`taken` and as many of `more` as their data fits into `max_bytes`; at least one in all."""
    left = max_bytes - sum(len(entry.data) for entry in taken)
    for entry in more:
        left -= len(entry.data)
        if left < 0 and taken:
            break
        taken.append(entry)
    return taken
