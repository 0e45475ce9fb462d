"""Which term the commit index is in: what openraft's leader_commit needs and the core need not say.

A follower orders log ids by leader first, so a commit index under the wrong leader could commit
too much. The requests of one leadership say the terms of the entries that they pass: these are
remembered, and a commit index outside of them is sent as "none", which claims nothing.
"""

from __future__ import annotations

from bisect import bisect_right

from ...raft.types import NO_INDEX, NO_TERM, AppendRequest

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
        follows = (
            request.term == self._leader_term
            and self._starts
            and self._starts[0] <= request.prev_index <= self._last
        )
        if not follows:
            self._leader_term = request.term
            self._starts, self._terms = [request.prev_index], [request.prev_term]
            self._last = request.prev_index
        entries = request.entries
        last = request.prev_index + len(entries)
        if last <= self._last:
            return
        if entries[-1].term != self._terms[-1]:
            for entry in entries:
                if entry.index > self._last and entry.term != self._terms[-1]:
                    self._starts.append(entry.index)
                    self._terms.append(entry.term)
        self._last = last

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
