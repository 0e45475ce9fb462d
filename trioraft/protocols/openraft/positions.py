"""Which term the commit index is in: what openraft's leader_commit needs and the core need not say.

A follower orders log ids by leader first, so a commit index under the wrong leader could commit
too much. The requests of one leadership say the terms of the entries that they pass: these are
remembered, and a commit index outside of them is sent as "none", which claims nothing.
"""

from __future__ import annotations

from bisect import bisect_right

from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import NO_INDEX, NO_TERM

__all__ = ["Positions"]


class Positions:
    """The terms of a contiguous range of the leader's log, as runs of equal terms.

    Within a leader's term its log only grows, so what was passed once stays true. Runs below the
    commit index are dropped, so there are as many as terms are uncommitted.
    """

    def __init__(self) -> None:
        self._leader_term = NO_TERM
        self._starts: list[int] = []  # first index of each run, ascending
        self._terms: list[int] = []
        self._last = NO_INDEX  # last index that is known

    def note(self, request: AppendRequest) -> None:
        """Learn from a request that is about to be sent."""
        first, last = request.prev_index, request.prev_index + len(request.entries)
        if request.term != self._leader_term:
            self._leader_term = request.term
            self._forget()
        if self._starts and last < self._starts[0] - 1:
            return  # far below what is known, which is of more use
        if self._starts and first > self._last + 1:
            self._forget()
        if self._starts and first < self._starts[0]:
            known = self._runs()
            self._forget()
            self._pass(request)
            for start, end, term in known:
                if end > last:
                    self._extend(max(start, last + 1), end, term)
        else:
            self._pass(request)

    def _pass(self, request: AppendRequest) -> None:
        self._extend(request.prev_index, request.prev_index, request.prev_term)
        entries = request.entries
        if entries and entries[0].term == entries[-1].term:
            self._extend(entries[0].index, entries[-1].index, entries[0].term)
        else:
            for entry in entries:
                self._extend(entry.index, entry.index, entry.term)

    def _extend(self, start: int, end: int, term: int) -> None:
        """[start, end] is of `term`: add what of it lies behind the last known index."""
        if not self._starts or (end > self._last and term != self._terms[-1]):
            self._starts.append(max(start, self._last + 1) if self._starts else start)
            self._terms.append(term)
        self._last = max(self._last, end)

    def _runs(self) -> list[tuple[int, int, int]]:
        """(first index, last index, term) of each run."""
        ends = [start - 1 for start in self._starts[1:]] + [self._last]
        return list(zip(self._starts, ends, self._terms, strict=True))

    def _forget(self) -> None:
        self._starts, self._terms, self._last = [], [], NO_INDEX

    def commit(self, index: int) -> tuple[int, int]:
        """(term, index) of commit index `index`, or of the last known index if that is lower.

        (NO_TERM, NO_INDEX) if its term is not known.
        """
        index = min(index, self._last)
        run = bisect_right(self._starts, index) - 1
        if index == NO_INDEX or run < 0:
            return NO_TERM, NO_INDEX
        term = self._terms[run]
        if run:
            del self._starts[:run], self._terms[:run]
        return term, index
