"""Which term every position of the log has: what a core decides by when it compares logs.

Terms never fall along a log and seldom change, so the runs of equal terms are kept and the term
of any position is a binary search away.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from trioraft.raft.types import Entry

__all__ = ["LogTerms"]


class LogTerms:
    """The positions `base_index .. last_index` and their terms: half of `RaftLog`.

    base_index, base_term: the position just before the first entry: a snapshot's, or none.
    """

    __slots__ = ("_run_starts", "_run_terms", "base_index", "base_term", "last_index")

    base_index: int
    base_term: int
    last_index: int
    _run_starts: list[int]
    _run_terms: list[int]

    @property
    def last_term(self) -> int:
        return self._run_terms[-1] if self._run_terms else self.base_term

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, or of the base. Raises IndexError outside."""
        if index == self.base_index:
            return self.base_term
        if not self.base_index < index <= self.last_index:
            raise IndexError(f"index {index} is not in {self.base_index}..{self.last_index}")
        starts = self._run_starts
        if index >= starts[-1]:
            return self._run_terms[-1]
        return self._run_terms[bisect_right(starts, index) - 1]

    def matches(self, index: int, term: int) -> bool:
        """There is an entry (or the base) at `index` and its term is `term`."""
        return self.base_index <= index <= self.last_index and self.term_at(index) == term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """A log that ends there is at least as up-to-date as this one (Raft §5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def last_at_most(self, index: int, term: int) -> int:
        """The last position up to `index` whose term is at most `term`, at least the base.

        Both ends use it to skip a whole term per rejected append (thesis §5.3): nothing after
        that position can be the same entry on the other side.
        """
        run = bisect_right(self._run_terms, term)
        end = self._run_starts[run] - 1 if run < len(self._run_starts) else self.last_index
        return max(min(index, end), self.base_index)

    def first_new(self, entries: Sequence[Entry]) -> int:
        """Position in `entries` of the first that is not in this log; their number if all are."""
        if not entries or entries[0].index > self.last_index:
            return 0
        for position, entry in enumerate(entries):
            if entry.index > self.last_index or self.term_at(entry.index) != entry.term:
                return position
        return len(entries)

    # -- for the other half, before it moves `base_index` or `last_index`

    def _extend_runs(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if not self._run_terms or entry.term != self._run_terms[-1]:
                self._run_starts.append(entry.index)
                self._run_terms.append(entry.term)

    def _truncate_runs(self, index: int) -> None:
        """The entries from `index` on are dropped."""
        runs = bisect_left(self._run_starts, index)
        del self._run_starts[runs:], self._run_terms[runs:]

    def _compact_runs(self, index: int) -> None:
        """The entries up to `index` are forgotten."""
        runs = bisect_right(self._run_starts, index)
        if index == self.last_index:
            del self._run_starts[:], self._run_terms[:]
        elif runs < len(self._run_starts) and self._run_starts[runs] == index + 1:
            del self._run_starts[:runs], self._run_terms[:runs]
        else:
            del self._run_starts[: runs - 1], self._run_terms[: runs - 1]
            self._run_starts[0] = index + 1
