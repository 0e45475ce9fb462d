"""The log as the core sees it: terms of every entry, and the newest entries themselves.

Entries are on disk (the runtime's business). Here are kept their terms (`terms`) and a window
of the newest entries, so that followers that keep up never cost a disk read. The window is
bounded by bytes and loses entries from its front, but never one that is not durable yet.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from trioraft.raft.errors import InvariantError
from trioraft.raft.types import NO_INDEX, NO_TERM, Entry, EntryKind

from .terms import LogTerms

__all__ = ["COPIES", "ENTRY_OVERHEAD", "RaftLog"]

# What a cached entry costs beside its data: the objects around it, roughly (bytes).
ENTRY_OVERHEAD = 256
# What it costs for each byte of data: an entry that has been sent keeps its encoding (`wire`).
COPIES = 2


class RaftLog(LogTerms):
    """Indices `base_index + 1 .. last_index`, consecutive, terms never falling (Raft §5.3).

    durable_index: entries up to here survive a crash; the runtime reports them.
    configurations: the CONFIGURATION entries in the log, ascending.
    """

    __slots__ = (
        "_cache",
        "_ends",
        "_max_cached_bytes",
        "_origin",
        "configurations",
        "durable_index",
    )

    durable_index: int
    configurations: list[Entry]

    def __init__(
        self,
        base_index: int = NO_INDEX,
        base_term: int = NO_TERM,
        *,
        max_cached_bytes: int = 32 << 20,
    ) -> None:
        self._max_cached_bytes = max_cached_bytes
        self.reset(base_index, base_term)

    @classmethod
    def recovered(
        cls,
        base_index: int,
        base_term: int,
        last_index: int,
        term_runs: Sequence[tuple[int, int]],
        configurations: Sequence[Entry],
        tail: Sequence[Entry],
        max_cached_bytes: int,
    ) -> RaftLog:
        """A log read back from storage; all of it is durable. `tail`: its newest entries.

        Raises InvariantError if the parts do not fit together.
        """
        log = cls(base_index, base_term, max_cached_bytes=max_cached_bytes)
        starts = [start for start, _ in term_runs]
        terms = [term for _, term in term_runs]
        fits = (
            all(low < high for low, high in pairwise(starts))
            and all(low < high for low, high in pairwise([base_term - 1, *terms]))
            and (starts[:1] == [base_index + 1] if last_index > base_index else not starts)
            and (not starts or starts[-1] <= last_index)
            and (not tail or tail[-1].index == last_index)
            and last_index >= base_index
        )
        if not fits:
            raise InvariantError(
                f"recovered log does not fit: base {base_index}/{base_term}, last {last_index}, "
                f"runs {list(term_runs)[:5]}, tail of {len(tail)}"
            )
        log.last_index = log.durable_index = last_index
        log._run_starts, log._run_terms = starts, terms
        log.configurations = list(configurations)
        log._cache = list(tail)
        total = 0
        for entry in tail:
            total += len(entry.data)
            log._ends.append(total)
        log._evict()
        return log

    @property
    def cached_from(self) -> int:
        """Index of the oldest cached entry; `last_index + 1` if none is cached."""
        return self.last_index - len(self._cache) + 1

    @property
    def cached_bytes(self) -> int:
        """Data of the cached entries."""
        return self._total() - self._origin

    def cached(self, low: int, high: int, max_bytes: int) -> list[Entry] | None:
        """Entries of [low, high), at least one, cut where their data exceeds `max_bytes`.

        None if the entry at `low` has left the cache. An empty range is an empty list.
        """
        if low >= high:
            return []
        start = low - self.cached_from
        if start < 0:
            return None
        stop = min(high, self.last_index + 1) - self.cached_from
        limit = self._ends_before(start) + max_bytes
        stop = max(bisect_right(self._ends, limit, start, max(start, stop)), start + 1)
        return self._cache[start:stop]

    def cached_size(self, low: int, high: int) -> int:
        """Data bytes of the entries [low, high), all of them cached."""
        first = self.cached_from
        return self._ends_before(high - first) - self._ends_before(low - first)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end; the caller has checked that they are consecutive."""
        if not entries:
            return
        if entries[0].index != self.last_index + 1 or entries[0].term < self.last_term:
            raise InvariantError(
                f"append of {entries[0].term}/{entries[0].index} "
                f"behind {self.last_term}/{self.last_index}"
            )
        if not self._run_terms or entries[-1].term != self._run_terms[-1]:
            self._extend_runs(entries)
        total, ends = self._total(), self._ends
        for entry in entries:
            total += len(entry.data)
            ends.append(total)
            if entry.kind is EntryKind.CONFIGURATION:
                self.configurations.append(entry)
        self._cache.extend(entries)
        self.last_index = entries[-1].index
        self._evict()

    def truncate(self, index: int) -> None:
        """Drop the entries from `index` on. Raises InvariantError if the base is among them."""
        if index <= self.base_index:
            raise InvariantError(f"truncation at {index} reaches the base {self.base_index}")
        if index > self.last_index:
            return
        keep = max(index - self.cached_from, 0)
        del self._cache[keep:], self._ends[keep:]
        self._truncate_runs(index)
        while self.configurations and self.configurations[-1].index >= index:
            self.configurations.pop()
        self.last_index = index - 1
        self.durable_index = min(self.durable_index, self.last_index)

    def mark_durable(self, index: int) -> None:
        """Entries up to `index` are durable; never moves back (only `truncate` does that)."""
        if index > self.last_index:
            raise InvariantError(f"durable {index} is behind the end {self.last_index}")
        if index > self.durable_index:
            self.durable_index = index
            self._evict()

    def compact(self, index: int) -> None:
        """Forget the entries up to `index`, which a snapshot covers; it becomes the base."""
        if index <= self.base_index:
            return
        term = self.term_at(index)
        drop = max(index - self.cached_from + 1, 0)
        if drop:
            self._origin = self._ends[drop - 1]
            del self._cache[:drop], self._ends[:drop]
        self._compact_runs(index)
        self.configurations = [e for e in self.configurations if e.index > index]
        self.base_index, self.base_term = index, term
        self.durable_index = max(self.durable_index, index)

    def reset(self, index: int, term: int) -> None:
        """Start over, empty, behind a snapshot at `index` (Raft §7)."""
        self.base_index = index
        self.base_term = term
        self.last_index = index
        self.durable_index = index
        self.configurations = []
        self._run_starts = []
        self._run_terms = []
        self._cache: list[Entry] = []  # entries up to last_index, without a gap
        self._ends: list[int] = []  # running total of data bytes behind each cached entry
        self._origin = 0  # the running total in front of the first cached entry

    def _total(self) -> int:
        return self._ends[-1] if self._ends else self._origin

    def _ends_before(self, position: int) -> int:
        return self._ends[position - 1] if position else self._origin

    def _evict(self) -> None:
        """Shrink an overfull cache to 7/8 of its bound, so that eviction is rare and in bulk."""
        size = len(self._cache)
        if self.cached_bytes * COPIES + size * ENTRY_OVERHEAD <= self._max_cached_bytes:
            return
        evictable = self.durable_index - self.cached_from + 1
        if evictable <= 0:
            return
        target = self._max_cached_bytes * 7 // 8
        total = self._total()

        def fits_without(n: int) -> bool:
            data = total - self._ends_before(n)
            return data * COPIES + (size - n) * ENTRY_OVERHEAD <= target

        drop = bisect_left(range(evictable), True, key=fits_without)
        if drop:
            self._origin = self._ends_before(drop)
            del self._cache[:drop], self._ends[:drop]
