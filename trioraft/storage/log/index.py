"""Where every live entry of a log is: segment and offset, and which term it has.

Pure bookkeeping on the event loop; it reads and writes no file. Its size follows the bytes of
the log, 16 bytes for every 16 KiB, not the number of entries. Recovery fills it from the
records, and `FileStorage` keeps it ahead of the disk while it runs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trioraft.raft.types import NO_INDEX, NO_TERM

from .entries import POINT_STRIDE

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
    """One log file, and its live entries `first` to `last`.

    Where an entry begins is kept for one entry per 16 KiB (`POINT_STRIDE`): a reader starts at
    the point before and walks. The first entry, and the first after a cut, always have a point;
    so from a point on, up to the next, entries follow each other and nothing dead is between.
    """

    number: int
    size: int  # bytes, with what is queued
    first: int = NO_INDEX + 1
    last: int = NO_INDEX
    due: int = 0  # the next entry at this offset or behind becomes a point
    indices: array[int] = field(default_factory=lambda: array("q"))
    offsets: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def is_empty(self) -> bool:
        """Whether it has no live entry. (It may have dead ones, votes and marks.)"""
        return self.last < self.first

    def clear(self) -> None:
        self.first, self.last, self.due = NO_INDEX + 1, NO_INDEX, 0
        del self.indices[:], self.offsets[:]

    def cut(self, last: int) -> None:
        """Forget the entries after `last`."""
        self.last = min(self.last, last)
        if self.is_empty:
            self.clear()
            return
        keep = bisect_right(self.indices, last)
        del self.indices[keep:], self.offsets[keep:]


class Span(NamedTuple):
    """Entries [low, high) of one file.

    blocks: (first index, offset) of the stretches they are in; low is in the first one.
    end: offset before which all of them end, or a bound on what is wanted at once.
    """

    number: int
    low: int
    high: int
    blocks: list[tuple[int, int]]
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

    def extend(self, count: int, points: Sequence[tuple[int, int]]) -> None:
        """The next `count` entries are in the last segment; `points` are what is known of where.

        Their terms are to be appended to `terms` beside this.
        """
        segment = self.segments[-1]
        if segment.is_empty:
            segment.first = self.last_index + 1
        for index, offset in points:
            segment.indices.append(index)
            segment.offsets.append(offset)
            segment.due = offset + POINT_STRIDE
        self.last_index += count
        segment.last = self.last_index

    def cut(self, last: int, term: int) -> None:
        """The log now ends at (`last`, `term`); if that is before the base, it is the new base."""
        for segment in reversed(self.segments):
            if not segment.is_empty:
                if segment.last <= last:
                    break
                segment.cut(last)
        self.segments[-1].due = 0
        self.terms.cut(last)
        self.last_index = last
        if last < self.base_index:
            self.base_index, self.base_term = last, term

    def reset(self, index: int, term: int) -> None:
        """The log is empty and starts after (`index`, `term`)."""
        for segment in self.segments:
            segment.clear()
        self.terms.clear()
        self.base_index = self.last_index = index
        self.base_term = term

    def droppable(self, floor: int) -> int:
        """How many of the oldest files hold no live entry above `floor`. Never the last one."""
        count = 0
        for segment in self.segments[:-1]:
            if not segment.is_empty and segment.last > floor:
                break
            count += 1
        return count

    def drop(self, count: int) -> list[Segment]:
        """Forget the oldest `count` files and the entries in them; returns the files."""
        dropped = self.segments[:count]
        del self.segments[:count]
        base = max((s.last for s in dropped if not s.is_empty), default=self.base_index)
        if base > self.base_index:
            self.base_term = self.terms.at(base)
            self.base_index = base
            if base == self.last_index:
                self.terms.clear()
            else:
                self.terms.drop(base)
        return dropped

    def locate(self, low: int, high: int, max_bytes: int) -> list[Span]:
        """Where to read the live entries of [low, high), at least one; about `max_bytes` in all."""
        spans: list[Span] = []
        for segment in self.segments:
            if segment.is_empty or segment.last < low:
                continue
            if low >= high or (spans and max_bytes <= 0):
                break
            stop = min(high, segment.last + 1)
            begin = bisect_right(segment.indices, low) - 1
            end = bisect_left(segment.indices, stop)
            bound = segment.offsets[end] if end < len(segment.offsets) else segment.size
            # An entry begins less than a stride behind its point.
            bound = min(bound, segment.offsets[begin] + POINT_STRIDE + max_bytes)
            end = min(end, bisect_left(segment.offsets, bound))
            if end < len(segment.indices):
                # What lies between here and the next point may be dead: it was cut.
                stop = min(stop, segment.indices[end])
            blocks = list(zip(segment.indices[begin:end], segment.offsets[begin:end], strict=True))
            spans.append(Span(segment.number, low, stop, blocks, bound))
            max_bytes -= bound - segment.offsets[begin]
            low = stop
        return spans

    def newest(self, max_bytes: int, overhead: int) -> int:
        """An entry from which on the log takes at least `max_bytes`, if it is that long.

        What counts is the stored size, with what is dead in between, and `overhead` per entry.
        `last_index` + 1 if the log is empty.
        """
        first = self.last_index + 1
        for segment in reversed(self.segments):
            behind = segment.size
            for index, offset in zip(
                reversed(segment.indices), reversed(segment.offsets), strict=True
            ):
                max_bytes -= behind - offset + (first - index) * overhead
                first, behind = index, offset
                if max_bytes <= 0:
                    return first
        return first
