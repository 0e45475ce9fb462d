"""Where every live entry of a log is: segment and offset, and which term it has.

Pure bookkeeping on the event loop, 8 bytes per entry; it reads and writes no file. Recovery
fills it from the records, and `FileStorage` keeps it ahead of the disk while it runs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from trioraft.raft.types import NO_INDEX, NO_TERM

__all__ = ["LogIndex", "Segment", "Span", "TermRuns"]


class TermRuns:
    """The terms of consecutive entries, one (first index, term) per run of equal terms."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._terms: list[int] = []

    def append(self, index: int, term: int) -> None:
        """Entry `index` has `term`; called in order of index."""
        if not self._terms or self._terms[-1] != term:
            self._starts.append(index)
            self._terms.append(term)

    def at(self, index: int) -> int:
        """The term of an entry that exists."""
        return self._terms[bisect_right(self._starts, index) - 1]

    def cut(self, last: int) -> None:
        """Forget the entries after `last`."""
        keep = bisect_right(self._starts, last)
        del self._starts[keep:], self._terms[keep:]

    def drop(self, base: int) -> None:
        """Forget the entries up to and including `base`; entry `base` exists."""
        gone = bisect_right(self._starts, base + 1) - 1
        if gone > 0:
            del self._starts[:gone], self._terms[:gone]
        if self._starts:
            self._starts[0] = max(self._starts[0], base + 1)

    def clear(self) -> None:
        self._starts.clear()
        self._terms.clear()

    def runs(self) -> list[tuple[int, int]]:
        return list(zip(self._starts, self._terms, strict=True))


@dataclass(slots=True)
class Segment:
    """One log file. `offsets[i]` is where entry `first + i` begins; only live entries count."""

    number: int
    size: int  # bytes, with what is queued
    first: int = NO_INDEX
    offsets: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def last(self) -> int:
        """Index of its last live entry; meaningless if it has none."""
        return self.first + len(self.offsets) - 1


class Span(NamedTuple):
    """Consecutive entries of one file: the first index, their offsets, and a bound behind them."""

    number: int
    first: int
    offsets: array[int]
    end: int


class LogIndex:
    """The live log over all segments: entries `base_index` + 1 up to `last_index`."""

    def __init__(self, base_index: int = NO_INDEX, base_term: int = NO_TERM) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self.last_index = base_index
        self.terms = TermRuns()
        self.segments: list[Segment] = []

    @property
    def last_term(self) -> int:
        return self.term_at(self.last_index)

    def term_at(self, index: int) -> int:
        """Term of `index`, which is the base or a live entry. Raises IndexError otherwise."""
        if index == self.base_index:
            return self.base_term
        if not self.base_index < index <= self.last_index:
            raise IndexError(
                f"entry {index} is not in the log ({self.base_index + 1} to {self.last_index})"
            )
        return self.terms.at(index)

    def extend(self, first: int, offsets: array[int]) -> None:
        """The next entries, from `first` on, are at `offsets` of the last segment.

        Their terms are to be appended to `terms` beside this.
        """
        segment = self.segments[-1]
        if not segment.offsets:
            segment.first = first
        segment.offsets.extend(offsets)
        self.last_index += len(offsets)

    def cut(self, last: int, term: int) -> None:
        """The log now ends at (`last`, `term`); if that is before the base, it is the new base."""
        for segment in reversed(self.segments):
            if segment.offsets:
                if segment.last <= last:
                    break
                del segment.offsets[max(0, last + 1 - segment.first) :]
        self.terms.cut(last)
        self.last_index = last
        if last < self.base_index:
            self.base_index, self.base_term = last, term

    def reset(self, index: int, term: int) -> None:
        """The log is empty and starts after (`index`, `term`)."""
        for segment in self.segments:
            del segment.offsets[:]
        self.terms.clear()
        self.base_index = self.last_index = index
        self.base_term = term

    def droppable(self, floor: int) -> int:
        """How many of the oldest files hold no live entry above `floor`. Never the last one."""
        count = 0
        for segment in self.segments[:-1]:
            if segment.offsets and segment.last > floor:
                break
            count += 1
        return count

    def drop(self, count: int) -> list[Segment]:
        """Forget the oldest `count` files and the entries in them; returns the files."""
        dropped = self.segments[:count]
        del self.segments[:count]
        base = max((s.last for s in dropped if s.offsets), default=self.base_index)
        if base > self.base_index:
            self.base_term = self.terms.at(base)
            self.base_index = base
            if base == self.last_index:
                self.terms.clear()
            else:
                self.terms.drop(base)
        return dropped

    def locate(self, low: int, high: int, max_bytes: int) -> list[Span]:
        """Where the live entries of [low, high) are; at least one, about `max_bytes` in all.

        What counts is the stored size, which is above the size of the data.
        """
        spans: list[Span] = []
        for segment in self.segments:
            if not segment.offsets or segment.last < low or low >= high:
                continue
            start = low - segment.first
            stop = min(high - segment.first, len(segment.offsets))
            limit = segment.offsets[start] + max_bytes
            fitting = bisect_right(segment.offsets, limit, start + 1, stop)
            end = segment.offsets[fitting] if fitting < len(segment.offsets) else segment.size
            full = fitting < stop or end > limit
            if end > limit and (fitting > start + 1 or spans):
                fitting -= 1
                end = segment.offsets[fitting]
            if fitting > start:
                offsets = segment.offsets[start:fitting]
                spans.append(Span(segment.number, low, offsets, end))
                max_bytes -= end - offsets[0]
                low = segment.first + fitting
            if full:
                break
        return spans
